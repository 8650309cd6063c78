"""The figures of batches come about, each from replies that were all right."""

from __future__ import annotations

import pytest
from splinter_bench import goals
from splinter_bench.experiments.bench import Bench

pytestmark = [pytest.mark.slow, pytest.mark.xdp, pytest.mark.redis]

PARTS = {
    "always-redis-pipelined": {"put_per_second", "redis_per_second", "packet_each_per_second", "ratio_packet_each"},
    "batched-gets": {"get_per_second", "redis_per_second", "halved_per_second", "ratio_halved", "packet_each_per_second"},
    "batched-puts": {"put_per_second", "redis_per_second", "halved_per_second", "ratio_halved", "packet_each_per_second"},
}


@pytest.mark.parametrize("figures", [("always-redis", "always-redis-pipelined"), ("batched-gets", "batched-puts")])
def test_batches_are_measured_beside_redis(figures: tuple[str, ...]) -> None:
    found = goals.measure(figures, Bench(rounds=1))
    assert found.failures == []
    for name in figures:
        figure = found.figures[name]
        assert figure.median > 0
        assert PARTS.get(name, set()) <= set(figure.parts)
