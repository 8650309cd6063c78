"""``splinter bench benefit``: what it brings to run code where the data is, the comparison of the Splinter paper.

Each question of :mod:`.benefit_cases` is asked in five ways, in slices that take turns. For each way: the median
time of one question where the client asks one at a time, and questions answered each second with 50 requests (Splinter)
or connections (Redis) under way.

Two servers of Splinter run on the same CPU. One has no kernel tier: its worker answers gets and invokes. Of the other one only
invokes are asked, and told where its kernel ran nearly all of them; where not, it is said what kept them in the worker.

Gets that depend on each other take a round trip each; gets that do not are all under way at once (as many as the link holds
the packets of), and their time is what so many take at that depth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from splinter.errors import SplinterError
from splinter.native.clock import SECOND_NS
from splinter_bench.experiments.bench import Bench, kernel_percent
from splinter_bench.experiments.benefit_cases import GETS, INVOKE, KERNEL, REDIS_GETS, Point, Sizes, points
from splinter_bench.experiments.population import tier_and_plain
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.observations import Observations, Row
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.rounds import in_turns
from splinter_bench.subjects import rivals
from splinter_bench.subjects.redis import RedisServer
from splinter_bench.subjects.rival import CONNECTIONS
from splinter_bench.subjects.session import SLICE_WARMUP_SECONDS, Session

_FAN_MAX = 64  # independent gets that are under way at a time
# Packets under way: an end of a veth pair keeps 256 (VETH_RING_SIZE) and loses what comes on top while its CPU is busy.
_PACKETS_MAX = 256
_SLICE_FACTORS = (1, 4, 16)
# Of a question's invokes that the kernel runs, to be told as its way. TAO's mix has 99: it writes, and asks for long lists.
KERNEL_PERCENT_MIN = 95.0

_ROUNDS = 5
_SECONDS = 0.05  # of each slice
_QUICK = Sizes(steps=(1, 4, 16), records=(1, 4, 32), users=200)


def document(bench: Bench) -> dict[str, Any]:
    """Make labs and servers, measure, remove them."""
    with tier_and_plain() as (tier, plain):
        found = measure(bench, plain, tier, _QUICK if bench.is_quick else Sizes(), "redis" in rivals.installed())
    return {"experiment": "benefit", **found.to_json()}


def measure(
    bench: Bench, session: Session, tier: Session, sizes: Sizes, has_redis: bool, seconds: float = _SECONDS
) -> Observations:
    """One row for each question, way and round: ``case``, ``x``, ``time_ns``, ``per_second`` and ``kernel_percent``.

    ``session`` is with a server without the kernel tier, ``tier`` with one that has it. The setting ``left_out`` says of
    which questions the latter's kernel did not run the invokes, and why. Raises :class:`SplinterError` when an answer
    was wrong, or none came.
    """
    found, left_out = Observations(), list[str]()
    with contextlib.ExitStack() as stack:
        server = None
        if has_redis:
            server = stack.enter_context(RedisServer(session.info.address, core=session.server_core, netns=session.info.netns))
        for point, of_tier in zip(points(session, server, sizes), points(tier, None, sizes), strict=True):
            bench.say(f"{point.case}, {point.x}")
            rows = _measure_point(session, server, point, tier, of_tier, bench.count(_ROUNDS), seconds)
            percent = kernel_percent(row for row in rows if row["subject"] == KERNEL)
            if percent < KERNEL_PERCENT_MIN:
                rows = [row for row in rows if row["subject"] != KERNEL]
                why = _why(tier, of_tier)
                left_out.append(f"{point.case}, {point.x} (the kernel ran {percent:.0f} % of the invokes{why})")
            found.rows += rows
    found.settings["left_out"] = left_out
    return found


def _why(tier: Session, point: Point) -> str:
    """What keeps a question's extensions in the worker, one of them by name; nothing where the server does not know."""
    tier.use_stack()
    reasons = [(info.name, info.worker_reason) for info in tier.client(point.account).extensions() if info.worker_reason]
    if not reasons:
        return ""
    (name, reason), *others = reasons
    return f"; {name} is in the worker: {reason}{f'; so are {len(others)} more' if others else ''}"


def _measure_point(
    session: Session, server: RedisServer | None, point: Point, tier: Session, of_tier: Point, rounds: int, seconds: float
) -> list[Row]:
    """``of_tier``: the same question to the server with the tier."""
    with contextlib.ExitStack() as stack:
        ways: dict[str, _Way] = {}
        for way, asked, workload, requests in (
            (GETS, session, point.gets, point.requests),
            (INVOKE, session, point.invoke, 1.0),
            (KERNEL, tier, of_tier.invoke, 1.0),
        ):
            most = _PACKETS_MAX // max(len(operation.packets) for operation in workload.operations)
            depth = int(min(requests, _FAN_MAX, most)) if point.is_fan else 1
            asks = [partial(asked.slice, workload, under_way, seconds) for under_way in (depth, min(CONNECTIONS, most))]
            ways[way] = _Way(asks[0], asks[1], requests, in_turn=requests, is_mean=point.is_mix or depth > 1)
        for way, script in point.scripts.items():
            assert server is not None
            connect = partial(server.connect, session.netns)
            clients = [stack.enter_context(TextClient(connect, count)) for count in (1, CONNECTIONS)]
            alone, many = (partial(_redis, session, client, script, seconds) for client in clients)
            is_several = point.is_mix and way == REDIS_GETS
            # A script counts each reply of a pipeline, and a chain of steps once.
            ways[way] = _Way(alone, many, point.requests if is_several else script.pipeline, in_turn=1.0, is_mean=point.is_mix)
        found = in_turns({name: way.slice for name, way in ways.items()}, rounds)
        return [{**row, "case": point.case, "x": point.x} for row in found.rows]


@dataclass(frozen=True)
class _Way:
    """A question takes ``requests``; asked alone (``ask_one``), and with CONNECTIONS requests or connections under way."""

    ask_one: Callable[[], Result]
    ask_many: Callable[[], Result]
    requests: float
    in_turn: float  # how many of the latencies that are recorded make up its time
    is_mean: bool  # its time is a mean, not a median

    def slice(self) -> dict[str, float]:
        """The time of one question, how many are answered each second, and the kernel's share of the requests in percent."""
        one, many = self.ask_one(), self.ask_many()
        return {
            "time_ns": self._time_ns(one),
            "per_second": many.per_second / self.requests,
            "kernel_percent": min(one.kernel_percent, many.kernel_percent),
        }

    def _time_ns(self, result: Result) -> float:
        if self.is_mean:
            return self.requests * SECOND_NS / result.per_second
        return self.in_turn * result.latency_ns["p50"]


def _redis(session: Session, client: TextClient, script: Script, seconds: float) -> Result:
    """A slice; a longer one where answers take longer than that."""
    for factor in _SLICE_FACTORS:
        with pinned(session.client_core):
            result = client.run(script, seconds=factor * seconds, warmup_seconds=SLICE_WARMUP_SECONDS)
        if result.recorded or result.failed:
            break
    if result.failed or not result.recorded:
        raise SplinterError(f"{script.name}: {result.recorded} right replies, {result.corrupt} wrong, {result.lost} lost")
    return result
