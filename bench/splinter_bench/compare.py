"""``splinter bench compare``: what got slower, or faster, between two JSON documents, beyond the spread of their runs.

Any document of ``splinter bench … --json`` and of ``scripts/bench-all`` will do. A value has changed when its two ranges from
smallest to largest run do not touch, and the medians differ by more than a threshold. A value of one run has no spread:
its range is taken to be ALONE of it to both sides.

What is compared of a table of observations is data (``compare`` in ``sections.toml``): formulas for each combination of the
settings ``by``. Those that are ``relative`` to an echo stand in place of the ``absolute`` ones where they have values: a
machine that is slower today is so for both. Echoes and rivals themselves are not compared: they are not ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from splinter_bench.goals import GOALS
from splinter_bench.observations import Columns, NotMeasuredError, Observations
from splinter_bench.report.palette import INVOKE, SPLINTER
from splinter_bench.report.palette import subject as look_of
from splinter_bench.report.told import described

THRESHOLD_DEFAULT = 0.05
ALONE = 0.25
_SHAPE = ("depth", "rate", "tenants", "value_bytes")  # settings that tell documents of one workload apart
_LOWER_IS_BETTER = {goal.figure: goal.is_most for goal in GOALS}


@dataclass(frozen=True)
class Value:
    """Median, smallest and largest of some runs. ``is_lower_better``: of times; otherwise of rates."""

    median: float
    least: float
    most: float
    is_lower_better: bool


@dataclass(frozen=True)
class Change:
    """One value in both documents. ``share``: by which part of the old median it got better (positive) or worse."""

    name: str
    old: Value
    new: Value
    is_beyond_noise: bool

    @property
    def share(self) -> float:
        """See above."""
        if not self.old.median:
            return 0.0
        change = (self.new.median - self.old.median) / self.old.median
        return -change if self.old.is_lower_better else change

    @property
    def is_worse(self) -> bool:
        """Whether it got worse beyond noise."""
        return self.is_beyond_noise and self.share < 0


def compare(old: dict[str, Any], new: dict[str, Any], threshold: float = THRESHOLD_DEFAULT) -> list[Change]:
    """Changes of all values that both documents have, the worst first."""
    before, after = dict(values(old)), dict(values(new))
    changes = []
    for name in before.keys() & after.keys():
        a, b = before[name], after[name]
        is_apart = a.most < b.least or b.most < a.least
        is_beyond = is_apart and abs(b.median - a.median) > threshold * abs(a.median)
        changes.append(Change(name, a, b, is_beyond))
    return sorted(changes, key=lambda change: (change.share, change.name))


def values(document: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    """Everything in a document that has a spread, by name. Figures have names of their own, in whichever section they are."""
    for figure in [*document.get("figures", []), *(goal["figure"] for goal in document.get("goals", []) if goal["figure"])]:
        if figure["name"] in _LOWER_IS_BETTER:
            yield figure["name"], _value(figure["median"], figure["min"], figure["max"], _LOWER_IS_BETTER[figure["name"]])
    yield from _observed(document)
    for title, section in document.get("sections", {}).items():
        yield from values({"figures": section.get("figures", [])})
        for name, value in _observed(section):
            yield f"{title}: {name}", value


def _observed(document: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    """Those of a table of observations."""
    about = described().get(document.get("experiment", ""), {}).get("compare")
    if about is None:
        return
    observations = Observations.of(document)
    shown = (f"{name} {value}" for name, value in observations.settings.items() if name in _SHAPE and value)
    shape = ", ".join(["", *shown]) if about.get("is_shaped") else ""
    for place in observations.places(about["by"], about.get("at")):
        columns = observations.columns(place)
        if look_of(str(columns.table["subject"].iloc[0])) in (SPLINTER, INVOKE):
            found = list(_formulas(columns, about["relative"])) or list(_formulas(columns, about["absolute"]))
            for name, value in found:
                yield f"{columns.told(about['text'])}{shape}, {name}", value


def _formulas(columns: Columns, formulas: list[tuple[str, str, str]]) -> Iterator[tuple[str, Value]]:
    for name, formula, better in formulas:
        try:
            found = columns.evaluate(formula)
        except NotMeasuredError:
            continue
        yield name, _value(float(found.median()), float(found.min()), float(found.max()), better == "less")


def _value(median: float, least: float, most: float, is_lower_better: bool) -> Value:
    if least == most:
        least, most = median * (1 - ALONE), median * (1 + ALONE)
    return Value(median, least, most, is_lower_better)
