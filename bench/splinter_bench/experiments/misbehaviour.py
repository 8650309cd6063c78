"""Invokes that never end, on one worker: with the compiler's yields, and with the watchdog alone.

1,024 tenants ask for a small extension; a fraction of their invokes loops for ever instead. With yields such a task ends by
its tenant's CPU-time limit, TASK_MILLISECONDS; without, the worker is stuck until the watchdog replaces it. Every tenant
misbehaves as often as the others, so that none can be set apart.

Throughput is that of a closed loop. A round is several slices without misbehaviour and as many with it, in turns: each is
shorter than the machine's moods last, so that these meet both alike, and the misbehaving ones go on in the schedule where
the last one stopped, so that together they have their share of endless invokes. p99 is that of an open loop at half the
saturation.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from splinter.errors import SplinterError
from splinter.limits import RX_BATCH
from splinter_bench.control import Control, Taken
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.population import Population, populate, server
from splinter_bench.experiments.simulation import NEVER, Policy, simulate
from splinter_bench.experiments.sweep import Kind, Traffic, requests_for
from splinter_bench.observations import NotMeasuredError, Observations, Row
from splinter_bench.process import pinned
from splinter_bench.result import Result, percentiles
from splinter_bench.rounds import one_round
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.workload import Workload

PREEMPT, WATCHDOG = "the compiler's yields", "the watchdog alone"
MODES = (PREEMPT, WATCHDOG)
BOUND_AT = {PREEMPT: 1e-4, WATCHDOG: 1e-5}  # fractions at which the bounds are set
GOOD, ENDLESS = "good", "endless"
TASK_MILLISECONDS = 1  # CPU time of one invoke: some five hundred times what a good one takes
CLOSED, OPEN, BY_WATCHDOG = "closed", "open", "watchdog"  # loops of the load generator; what the server tells at their ends
_NO_QUARANTINE = 1_000_000  # workers that an extension may get killed: here it must be able to go on
_OPTIONS: dict[str, dict[str, bool | int]] = {PREEMPT: {}, WATCHDOG: {"preempt": False, "quarantine_after": _NO_QUARANTINE}}
_TIMEOUT_NS = 100_000_000  # of an endless one's reply: it would hold up the generator's window
_WARMUP_SECONDS = 0.2  # of the open loop: what came before has its end meanwhile
_TRIES = 20
_ENTRIES = 1_000_000  # of the schedule: 1e-5 of it are ten
_SEED = 20181011
_OVERLOAD = 2.0  # simulated: of what the cores can do, to find their throughput
_SLICE_NS = 20e3  # simulated
_EXPECTED = {"EXTENSION_ERROR", "KILLED", "BUSY"}  # what endless invokes, and good ones beside them, may be answered


@dataclass(frozen=True)
class Slices:
    """The closed loops of a round: so many with misbehaviour and as many without. Times in s.

    A warm-up is longer than one endless invoke stops the worker: as much is lost behind a slice's end as before its beginning.
    """

    seconds: float
    warmup_seconds: float
    count: int


SLICES = {PREEMPT: Slices(0.02, 0.01, 24), WATCHDOG: Slices(0.06, 0.04, 24)}


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    tenants: int = 1024
    objects: int = 16  # of each tenant
    value_bytes: int = 100
    fractions: tuple[float, ...] = (0.0, 1e-5, 1e-4, 1e-3)
    depth: int = 128
    seconds: float = 1.0  # of an open loop
    rounds: int = 15
    open_load: float = 0.5
    simulated_cores: tuple[int, ...] = (8, 64)
    simulated_requests: int = 1_000_000


BOUNDS = Settings(rounds=31)
QUICK = Settings(tenants=8, fractions=(0.0, 1e-3), seconds=0.3, rounds=1, simulated_requests=20_000)


def measure(bench: Bench) -> Observations:
    """Rows of closed loops, of open loops, and of what the watchdog did.

    Raises :class:`SplinterError` when good requests failed that should not have.
    """
    settings = bench.choose(QUICK, BOUNDS, Settings())
    core = max(os.sched_getaffinity(0))
    slices = {mode: asdict(slices) for mode, slices in SLICES.items()}
    circumstances = {"server_core": core, "task_milliseconds_max": TASK_MILLISECONDS, "slices": slices}
    found = Observations(settings=asdict(settings) | circumstances)
    for mode in MODES:
        bench.say(f"{mode}: {settings.tenants:,} tenants")
        with server([core], settings=_OPTIONS[mode]) as session:
            tenants = session.admin.create_tenants(settings.tenants, home=session.home, task_milliseconds_max=TASK_MILLISECONDS)
            sources = [(source(name), name) for name in ("read_one", "endless")]
            population = populate(session, tenants, sources, objects=settings.objects, value_bytes=settings.value_bytes)
            session.load.flight.timeout_ns = _TIMEOUT_NS
            _measure_mode(found, mode, session, population, settings, bench)
    of_preempt = found.columns({"subject": PREEMPT, "loop": CLOSED})
    found.settings["good_ns"] = 1e9 / of_preempt.evaluate("it.per_second").max()
    if not bench.for_bounds:
        found.simulated = _simulated(found, settings)
    return found


def _measure_mode(
    found: Observations, mode: str, session: Session, population: Population, settings: Settings, bench: Bench,
) -> None:  # fmt: skip
    control, good, saturation = Control(), _schedule(population, 0.0), 0.0
    for fraction in (BOUND_AT[mode],) if bench.for_bounds else settings.fractions:  # ascending: the fewest kills come first
        schedules = {0.0: good} | ({fraction: _schedule(population, fraction)} if fraction else {})
        for number in range(settings.rounds if fraction else 1):
            bench.say(f"{mode}: {fraction:g} never end, round {number + 1} of {settings.rounds}")
            rows = _closed_loops(control, session, schedules, SLICES[mode], settings.depth, number)
            without = rows[0.0].result
            saturation = max(saturation, without["per_second"])
            for each, row in rows.items():
                numbers = row.result | {"without_per_second": without["per_second"]}
                is_still = row.is_still and rows[0.0].is_still
                found.add(mode, numbers, number, is_still=is_still, fraction=each, loop=CLOSED)
        if not bench.for_bounds:
            row = _open_loop(control, session, schedules[fraction], settings, settings.open_load * saturation)
            found.add(mode, row.result, 0, is_still=row.is_still, fraction=fraction, loop=OPEN)
        watchdog = session.admin.stats()["watchdog"]
        found.settings["limit_ms"] = watchdog["limit_ms"]
        if watchdog["replaced"]:
            names = {"replaced": "replaced", "median_ms": "replacement_ms_median", "longest_ms": "replacement_ms_max"}
            found.add(mode, {name: watchdog[of] for name, of in names.items()}, 0, fraction=fraction, loop=BY_WATCHDOG)


@dataclass
class Schedule:
    """A workload whose slices go on in its schedule where the one before has stopped."""

    workload: Workload
    at: int = 0

    def rest(self) -> Workload:
        """What is next."""
        return replace(self.workload, choice=np.roll(self.workload.choice, -self.at))

    def run(self, session: Session, seconds: float, **how: Any) -> Result:
        """A slice. Raises :class:`SplinterError` when a good request failed that should not have."""
        with pinned(session.client_core):
            result = session.load.run(self.rest(), seconds=seconds, **how)
        self.at = (self.at + result.requests) % len(self.workload.choice)
        result.refuse_wrong_replies(_EXPECTED)
        return result


@dataclass(frozen=True)
class _Slice:
    """What a slice found; ``replacement_ms``: how long each replacement of a worker took that was over in it."""

    result: Result
    replacement_ms: list[float]


def _schedule(population: Population, fraction: float) -> Schedule:
    good = population.invoke("read_one", checked=True, label=GOOD)
    endless = population.invoke_without_arguments("endless")
    base = population.workload((good, endless), (1.0, 0.0), entries=_ENTRIES)
    base.choice[endless_places(fraction)] = 1
    return Schedule(base)


def endless_places(fraction: float) -> np.ndarray:
    """Where in the schedule the endless requests are: one among each 1 / ``fraction``, so that no slice has many more."""
    every = round(1 / fraction) if fraction else _ENTRIES + 1
    begins = np.arange(0, _ENTRIES - every + 1, every)
    return begins + np.random.default_rng(_SEED).integers(0, every, len(begins))


def _closed_loops(
    control: Control, session: Session, schedules: dict[float, Schedule], slices: Slices, depth: int, number: int
) -> dict[float, Taken[Row]]:
    """A round's rows by the fraction of its schedule, whose slices take turns."""
    ask = partial(_slice, session, seconds=slices.seconds, warmup_seconds=slices.warmup_seconds, depth=depth)
    for _ in range(_TRIES):  # again while a busy machine lets nothing through
        taken: dict[float, list[Taken[_Slice]]] = {fraction: [] for fraction in schedules}
        for place in range(slices.count):
            calls = {fraction: partial(ask, schedule) for fraction, schedule in schedules.items()}
            for fraction, found_slice in one_round(calls, number + place, control):
                taken[fraction].append(found_slice)
        found = {fraction: _row(several) for fraction, several in taken.items()}
        if all(row.result["per_second"] for row in found.values()):
            return found
    raise SplinterError(f"no reply in {_TRIES} times {slices.count} slices of {slices.seconds:g} s")


