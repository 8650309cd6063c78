"""The figures of the Python clients come about, from gets that found what was put."""

from __future__ import annotations

import pytest
from splinter_bench import goals
from splinter_bench.experiments.bench import Bench

pytestmark = [pytest.mark.slow, pytest.mark.xdp, pytest.mark.redis]


def test_python_clients_are_measured_beside_redis_py() -> None:
    found = goals.measure(("client-get", "client-get-asyncio"), Bench(rounds=1))
    assert found.failures == []
    for figure in found.figures.values():
        assert figure.median > 0
        assert {"get_ns", "redis_ns", "worker_get_ns", "worker_ratio"} <= set(figure.parts)
