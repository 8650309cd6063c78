"""Small requests beside long ones, on one worker: without yields, with the author's, with the compiler's.

85 % of the invokes read one object, 15 % read 128 of 1,000 bytes each, of 1,024 tenants. The load is open: Poisson arrivals
whose latency counts from when they were due. The client spins on another CPU.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from splinter.bench.experiments.experiment import Document, Effort, Progress
from splinter.bench.experiments.population import Population, populate, served
from splinter.bench.experiments.simulation import Policy
from splinter.bench.experiments.sweep import Kind, Traffic, sweep
from splinter.bench.process import pinned
from splinter.bench.session import Session
from splinter.bench.sources import source
from splinter.bench.workload import Workload
from splinter.errors import SplinterError
from splinter.limits import RX_BATCH

NONE, AUTHOR, COMPILER = "no yields", "the author's yields", "the compiler's yields"
MODES = (NONE, AUTHOR, COMPILER)
SMALL, LONG = "small", "long"
_SHARES = (0.85, 0.15)
_OBJECTS_READ = 128
_AUTHORS_SLICES = 16  # a yield every eight reads
_REFUSED = {"BUSY"}  # what a tenant with too many tasks waiting is answered: none at the loads that matter
_WARMUP_SECONDS = 0.02
_DEPTH = 64  # of the closed loop that finds the saturation


@dataclass(frozen=True)
class Settings:
    """Loads are shares of the saturation that is measured first, with the compiler's yields."""

    tenants: int = 1024
    objects: int = 256  # of each tenant
    value_bytes: int = 1000
    loads: tuple[float, ...] = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8)
    seconds: float = 0.06  # of each round: most find the machine undisturbed, and the median of their p99 is what counts
    rounds: int = 25
    saturation_seconds: float = 0.5
    simulated_cores: tuple[int, ...] = (8, 64)
    simulated_requests: int = 200_000


QUICK = Settings(
    tenants=8, objects=160, loads=(0.3, 0.7), seconds=0.2, rounds=1, saturation_seconds=0.1, simulated_requests=5_000
)


def measure(effort: Effort, progress: Progress) -> Document:
    """The document. Raises :class:`SplinterError` when a request failed."""
    settings = QUICK if effort.is_quick else Settings()
    core = max(os.sched_getaffinity(0))
    runs: list[dict[str, Any]] = []
    saturation = 0.0
    service: dict[str, float] = {}
    for preempt in (True, False):  # the first tells the saturation
        progress(f"{settings.tenants:,} tenants, {'with' if preempt else 'without'} the compiler's yields")
        with served([core], settings={"preempt": preempt}) as session:
            population = _populate(session, settings)
            small = population.invoke("read_one", checked=True, label=SMALL)
            long = {
                mode: population.invoke("read_many_yielding" if mode == AUTHOR else "read_many", label=LONG) for mode in MODES
            }
            if preempt:
                service = _service(session, population, small, long[COMPILER], settings)
                mixed = population.workload((small, long[COMPILER]), _SHARES, spare_keys=_OBJECTS_READ)
                saturation = _rate(session, mixed, settings)
            for mode in (COMPILER,) if preempt else (NONE, AUTHOR):
                workload = population.workload((small, long[mode]), _SHARES, spare_keys=_OBJECTS_READ)
                before = _yields(session)
                for number in range(settings.rounds):
                    for load in settings.loads:
                        progress(f"{mode}: {load:.0%} of {saturation:,.0f} a second")
                        runs += _open_loop(session, workload, mode, number, load, load * saturation, settings)
                if preempt:
                    service["slices"] = _slices(before, _yields(session))
    service["saturation"] = saturation
    return {
        "settings": asdict(settings) | {"server_core": core},
        "service": service,
        "runs": runs,
        "simulated": _simulated(service, settings),
    }


def _populate(session: Session, settings: Settings) -> Population:
    tenants = session.admin.create_tenants(settings.tenants, home=session.home)
    sources = [(source("read_one"), "read_one"), *((source("read_many"), n) for n in ("read_many", "read_many_yielding"))]
    return populate(session, tenants, sources, objects=settings.objects, value_bytes=settings.value_bytes)


def _rate(session: Session, workload: Workload, settings: Settings) -> float:
    return session.slice(workload, _DEPTH, settings.saturation_seconds).per_second


def _service(session: Session, population: Population, small: Any, long: Any, settings: Settings) -> dict[str, float]:
    """ns of the worker's core for each kind: what it takes when there is nothing else, from the saturated rate."""
    found = {}
    for name, operation in ((SMALL, small), (LONG, long)):
        workload = population.workload((operation,), (1.0,), spare_keys=_OBJECTS_READ)
        found[f"{name}_ns"] = 1e9 / _rate(session, workload, settings)
    return found


def _yields(session: Session) -> tuple[int, int]:
    """(yields, invokes) of all workers so far."""
    workers = session.admin.stats()["workers"]
    return sum(worker["yields"] for worker in workers), sum(worker["requests"]["invoke"] for worker in workers)


def _slices(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Of a long request, if the small ones do not yield."""
    yields, invokes = (b - a for a, b in zip(before, after, strict=True))
    return 1 + yields / max(1, invokes) / _SHARES[1]


def _open_loop(
    session: Session, workload: Workload, mode: str, number: int, load: float, rate: float, settings: Settings
) -> list[dict[str, Any]]:
    with pinned(session.client_core):
        result = session.load.run(workload, rate=rate, seconds=settings.seconds, warmup_seconds=_WARMUP_SECONDS)
    if result.corrupt or set(result.errors) - _REFUSED:
        raise SplinterError(f"{mode}: {result.corrupt} replies were wrong, errors were {result.errors}")
    return [
        {
            "mode": mode,
            "round": number,
            "load": load,
            "offered": round(rate),
            "per_second": round(result.per_second),
            "kind": kind,
            "count": histogram.count,
            "lost": result.lost,
            "refused": sum(result.errors.values()),
            "p50_ns": histogram.percentile(50),
            "p99_ns": histogram.percentile(99),
        }
        for kind, histogram in result.operations.items()
    ]


def policies(service: dict[str, float], cores: int) -> dict[str, tuple[Policy, Traffic]]:
    """The simulated modes, with the measured times."""
    kinds = (Kind(SMALL, _SHARES[0], service["small_ns"]), Kind(LONG, _SHARES[1], service["long_ns"]))
    traffic = Traffic(kinds)
    plain = Policy(cores, batch=RX_BATCH)
    return {
        NONE: (plain, traffic),
        AUTHOR: (plain._replace(slice_ns=service["long_ns"] / _AUTHORS_SLICES), traffic),
        COMPILER: (plain._replace(slice_ns=service["long_ns"] / max(1.0, service["slices"])), traffic),
    }


def _simulated(service: dict[str, float], settings: Settings) -> list[dict[str, Any]]:
    """One core, to compare with the measurement, and as many as the paper's machine and a large one have."""
    found = []
    for cores in (1, *settings.simulated_cores):
        found += sweep(policies(service, cores), settings.loads, settings.simulated_requests)
    return found
