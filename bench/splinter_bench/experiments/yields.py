"""Small requests beside long ones, on one worker: without yields, with the author's, with the compiler's.

85 % of the invokes read one object, 15 % read 128 of 3,456 bytes each, of 1,024 tenants. The load is open: Poisson arrivals
whose latency counts from when they were due. The client spins on another CPU. Both servers, with and without the compiler's
yields, are there all the time, and an AF_XDP echo besides: the rounds take turns between all of them, so that whatever
disturbs the machine meets all. The one that is not asked sleeps.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from dataclasses import asdict, dataclass
from functools import partial

from splinter.limits import FRAGMENT_BYTES, RX_BATCH
from splinter_bench.control import Control
from splinter_bench.experiments.bench import REFUSED, Bench, served
from splinter_bench.experiments.population import Population, populate, server
from splinter_bench.experiments.simulation import Policy
from splinter_bench.experiments.sweep import Kind, Traffic, sweep
from splinter_bench.observations import Observations, Row
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.rounds import one_round
from splinter_bench.subjects.echo import echo_of
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.workload import Workload

NONE, AUTHOR, COMPILER = "no yields", "the author's yields", "the compiler's yields"
MODES = (NONE, AUTHOR, COMPILER)
ECHO = "AF_XDP echo"  # what the machine and the network do to a tail without any server
SMALL, LONG = "small", "long"
_SHARES = (0.85, 0.15)
_OBJECTS_READ = 128
_AUTHORS_SLICES = 16  # a yield every eight reads
_WARMUP_SECONDS = 0.02
_DEPTH = 64  # of the closed loop that finds the saturation


@dataclass(frozen=True)
class Settings:
    """Loads are shares of the saturation that is measured first, of the server without yields."""

    tenants: int = 1024
    objects: int = 144  # of each tenant
    value_bytes: int = 3 * FRAGMENT_BYTES  # a long request takes longer than the machine's own interruptions
    memory: str = "768MiB"  # of each server
    loads: tuple[float, ...] = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8)
    seconds: float = 0.06  # of each round: most find the machine undisturbed, and the median of their p99 is what counts
    rounds: int = 21
    saturation_seconds: float = 0.2
    saturation_rounds: int = 5
    simulated_cores: tuple[int, ...] = (8, 64)
    simulated_requests: int = 200_000


BOUNDS = Settings(loads=(0.7,), rounds=41)  # where the paper shows it, and the bound is set
QUICK = Settings(
    tenants=8,
    loads=(0.3, 0.7),
    memory="64MiB",
    seconds=0.2,
    rounds=1,
    saturation_seconds=0.1,
    saturation_rounds=1,
    simulated_requests=5_000,
)


@dataclass(frozen=True)
class _Mode:
    """A server that the load goes to, and what is asked for."""

    session: Session
    mixed: Workload
    small: Workload
    long: Workload


def measure(bench: Bench) -> Observations:
    """A row for each slice and kind of request. Raises :class:`SplinterError` when a request failed."""
    settings = bench.choose(QUICK, BOUNDS, Settings())
    asked_modes = (NONE, COMPILER) if bench.for_bounds else MODES
    core = max(os.sched_getaffinity(0))
    found, control = Observations(settings=asdict(settings) | {"server_core": core}), Control()
    with contextlib.ExitStack() as stack:
        modes = _modes(stack, settings, core, bench)
        echo = stack.enter_context(echo_of(modes[COMPILER].session))
        bench.say("finding the saturation")
        service = _service(modes, settings)
        before = _yields(modes[COMPILER].session)
        for number in range(settings.rounds):
            for load in settings.loads:
                rate = load * service["saturation"]
                bench.say(f"round {number + 1} of {settings.rounds}: {load:.0%} of {service['saturation']:,.0f} a second")
                slices = {mode: partial(_open_loop, modes[mode], rate, settings) for mode in asked_modes}
                slices[ECHO] = partial(echo.measure, None, settings.seconds, rate=rate, warmup_seconds=_WARMUP_SECONDS)
                for mode, taken in one_round(slices, number, control):
                    kinds = {SMALL: taken.result.histogram} if mode == ECHO else taken.result.operations
                    for kind, histogram in kinds.items():
                        row = served(taken.result, histogram, rate) | ({"errors": {}} if kind == LONG else {})  # once a slice
                        found.add(mode, row, number, is_still=taken.is_still, load=load, kind=kind)
        service["slices"] = _slices(before, _yields(modes[COMPILER].session))
    found.settings |= service
    if not bench.for_bounds:
        found.simulated = _simulated(service, settings)
        found.settings["path_ns"] = _path_ns(found)
    return found


def _path_ns(found: Observations) -> float:
    """What network and client take: the measured median at the least load less the simulated one."""
    at = {"subject": COMPILER, "kind": SMALL, "load": min(row["load"] for row in found.rows)}
    simulated = found.columns({"cores": 1, **at}, "simulated").median("it.p50")
    return found.columns(at).median("it.p50") - simulated


def _modes(stack: contextlib.ExitStack, settings: Settings, core: int, bench: Bench) -> dict[str, _Mode]:
    """The two servers, one with the compiler's yields, and what each mode asks of which."""
    populations: dict[bool, tuple[Session, Population]] = {}
    for preempt in (True, False):
        bench.say(f"{settings.tenants:,} tenants, {'with' if preempt else 'without'} the compiler's yields")
        session = stack.enter_context(server([core], settings={"preempt": preempt}, memory=settings.memory))
        populations[preempt] = session, _populate(session, settings)
    found = {}
    for mode in MODES:
        session, population = populations[mode == COMPILER]
        small = population.invoke("read_one", checked=True, label=SMALL)
        long = population.invoke("read_many_yielding" if mode == AUTHOR else "read_many", label=LONG)
        found[mode] = _Mode(
            session,
            population.workload((small, long), _SHARES, spare_keys=_OBJECTS_READ),
            population.workload((small,), (1.0,), spare_keys=_OBJECTS_READ),
            population.workload((long,), (1.0,), spare_keys=_OBJECTS_READ),
        )
    return found


