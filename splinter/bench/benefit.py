"""``splinter bench benefit``: what it brings to run code where the data is, the comparison of the Splinter paper.

Each question of :mod:`splinter.bench.benefit_cases` is asked in four ways, in slices that take turns. For each way: the median
time of one question where the client asks one at a time, and questions answered each second with 50 requests (Splinter)
or connections (Redis) under way.

Gets that depend on each other take a round trip each; gets that do not are all under way at once, and their time is what so
many take at that depth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from splinter.bench.benefit_cases import GETS, INVOKE, Point, Sizes, points
from splinter.bench.process import pinned
from splinter.bench.redis import RedisServer
from splinter.bench.report import spread
from splinter.bench.rival import CONNECTIONS
from splinter.bench.session import SLICE_WARMUP_SECONDS, Session
from splinter.bench.text_client import Script, TextClient
from splinter.errors import SplinterError
from splinter.native.clock import SECOND_NS

_FAN_MAX = 64  # independent gets that are under way at a time
_SLICE_FACTORS = (1, 4, 16)
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    seconds: float = 0.05  # of each slice
    sizes: Sizes = field(default_factory=Sizes)

    def steps(self) -> int:
        """How often :func:`measure` reports progress."""
        return len(self.sizes.steps) + len(self.sizes.records) + 1 + self.sizes.forest


def measure(session: Session, effort: Effort, has_redis: bool, progress: Progress = lambda text: None) -> list[dict[str, Any]]:
    """One row for each question and way: ``case``, ``x``, ``way``, ``time_ns`` and ``per_second`` with median, min, max.

    Raises :class:`SplinterError` when an answer was wrong, or none came.
    """
    rows = []
    with contextlib.ExitStack() as stack:
        server = None
        if has_redis:
            server = stack.enter_context(RedisServer(session.info.address, core=session.server_core, netns=session.info.netns))
        for point in points(session, server, effort.sizes):
            progress(f"{point.case}, {point.x}")
            rows += _measure_point(session, server, point, effort)
    return rows


def _measure_point(session: Session, server: RedisServer | None, point: Point, effort: Effort) -> list[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        ways: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {}
        for way, workload, requests in ((GETS, point.gets, point.requests), (INVOKE, point.invoke, 1)):
            is_fan = point.is_fan and requests > 1

            def ask(depth: int, workload: Any = workload) -> Any:
                return session.slice(workload, depth, effort.seconds)

            ways[way] = (partial(_time, ask, requests, is_fan), partial(_rate, ask, requests))
        for way, script in point.scripts.items():
            assert server is not None
            connect = partial(server.connect, session.netns)
            clients = [stack.enter_context(TextClient(connect, count)) for count in (1, CONNECTIONS)]
            ways[way] = (
                partial(_redis_time, session, clients[0], script, effort),
                partial(_redis_rate, session, clients[1], script, effort),
            )
        times: dict[str, list[float]] = {way: [] for way in ways}
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(effort.rounds):
            for way, (time, rate) in ways.items():
                times[way].append(time())
                rates[way].append(rate())
    return [
        {"case": point.case, "x": point.x, "way": way, "time_ns": spread(times[way]), "per_second": spread(rates[way])}
        for way in ways
    ]


def _time(ask: Callable[[int], Any], requests: int, is_fan: bool) -> float:
    if is_fan:
        return requests * SECOND_NS / float(ask(min(requests, _FAN_MAX)).per_second)
    return requests * float(ask(1).latency_ns["p50"])


def _rate(ask: Callable[[int], Any], requests: int) -> float:
    return float(ask(CONNECTIONS).per_second) / requests


def _redis_time(session: Session, client: TextClient, script: Script, effort: Effort) -> float:
    return float(_redis(session, client, script, effort).latency_ns["p50"])


def _redis_rate(session: Session, client: TextClient, script: Script, effort: Effort) -> float:
    return float(_redis(session, client, script, effort).per_second) / script.pipeline


def _redis(session: Session, client: TextClient, script: Script, effort: Effort) -> Any:
    """A slice; a longer one where answers take longer than that."""
    for factor in _SLICE_FACTORS:
        with pinned(session.client_core):
            result = client.run(script, seconds=factor * effort.seconds, warmup_seconds=SLICE_WARMUP_SECONDS)
        if result.recorded or result.failed:
            break
    if result.failed or not result.recorded:
        raise SplinterError(f"{script.name}: {result.recorded} right replies, {result.corrupt} wrong, {result.lost} lost")
    return result
