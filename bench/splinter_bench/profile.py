"""``scripts/profile``: where a worker's time goes.

By stages: a server whose loop is compiled with marks between its stages (:mod:`splinter.worker.stages`) serves a workload;
what its counters grew by is divided by the requests. The kernel's part is the stage ``kick``: the packets' way through the
veth pair and into the client's ring is walked inside that system call, on the worker's core.

By function, where perf works: a server compiled as ever is sampled by its clock, and the client with it, so that the
kernel's part of a round trip, which both walk, is known.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from splinter.errors import SplinterError
from splinter.native.clock import SECOND_NS, cycles_per_millisecond
from splinter.native.perf_map import PerfMap
from splinter.worker.stages import NAMES
from splinter_bench import perf
from splinter_bench.experiments.many_tenants import TENANTS, spread
from splinter_bench.process import pinned, worker_pid
from splinter_bench.progress import Progress
from splinter_bench.result import Result
from splinter_bench.seed import SEED
from splinter_bench.subjects.invokes import chains, get_by_invoke
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import (
    KEYS_DEFAULT,
    SCHEDULE_ENTRIES,
    Workload,
    get_operation,
    multiget_operation,
    only,
    put_operation,
    uniform,
)

WORKLOADS = ("get", "put", "invoke get", "invoke scan", "multiget", "tenants")
DEPTHS = (1, 64)
_CHAINS = 10_000
_MULTIGET_KEYS = 8
_IDLE = "idle"
_MILLISECOND_NS = 1_000_000


@dataclass(frozen=True)
class Profile:
    """ns of the worker's time for each request by stack, which goes from the root to the leaf; the value is its own part."""

    workload: str
    depth: int
    per_second: float
    stacks: dict[tuple[str, ...], float]

    @property
    def title(self) -> str:
        """What was asked, and how."""
        return f"{self.workload}, depth {self.depth}"

    @property
    def busy(self) -> float:
        """ns of a request in all."""
        return sum(self.stacks.values())

    def functions(self) -> dict[str, float]:
        """Time in each stage or function itself, the kernel's marked."""
        found: dict[str, float] = {}
        for stack, value in self.stacks.items():
            name = f"{stack[-1]} (kernel)" if stack[0] == perf.KERNEL else stack[-1]
            found[name] = found.get(name, 0.0) + value
        return found

    def numbers(self) -> dict[str, float]:
        """Further numbers of the document."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "workload": self.workload,
            "depth": self.depth,
            "per_second": round(self.per_second, 1),
            "ns_per_request": {name: round(value, 1) for name, value in self.functions().items()},
            **{name: round(value, 1) for name, value in self.numbers().items()},
        }


@dataclass(frozen=True)
class Staged(Profile):
    """By stages of the loop; ``idle`` is the time beside them."""

    idle: float

    def numbers(self) -> dict[str, float]:
        """Time of a request, and beside it."""
        return {"busy_ns_per_request": self.busy, "idle_ns_per_request": self.idle}


@dataclass(frozen=True)
class Sampled(Profile):
    """By perf, waiting for packets included.

    ``client_kernel``: what the load generator spends in the kernel, which is the packets' way to the worker.
    """

    client_kernel: float

    @property
    def kernel(self) -> float:
        """The worker's time in the kernel."""
        return sum(value for stack, value in self.stacks.items() if stack[0] == perf.KERNEL)

    @property
    def kernel_share(self) -> float:
        """Percent of a round trip in the kernel; of the worker's time, where its rate is what limits.

        At depth 1 both sides' system calls follow one another, and the worker, who never rests, was sampled for a round
        trip's time in all. What a call does after it has delivered the packet overlaps with the other side's work and is
        counted all the same.
        """
        return 100 * (self.kernel + (self.client_kernel if self.depth == 1 else 0.0)) / self.busy

    def numbers(self) -> dict[str, float]:
        """Where time is spent, and what part of it is the kernel's."""
        return {
            "worker_user_ns_per_request": self.busy - self.kernel,
            "worker_kernel_ns_per_request": self.kernel,
            "client_kernel_ns_per_request": self.client_kernel,
            "kernel_percent": self.kernel_share,
        }


