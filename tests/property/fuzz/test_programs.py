"""A batch of what `scripts/fuzz --programs N` runs by the million: whole programs, poisoned, in both forms, against CPython."""

from __future__ import annotations

from typing import Any

import pytest

from splinter.errors import CompileError
from tests.property.fuzz.campaign import REFUSALS, forms_of, one_by_one, run_batch
from tests.property.fuzz.fuzzing import EXAMPLES, EXAMPLES_ORDINARY, SECONDS_MAX
from tests.property.fuzz.programs import make_case
from tests.property.hostile.in_child import in_child
from tests.support.forms import accepted

SEED = 1
PROGRAMS = 100 if EXAMPLES <= EXAMPLES_ORDINARY else EXAMPLES


@pytest.mark.parametrize("only_proofs", [False, True])
def test_programs_agree_and_are_proven(only_proofs: bool) -> None:
    def run(note: Any) -> Any:
        return run_batch(SEED, 0, PROGRAMS, note, forms_of(SEED, 0, only_proofs))

    counts = in_child(run, SECONDS_MAX)
    assert sum(counts.values()) == PROGRAMS
    assert counts[""] >= 0.95 * PROGRAMS, counts
    assert counts.keys() <= {"", *REFUSALS}


def test_a_number_makes_the_same_program_again() -> None:
    assert make_case(SEED, 7) == make_case(SEED, 7)
    assert make_case(SEED, 7) != make_case(SEED, 8)
    assert {form.is_quick for form in forms_of(SEED, 3)} == {False, True}


def test_the_programs_have_what_they_are_made_for() -> None:
    sources = [make_case(SEED, number).source for number in range(300)]
    for wanted in (
        "-> None:",
        "is None",
        "c[",
        "] += ",
        " = c[",
        "db.put(",
        "m.append",
        "yield",
        "while ",
        "records(",
        "multiget(",
        "elif",
    ):
        assert sum(wanted in source for source in sources) >= 5, wanted
    for source in sources[:50]:
        try:
            accepted(source)
        except CompileError as error:
            assert {finding.rule for finding in error.diagnostics} <= REFUSALS  # type: ignore[attr-defined]


def test_a_program_that_fails_is_found_alone() -> None:
    assert one_by_one(SEED, 0, 2, forms_of(SEED, 0)) == (-1, "")
