"""What the experiments' tables and charts have in common: medians of rounds, and curves of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from splinter_bench.experiments.experiment import Document, distinct, rows
from splinter_bench.report.charts import Curve, alone

US_NS = 1e3


def median(document: Document, field: str, unit: float = US_NS, of: str = "runs", **where: Any) -> float:
    """The median of a field over those runs that have these values, in a unit (µs of ns)."""
    return float(statistics.median(row[field] for row in rows(document, of, **where) if row[field] is not None)) / unit


def lines(document: Document, subjects: Mapping[str, str], x: str, field: str, **where: Any) -> list[Curve]:
    """A curve of measured medians, ns drawn as µs, over the values of ``x`` for each mode; ``subjects`` are the palette's."""
    xs = distinct(document["runs"], x)
    return [
        Curve(mode, who, xs, [alone(median(document, field, mode=mode, **{x: place}, **where)) for place in xs])
        for mode, who in subjects.items()
    ]


def simulated(
    document: Document, subjects: Mapping[str, str], x: str, field: str, style: str, *, name: str = "simulated",
    plus_ns: float = 0.0, **where: Any,
) -> list[Curve]:  # fmt: skip
    """A curve of what was simulated for each mode, without markers; ``plus_ns`` is added, ``name`` to the mode's."""
    made = []
    for mode, who in subjects.items():
        found = rows(document, "simulated", mode=mode, **where)
        points = [alone((row[field] + plus_ns) / US_NS) for row in found]
        made.append(Curve(f"{mode}, {name}", who, [row[x] for row in found], points, style, has_markers=False))
    return made
