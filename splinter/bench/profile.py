"""``scripts/profile``: where a worker's time goes, by stages of its loop.

A server whose loop is compiled with marks between its stages (:mod:`splinter.worker.stages`) serves a workload; what its
counters grew by is divided by the requests. The kernel's part is the stage ``kick``: the packets' way through the veth pair
and into the client's ring is walked inside that system call, on the worker's core.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splinter.bench.invokes import chains, get_by_invoke
from splinter.bench.local_server import lab_server
from splinter.bench.pictures import COLOURS, figure_of, save
from splinter.bench.process import pinned
from splinter.bench.session import Session
from splinter.bench.workload import KEYS_DEFAULT, Workload, get_operation, put_operation, uniform
from splinter.errors import SplinterError
from splinter.native.clock import cycles_per_millisecond
from splinter.worker.stages import NAMES

ENVIRONMENT = {"SPLINTER_PROFILE": "1"}
WORKLOADS = ("get", "put", "invoke get", "invoke scan")
DEPTHS = (1, 64)
_CHAINS = 10_000
_IDLE = "idle"
_MILLISECOND_NS = 1_000_000
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Profile:
    """``stages``: ns of the worker's time for each request, by stage, without ``idle``; ``idle`` is that beside."""

    workload: str
    depth: int
    per_second: float
    stages: dict[str, float]
    idle: float

    @property
    def busy(self) -> float:
        """ns of a request in all."""
        return sum(self.stages.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "workload": self.workload,
            "depth": self.depth,
            "per_second": round(self.per_second, 1),
            "ns_per_request": {name: round(value, 1) for name, value in self.stages.items()},
            "busy_ns_per_request": round(self.busy, 1),
            "idle_ns_per_request": round(self.idle, 1),
        }

    def folded(self) -> list[str]:
        """Lines for flame graph tools: stack, and ns in 1,000 requests."""
        return [f"{self.workload}, depth {self.depth};{name} {round(value * 1000)}" for name, value in self.stages.items()]


def measure(
    names: Sequence[str] = WORKLOADS,
    depths: Sequence[int] = DEPTHS,
    seconds: float = 1.0,
    keys: int = KEYS_DEFAULT,
    progress: Progress = lambda text: None,
) -> list[Profile]:
    """Profile the worker of a server of its own. Raises :class:`SplinterError` when requests fail."""
    progress("starting a server")
    found = []
    with lab_server(max(os.sched_getaffinity(0)), environment=ENVIRONMENT) as info, Session(info) as session:
        account = session.tenant()
        made = {
            "invoke get": get_by_invoke(session, account, keys),
            "invoke scan": chains(session, _CHAINS)[1],
            "get": uniform(get_operation(account), keys),
            "put": uniform(put_operation(account), keys),
        }
        with pinned(session.client_core):
            session.load.preload(put_operation(account), keys)
        for name in names:
            for depth in depths:
                progress(f"{name}, depth {depth}")
                found.append(_profile(session, name, made[name], depth, seconds))
    return found


def _profile(session: Session, name: str, workload: Workload, depth: int, seconds: float) -> Profile:
    before = _stages(session)
    with pinned(session.client_core):
        result = session.load.run(workload, depth=depth, seconds=seconds, warmup_seconds=0.0)
    after = _stages(session)
    if result.failed or not result.recorded:
        raise SplinterError(f"{name}: {result.recorded} replies, {result.failed} requests failed: {result.errors}")
    ns_per_tick = _MILLISECOND_NS / cycles_per_millisecond()
    each = {stage: (after[stage] - before[stage]) * ns_per_tick / result.requests for stage in NAMES}
    idle = each.pop(_IDLE)
    return Profile(name, depth, result.per_second, each, idle)


def _stages(session: Session) -> dict[str, int]:
    found = session.admin.stats()["workers"][session.home].get("stages")
    if found is None:
        raise SplinterError("the server's loop was compiled without marks between its stages")
    return dict(found)


def draw(profiles: Sequence[Profile], path: Path) -> None:
    """A bar for each profile, made of its stages; the picture's kind is the suffix."""
    figure, ((axis,),) = figure_of(1, 1)
    figure.set_size_inches(10, 1.2 + 0.45 * len(profiles))
    labels = [f"{profile.workload}, depth {profile.depth}" for profile in profiles][::-1]
    left = [0.0] * len(profiles)
    for number, stage in enumerate(name for name in NAMES if name != _IDLE):
        widths = [profile.stages[stage] for profile in profiles][::-1]
        hatch = "//" if number >= len(COLOURS) else None
        axis.barh(labels, widths, left=left, label=stage, color=COLOURS[number % len(COLOURS)], hatch=hatch)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axis.set_xlabel("ns of the worker's time for each request")
    axis.legend(ncols=9, fontsize="x-small", loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save(figure, path)