def _open_loop(control: Control, session: Session, schedule: Schedule, settings: Settings, rate: float) -> Taken[Row]:
    ask = partial(_slice, session, schedule, seconds=settings.seconds, warmup_seconds=_WARMUP_SECONDS, rate=rate)
    for _ in range(_TRIES):
        row = _row([control.take(ask)])
        if row.result["per_second"]:
            return row
    raise SplinterError(f"no reply in {_TRIES} times {settings.seconds:g} s")


def _slice(session: Session, schedule: Schedule, **how: Any) -> _Slice:
    before = session.admin.stats()["watchdog"]["replaced"]
    result = schedule.run(session, **how)
    watchdog = session.admin.stats()["watchdog"]
    count = watchdog["replaced"] - before
    return _Slice(result, watchdog["replacement_ms_recent"][-count:] if count else [])


def _row(taken: list[Taken[_Slice]]) -> Taken[Row]:
    """What slices of the same load found together."""
    result = Result.merged([each.result.result for each in taken])
    row = {
        "per_second": round(result.per_second),
        **percentiles(result.operations[GOOD]),
        "lost": result.lost,
        "errors": result.errors,
        "replacement_ms": [ms for each in taken for ms in each.result.replacement_ms],
    }
    return Taken(row, all(each.is_still for each in taken))


