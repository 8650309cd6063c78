"""What the fuzz tests share: how many examples, and properties that run in a child."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from tests.property.hostile.in_child import in_child

EXAMPLES_ORDINARY = 150
EXAMPLES = int(os.environ.get("SPLINTER_FUZZ_EXAMPLES", str(EXAMPLES_ORDINARY)))
FUZZING = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= EXAMPLES_ORDINARY,  # the same examples in every ordinary run, others in scripts/fuzz
    database=None,
    suppress_health_check=list(HealthCheck),
)

SECONDS_MAX = max(120, EXAMPLES)  # for all examples, shrinking included
Note = Callable[[object], None]


def hold_in_child(make: Callable[[Note], Callable[[], Any]]) -> None:
    """Run a Hypothesis property, made with a function that notes the current example, in a child.

    A falsified property is raised here with its example; a crash of the child is reported with the last example noted.
    """
    in_child(lambda note: make(note)(), SECONDS_MAX)
