"""Pictures of the sections whose rows are runs of ``splinter bench run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from splinter_bench.experiments.runs import AF_XDP_ECHO
from splinter_bench.pictures import COLOURS, axes_beside, curve, figure_of, horizontal_bars, plain_log, save

Rows = list[dict[str, Any]]
_Value = Callable[[dict[str, Any]], dict[str, float]]  # a median and its spread
_US_NS = 1e3
_THOUSAND = 1e3
_KIB = 1024
_PERCENTILES = ("p50", "p99", "p99.9")


def bars(rows: Rows, path: Path) -> None:
    """Each case's rate and median latency, and the AF_XDP echo's beside it."""
    figure, axes = axes_beside(2, len(rows))
    parts: tuple[tuple[Any, str, float, _Value], ...] = (
        (axes[0], "thousand a second", _THOUSAND, lambda row: row["per_second"]),
        (axes[1], "median latency, µs", _US_NS, lambda row: row["latency_ns"]["p50"]),
    )
    for axis, label, unit, value in parts:
        horizontal_bars(axis, [(row["label"], value(row), COLOURS[0]) for row in rows], unit, label)
        for place, row in enumerate(reversed(rows)):
            for number, (name, limit) in enumerate(row["limits"].items()):
                ends = value(limit)["median"] / unit
                shown = name if place == 0 else None
                axis.plot([ends, ends], [place - 0.4, place + 0.4], color=COLOURS[1 + 2 * number], linewidth=2, label=shown)
    if any(row["limits"] for row in rows):
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", fontsize="small")
    save(figure, path)


def against_size(rows: Rows, path: Path) -> None:
    """Rate, megabytes a second and median latency against the bytes of a value; a curve for each operation."""
    figure, axes = figure_of(1, 3)
    parts: tuple[tuple[str, _Value, Callable[[dict[str, Any]], float]], ...] = (
        ("thousand a second", lambda row: row["per_second"], lambda row: _THOUSAND),
        ("MB/s of values", lambda row: row["per_second"], lambda row: 1e6 / row["settings"]["value_bytes"]),
        ("median latency, µs", lambda row: row["latency_ns"]["p50"], lambda row: _US_NS),
    )
    sizes: list[int] = []
    for axis, (label, value, unit) in zip(axes[0], parts, strict=True):
        for number, name in enumerate(dict.fromkeys(row["workload"] for row in rows)):
            mine = [row for row in rows if row["workload"] == name]
            sizes = [row["settings"]["value_bytes"] for row in mine]
            curve(axis, sizes, [value(row) for row in mine], [unit(row) for row in mine], name, COLOURS[number])
        plain_log(axis, "both")
        axis.set_xticks(sizes, [f"{size // _KIB}K" if size >= _KIB else str(size) for size in sizes], minor=False)
        axis.set_xlabel("bytes of a value")
        axis.set_ylabel(label)
    axes[0][0].legend(fontsize="small")
    save(figure, path)


def against_load(rows: Rows, path: Path) -> None:
    """Percentiles against the rate of arrivals, a picture for each workload; those of the longest run over time below."""
    loads = [row for row in rows if not _is_series(row)]
    names = list(dict.fromkeys(row["workload"] for row in loads))
    series = [row for row in rows if _is_series(row)]
    figure, axes = figure_of(1, len(names) + len(series))
    for axis, name in zip(axes[0], names, strict=False):
        mine = [row for row in loads if row["workload"] == name]
        rates = [row["settings"]["rate"] / _THOUSAND for row in mine]
        for number, percentile in enumerate(_PERCENTILES):
            points = [row["latency_ns"][percentile] for row in mine]
            curve(axis, rates, points, [_US_NS] * len(mine), f"{name} {percentile}", COLOURS[number])
        with_echo = [row for row in mine if AF_XDP_ECHO in row["limits"]]
        if with_echo:
            points = [row["limits"][AF_XDP_ECHO]["latency_ns"]["p50"] for row in with_echo]
            echoed = [row["settings"]["rate"] / _THOUSAND for row in with_echo]
            curve(axis, echoed, points, [_US_NS] * len(points), "AF_XDP echo p50", COLOURS[6])
        plain_log(axis, "y")
        axis.set_xlim(left=0)
        axis.set_title(f"{name}, Poisson arrivals", fontsize="medium")
        axis.set_xlabel("thousand arrivals a second")
        axis.set_ylabel("µs from when a request was due")
        axis.legend(fontsize="x-small")
    for axis, row in zip(axes[0][len(names) :], series, strict=True):
        over_time(axis, row)
    save(figure, path)


def over_time(axis: Any, row: dict[str, Any]) -> None:
    """Percentiles of each interval of a run."""
    series = row["series"]
    times = [number * series["interval_ns"] / 1e9 for number in range(len(series["count"]))]
    for number, percentile in enumerate(("p50", "p99")):
        values = [value / _US_NS or float("nan") for value in series[percentile]]
        axis.plot(times, values, label=percentile, color=COLOURS[number], linewidth=1)
    plain_log(axis, "y")
    axis.set_title(row["label"], fontsize="medium")
    axis.set_xlabel("seconds")
    axis.set_ylabel("µs")
    axis.legend(fontsize="x-small")


def live_bars(rows: Rows, path: Path) -> None:
    """Answered a second, ours and both echoes."""
    shown = [
        (name if name != row["workload"] else row["label"], found["per_second"], COLOURS[0 if name == row["workload"] else 1])
        for row in rows
        for name, found in row["live"].items()
    ]
    figure, axes = axes_beside(1, len(shown))
    horizontal_bars(axes[0], shown, _THOUSAND, "thousand answered a second")
    save(figure, path)


def _is_series(row: dict[str, Any]) -> bool:
    return row["runs"] == 1 and row["series"] is not None and len(row["series"]["count"]) >= 10
