"""What Splinter promises, as figures: each is measured, and holds its bound, fails it, or cannot be told on this machine.

A goal names the figure that decides it; a figure comes from one of the measuring functions of this package, each of which
runs once however many goals want its figures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from splinter.errors import SplinterError
from splinter.limits import STORE_BYTES_MIN
from splinter_bench import (
    arithmetic,
    compile_time,
    installs,
    many_tenants,
    pushed,
    restart,
    scheduling_goals,
    suite_figures,
    worker_time,
)
from splinter_bench.figure import Figure
from splinter_bench.local_server import lab_server
from splinter_bench.rounds import Verdict, judge
from splinter_bench.session import SLICE_SECONDS, SLICE_WARMUP_SECONDS, Session
from splinter_bench.suite import Progress, Settings
from splinter_bench.suite import measure as measure_suite

SERVING, EXTENSIONS, RIVALS, SCHEDULING = "serving", "extensions", "rivals", "scheduling"


@dataclass(frozen=True)
class Goal:
    """A bound for a figure. ``area`` is whose promise it is; two areas may bound the same figure differently.

    ``apart``: how far runs were apart on one machine, each with an interval that had no room for the other, as a share: what
    is compared is of so different a kind that the machine's state, which lasts for hours, does not stand on both sides alike.
    A verdict takes as much more than the interval.
    """

    area: str
    figure: str
    bound: float
    is_most: bool  # the bound is the largest value that will do; otherwise the smallest
    apart: float = 0.0

    @property
    def name(self) -> str:
        """What ``--only`` calls it."""
        return f"{self.area}.{self.figure}"

    def bound_text(self, unit: str = "") -> str:
        """For a table: the bound, and what a verdict takes beyond the interval."""
        text = f"{'≤' if self.is_most else '≥'} {self.bound:g} {unit}".rstrip()
        return f"{text}, ± {self.apart:.0%}" if self.apart else text

    def verdict(self, figure: Figure | None) -> Verdict:
        """What a figure says of it; of one that could not be measured, nothing can be told."""
        return Verdict.CANNOT_TELL if figure is None else self._judge(*figure.interval)

    def verdict_of(self, figure: dict[str, Any]) -> Verdict:
        """The same of a figure that was written as JSON; of one without an interval nothing can be told."""
        low, high = figure.get("interval", (None, None))
        return Verdict.CANNOT_TELL if low is None or high is None else self._judge(low, high)

    def _judge(self, low: float, high: float) -> Verdict:
        return judge((low * (1 - self.apart), high * (1 + self.apart)), self.bound, is_most=self.is_most)


def _at_most(area: str, figure: str, bound: float) -> Goal:
    return Goal(area, figure, bound, True)


def _at_least(area: str, figure: str, bound: float, apart: float = 0.0) -> Goal:
    return Goal(area, figure, bound, False, apart)


_BESIDE_STACK = 0.15  # docs/benchmarks.md, "What the machine allows"

GOALS = (
    _at_most(SERVING, "get-latency", 1.4),
    _at_least(SERVING, "get-throughput", 75),
    _at_most(SERVING, "put-latency", 1.6),
    _at_least(SERVING, "put-throughput", 65),
    _at_least(SERVING, "redis-latency", 5),
    _at_most(SERVING, "restart", 100),
    _at_most(EXTENSIONS, "compile", 60),
    _at_most(EXTENSIONS, "compile-tao", 35),
    *(_at_most(EXTENSIONS, f"install-interference-{depth}", 1.2) for depth in installs.DEPTHS),
    _at_most(EXTENSIONS, "extension-memory", 8192),
    _at_most(EXTENSIONS, "lookup", 1.05),
    _at_most(EXTENSIONS, "resume", 1),
    _at_most(EXTENSIONS, "invoke-cost", 150),
    _at_least(EXTENSIONS, "chain", 6),
    _at_least(EXTENSIONS, "aggregate", 2),
    _at_least(EXTENSIONS, "checksum-cpython", 50),
    _at_most(EXTENSIONS, "checksum-numba", 3),
    _at_least(EXTENSIONS, "forest-cpython", 50),
    _at_most(EXTENSIONS, "forest-numba", 3),
    _at_most(RIVALS, "get-latency", 1.25),
    _at_most(RIVALS, "put-latency", 1.35),
    _at_least(RIVALS, "get-throughput", 85),
    _at_least(RIVALS, "invoke-throughput", 85),
    _at_least(RIVALS, "redis-latency", 10),
    _at_least(RIVALS, "memcached-latency", 4),
    _at_least(RIVALS, "redis-throughput", 7, _BESIDE_STACK),
    _at_least(RIVALS, "memcached-throughput", 4, _BESIDE_STACK),
    _at_least(RIVALS, "fcall-throughput", 8, _BESIDE_STACK),
    _at_least(RIVALS, "fcall-latency", 10),
    _at_least(RIVALS, "chain-redis", 8),
    _at_least(RIVALS, "tenants-throughput", 95),
    _at_most(RIVALS, "worker-get", 0.5),
    _at_most(RIVALS, "tenant-memory", 2048),
    _at_most(RIVALS, "object-overhead", 64),
    *(Goal(SCHEDULING, bound.figure, bound.value, bound.is_most) for bound in scheduling_goals.BOUNDS),
)


def _suite_settings(slices: int) -> Settings:
    return Settings(runs=6, slices=slices, seconds=SLICE_SECONDS, warmup_seconds=SLICE_WARMUP_SECONDS)


@dataclass(frozen=True)
class Effort:
    """How much each measurement does."""

    echo: Settings = field(default_factory=partial(_suite_settings, 80))
    rivals: Settings = field(default_factory=partial(_suite_settings, 10))
    worker: worker_time.Counts = field(default_factory=worker_time.Counts)
    arithmetic: arithmetic.Rounds = field(default_factory=arithmetic.Rounds)
    pushed: pushed.Rounds = field(default_factory=pushed.Rounds)
    installs: installs.Counts = field(default_factory=installs.Counts)
    many_tenants: many_tenants.Rounds = field(default_factory=many_tenants.Rounds)
    compiles: int = compile_time.ROUNDS_DEFAULT
    restarts: int = restart.ROUNDS_DEFAULT
    store_bytes: int = STORE_BYTES_MIN


@dataclass(frozen=True)
class Measuring:
    """One measuring function: which figures it finds, and how. ``needs_server``: it is called with a Session."""

    title: str
    figures: tuple[str, ...]
    call: Callable[..., list[Figure]]
    needs_server: bool = False


@dataclass(frozen=True)
class Found:
    """Figures by name, and in a sentence each which measurements failed."""

    figures: dict[str, Figure] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """A goal and the figure that was found for it; None: this machine cannot measure it."""

    goal: Goal
    figure: Figure | None

    @property
    def verdict(self) -> Verdict:
        """Whether the goal is reached, as far as this machine can tell."""
        return self.goal.verdict(self.figure)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.goal.name,
            "value": None if self.figure is None else self.figure.median,
            "bound": self.goal.bound,
            "is": "at most" if self.goal.is_most else "at least",
            "verdict": self.verdict.value,
            "figure": None if self.figure is None else self.figure.to_json(),
        }


def chosen(names: Sequence[str]) -> list[Goal]:
    """The goals of these names, figures or areas; all when there are none. Raises :class:`SplinterError` for others."""
    for name in names:
        if not any(name in (goal.name, goal.figure, goal.area) for goal in GOALS):
            raise SplinterError(f"there is no goal {name!r}: 'splinter bench goals --list' shows them")
    return [goal for goal in GOALS if not names or {goal.name, goal.figure, goal.area} & set(names)]


def measurings(effort: Effort) -> list[Measuring]:
    """Everything that can be measured, what needs no server first; ten thousand tenants last."""
    return [
        Measuring("compiler", ("compile", "compile-tao"), partial(compile_time.measure, effort.compiles)),
        Measuring("a worker's own time", ("worker-get", "invoke-cost", "resume"), partial(worker_time.measure, effort.worker)),
        Measuring(
            "the store's overhead",
            ("object-overhead",),
            partial(worker_time.measure_object_overhead, effort.store_bytes),
        ),
        Measuring(
            "arithmetic",
            ("checksum-cpython", "checksum-numba", "forest-cpython", "forest-numba"),
            partial(arithmetic.measure, effort.arithmetic),
        ),
        Measuring("get and put beside echo", suite_figures.ECHO_FIGURES, partial(_suite, effort.echo), needs_server=True),
        *(
            Measuring(
                f"get and invoke beside {rival}",
                figures,
                partial(_suite, replace(effort.rivals, rivals=(rival,), only=only)),
                needs_server=True,
            )
            for rival, figures, only in (
                ("redis", suite_figures.REDIS_FIGURES, suite_figures.OF_REDIS),
                ("memcached", suite_figures.MEMCACHED_FIGURES, suite_figures.OF_MEMCACHED),
            )
        ),
        Measuring(
            "functions pushed into the store",
            ("chain", "aggregate", "invoke-throughput"),
            partial(pushed.measure, rounds=effort.pushed),
            needs_server=True,
        ),
        Measuring(
            f"gets of {effort.many_tenants.tenants:,} tenants",
            ("tenants-throughput",),
            partial(many_tenants.measure, rounds=effort.many_tenants),
            needs_server=True,
        ),
        Measuring("restarts", ("restart",), partial(restart.measure, rounds=effort.restarts), needs_server=True),
        Measuring(
            f"{effort.installs.tenants:,} tenants",
            ("tenant-memory", "extension-memory", "lookup"),
            partial(installs.measure_many, counts=effort.installs),
            needs_server=True,
        ),
        Measuring(
            "installs beside gets",
            tuple(f"install-interference-{depth}" for depth in installs.DEPTHS),
            partial(installs.measure_interference, counts=effort.installs),
            needs_server=True,
        ),
        *(
            Measuring(f"the experiment {name}", figures, partial(scheduling_goals.measure, name, parts))
            for name, parts, figures in scheduling_goals.EXPERIMENTS
        ),
    ]


def measure(names: Iterable[str], effort: Effort, progress: Progress = lambda text: None) -> Found:
    """Measure the figures of these names, and those that come with them.

    Makes and removes a lab and a server for each measurement that needs one, so that none finds what another one left.
    One that fails does not keep the others from being made.
    """
    wanted, found = set(names), Found()
    for measuring in measurings(effort):
        if not wanted & set(measuring.figures):
            continue
        progress(measuring.title)
        try:
            if measuring.needs_server:
                with lab_server(max(os.sched_getaffinity(0))) as info, Session(info) as session:
                    figures = measuring.call(session)
            else:
                figures = measuring.call()
        except SplinterError as error:
            found.failures.append(f"{measuring.title}: {error}")
            continue
        # Beside rivals get stands beside the echo too, in fewer rounds than where that is what is measured.
        found.figures.update({figure.name: figure for figure in figures if figure.name in measuring.figures})
    return found


def steps(names: Iterable[str], effort: Effort) -> int:
    """How often :func:`measure` reports progress."""
    return sum(1 for measuring in measurings(effort) if set(names) & set(measuring.figures))


def _suite(settings: Settings, session: Session) -> list[Figure]:
    return suite_figures.figures_of(measure_suite(session.info, settings))
