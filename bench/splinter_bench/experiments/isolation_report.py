"""``splinter bench isolation``."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

from rich.table import Table

from splinter_bench.experiments import isolation
from splinter_bench.experiments.experiment import Document, Effort, Experiment, distinct, rows
from splinter_bench.experiments.isolation import MODES, NATIVE, PIPE, SHARED_MEMORY
from splinter_bench.experiments.picture import line
from splinter_bench.figure import Figure
from splinter_bench.progress import Progress

_QUICK = isolation.Settings(tenants=(1, 4, 16), seconds=0.05, rounds=1, objects=256, warmup_seconds=0.05)


def measure(effort: Effort, progress: Progress) -> Document:
    """The document."""
    settings = _QUICK if effort.is_quick else isolation.Settings()
    runs = isolation.measure(settings, progress)
    return {"settings": asdict(settings), "runs": runs, "simulated": []}


def _rate(document: Document, mode: str, tenants: int) -> float:
    (row,) = rows(document, mode=mode, tenants=tenants)
    return float(statistics.median(row["per_second"]))


def table(document: Document) -> Table:
    """Requests a second by number of tenants."""
    made = Table("tenants", *MODES, title="requests a second, medians of the rounds; measured", title_justify="left")
    for tenants in distinct(document["runs"], "tenants"):
        made.add_row(f"{tenants:,}", *(f"{_rate(document, mode, tenants):,.0f}" for mode in MODES))
    return made


def draw(document: Document, figure: Any) -> None:
    """Throughput against tenants."""
    axes = figure.subplots()
    tenants = distinct(document["runs"], "tenants")
    for number, mode in zip((2, 1, 0), MODES, strict=True):
        line(axes, number, tenants, [_rate(document, mode, count) / 1e6 for count in tenants], mode)
    axes.set(xscale="log", yscale="log", xlabel="tenants", ylabel="million requests a second")
    axes.set_title("Isolation: one extension, one CPU, batches of 64 (measured; without the network)")
    axes.set_xticks(tenants, [str(count) for count in tenants])
    axes.minorticks_off()
    axes.legend()
    axes.grid(alpha=0.3)


def figures(document: Document) -> list[Figure]:
    """How much faster the worker is with the most tenants."""
    most = max(distinct(document["runs"], "tenants"))
    found = []
    for mode, name in ((SHARED_MEMORY, "isolation-shared-memory"), (PIPE, "isolation-pipe")):
        native, other = (rows(document, mode=m, tenants=most)[0]["per_second"] for m in (NATIVE, mode))
        ratios = tuple(a / b for a, b in zip(native, other, strict=True))
        found.append(Figure(name, f"{most:,} tenants: throughput in the worker over {mode}", "×", ratios))
    return found


EXPERIMENT = Experiment("isolation", measure, table, draw, figures)
