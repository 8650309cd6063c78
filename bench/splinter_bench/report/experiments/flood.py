"""``splinter bench flood``."""

from __future__ import annotations

import statistics

from splinter_bench.experiments.experiment import Document, paired, refusals, rows
from splinter_bench.experiments.flood import CALM, FLOOD, MODES, NOBODY, UNLIMITED, measure
from splinter_bench.figure import Figure, medians
from splinter_bench.report.charts import Charts, Dots, Ends
from splinter_bench.report.experiments.experiment import Experiment
from splinter_bench.report.experiments.lines import US_NS, median
from splinter_bench.report.palette import OTHERWISE, SPLINTER, UNDISTURBED, WITHOUT
from splinter_bench.table import Table

_SUBJECTS = dict(zip(MODES, (UNDISTURBED, OTHERWISE, SPLINTER, WITHOUT), strict=True))
_COLUMNS = ("offered", "others_per_second", "flooding_per_second")
_PERCENTILES = {"p50_ns": "p50", "p90_ns": "p90", "p99_ns": "p99", "p999_ns": "p99.9"}


def table(document: Document) -> Table:
    """The others' latencies with and without the flood."""
    title = "a second, and the others' latencies in µs; medians of the rounds; measured, one worker"
    cells = [
        [
            mode,
            *(f"{median(document, name, 1, mode=mode):,.0f}" for name in _COLUMNS),
            *(f"{median(document, name, mode=mode):,.1f}" for name in _PERCENTILES),
        ]
        for mode in MODES
    ]
    return Table(["", "offered", "others", "flooding", *_PERCENTILES.values()], cells, title)


def charts(document: Document) -> Charts:
    """The others' percentiles by mode, with the quartiles of the rounds."""
    shown = [(text, {mode: _quartiles(document, mode, name) for mode in MODES}) for name, text in _PERCENTILES.items()]
    label = "others' p50 … p99.9, µs (medians and quartiles of rounds)"
    return [[Dots(label, shown, "One tenant sends 10 × its limit (measured, one worker)", _SUBJECTS)]]


def _quartiles(document: Document, mode: str, field: str) -> Ends:
    values = [row[field] / US_NS for row in rows(document, mode=mode)]
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return low, middle, high


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


EXPERIMENT = Experiment("flood", measure, table, charts, figures, notes=notes)
