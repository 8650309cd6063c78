"""``splinter bench compare``: what got slower, or faster, between two JSON documents, beyond the spread of their runs.

Any document of ``splinter bench … --json`` and of ``scripts/bench-all`` will do. A value has changed when its two ranges from
smallest to largest run do not touch, and the medians differ by more than a threshold. A value of one run has no spread:
its range is taken to be ALONE of it to both sides.

Where a document has an echo beside a value, the ratio to it is compared in place of the value: a machine that is slower today
is so for both. Absolute values are compared where there is none. Echoes and rivals themselves are not compared: they are not
ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from splinter_bench.experiments.benefit_cases import GETS, INVOKE
from splinter_bench.experiments.runs import AF_XDP_ECHO
from splinter_bench.goals import GOALS
from splinter_bench.measurement import ECHO, counterpart

THRESHOLD_DEFAULT = 0.05
ALONE = 0.25
_ECHO_RATIOS = {"latency_over_echo": True, "throughput_of_echo": False}  # and whether less is better
_LATENCIES = ("p50", "p99")
_OURS = (GETS, INVOKE)
_FIGURES = ("figures", "goals")
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


def values(document: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    """Everything in a document that has a spread, by name."""
    yield from _suite(document)
    yield from _figures(document)
    for row in document.get("benefit", []):
        if row["way"] not in _OURS:
            continue
        name = f"{row['case']}, {row['x']}, {row['way']}"
        yield f"{name}, time", _value(row["time_ns"], True)
        yield f"{name}, per second", _value(row["per_second"], False)
    for row in document.get("cases", []):
        yield from _run(row, row["label"])
    if "workload" in document:
        shape = ", ".join(f"{name} {value}" for name, value in document.get("settings", {}).items() if name in _SHAPE and value)
        yield from _run(document, ", ".join(filter(None, (document["workload"], shape))))
    for title, section in document.get("sections", {}).items():
        # Figures have names of their own, in whichever section they are; other values of two sections may have the same.
        yield from _figures(section)
        for name, value in values({key: part for key, part in section.items() if key not in _FIGURES}):
            yield f"{title}: {name}", value


def _suite(document: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    relative = set()
    for ratio in document.get("ratios", []):
        if ratio["ratio"] in _ECHO_RATIOS:
            relative.add((ratio["name"], ratio["depth"]))
            name = f"{ratio['name']}, depth {ratio['depth']}, {ratio['ratio'].replace('_', ' ')}"
            yield name, _value(ratio, _ECHO_RATIOS[ratio["ratio"]])
    for result in document.get("results", []):
        is_ours = result["name"] != ECHO and counterpart(result["name"]) is None
        if is_ours and (result["name"], result["depth"]) not in relative:
            name = f"{result['name']}, depth {result['depth']}"
            yield from _absolute(name, result["per_second"], result["latency_ns"])


def _figures(document: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    for figure in [*document.get("figures", []), *(goal["figure"] for goal in document.get("goals", []) if goal["figure"])]:
        if figure["name"] in _LOWER_IS_BETTER:
            yield figure["name"], _value(figure, _LOWER_IS_BETTER[figure["name"]])


def _run(row: dict[str, Any], name: str) -> Iterator[tuple[str, Value]]:
    """A document of ``splinter bench run``, or a row that stands for one."""
    for asked, live in row.get("live", {}).items():
        yield f"{name}, {asked}, per second", _value(live["per_second"], False)
    if AF_XDP_ECHO in row.get("of_limits", {}):
        of = row["of_limits"][AF_XDP_ECHO]
        yield f"{name}, latency over echo", _value(of["latency"], True)
        yield f"{name}, throughput of echo", _value(of["throughput"], False)
    elif "latency_ns" in row:
        yield from _absolute(name, row["per_second"], row["latency_ns"])


def _absolute(name: str, rate: dict[str, float], latencies: dict[str, dict[str, float]]) -> Iterator[tuple[str, Value]]:
    yield f"{name}, per second", _value(rate, False)
    for percentile in _LATENCIES:
        yield f"{name}, {percentile}", _value(latencies[percentile], True)


def _value(spread: dict[str, float], is_lower_better: bool) -> Value:
    median, least, most = spread["median"], spread["min"], spread["max"]
    if least == most:
        least, most = median * (1 - ALONE), median * (1 + ALONE)
    return Value(median, least, most, is_lower_better)
