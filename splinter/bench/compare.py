"""``splinter bench compare``: what got slower, or faster, between two JSON documents, beyond the spread of their runs.

Any document of ``splinter bench … --json`` and of ``scripts/bench-all`` will do. A value has changed when its two ranges from
smallest to largest run do not touch, and the medians differ by more than a threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from splinter.bench.goals import GOALS

THRESHOLD_DEFAULT = 0.05
_LATENCIES = ("p50", "p99")
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


def values(document: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    """Everything in a document that has a spread, by name."""
    for result in document.get("results", []):
        name = f"{result['name']}, depth {result['depth']}"
        yield f"{name}, per second", _value(result["per_second"], False)
        for percentile in _LATENCIES:
            yield f"{name}, {percentile}", _value(result["latency_ns"][percentile], True)
    figures = [*document.get("figures", []), *(goal["figure"] for goal in document.get("goals", []) if goal["figure"])]
    for figure in figures:
        if figure["name"] in _LOWER_IS_BETTER:
            yield figure["name"], _value(figure, _LOWER_IS_BETTER[figure["name"]])
    for row in document.get("benefit", []):
        name = f"{row['case']}, {row['x']}, {row['way']}"
        yield f"{name}, time", _value(row["time_ns"], True)
        yield f"{name}, per second", _value(row["per_second"], False)
    for section in document.get("sections", {}).values():
        yield from values(section)


def _value(spread: dict[str, float], is_lower_better: bool) -> Value:
    return Value(spread["median"], spread["min"], spread["max"], is_lower_better)
