"""The benchmark of a running server: get and put, beside the limits and the rivals, in alternating slices.

A run of each measurement is cut into slices of a tenth of a second, and a slice of every measurement is run before the next
slice of any. So whatever else the machine does, it does to all alike, and ratios of neighbouring slices are steadier than
the times that they are made of. This matters most in virtual machines: the same echo has a median of 3.2 µs or of 5.1 µs,
for some tenths of seconds to seconds, as the host places the two virtual CPUs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from splinter.bench import invokes, rivals
from splinter.bench.machine import machine, versions
from splinter.bench.process import pinned
from splinter.bench.report import ECHO, Measurement, Report
from splinter.bench.result import Result
from splinter.bench.rival import CONNECTIONS, Objects
from splinter.bench.session import Session
from splinter.bench.workload import (
    KEY_BYTES_DEFAULT,
    KEYS_DEFAULT,
    VALUE_BYTES_DEFAULT,
    Account,
    Workload,
    get_operation,
    put_operation,
    uniform,
)
from splinter.server.instance import InstanceInfo

Progress = Callable[[str], None]  # called with a sentence before each step
_CHAINS = 10_000


@dataclass(frozen=True)
class Settings:
    """How to measure. ``depths`` are numbers of requests under way at a time; sizes in bytes.

    With ``rivals`` (of :data:`splinter.bench.rivals.NAMES`), Splinter is measured at their depths and by invoke as well.
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
    server_core: int | None = None  # None: the last of the server's
    client_core: int | None = None  # None: the first that is not the server's

    def steps(self) -> int:
        """How many times :func:`measure` reports progress."""
        return 2 + self.runs * (self.slices + bool(self.rivals))


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
            settings.warmup_seconds,
        )  # fmt: skip
        prepared = {name: stack.enter_context(rivals.running(name, place, objects)) for name in settings.rivals}
        account = session.tenant()
        workloads = _workloads(session, account, settings)
        plan: rivals.Plan = []
        if info.transport == "xdp":
            limit = stack.enter_context(_echo(session))
            for depth in sorted({depth for _, depths in workloads for depth in depths}):
                plan.append((Measurement(ECHO, depth), partial(_limit, limit, depth, settings)))
        for workload, depths in workloads:
            plan += [(Measurement(workload.name, d), partial(_ours, session, workload, d, settings)) for d in depths]
        for rival in prepared.values():
            plan += rival.plan

        progress(f"storing {settings.keys:,} objects")
        with pinned(session.client_core):
            session.load.preload(put_operation(account, settings.key_bytes, settings.value_bytes), settings.keys)
        extras = []
        for run in range(settings.runs):
            for number in range(settings.slices):
                progress(f"run {run + 1} of {settings.runs}, slice {number + 1} of {settings.slices}")
                for measurement, measure_slice in plan:
                    measurement.add(run, measure_slice())
            if prepared:
                progress(f"run {run + 1} of {settings.runs}: the rivals' own load generators")
            for other in [other for rival in prepared.values() for other in rival.others]:
                extras.append({"run": run + 1, **other(settings.seconds * settings.slices)})
        cores = {"server_core": session.server_core, "client_core": session.client_core}
    circumstances = {
        "machine": machine(),
        "versions": versions(),
        "server": {"transport": info.transport, "xdp_mode": info.xdp_mode, "cores": list(info.cores)},
        "rivals": {name: rival.configuration for name, rival in prepared.items()},
        "settings": asdict(settings) | cores,
    }
    return Report([measurement for measurement, _ in plan], circumstances, extras)


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


def _limit(limit: Any, depth: int, settings: Settings) -> Result:
    result: Result = limit.measure(depth, seconds=settings.seconds, warmup_seconds=settings.warmup_seconds)
    return result


@contextlib.contextmanager
def _echo(session: Session) -> Any:
    from splinter.bench.echo import EchoLimit
    from splinter.net.lab import Lab

    with (
        Lab(f"echo-{os.getpid()}", session.info.queues) as lab,
        EchoLimit(
            lab.server.namespace,
            lab.client.namespace,
            lab.server.address,
            server_core=session.server_core,
            client_core=session.client_core,
        ) as limit,
    ):
        yield limit
