"""``splinter bench isolation``."""

from __future__ import annotations

import statistics
from dataclasses import asdict

from splinter_bench.experiments import isolation
from splinter_bench.experiments.experiment import Document, Effort, distinct, rows
from splinter_bench.experiments.isolation import MODES, NATIVE, PIPE, SHARED_MEMORY
from splinter_bench.figure import Figure
from splinter_bench.progress import Progress
from splinter_bench.report.charts import NUMBER, Charts, Curve, Curves, Ends
from splinter_bench.report.experiments.experiment import Experiment
from splinter_bench.report.palette import OTHERWISE, SECOND, SPLINTER
from splinter_bench.table import Table

_QUICK = isolation.Settings(tenants=(1, 4, 16), seconds=0.05, rounds=1, objects=256, warmup_seconds=0.05)


def measure(effort: Effort, progress: Progress) -> Document:
    """The document."""
    settings = _QUICK if effort.is_quick else isolation.Settings()
    runs = isolation.measure(settings, progress)
    return {"settings": asdict(settings), "runs": runs, "simulated": []}


def _rate(document: Document, mode: str, tenants: int, unit: float = 1.0) -> Ends:
    (row,) = rows(document, mode=mode, tenants=tenants)
    found = row["per_second"]
    return min(found) / unit, statistics.median(found) / unit, max(found) / unit


def table(document: Document) -> Table:
    """Requests a second by number of tenants."""
    cells = [
        [f"{tenants:,}", *(f"{_rate(document, mode, tenants)[1]:,.0f}" for mode in MODES)]
        for tenants in distinct(document["runs"], "tenants")
    ]
    return Table(["tenants", *MODES], cells, "requests a second, medians of the rounds; measured")


def charts(document: Document) -> Charts:
    """Throughput against tenants."""
    tenants = distinct(document["runs"], "tenants")
    curves = [
        Curve(mode, who, tenants, [_rate(document, mode, count, 1e6) for count in tenants])
        for mode, who in zip(MODES, (SPLINTER, OTHERWISE, SECOND), strict=True)
    ]
    title = "One extension, one CPU, batches of 64 (measured; without the network)"
    return [[Curves("tenants", "million requests a second", curves, title, step=NUMBER, width=2)]]


def figures(document: Document) -> list[Figure]:
    """How much faster the worker is with the most tenants."""
    most = max(distinct(document["runs"], "tenants"))
    found = []
    for mode, name in ((SHARED_MEMORY, "isolation-shared-memory"), (PIPE, "isolation-pipe")):
        native, other = (rows(document, mode=m, tenants=most)[0]["per_second"] for m in (NATIVE, mode))
        ratios = tuple(a / b for a, b in zip(native, other, strict=True))
        found.append(Figure(name, f"{most:,} tenants: throughput in the worker over {mode}", "×", ratios))
    return found


EXPERIMENT = Experiment("isolation", measure, table, charts, figures)
