"""``splinter bench benefit``: what it brings to run code where the data is, the comparison of the Splinter paper.

Each question of :mod:`.benefit_cases` is asked in four ways, in slices that take turns. For each way: the median
time of one question where the client asks one at a time, and questions answered each second with 50 requests (Splinter)
or connections (Redis) under way.

Gets that depend on each other take a round trip each; gets that do not are all under way at once (as many as the link holds
the packets of), and their time is what so many take at that depth.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from splinter.errors import SplinterError
from splinter.native.clock import SECOND_NS
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.benefit_cases import GETS, INVOKE, REDIS_GETS, Point, Sizes, points
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.observations import Observations, Row
from splinter_bench.process import pinned
from splinter_bench.rounds import in_turns
from splinter_bench.subjects import rivals
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.redis import RedisServer
from splinter_bench.subjects.rival import CONNECTIONS
from splinter_bench.subjects.session import SLICE_WARMUP_SECONDS, Session

_FAN_MAX = 64  # independent gets that are under way at a time
# Packets under way: an end of a veth pair keeps 256 (VETH_RING_SIZE) and loses what comes on top while its CPU is busy.
_PACKETS_MAX = 256
_SLICE_FACTORS = (1, 4, 16)


_ROUNDS = 5
_SECONDS = 0.05  # of each slice
_QUICK = Sizes(steps=(1, 4, 16), records=(1, 4, 32), users=200)


def document(bench: Bench) -> dict[str, Any]:
    """Make a lab and a server, measure, remove both."""
    with lab_server(max(os.sched_getaffinity(0))) as info, Session(info) as session:
        found = measure(replace(bench, served=session), _QUICK if bench.is_quick else Sizes(), "redis" in rivals.installed())
    return {"experiment": "benefit", **found.to_json()}


def measure(bench: Bench, sizes: Sizes, has_redis: bool, seconds: float = _SECONDS) -> Observations:
    """One row for each question, way and round: ``case``, ``x``, ``time_ns`` and ``per_second``.

    Raises :class:`SplinterError` when an answer was wrong, or none came.
    """
    found, session = Observations(), bench.session
    with contextlib.ExitStack() as stack:
        server = None
        if has_redis:
            server = stack.enter_context(RedisServer(session.info.address, core=session.server_core, netns=session.info.netns))
        for point in points(session, server, sizes):
            bench.say(f"{point.case}, {point.x}")
            found.rows += _measure_point(session, server, point, bench.count(_ROUNDS), seconds)
    return found


def _measure_point(session: Session, server: RedisServer | None, point: Point, rounds: int, seconds: float) -> list[Row]:
    with contextlib.ExitStack() as stack:
        ways: dict[str, _Way] = {}
        for way, workload, requests in ((GETS, point.gets, point.requests), (INVOKE, point.invoke, 1.0)):
            most = _PACKETS_MAX // max(len(operation.packets) for operation in workload.operations)
            depth = int(min(requests, _FAN_MAX, most)) if point.is_fan else 1
            asks = [partial(session.slice, workload, under_way, seconds) for under_way in (depth, min(CONNECTIONS, most))]
            ways[way] = _Way(asks[0], asks[1], requests, in_turn=requests, is_mean=point.is_mix or depth > 1)
        for way, script in point.scripts.items():
            assert server is not None
            connect = partial(server.connect, session.netns)
            clients = [stack.enter_context(TextClient(connect, count)) for count in (1, CONNECTIONS)]
            alone, many = (partial(_redis, session, client, script, seconds) for client in clients)
            is_several = point.is_mix and way == REDIS_GETS
            # A script counts each reply of a pipeline, and a chain of steps once.
            ways[way] = _Way(alone, many, point.requests if is_several else script.pipeline, in_turn=1.0, is_mean=point.is_mix)
        return [
            {**row, "case": point.case, "x": point.x}
            for row in in_turns({name: asked.slice for name, asked in ways.items()}, rounds).rows
        ]


@dataclass(frozen=True)
class _Way:
    """A question takes ``requests``; asked alone (``ask_one``), and with CONNECTIONS requests or connections under way."""

    ask_one: Callable[[], Any]
    ask_many: Callable[[], Any]
    requests: float
    in_turn: float  # how many of the latencies that are recorded make up its time
    is_mean: bool  # its time is a mean, not a median

    def slice(self) -> dict[str, float]:
        """The time of one question, and how many are answered each second."""
        return {"time_ns": self._time_ns(), "per_second": float(self.ask_many().per_second) / self.requests}

    def _time_ns(self) -> float:
        result = self.ask_one()
        if self.is_mean:
            return self.requests * SECOND_NS / float(result.per_second)
        return self.in_turn * float(result.latency_ns["p50"])


def _redis(session: Session, client: TextClient, script: Script, seconds: float) -> Any:
    """A slice; a longer one where answers take longer than that."""
    for factor in _SLICE_FACTORS:
        with pinned(session.client_core):
            result = client.run(script, seconds=factor * seconds, warmup_seconds=SLICE_WARMUP_SECONDS)
        if result.recorded or result.failed:
            break
    if result.failed or not result.recorded:
        raise SplinterError(f"{script.name}: {result.recorded} right replies, {result.corrupt} wrong, {result.lost} lost")
    return result
