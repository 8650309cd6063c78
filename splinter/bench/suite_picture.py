"""The picture of the benchmark beside its rivals: medians at depth 1, rates with 50 requests or connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splinter.bench.pictures import COLOURS, figure_of, save
from splinter.bench.rival import CONNECTIONS

_PARTS = (
    ("p50 at depth 1, µs", 1, lambda result: result["latency_ns"]["p50"], 1e3),
    (f"thousand a second, {CONNECTIONS} under way", CONNECTIONS, lambda result: result["per_second"], 1e3),
)


def draw(document: dict[str, Any], path: Path) -> None:
    """Write a picture of a suite's JSON document."""
    figure, axes = figure_of(2, 2)
    figure.set_size_inches(11, 7)
    grid = axes[0][0].get_gridspec()
    for axis in axes.flat:
        axis.remove()
    for column, (label, depth, value, unit) in enumerate(_PARTS):
        axis = figure.add_subplot(grid[:, column])
        found = [result for result in document["results"] if result["depth"] == depth][::-1]
        for place, result in enumerate(found):
            spread = value(result)
            median = spread["median"] / unit
            ends = [[max(median - spread["min"] / unit, 0)], [max(spread["max"] / unit - median, 0)]]
            axis.barh(place, median, color=_colour(result["name"]), xerr=ends, capsize=2)
            axis.annotate(f" {median:,.1f}", (spread["max"] / unit, place), va="center", fontsize="small")
        axis.set_yticks(range(len(found)), [result["name"] for result in found], fontsize="small")
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.margins(x=0.15)
    save(figure, path)


def _colour(name: str) -> str:
    families = ("echo", "redis", "memcached")
    return COLOURS[next((n + 1 for n, family in enumerate(families) if name.startswith(family)), 0)]
