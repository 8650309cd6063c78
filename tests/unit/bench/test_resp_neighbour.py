"""Packets beside a saturated worker: what was beside one that was not is no figure."""

from __future__ import annotations

import pytest
from splinter_bench import goals
from splinter_bench.control import Taken
from splinter_bench.experiments import resp_neighbour
from splinter_bench.experiments.resp_neighbour import BUSY_SHARE_MIN
from splinter_bench.observations import Observations


@pytest.mark.parametrize("mode", ["calm", "resp"])
@pytest.mark.parametrize(("share", "is_still", "left_out"), [(BUSY_SHARE_MIN, True, 0), (0.89, True, 1), (1.0, False, 1)])
def test_rounds_beside_a_worker_that_was_not_saturated_are_left_out(
    mode: str, share: float, is_still: bool, left_out: int
) -> None:
    if mode == "calm" and is_still:
        left_out = 0  # nobody is saturated there
    found = Observations(settings={"connections": 50})
    for number in range(3):
        for subject in ("calm", "redis", "resp"):
            row: dict[str, float] = {"p50": 1.0, "p99": 2.0}
            is_it = number == 0 and subject == mode
            if subject != "calm":
                row["busy_share"] = share if is_it else 1.0
            resp_neighbour.add(found, f"{subject}_xdp", Taken(row, is_still or not is_it), number)
    (figure,) = goals.figures_of(found)
    assert (figure.name, figure.left_out) == ("resp-neighbour-p99", left_out)