def _simulated(found: Observations, settings: Settings) -> list[Row]:
    """Throughput at twice the capacity, p99 at half of it, with the times that were measured."""
    fewest = min(fraction for fraction in settings.fractions if fraction)
    limit_ms = median_ms = found.settings["limit_ms"]
    with contextlib.suppress(NotMeasuredError):  # it had nothing to do
        median_ms = found.columns({"subject": WATCHDOG, "loop": BY_WATCHDOG, "fraction": fewest}).median("it.median_ms")
    rows: list[Row] = []
    for cores in settings.simulated_cores:
        plain = Policy(
            cores,
            batch=RX_BATCH,
            stealing=True,
            task_limit_ns=TASK_MILLISECONDS * 1e6,
            stuck_ns=limit_ms * 1e6,
            stuck_scan_ns=0.0,  # in the median that was measured
            replace_ns=max(0.0, median_ms - limit_ms) * 1e6,
        )
        for mode, policy in ((PREEMPT, plain._replace(slice_ns=_SLICE_NS)), (WATCHDOG, plain)):
            numbers = [_simulate(policy, found.settings["good_ns"], fraction, settings) for fraction in settings.fractions]
            for fraction, row in zip(settings.fractions, numbers, strict=True):
                share = round(100 * row["per_second"] / numbers[0]["per_second"], 3)
                rows.append({"cores": cores, "subject": mode, "fraction": fraction, **row, "share": share})
    return rows


def _simulate(policy: Policy, good_ns: float, fraction: float, settings: Settings) -> dict[str, float]:
    kinds = (Kind(GOOD, 1 - fraction, good_ns), Kind(ENDLESS, fraction, NEVER))
    outcomes = {}
    for load in (_OVERLOAD, settings.open_load):
        requests, kind = requests_for(Traffic(kinds), policy.cores, load, settings.simulated_requests)
        outcomes[load] = requests, kind, simulate(policy, requests)
    requests, _, outcome = outcomes[_OVERLOAD]
    until = float(requests.arrival_ns[-1])
    in_time = np.nansum(requests.arrival_ns + outcome.latency_ns <= until)
    _, kind, outcome = outcomes[settings.open_load]
    latency = outcome.percentiles(kind == 0)
    return {"per_second": round(in_time / until * 1e9), "p50": latency["p50"], "p99": latency["p99"]}
