"""``splinter bench flood``."""

from __future__ import annotations

import statistics
from typing import Any

from rich.table import Table

from splinter.bench.experiments.experiment import Document, Experiment, paired, rows
from splinter.bench.experiments.flood import CALM, FLOOD, MODES, UNLIMITED, measure
from splinter.bench.experiments.picture import COLOURS
from splinter.bench.figure import Figure, medians

_US = 1e3
_COLUMNS = ("offered", "others_per_second", "flooding_per_second")
_PERCENTILES = ("p50_ns", "p99_ns", "p999_ns")


def _value(document: Document, mode: str, field: str) -> float:
    return statistics.median(row[field] for row in rows(document, mode=mode))


def table(document: Document) -> Table:
    """The others' latencies with and without the flood."""
    title = "a second, and the others' latencies in µs; medians of the rounds; measured, one worker"
    made = Table("", "offered", "others", "flooding", "p50", "p99", "p99.9", title=title, title_justify="left")
    for mode in MODES:
        rates = [f"{_value(document, mode, name):,.0f}" for name in _COLUMNS]
        made.add_row(mode, *rates, *(f"{_value(document, mode, name) / _US:,.1f}" for name in _PERCENTILES))
    return made


def draw(document: Document, figure: Any) -> None:
    """Bars of the others' latencies."""
    axes = figure.subplots()
    width = 0.25
    for number, mode in enumerate(MODES):
        places = [place + (number - 1) * width for place in range(len(_PERCENTILES))]
        values = [_value(document, mode, name) / _US for name in _PERCENTILES]
        axes.bar(places, values, width, label=mode, color=COLOURS[(2, 1, 0)[number]])
    axes.set_xticks(range(len(_PERCENTILES)), ["p50", "p99", "p99.9"])
    axes.set(ylabel="others' latency, µs", yscale="log", title="One tenant sends 10 × its limit (measured, one worker)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()


def figures(document: Document) -> list[Figure]:
    """``flood``: the others' p99 with the flood over without."""
    pairs, left_out = paired(document, {"mode": FLOOD}, {"mode": CALM}, "p99_ns")
    text = f"others' p99 while one tenant sends {document['settings']['times']} × its limit, over without"
    parts = medians(calm_ns=[calm for _, calm in pairs], flood_ns=[flood for flood, _ in pairs])
    if unlimited := [row["p99_ns"] for row in rows(document, mode=UNLIMITED)]:
        parts |= medians(unlimited_ns=unlimited)
    return [Figure("flood", text, "×", tuple(flood / calm for flood, calm in pairs), parts, left_out=left_out)]


EXPERIMENT = Experiment("flood", measure, table, draw, figures)
