"""Every program of the corpus is refused, or ends as written, compiled and under CPython."""

from __future__ import annotations

import functools
import itertools
import operator
from typing import Any

import pytest

from splinter.errors import CompileError
from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.compile import compile_source
from splinter.ext.types import WORD_BYTES
from splinter.limits import FRAME_BYTES, TASK_BUDGET
from tests.property.hostile.corpus import CASES, Case, Failure, Refusal, Result, invocations
from tests.property.hostile.corpus.case import body
from tests.property.hostile.in_child import in_child
from tests.support.forms import FORMS, PATTERNS, Form, PoisonedRunner, accepted, make
from tests.support.runner import Runner

CASES_MIN = 150
REFUSED = [case for case in CASES if isinstance(case.expected, Refusal)]
RUN = [case for case in CASES if not isinstance(case.expected, Refusal)]
ENDING = [case for case in RUN if not case.is_endless]
SMALL_BUDGET = 1  # every back-edge yields
RESUMES_MAX = 20_000  # of an endless program; those that end need less


def named(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[ascii(case.name)[:60] for case in cases])


def outcome(action: Any) -> Failure | Result:
    try:
        return Result(action())
    except ExtensionFault as fault:
        return Failure(fault.error.name, fault.line)


def test_the_corpus_is_large() -> None:
    assert len({(case.source, case.arguments) for case in CASES}) >= CASES_MIN


@named(REFUSED)
def test_refused(case: Case) -> None:
    assert isinstance(case.expected, Refusal)
    with pytest.raises(CompileError) as caught:
        compile_source(case.source)
    found = [(finding.rule, finding.line) for finding in caught.value.diagnostics]  # type: ignore[attr-defined]
    assert (case.expected.rule, case.expected.line) in found
    assert "internal" not in [rule for rule, _ in found]


@named(RUN)
def test_compiled(case: Case) -> None:
    """In both forms of code, with two patterns in all memory that it must not depend on."""
    forms = [one for (one,) in make([accepted(case.source)], FORMS[:2])]

    def run(note: Any) -> list[Any]:
        outcomes = []
        for made, pattern in itertools.product(forms, PATTERNS):
            with PoisonedRunner(None, SMALL_BUDGET if case.is_endless else TASK_BUDGET, pattern) as runner:
                runner.resumes_max = RESUMES_MAX
                outcomes.append(outcome(lambda made=made, runner=runner: runner.run(made, *case.used_arguments)))
        return outcomes

    got = in_child(run)
    assert all(map(case.is_expected, got)), got


@pytest.mark.parametrize("form", FORMS[:2], ids=str)
def test_compiled_with_a_yield_at_every_turn_of_a_loop(form: Form) -> None:
    compiled = list(zip(ENDING, make([accepted(case.source) for case in ENDING], [form])[0], strict=True))

    def run(note: Any) -> list[Any]:
        outcomes = []
        for pattern in PATTERNS:
            with PoisonedRunner(None, SMALL_BUDGET, pattern) as runner:
                for case, extension in compiled:
                    note(case.source)
                    runner.store = LocalStore()
                    outcomes.append(outcome(lambda e=extension, c=case, r=runner: r.run(e, *c.used_arguments)))
        return outcomes

    assert in_child(run) == len(PATTERNS) * [case.expected for case in ENDING]


@named(ENDING)
def test_under_cpython(case: Case) -> None:
    assert outcome(lambda: LocalStore().invoke(case.source, *case.used_arguments)) == case.expected


@pytest.mark.parametrize(("block", "expected"), invocations.BLOCKS)
def test_argument_blocks(block: bytes, expected: int | None) -> None:
    compiled = compile_source(invocations.SOURCE)

    def run(note: Any) -> Any:
        with Runner() as runner:
            return outcome(lambda: runner.run_packed(compiled, block))

    assert in_child(run) == (Failure("ARGUMENTS", 2) if expected is None else Result(expected))


def frame_source(count: int) -> str:
    """Keeps ``count`` variables across a yield, and adds them up behind it."""
    made = "\n".join(f"x{i} = a ^ {i}" for i in range(count))
    used = "\n".join(f"b ^= u64(x{i})" for i in range(count))
    return body(f"{made}\nyield\n{used}\nreturn i64(b)")


def test_a_frame_is_used_to_its_last_byte_and_not_beyond() -> None:
    few = 10
    count = few + (FRAME_BYTES - compile_source(frame_source(few)).frame_bytes) // WORD_BYTES
    largest = compile_source(frame_source(count))
    assert largest.frame_bytes == FRAME_BYTES
    with pytest.raises(CompileError) as caught:
        compile_source(frame_source(count + 1))
    assert [finding.rule for finding in caught.value.diagnostics] == ["too-large"]  # type: ignore[attr-defined]

    def run(note: Any) -> Any:
        with Runner() as runner:
            return runner.run(largest, 0, 0, b"")

    assert in_child(run) == functools.reduce(operator.xor, range(count))
