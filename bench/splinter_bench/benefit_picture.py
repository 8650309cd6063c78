"""The picture of ``splinter bench benefit``: times above, rates below, a column for each question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splinter_bench.experiments.benefit_cases import AGGREGATION, FORESTS, TAO, TREE, WAYS
from splinter_bench.pictures import COLOURS, curve, figure_of, plain_log, save

_X_LABELS = {
    TREE: "steps up WordNet's hypernyms",
    AGGREGATION: "records added up",
    TAO: "users' lists",
    FORESTS: "trees",
}
_ROWS = (("time_ns", "µs for one question", 1e3), ("per_second", "thousand questions a second", 1e3))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write what :func:`.benefit.measure` returned as a picture; its kind is the suffix (.png, .svg)."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure, axes = figure_of(len(_ROWS), len(cases))
    for column, case in enumerate(cases):
        found = [row for row in rows if row["case"] == case]
        xs = sorted({row["x"] for row in found})
        for line, (field, label, unit) in enumerate(_ROWS):
            axis = axes[line][column]
            if len(xs) > 1:
                _curves(axis, found, field, unit)
                plain_log(axis, "both")
                axis.set_xticks(xs, [str(x) for x in xs])
            else:
                _bars(axis, found, field, unit)
                plain_log(axis, "y")
            if column == 0:
                axis.set_ylabel(label)
            if line == 0:
                axis.set_title(case)
            else:
                axis.set_xlabel(f"{_X_LABELS.get(case, '')}" + (f": {xs[0]:,}" if len(xs) == 1 else ""))
    ways = {label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(ways.values(), ways.keys(), loc="outside upper center", ncols=len(ways))
    save(figure, path)


def _curves(axis: Any, rows: list[dict[str, Any]], field: str, unit: float) -> None:
    for way, colour in zip(WAYS, COLOURS, strict=False):
        mine = [row for row in rows if row["way"] == way]
        if mine:
            curve(axis, [row["x"] for row in mine], [row[field] for row in mine], [unit] * len(mine), way, colour)


def _bars(axis: Any, rows: list[dict[str, Any]], field: str, unit: float) -> None:
    for row in rows:
        place, median = WAYS.index(row["way"]), row[field]["median"] / unit
        axis.bar(place, median, color=COLOURS[place], label=row["way"])
        axis.annotate(f"{median:,.3g}" if median < 1000 else f"{median:,.0f}", (place, median), ha="center", va="bottom")
    axis.set_xticks([])
    axis.margins(y=0.15)
