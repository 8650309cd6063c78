"""The comparison of code at the data with gets: every answer is right, every way is measured."""

from __future__ import annotations

import pytest
from splinter_bench.experiments import benefit
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.benefit_cases import AGGREGATION, FORESTS, KERNEL, TAO, TREE, WAYS, Sizes
from splinter_bench.experiments.population import tier_and_plain

SIZES = Sizes(steps=(1, 5), records=(1, 4), paths=20, keys=200, users=20)


@pytest.mark.slow
@pytest.mark.xdp
@pytest.mark.redis
def test_every_question_is_asked_in_every_way() -> None:
    said: list[str] = []
    with tier_and_plain(memory="64MiB") as (tier, plain):
        found = benefit.measure(Bench(rounds=1, say=said.append), plain, tier, SIZES, True, seconds=0.02)
    asked = [(TREE, 1), (TREE, 5), (AGGREGATION, 1), (AGGREGATION, 4), (TAO, SIZES.users), (FORESTS, 20)]
    ways = [(*question, way) for question in asked for way in WAYS if (question[0], way) != (FORESTS, KERNEL)]
    assert [(row["case"], row["x"], row["subject"]) for row in found.rows] == ways
    assert all(row["time_ns"] > 0 and row["per_second"] > 0 for row in found.rows)
    for row in found.rows:
        assert row["kernel_percent"] >= benefit.KERNEL_PERCENT_MIN if row["subject"] == KERNEL else row["kernel_percent"] == 0
    (left_out,) = found.settings["left_out"]
    assert left_out.startswith("decision forest, 20 (the kernel ran 0 % of the invokes; forest is in the worker: line ")
    assert left_out.endswith(": the kernel has no floats)")
    assert len(said) == SIZES.points()
