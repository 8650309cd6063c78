"""The picture of ``splinter bench benefit``: times above, rates below, a column for each question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splinter.bench.benefit_cases import WAYS
from splinter.bench.pictures import COLOURS, figure_of, save

_X_LABELS = {
    "tree traversal": "steps up WordNet's hypernyms",
    "aggregate": "records added up",
    "TAO assoc_range": "associations",
    "decision forest": "trees",
}
_ROWS = (("time_ns", "µs for one question", 1e3), ("per_second", "thousand questions a second", 1e3))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write what :func:`splinter.bench.benefit.measure` returned as a picture; its kind is the suffix (.png, .svg)."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure, axes = figure_of(len(_ROWS), len(cases))
    for column, case in enumerate(cases):
        found = [row for row in rows if row["case"] == case]
        for line, (field, label, unit) in enumerate(_ROWS):
            axis = axes[line][column]
            _curves(axis, found, field, unit) if len({row["x"] for row in found}) > 1 else _bars(axis, found, field, unit)
            axis.set_yscale("log")
            axis.grid(True, which="major", alpha=0.3)
            if column == 0:
                axis.set_ylabel(label)
            if line == 0:
                axis.set_title(case)
            else:
                axis.set_xlabel(_X_LABELS.get(case, ""))
    axes[0][0].legend(fontsize="small")
    save(figure, path)


def _curves(axis: Any, rows: list[dict[str, Any]], field: str, unit: float) -> None:
    for way, colour in zip(WAYS, COLOURS, strict=False):
        mine = [row for row in rows if row["way"] == way]
        if not mine:
            continue
        xs = [row["x"] for row in mine]
        axis.plot(xs, [row[field]["median"] / unit for row in mine], marker="o", label=way, color=colour)
        axis.fill_between(
            xs, [r[field]["min"] / unit for r in mine], [r[field]["max"] / unit for r in mine], color=colour, alpha=0.2
        )
    axis.set_xscale("log", base=2)


def _bars(axis: Any, rows: list[dict[str, Any]], field: str, unit: float) -> None:
    for row in rows:
        place = WAYS.index(row["way"])
        axis.bar(place, row[field]["median"] / unit, color=COLOURS[place])
    axis.set_xticks([])
