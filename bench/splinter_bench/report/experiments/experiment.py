"""An experiment: how it is measured, and how its document is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from splinter_bench.experiments.experiment import Document, Effort
from splinter_bench.figure import Figure
from splinter_bench.progress import Progress
from splinter_bench.report.charts import Charts
from splinter_bench.table import Table


@dataclass(frozen=True)
class Experiment:
    """One command of ``splinter bench``. ``measure`` gives the document's ``settings``, ``runs`` and ``simulated``."""

    name: str
    measure: Callable[[Effort, Progress], Document]
    table: Callable[[Document], Table]
    charts: Callable[[Document], Charts]
    figures: Callable[[Document], list[Figure]]
    parts: tuple[str, ...] = ()  # what ``only`` may name
    notes: Callable[[Document], list[str]] = field(default=lambda document: [])


def experiment_of(name: str) -> Experiment:
    """An experiment by name. What it needs is loaded only now: compilers, the worker."""
    found: Experiment = import_module(f"{__package__}.{name}").EXPERIMENT
    return found
