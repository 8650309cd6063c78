"""Home cores and stealing: two workers, 1,024 tenants whose activity follows Zipf's law.

There are two CPUs for two workers and the client. So the requests are made long, some 400 µs of computing after reading one
object, and the client sleeps while there is nothing to do; it has a real-time priority, so that it is on time, and stays on
the first worker's CPU. What it takes of it is part of the document (``client_share``). The core with more to do is the
other one. All that is compared are queues, which look the same for longer requests, on a longer scale.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from splinter.errors import SplinterError
from splinter.limits import BATCH_US, RX_BATCH, TASK_BUDGET
from splinter_bench.control import Control
from splinter_bench.experiments.bench import REFUSED, Bench, add_served, served
from splinter_bench.experiments.population import Population, populate, server
from splinter_bench.experiments.simulation import Policy
from splinter_bench.experiments.sweep import Kind, Traffic, sweep
from splinter_bench.experiments.traffic import zipf_shares
from splinter_bench.observations import Observations, Row
from splinter_bench.process import pinned, real_time
from splinter_bench.rounds import one_round
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.workload import Operation, Workload

ANYWHERE, HOME, STEALING, AWAY, BOTH = "no locality", "locality", "stealing", "steering away", "both"
MODES = (ANYWHERE, HOME, STEALING, AWAY, BOTH)
HOME_SHORT = "locality, short batches"  # only simulated: what of stealing's gain is that of its batches
_STEER_AWAY = 1  # packets that are or wait at the home core from which on the other one gets some
# Nobody moves tenants meanwhile. The budget is as many times longer than usual as the requests are: small ones do not yield.
_FIXED: dict[str, bool | int] = {"balance": False, "task_budget": 100 * TASK_BUDGET}
_OPTIONS: dict[str, dict[str, bool | int]] = {
    ANYWHERE: {"locality": False, "steal": False, **_FIXED},
    HOME: {"steal": False, **_FIXED},
    STEALING: _FIXED,
    AWAY: {"steal": False, "steer_away": _STEER_AWAY, **_FIXED},
    BOTH: {"steer_away": _STEER_AWAY, **_FIXED},
}
SKEWS = (0.1, 0.9, 0.99)
REQUEST = "request"
_SEED = 20181012
_STEAL_NS = 500.0  # simulated cost of a theft: a lock, and another core's cache lines
_DEPTH = 8
_WARMUP_SECONDS = 0.02
_EXPECTED = {*REFUSED, "KILLED"}  # seen once on a disturbed machine, presumably of a worker whose virtual CPU stood still
_CALIBRATIONS, _CALIBRATION_SECONDS = 5, 0.1  # the machine has moods: all loads are shares of what these find
_MEMORY = "128MiB"  # for each server


@dataclass(frozen=True)
class Settings:
    """Loads are shares of what both workers can do."""

    tenants: int = 1024
    objects: int = 16
    value_bytes: int = 100
    compute_rounds: int = 3000
    loads: tuple[float, ...] = (0.2, 0.4, 0.6, 0.7)
    seconds: float = 0.25  # of each round: most find the machine undisturbed, and the median of their p99 is what counts
    rounds: int = 8
    simulated_cores: tuple[int, ...] = (8, 64)
    simulated_loads: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    simulated_requests: int = 100_000


BOUNDS = Settings(loads=(0.6,), rounds=160)
QUICK = Settings(tenants=16, loads=(0.3, 0.6), seconds=0.3, rounds=1, simulated_loads=(0.3, 0.6), simulated_requests=5_000)


def measure(bench: Bench) -> Observations:
    """A row for each slice. Raises :class:`SplinterError` when a request failed, or this process may use one CPU only."""
    settings = bench.choose(QUICK, BOUNDS, Settings())
    modes = (HOME, STEALING) if bench.for_bounds else MODES
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SplinterError("locality needs two CPUs")
    skews = [skew for skew in SKEWS if bench.wants(str(skew))]
    homes = np.arange(settings.tenants) % len(cores)
    ranks = {skew: ranked(homes, skew) for skew in skews}
    found, control = Observations(settings=asdict(settings) | {"cores": cores}), Control()
    found.settings["hot_share"] = {str(skew): hot_share(homes, ranks[skew], skew) for skew in skews}
    with contextlib.ExitStack() as stack:
        open_: dict[str, tuple[Session, Population, Operation]] = {}
        for mode in modes:
            bench.say(f"{mode}: {settings.tenants:,} tenants")
            session = stack.enter_context(server(cores, settings=_OPTIONS[mode], memory=_MEMORY))
            population = _populate(session, homes, settings)
            request = population.invoke("read_and_compute", settings.compute_rounds, label=REQUEST)
            open_[mode] = session, population, request
        request_ns = found.settings["request_ns"] = _request_ns(*open_[HOME], homes)
        capacity = len(cores) * 1e9 / request_ns
        for number in range(settings.rounds):
            for skew in skews:
                for load in settings.loads:
                    bench.say(f"round {number + 1} of {settings.rounds}, skew {skew}: {load:.0%} of {capacity:,.0f} a second")
                    slices = {}
                    for mode in modes:
                        session, population, request = open_[mode]
                        workload = population.workload((request,), (1.0,), skew=skew, ranks=ranks[skew])
                        slices[mode] = partial(open_loop, session, workload, load * capacity, settings, cores[0])
                    for mode, taken in one_round(slices, number, control):
                        add_served(found, mode, taken, number, skew=skew, load=load)
    if not bench.for_bounds:
        found.simulated = _simulated(request_ns, settings, skews, homes, ranks)
    return found


def ranked(homes: np.ndarray, skew: float) -> np.ndarray:
    """Who is the r-th most active: at random, but such that the last core has the larger part of the requests."""
    ranks = np.random.default_rng(_SEED).permutation(len(homes))
    if hot_share(homes, ranks, skew) < 0.5:
        ranks = ranks ^ 1  # neighbours have different homes
    return ranks


def hot_share(homes: np.ndarray, ranks: np.ndarray, skew: float) -> float:
    """The part of the requests whose home is the last core."""
    return round(float(zipf_shares(len(homes), skew)[homes[ranks] == homes.max()].sum()), 3)


def _populate(session: Session, homes: np.ndarray, settings: Settings) -> Population:
    by_home = [session.admin.create_tenants(int((homes == home).sum()), home=home) for home in range(int(homes.max()) + 1)]
    tenants = [by_home[home].pop() for home in homes]
    sources = [(source("read_and_compute"), "read_and_compute")]
    return populate(session, tenants, sources, objects=settings.objects, value_bytes=settings.value_bytes)


def _request_ns(session: Session, population: Population, request: Operation, homes: np.ndarray) -> float:
    """What one request takes of a core: one worker saturated by its own tenants, the client spinning on the other CPU."""
    mine = np.flatnonzero(homes == session.home)
    workload = population.workload((request,), (1.0,), ranks=mine[np.arange(len(homes)) % len(mine)])
    rates = [session.slice(workload, _DEPTH, _CALIBRATION_SECONDS).per_second for _ in range(_CALIBRATIONS)]
    return 1e9 / statistics.median(rates)


def open_loop(session: Session, workload: Workload, rate: float, settings: Settings, core: int) -> Row:
    """A slice. Raises :class:`SplinterError` when a reply was wrong."""
    with pinned(core), real_time():
        result = session.load.run(workload, rate=rate, seconds=settings.seconds, warmup_seconds=_WARMUP_SECONDS, spin=False)
    result.refuse_wrong_replies(_EXPECTED)
    share = round(result.client_cpu_ns / 1e9 / (settings.seconds + _WARMUP_SECONDS), 3)
    return served(result, result.histogram, rate) | {"client_share": share}


def policies(cores: int, request_ns: float) -> dict[str, tuple[Policy, bool]]:
    """The simulated modes: how the cores work, and whether tenants have homes."""
    plain = Policy(cores, batch=RX_BATCH)
    shared = plain._replace(stealing=True, steal_ns=_STEAL_NS, batch=max(1, min(RX_BATCH, int(BATCH_US * 1e3 // request_ns))))
    return {
        ANYWHERE: (plain, False),
        HOME: (plain, True),
        HOME_SHORT: (plain._replace(batch=shared.batch), True),
        STEALING: (shared, True),
        AWAY: (plain._replace(steer_away=_STEER_AWAY), True),
        BOTH: (shared._replace(steer_away=_STEER_AWAY), True),
    }


def _simulated(
    request_ns: float, settings: Settings, skews: Sequence[float], homes: np.ndarray, ranks: dict[float, np.ndarray]
) -> list[Row]:
    """Two cores placed as measured, to compare; and more, placed by chance."""
    found: list[Row] = []
    kinds = (Kind(REQUEST, 1.0, request_ns),)
    for cores in (int(homes.max()) + 1, *settings.simulated_cores):
        is_measured = cores == int(homes.max()) + 1
        loads = settings.loads if is_measured else settings.simulated_loads
        for skew in skews:
            placed = homes[ranks[skew]] if is_measured else None
            asked = {
                mode: (policy, Traffic(kinds, settings.tenants, skew, has_homes, placed))
                for mode, (policy, has_homes) in policies(cores, request_ns).items()
            }
            found += [{"skew": skew, **row} for row in sweep(asked, loads, settings.simulated_requests)]
    return found
