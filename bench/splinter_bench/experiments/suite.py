"""The benchmark of a running server: get and put, beside the limits and the rivals, in alternating slices.

A run of each measurement is cut into slices of a tenth of a second, and a slice of every measurement is run before the next
slice of any. So whatever else the machine does, it does to all alike, and ratios of neighbouring slices are steadier than
the times that they are made of. This matters most in virtual machines: the same echo has a median of 3.2 µs or of 5.1 µs,
for some tenths of seconds to seconds, as the host places the two virtual CPUs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from splinter.server.instance import InstanceInfo
from splinter_bench.control import Control
from splinter_bench.experiments.bench import Bench
from splinter_bench.generators.live import LiveClient, LiveLoad
from splinter_bench.generators.path import find
from splinter_bench.machine import machine, versions
from splinter_bench.measurement import ECHO, Measurement, Plan, Report
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.progress import Progress
from splinter_bench.result import Result
from splinter_bench.rounds import one_round
from splinter_bench.subjects import invokes, rivals
from splinter_bench.subjects.echo import echo_of
from splinter_bench.subjects.live_plan import LIVE, live_plan
from splinter_bench.subjects.rival import CONNECTIONS, Objects
from splinter_bench.subjects.session import SLICE_SECONDS, SLICE_WARMUP_SECONDS, Session
from splinter_bench.workloads.workload import (
    KEY_BYTES_DEFAULT,
    KEYS_DEFAULT,
    VALUE_BYTES_DEFAULT,
    Account,
    Workload,
    get_operation,
    put_operation,
    uniform,
)

_CHAINS = 10_000
LIVE_NAMES = ("get", "invoke get")
_LIVE_RATES = (600_000, 750_000, 900_000)  # around what a worker answers on the machines that this was written on


# What the figures are computed from: beginnings of names, and depths.
_BOTH = ((ECHO, 1), (ECHO, CONNECTIONS), ("get", 1), ("get", CONNECTIONS), (f"get{LIVE}", 0))
OF_REDIS = (
    *_BOTH, ("invoke get", 1), ("invoke get", CONNECTIONS), (f"invoke get{LIVE}", 0), ("invoke scan", 1), ("redis get", 1),
    ("redis get", CONNECTIONS), ("redis fcall", 1), ("redis fcall", CONNECTIONS),
)  # fmt: skip
OF_MEMCACHED = (
    *_BOTH, ("memcached UDP get", 1), ("memcached get", CONNECTIONS), ("memcached UDP get", CONNECTIONS),
    (f"memcached UDP get{LIVE}", 0),
)  # fmt: skip
OF_RIVALS = {"redis": OF_REDIS, "memcached": OF_MEMCACHED}


@dataclass(frozen=True)
class Settings:
    """How to measure. ``depths`` are numbers of requests under way at a time; sizes in bytes.

    With ``rivals`` (of :data:`.rivals.NAMES`), Splinter is measured at their depths, by invoke, and under load
    from within the kernel as well. ``only``: what to measure, by the beginning of its name and its depth; empty: everything.
    """

    runs: int = 5
    slices: int = 10
    seconds: float = 0.1  # of each slice, after its warm-up
    warmup_seconds: float = 0.02
    depths: tuple[int, ...] = (1, 64)
    keys: int = KEYS_DEFAULT
    key_bytes: int = KEY_BYTES_DEFAULT
    value_bytes: int = VALUE_BYTES_DEFAULT
    rivals: tuple[str, ...] = ()
    only: tuple[tuple[str, int], ...] = ()
    server_core: int | None = None  # None: the last of the server's
    client_core: int | None = None  # None: the first that is not the server's

    def steps(self) -> int:
        """How many times :func:`measure` reports progress."""
        return 2 + self.runs * (self.slices + bool(self.rivals))

    def wants(self, name: str, depth: int) -> bool:
        """Whether this is to be measured."""
        return not self.only or any(name.startswith(known) and depth == at for known, at in self.only)


def measure_beside(bench: Bench, slices: int, rival: str | None = None) -> Observations:
    """Of the figures that compare with the echo, or with a ``rival``: six runs of so many rounds."""
    settings = Settings(runs=6, slices=bench.count(slices), seconds=SLICE_SECONDS, warmup_seconds=SLICE_WARMUP_SECONDS)
    if rival is not None:
        settings = replace(settings, rivals=(rival,), only=OF_RIVALS[rival])
    return measure(bench.session.info, settings, bench.say).observations()


def measure(info: InstanceInfo, settings: Settings, progress: Progress = lambda text: None) -> Report:
    """Measure the server of an instance, as a tenant made for it and removed at the end.

    Raises :class:`SplinterError` when the server cannot be reached from here or refuses.
    """
    objects = Objects(settings.keys, settings.key_bytes, settings.value_bytes)
    with contextlib.ExitStack() as stack:
        progress("preparing")
        session = stack.enter_context(Session(info, settings.server_core, settings.client_core))
        place = rivals.Place(
            info.address, info.netns, session.netns, session.server_core, session.client_core, settings.seconds,
            settings.warmup_seconds, is_live=info.transport == "xdp",
        )  # fmt: skip
        prepared = {name: stack.enter_context(rivals.running(name, place, objects)) for name in settings.rivals}
        account = session.tenant()
        workloads = _workloads(session, account, settings)
        plan: Plan = []
        if info.transport == "xdp":
            limit = stack.enter_context(echo_of(session))
            for depth in sorted({depth for _, depths in workloads for depth in depths}):
                plan.append((Measurement(ECHO, depth), partial(_limit, limit, depth, settings)))
        for workload, depths in workloads:
            plan += [(Measurement(workload.name, d), partial(_ours, session, workload, d, settings)) for d in depths]
        others = [ask for rival in prepared.values() for name, depth, ask in rival.others if settings.wants(name, depth)]
        for rival in prepared.values():
            plan += [(m, partial(_theirs, session, call)) for m, call in rival.plan]
        if prepared and info.transport == "xdp":
            plan += [(m, partial(_theirs, session, call)) for m, call in _live(stack, session, workloads, settings)]
        plan = [(m, call) for m, call in plan if settings.wants(m.name, m.depth)]

        progress(f"storing {settings.keys:,} objects")
        with pinned(session.client_core):
            session.load.preload(put_operation(account, settings.key_bytes, settings.value_bytes), settings.keys)
        report, control, rounds = Report(), Control((info.pid,)), settings.slices
        for run in range(settings.runs):
            numbers = range(run * rounds, (run + 1) * rounds)
            for turn, number in enumerate(numbers):
                progress(f"run {run + 1} of {settings.runs}, slice {turn + 1} of {rounds}")
                for what, taken in one_round(dict(plan), turn, control):
                    report.add(what, run, number, taken)
            if others:
                progress(f"run {run + 1} of {settings.runs}: the rivals' own load generators")
            session.load.detach()
            for ask in others:
                report.add_program(run, ask(settings.seconds * rounds), numbers)
        cores = {"server_core": session.server_core, "client_core": session.client_core}
    report.circumstances = {
        "machine": machine(),
        "versions": versions(),
        "server": {"transport": info.transport, "xdp_mode": info.xdp_mode, "cores": list(info.cores)},
        "rivals": {name: rival.configuration for name, rival in prepared.items()},
        "settings": asdict(settings) | cores,
    }
    return report


def _workloads(session: Session, account: Account, settings: Settings) -> list[tuple[Workload, tuple[int, ...]]]:
    """What Splinter is asked, and at which depths: beside rivals, at theirs as well."""
    get = uniform(get_operation(account, settings.key_bytes, settings.value_bytes), settings.keys)
    put = uniform(put_operation(account, settings.key_bytes, settings.value_bytes), settings.keys)
    if not settings.rivals:
        return [(get, settings.depths), (put, settings.depths)]
    theirs = (1, CONNECTIONS)
    depths = tuple(sorted({*settings.depths, *theirs}))
    _, scan = invokes.chains(session, _CHAINS)
    invoke = invokes.get_by_invoke(session, account, settings.keys, settings.key_bytes, settings.value_bytes)
    return [(get, depths), (put, depths), (invoke, depths), (scan, theirs)]


def _ours(session: Session, workload: Workload, depth: int, settings: Settings) -> Result:
    with pinned(session.client_core):
        return session.load.run(workload, depth=depth, seconds=settings.seconds, warmup_seconds=settings.warmup_seconds)


def _theirs(session: Session, call: Callable[[], Result]) -> Result:
    """On the device without our client's program: it costs the server, which walks a packet's way into it."""
    session.load.detach()
    return call()


def _live(
    stack: contextlib.ExitStack, session: Session, workloads: list[tuple[Workload, tuple[int, ...]]], settings: Settings
) -> Plan:
    """What the worker answers of load from within the kernel: of each workload that rivals have a counterpart of."""
    info, plan = session.info, []
    there = find(info.address, info.client_netns)
    for workload, _ in workloads:
        if workload.name in LIVE_NAMES:
            client = LiveClient(there, LiveLoad.of_workload(workload), info.port, netns=info.client_netns)
            plan += live_plan(stack.enter_context(client), workload.name, _LIVE_RATES, session.client_core, settings.seconds)
    return plan


def _limit(limit: Any, depth: int, settings: Settings) -> Result:
    result: Result = limit.measure(depth, seconds=settings.seconds, warmup_seconds=settings.warmup_seconds)
    return result
