"""``splinter bench flood``."""

from __future__ import annotations

import statistics
from typing import Any

from rich.table import Table

from splinter_bench.experiments.experiment import Document, Experiment, paired, refusals, rows
from splinter_bench.experiments.flood import CALM, FLOOD, MODES, NOBODY, UNLIMITED, measure
from splinter_bench.experiments.picture import COLOURS
from splinter_bench.figure import Figure, medians

_US = 1e3
_COLUMNS = ("offered", "others_per_second", "flooding_per_second")
_PERCENTILES = {"p50_ns": "p50", "p90_ns": "p90", "p99_ns": "p99", "p999_ns": "p99.9"}


def _value(document: Document, mode: str, field: str) -> float:
    return float(statistics.median(row[field] for row in rows(document, mode=mode)))


def table(document: Document) -> Table:
    """The others' latencies with and without the flood."""
    title = "a second, and the others' latencies in µs; medians of the rounds; measured, one worker"
    made = Table("", "offered", "others", "flooding", *_PERCENTILES.values(), title=title, title_justify="left")
    for mode in MODES:
        rates = [f"{_value(document, mode, name):,.0f}" for name in _COLUMNS]
        made.add_row(mode, *rates, *(f"{_value(document, mode, name) / _US:,.1f}" for name in _PERCENTILES))
    return made


def draw(document: Document, figure: Any) -> None:
    """Bars of the others' latencies."""
    axes = figure.subplots()
    width = 0.2
    for number, mode in enumerate(MODES):
        places = [place + (number - (len(MODES) - 1) / 2) * width for place in range(len(_PERCENTILES))]
        values = [_value(document, mode, name) / _US for name in _PERCENTILES]
        axes.bar(places, values, width, label=mode, color=COLOURS[(2, 3, 1, 0)[number]])
    axes.set_xticks(range(len(_PERCENTILES)), list(_PERCENTILES.values()))
    axes.set(ylabel="others' latency, µs", yscale="log", title="One tenant sends 10 × its limit (measured, one worker)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()


def figures(document: Document) -> list[Figure]:
    """``flood``: the others' p90 with the flood, over that with as many packets of nobody.

    p99 stands among the parts, since much of it is the machine's; so do the ratios over no flood, where that was measured.
    """
    pairs, left_out = paired(document, {"mode": FLOOD}, {"mode": NOBODY}, "p90_ns")
    times = document["settings"]["times"]
    text = f"others' p90 while one tenant sends {times} × its limit, over that beside as many packets of nobody"
    parts = medians(nobody_p90_ns=[nobody for _, nobody in pairs], flood_p90_ns=[flood for flood, _ in pairs])
    for name, mode, other, field in (
        ("p99_ratio", FLOOD, NOBODY, "p99_ns"),
        ("over_no_flood", FLOOD, CALM, "p90_ns"),
        ("p99_over_no_flood", FLOOD, CALM, "p99_ns"),
        ("nobody_over_no_flood", NOBODY, CALM, "p90_ns"),
    ):
        beside, _ = paired(document, {"mode": mode}, {"mode": other}, field)
        if beside:
            parts |= medians(**{name: [one / another for one, another in beside]})
    if unlimited := [row["p90_ns"] for row in rows(document, mode=UNLIMITED)]:
        parts |= medians(unlimited_p90_ns=unlimited)
    return [Figure("flood", text, "×", tuple(flood / nobody for flood, nobody in pairs), parts, left_out=left_out)]


def notes(document: Document) -> list[str]:
    """What was refused."""
    found = []
    for mode in MODES:
        asked = rows(document, mode=mode)
        found += refusals(mode, [row["errors"] for row in asked], sum(row["count"] for row in asked))
    return found


EXPERIMENT = Experiment("flood", measure, table, draw, figures, notes=notes)
