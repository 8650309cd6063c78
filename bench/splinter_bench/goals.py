"""What Splinter promises, as figures: each is measured, and holds its bound, fails it, or cannot be told on this machine.

A goal names the figure that decides it; ``goals.toml`` has both, and the formula by which a figure is computed from the
observations of a measuring function of this package. Each of these runs once however many goals want its figures.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module, resources
from typing import Any

from splinter.errors import SplinterError
from splinter.limits import STORE_BYTES_MIN
from splinter_bench.experiments import (
    arithmetic,
    compile_time,
    experiment,
    installs,
    many_tenants,
    pushed,
    restart,
    worker_time,
)
from splinter_bench.experiments.suite import OF_MEMCACHED, OF_REDIS, Settings
from splinter_bench.experiments.suite import measure as measure_suite
from splinter_bench.figure import Figure
from splinter_bench.observations import NotMeasuredError, Observations
from splinter_bench.progress import Progress
from splinter_bench.rounds import Verdict, judge
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.session import SLICE_SECONDS, SLICE_WARMUP_SECONDS, Session

SERVING, EXTENSIONS, RIVALS, SCHEDULING = AREAS = ("serving", "extensions", "rivals", "scheduling")
_EXPERIMENT = "experiment "  # in front of an experiment's name, where it finds a figure
_PARTS = {"locality": ("0.99",)}  # of an experiment, where its figures need but one


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


@cache
def _figures() -> dict[str, dict[str, Any]]:
    """The figures of ``goals.toml`` by name."""
    text = resources.files(__package__).joinpath("goals.toml").read_text("utf-8")
    found: dict[str, dict[str, Any]] = tomllib.loads(text)["figures"]
    return found


def _goals() -> Iterable[Goal]:
    bounds = [(figure, bound) for figure, about in _figures().items() for bound in about["bounds"]]
    for figure, bound in sorted(bounds, key=lambda each: AREAS.index(each[1]["area"])):
        is_most = "at_most" in bound
        yield Goal(bound["area"], figure, bound["at_most" if is_most else "at_least"], is_most, bound.get("apart", 0.0))


GOALS = tuple(_goals())


def names_found_by(measuring: str) -> tuple[str, ...]:
    """The figures with bounds that a measurement of ``goals.toml`` finds."""
    return tuple(name for name, about in _figures().items() if about["found_by"] == measuring and about["bounds"])


def figures_of(observations: Observations) -> list[Figure]:
    """The figures of which a table has all that their formulas name.

    A round in which a slice that the figure's formula names had no peace is left out; none, if that would leave nothing. Parts
    are of the same rounds.
    """
    found = []
    for name, about in _figures().items():
        try:
            columns = observations.columns(about.get("at"))
            kept, left_out = columns.kept(about["value"])
        except NotMeasuredError:
            continue
        figure = Figure(
            name,
            columns.told(about["text"]),
            about["unit"],
            tuple(kept),
            columns.in_peace(kept.index).medians(about.get("parts", {})),
            observations.settings.get("rivals", {}).get(about.get("rival"), ""),
            left_out,
            about.get("counted", False),
        )
        found.append(figure)
    return found


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
    """One measuring function, by its name in ``goals.toml``. ``needs_server``: it is called with a Session."""

    name: str
    title: str
    call: Callable[..., list[Figure]]
    needs_server: bool = False

    @property
    def figures(self) -> tuple[str, ...]:
        """Which figures it finds."""
        return names_found_by(self.name)


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

    def alone(name: str, title: str, call: Callable[[], Observations]) -> Measuring:
        return Measuring(name, title, lambda: figures_of(call()))

    def served(name: str, title: str, call: Callable[[Session], Observations]) -> Measuring:
        return Measuring(name, title, lambda session: figures_of(call(session)), needs_server=True)

    def rival(name: str, only: tuple[tuple[str, int], ...]) -> Measuring:
        settings = replace(effort.rivals, rivals=(name,), only=only)
        return served(name, f"get and invoke beside {name}", partial(_suite, settings))

    many, tenants = effort.many_tenants, effort.installs.tenants
    return [
        alone("compiler", "compiler", partial(compile_time.measure, effort.compiles)),
        alone("worker", "a worker's own time", partial(worker_time.measure, effort.worker)),
        alone("store", "the store's overhead", partial(worker_time.measure_object_overhead, effort.store_bytes)),
        alone("arithmetic", "arithmetic", partial(arithmetic.measure, effort.arithmetic)),
        served("echo", "get and put beside echo", partial(_suite, effort.echo)),
        rival("redis", OF_REDIS),
        rival("memcached", OF_MEMCACHED),
        served("pushed", "functions pushed into the store", partial(pushed.measure, rounds=effort.pushed)),
        served("tenants", f"gets of {many.tenants:,} tenants", partial(many_tenants.measure, rounds=many)),
        served("restart", "restarts", partial(restart.measure, rounds=effort.restarts)),
        served("many", f"{tenants:,} tenants", partial(installs.measure_many, counts=effort.installs)),
        served("installs", "installs beside gets", partial(installs.measure_interference, counts=effort.installs)),
        *(
            Measuring(name, f"the {name}", partial(_experiment, name.removeprefix(_EXPERIMENT)))
            for name in dict.fromkeys(about["found_by"] for about in _figures().values() if about["bounds"])
            if name.startswith(_EXPERIMENT)
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


def _suite(settings: Settings, session: Session) -> Observations:
    return measure_suite(session.info, settings).observations()


def _experiment(name: str) -> list[Figure]:
    measure_it = import_module(f"{__package__}.experiments.{name}").measure
    return figures_of(measure_it(experiment.Effort(only=_PARTS.get(name, ()), for_bounds=True), lambda text: None))
