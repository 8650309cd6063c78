"""A batch of what ``scripts/fuzz --programs N --kernel`` runs by the thousand."""

from __future__ import annotations

import pytest

from tests.property.fuzz import kernel_campaign
from tests.property.fuzz.fuzzing import EXAMPLES, EXAMPLES_ORDINARY, SECONDS_MAX
from tests.property.hostile.in_child import in_child

pytestmark = pytest.mark.xdp
SEED = 1
PROGRAMS = 100 if EXAMPLES <= EXAMPLES_ORDINARY else EXAMPLES


def test_programs_that_only_read_are_the_same_in_the_kernel() -> None:
    outcomes = in_child(lambda note: kernel_campaign.run_chunk(SEED, 0, PROGRAMS, note), SECONDS_MAX)
    assert sum(outcomes.values()) == PROGRAMS
    assert outcomes[kernel_campaign.SAME] >= PROGRAMS / 2, outcomes
    assert outcomes[kernel_campaign.LEFT] <= PROGRAMS / 50, outcomes
