"""The picture of the benchmark beside its rivals: medians at depth 1, rates with 50 requests or connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from splinter_bench.pictures import COLOURS, axes_beside, horizontal_bars, save

_Part = tuple[str, tuple[int, ...], Callable[[dict[str, Any]], dict[str, float]]]
_PARTS: tuple[_Part, ...] = (
    ("median latency at depth 1, µs", (1,), lambda result: result["latency_ns"]["p50"]),
    ("thousand a second, {} under way", (50, 64), lambda result: result["per_second"]),
)
_UNIT = 1e3


def draw(document: dict[str, Any], path: Path) -> None:
    """Write a picture of a suite's JSON document: at the rivals' depth, or at ours where there is none."""
    parts = []
    for label, depths, value in _PARTS:
        depth = next((d for d in depths if any(result["depth"] == d for result in document["results"])), depths[0])
        found = [result for result in document["results"] if result["depth"] == depth]
        parts.append((label.format(depth), [(r["name"], value(r), _colour(r["name"])) for r in found]))
    figure, axes = axes_beside(len(parts), max(len(rows) for _, rows in parts))
    for axis, (label, rows) in zip(axes, parts, strict=True):
        horizontal_bars(axis, rows, _UNIT, label)
    save(figure, path)


def _colour(name: str) -> str:
    families = ("echo", "redis", "memcached")
    return COLOURS[next((n + 1 for n, family in enumerate(families) if name.startswith(family)), 0)]