def measure(names: Sequence[str], depths: Sequence[int], seconds: float, progress: Progress) -> list[Staged]:
    """Profile the worker of a server of its own, by stages. Raises :class:`SplinterError` when requests fail."""
    progress("starting a server that tells its stages")
    found = []
    with _serving(names, {"SPLINTER_PROFILE": "1"}) as (session, workloads):
        for name, depth in product(names, depths):
            progress(f"{name}, depth {depth}: stages")
            before = _stages(session)
            result = _run(session, workloads[name], depth, seconds)
            after, each = _stages(session), _MILLISECOND_NS / cycles_per_millisecond() / result.requests
            spent = {stage: (after[stage] - before[stage]) * each for stage in NAMES}
            idle = spent.pop(_IDLE)
            found.append(Staged(name, depth, result.per_second, {(stage,): value for stage, value in spent.items()}, idle))
    return found


def sample(names: Sequence[str], depths: Sequence[int], seconds: float, progress: Progress) -> list[Sampled]:
    """Profile the worker of a server of its own, by perf. Raises :class:`SplinterError` when requests or perf fail."""
    progress("starting a server to sample")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "perf.map")
        with _serving(names, {"SPLINTER_PERF_MAP": str(path)}) as (session, workloads):
            functions, worker, client = PerfMap(path), worker_pid(session.info.pid, session.home), os.getpid()
            for name, depth in product(names, depths):
                progress(f"{name}, depth {depth}: samples")
                with perf.recording((worker, client), functions) as samples:
                    result = _run(session, workloads[name], depth, seconds)
                each = SECOND_NS / perf.FREQUENCY / result.requests
                mine = {stack: count * each for stack, count in sorted(samples.get(worker, {}).items())}
                kernel = sum(count for stack, count in samples.get(client, {}).items() if stack[0] == perf.KERNEL)
                found.append(Sampled(name, depth, result.per_second, mine, kernel * each))
    return found


@contextlib.contextmanager
def _serving(names: Sequence[str], environment: dict[str, str]) -> Generator[tuple[Session, dict[str, Workload]]]:
    """A server, and the workloads of these names with their objects stored."""
    with lab_server(max(os.sched_getaffinity(0)), environment=environment) as info, Session(info) as session:
        account = session.tenant()
        many = tuple(session.tenant() for _ in range(TENANTS)) if "tenants" in names else ()
        order = np.random.default_rng(SEED).integers(0, KEYS_DEFAULT, (SCHEDULE_ENTRIES, _MULTIGET_KEYS), dtype=np.int64)
        workloads = {
            "invoke get": get_by_invoke(session, account, KEYS_DEFAULT),
            "invoke scan": chains(session, _CHAINS)[1],
            "get": uniform(get_operation(account)),
            "put": uniform(put_operation(account)),
            "multiget": only(multiget_operation(account, _MULTIGET_KEYS), order),
        }
        with pinned(session.client_core):
            session.load.preload(put_operation(account), KEYS_DEFAULT)
            if many:
                load = spread(put_operation(account), np.arange(KEYS_DEFAULT, dtype=np.int64), many)
                session.load.run_to_success(load, f"could not store the {KEYS_DEFAULT} objects of {len(many)} tenants")
                workloads["tenants"] = spread(get_operation(account), workloads["get"].keys, many)
        yield session, workloads


def _run(session: Session, workload: Workload, depth: int, seconds: float) -> Result:
    with pinned(session.client_core):
        result = session.load.run(workload, depth=depth, seconds=seconds, warmup_seconds=0.0)
    if result.failed or not result.recorded:
        raise SplinterError(f"{workload.name}: {result.recorded} replies, {result.failed} requests failed: {result.errors}")
    return result


def _stages(session: Session) -> dict[str, int]:
    found = session.admin.stats()["workers"][session.home].get("stages")
    if found is None:
        raise SplinterError("the server's loop was compiled without marks between its stages")
    return dict(found)
