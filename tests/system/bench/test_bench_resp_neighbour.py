"""The figures of packets beside a worker that the Redis protocol keeps busy come about, from replies that were all right."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest
from splinter_bench import goals
from splinter_bench.experiments import resp_neighbour
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.population import server
from splinter_bench.subjects import redis
from splinter_bench.subjects.session import Session

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdp,
    pytest.mark.redis,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs: one for each worker"),
]


def test_packets_are_measured_beside_a_worker_and_a_redis() -> None:
    found = resp_neighbour.measure(Bench(rounds=2))
    wanted = {f"{mode}_{transport}" for mode in ("calm", "redis", "resp") for transport in resp_neighbour.TRANSPORTS}
    assert {row["subject"] for row in found.rows} == wanted
    assert len(found.rows) == 2 * len(wanted)
    assert all(0 < row["p50"] <= row["p99"] for row in found.rows)
    for row in found.rows:
        is_calm = row["subject"].startswith("calm")
        assert ("busy_share" in row) is not is_calm
        assert is_calm or 0 <= row["process_share"] <= row["busy_share"]  # others may have the CPU
        assert not row["is_still"] or is_calm or row["busy_share"] >= resp_neighbour.BUSY_SHARE_MIN
    figures = {figure.name: figure for figure in goals.figures_of(found)}
    assert set(figures) == {"resp-neighbour-p99", "resp-neighbour-p99-udp"}
    for figure in figures.values():
        assert figure.median > 0
        assert {"ratio_beside_redis", "over_redis", "busy_share", "worker_share", "requests_per_second"} <= set(figure.parts)


def test_all_connections_are_to_one_worker() -> None:
    cores, connections, pings = os.sched_getaffinity(0), 8, 100
    with server([min(cores), max(cores)], {"redis_port": 0}) as session, ExitStack() as stack:
        made = resp_neighbour.to_worker(session)
        asked = [stack.enter_context(made()) for _ in range(connections)]
        before = _commands(session)
        for connection in asked:
            connection.sendall(redis.command(b"PING") * pings)
            with connection.makefile("rb") as replies:
                assert [replies.readline() for _ in range(pings)] == [b"+PONG\r\n"] * pings
        after = _commands(session)
        grown = [now - then for now, then in zip(after, before, strict=True)]
        assert grown == [connections * pings if slot == session.home else 0 for slot in range(len(grown))]


def _commands(session: Session) -> list[int]:
    """Of the Redis protocol, that each worker has executed."""
    return [int(worker["redis_commands"]) for worker in session.admin.stats()["workers"]]
