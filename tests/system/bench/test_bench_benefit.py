"""The comparison of code at the data with gets: every answer is right, every way is measured."""

from __future__ import annotations

import os

import pytest
from splinter_bench.experiments import benefit
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.benefit_cases import AGGREGATION, FORESTS, TAO, TREE, WAYS, Sizes
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.session import Session

SIZES = Sizes(steps=(1, 5), records=(1, 4), paths=20, keys=200, users=5)


@pytest.mark.slow
@pytest.mark.xdp
@pytest.mark.redis
def test_every_question_is_asked_in_every_way() -> None:
    said: list[str] = []
    with lab_server(max(os.sched_getaffinity(0)), memory="64MiB") as info, Session(info) as session:
        rows = benefit.measure(Bench(rounds=1, served=session, say=said.append), SIZES, True, seconds=0.02).rows
    asked = [(TREE, 1), (TREE, 5), (AGGREGATION, 1), (AGGREGATION, 4), (TAO, SIZES.users), (FORESTS, 20)]
    assert [(row["case"], row["x"], row["subject"]) for row in rows] == [(*question, way) for question in asked for way in WAYS]
    assert all(row["time_ns"] > 0 and row["per_second"] > 0 for row in rows)
    assert len(said) == SIZES.points()
