"""What Splinter promises, as figures: each is measured, and holds its bound, fails it, or cannot be told on this machine.

A goal names the figure that decides it; ``goals.toml`` has both, and the formula by which a figure is computed from the
observations of a measuring function of this package. Each of these runs once however many goals want its figures.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module, resources
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.experiments.bench import Bench
from splinter_bench.figure import Figure
from splinter_bench.observations import NotMeasuredError, Observations
from splinter_bench.rounds import Verdict, judge
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.session import Session

SERVING, EXTENSIONS, TRANSACTIONS, KERNEL, LASTING, RIVALS, DOORS, SCHEDULING = AREAS = (
    "serving", "extensions", "transactions", "kernel", "lasting", "rivals", "doors", "scheduling",
)  # fmt: skip


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
def _data() -> dict[str, Any]:
    """What ``goals.toml`` has."""
    return tomllib.loads(resources.files(__package__).joinpath("goals.toml").read_text("utf-8"))


def _figures() -> dict[str, dict[str, Any]]:
    """The figures by name."""
    found: dict[str, dict[str, Any]] = _data()["figures"]
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
    """The figures of which a table has all that their formulas and texts name.

    A round in which a slice that the figure's formula names had no peace is left out; none, if that would leave nothing. Parts
    are of the same rounds.
    """
    found = []
    for name, about in _figures().items():
        try:
            columns = observations.columns(about.get("at"))
            kept, left_out = columns.kept(about["value"])
            text = columns.told(about["text"])
        except NotMeasuredError:
            continue
        figure = Figure(
            name,
            text,
            about["unit"],
            tuple(kept),
            columns.of_rounds(kept.index).medians(about.get("parts", {})),
            observations.settings.get("rivals", {}).get(about.get("rival"), ""),
            left_out,
            about.get("counted", False),
        )
        found.append(figure)
    return found


@dataclass(frozen=True)
class Measuring:
    """One measuring function, by its name in ``goals.toml``. ``needs_server``: it is called with a server of its own."""

    name: str
    title: str
    call: Callable[[Bench], Observations]
    needs_server: bool = False
    only: tuple[str, ...] = ()

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


def measurings() -> list[Measuring]:
    """Everything that can be measured. What a function needs is loaded only when it is called: compilers, the worker."""

    def call(about: dict[str, Any], bench: Bench) -> Observations:
        module, function = about["call"].split(".")
        found: Observations = getattr(import_module(f"{__package__}.experiments.{module}"), function)(
            bench, **about.get("with", {})
        )
        return found

    return [
        Measuring(name, about["title"], partial(call, about), about.get("served", False), tuple(about.get("only", ())))
        for name, about in _data()["measured"].items()
    ]


def measure(names: Iterable[str], bench: Bench) -> Found:
    """Measure the figures of these names, and those that come with them.

    Makes and removes a lab and a server for each measurement that needs one, so that none finds what another one left.
    One that fails does not keep the others from being made.
    """
    wanted, found = set(names), Found()
    for measuring in measurings():
        if not wanted & set(measuring.figures):
            continue
        bench.say(measuring.title)
        asked = replace(bench, for_bounds=True, only=measuring.only, say=lambda text: None)
        try:
            with contextlib.ExitStack() as stack:
                if measuring.needs_server:
                    info = stack.enter_context(lab_server(max(os.sched_getaffinity(0))))
                    asked = replace(asked, served=stack.enter_context(Session(info)))
                figures = figures_of(measuring.call(asked))
        except SplinterError as error:
            found.failures.append(f"{measuring.title}: {error}")
            continue
        # Beside rivals get stands beside the echo too, in fewer rounds than where that is what is measured.
        found.figures.update({figure.name: figure for figure in figures if figure.name in measuring.figures})
    return found


def steps(names: Iterable[str]) -> int:
    """How often :func:`measure` reports progress."""
    return sum(1 for measuring in measurings() if set(names) & set(measuring.figures))
