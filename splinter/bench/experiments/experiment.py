"""What the experiments have in common: how they are asked for, and the document that each makes.

A document is plain values: ``runs`` are measurements, ``simulated`` what the simulation says, ``settings`` what was asked
for. Tables, pictures and figures are made from documents alone, so that they can be made again from a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from splinter.bench.figure import Figure

Document = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How much to do. ``is_quick``: enough to see that it works, not for figures. ``only``: parts, all when there are none."""

    is_quick: bool = False
    only: tuple[str, ...] = ()

    def wants(self, part: str) -> bool:
        """Whether a part was asked for."""
        return not self.only or part in self.only


@dataclass(frozen=True)
class Experiment:
    """One command of ``splinter bench``. ``measure`` gives the document's ``settings``, ``runs`` and ``simulated``."""

    name: str
    measure: Callable[[Effort, Progress], Document]
    table: Callable[[Document], Table]
    draw: Callable[[Document, Any], None]  # on a matplotlib figure
    figures: Callable[[Document], list[Figure]]
    parts: tuple[str, ...] = ()  # what ``only`` may name
    notes: Callable[[Document], list[str]] = field(default=lambda document: [])


def rows(document: Document, of: str = "runs", **wanted: Any) -> list[dict[str, Any]]:
    """The document's runs (or ``simulated``) that have these values."""
    return [row for row in document[of] if all(row.get(name) == value for name, value in wanted.items())]


def distinct(found: list[dict[str, Any]], name: str) -> list[Any]:
    """The values of a field, each once, in their order."""
    return list(dict.fromkeys(row[name] for row in found))