def _populate(session: Session, settings: Settings) -> Population:
    tenants = session.admin.create_tenants(settings.tenants, home=session.home)
    sources = [(source("read_one"), "read_one"), *((source("read_many"), n) for n in ("read_many", "read_many_yielding"))]
    return populate(session, tenants, sources, objects=settings.objects, value_bytes=settings.value_bytes)


def _service(modes: dict[str, _Mode], settings: Settings) -> dict[str, float]:
    """Requests a second of the closed loop, and ns of the worker's core for each kind when there is nothing else.

    ``saturation`` is that of the server without yields, which takes the most; ``saturation_yields`` with the compiler's.
    """
    asked = {
        "saturation": (modes[NONE], "mixed"),
        "saturation_yields": (modes[COMPILER], "mixed"),
        "small_ns": (modes[NONE], "small"),
        "long_ns": (modes[NONE], "long"),
        "long_author_ns": (modes[AUTHOR], "long"),
        "long_compiler_ns": (modes[COMPILER], "long"),
    }
    rates: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(settings.saturation_rounds):
        for name, (mode, workload) in asked.items():
            result = mode.session.slice(getattr(mode, workload), _DEPTH, settings.saturation_seconds)
            rates[name].append(result.per_second)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {name: 1e9 / rate if name.endswith("_ns") else rate for name, rate in medians.items()}


def _yields(session: Session) -> tuple[int, int]:
    """(yields, invokes) of all workers so far."""
    workers = session.admin.stats()["workers"]
    return sum(worker["yields"] for worker in workers), sum(worker["requests"]["invoke"] for worker in workers)


def _slices(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Of a long request, if the small ones do not yield."""
    yields, invokes = (b - a for a, b in zip(before, after, strict=True))
    return 1 + yields / max(1, invokes) / _SHARES[1]


def _open_loop(asked: _Mode, rate: float, settings: Settings) -> Result:
    with pinned(asked.session.client_core):
        result = asked.session.load.run(asked.mixed, rate=rate, seconds=settings.seconds, warmup_seconds=_WARMUP_SECONDS)
    result.refuse_wrong_replies(REFUSED)
    return result


def policies(service: dict[str, float], cores: int) -> dict[str, tuple[Policy, Traffic]]:
    """The simulated modes, with the measured times."""
    kinds = (Kind(SMALL, _SHARES[0], service["small_ns"]), Kind(LONG, _SHARES[1], service["long_ns"]))
    traffic = Traffic(kinds)
    found = {NONE: (Policy(cores, batch=RX_BATCH), traffic)}
    for mode, long_ns, slices in (
        (AUTHOR, service["long_author_ns"], _AUTHORS_SLICES),
        (COMPILER, service["long_compiler_ns"], max(2.0, service["slices"])),
    ):
        resume_ns = max(0.0, long_ns - service["long_ns"]) / (slices - 1)
        policy = Policy(cores, batch=RX_BATCH, slice_ns=service["long_ns"] / slices, resume_ns=resume_ns)
        found[mode] = (policy, traffic)
    return found


def _simulated(service: dict[str, float], settings: Settings) -> list[Row]:
    """One core, to compare with the measurement, and as many as the paper's machine and a large one have."""
    found = []
    for cores in (1, *settings.simulated_cores):
        found += sweep(policies(service, cores), settings.loads, settings.simulated_requests)
    return found
