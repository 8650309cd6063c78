"""Charts of the sections whose rows are runs of ``splinter bench run``, and what their captions say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splinter_bench.experiments.runs import AF_XDP_ECHO
from splinter_bench.report.charts import DASHED, Bars, Charts, Curve, Curves, Dots, Ends, alone, beyond_limits, ends
from splinter_bench.report.palette import SPLINTER, subject

Rows = list[dict[str, Any]]
Told = tuple[Charts, str]  # what is drawn, and its caption
_US_NS = _THOUSAND = 1e3
_KIB = 1024
_PERCENTILES = ("p50", "p99", "p99.9")
_RUNS = "Medians of the runs; whiskers and bands from the smallest to the largest run."
_BEYOND = (
    "An echo stands below Splinter in {}. Both are medians of runs that took turns on a machine whose speed changes within "
    "seconds, and with many requests under way both wait for the one core of the load generator. The table has the ratios of "
    "runs that were neighbours."
)
_SATURATED = "A band over decades: some runs kept up with the rate; in others, requests waited for up to the length of the run."


def caption(*beyond: str) -> str:
    """How to read bars and dots; what to think of rows in which a limit stands below what it limits."""
    return " ".join([_RUNS, *([_BEYOND.format("; ".join(beyond))] if beyond else [])])


def rates_and_latencies(rows: Rows) -> Told:
    """Each case's rate and p50, beside the echoes'."""
    rates, latencies = (
        [
            (row["label"], {subject(row["label"]): value(row), **{name: value(row["limits"][name]) for name in row["limits"]}})
            for row in rows
        ]
        for value in (_rate, _p50)
    )
    beyond = dict.fromkeys([*beyond_limits(rates), *beyond_limits(latencies, is_more_better=False)])
    return [[Bars("thousand a second", rates), Dots("p50 latency, µs", latencies)]], caption(*beyond)


def against_size(rows: Rows) -> Told:
    """Rate, megabytes a second and p50 against the bytes of a value; a curve for each operation."""
    parts: tuple[tuple[str, Callable[[dict[str, Any]], Ends]], ...] = (
        ("thousand a second", _rate),
        ("MB/s of values", lambda row: ends(row["per_second"], 1e6 / row["settings"]["value_bytes"])),
        ("p50 latency, µs", _p50),
    )
    charts = []
    for label, value in parts:
        curves = []
        for name, style in zip(dict.fromkeys(row["workload"] for row in rows), ("-", DASHED), strict=False):
            mine = [row for row in rows if row["workload"] == name]
            xs = [row["settings"]["value_bytes"] for row in mine]
            curves.append(Curve(name, subject(name), xs, [value(row) for row in mine], style))
        charts.append(Curves("bytes of a value", label, curves, step=_bytes))
    return [charts], _RUNS


def against_load(rows: Rows) -> Told:
    """Percentiles against the rate of arrivals, a row for each workload; those of the longest run over time below."""
    loads = [row for row in rows if not _is_series(row)]
    charts: list[list[Curves]] = []
    for name in dict.fromkeys(row["workload"] for row in loads):
        mine = [row for row in loads if row["workload"] == name]
        with_echo = [row for row in mine if AF_XDP_ECHO in row["limits"]]
        charts.append([])
        for percentile in _PERCENTILES:
            curves = [_percentile(SPLINTER, mine, [row["latency_ns"] for row in mine], percentile)]
            echoed = [row["limits"][AF_XDP_ECHO]["latency_ns"] for row in with_echo]
            curves += [_percentile(AF_XDP_ECHO, with_echo, echoed, percentile)] if with_echo else []
            label = f"{percentile} since requests were due, µs"
            charts[-1].append(Curves("thousand arrivals a second, Poisson", label, curves, f"{name}, {percentile}"))
    for row in rows:
        if _is_series(row):
            series = row["series"]
            times = [number * series["interval_ns"] / 1e9 for number in range(len(series["count"]))]
            charts.append([])
            for percentile in ("p50", "p99"):
                points = [alone(value / _US_NS or float("nan")) for value in series[percentile]]
                curve = Curve(SPLINTER, SPLINTER, times, points, has_markers=False)
                charts[-1].append(Curves("seconds", f"{percentile} of each interval, µs", [curve], row["label"]))
    return charts, f"{_RUNS} {_SATURATED}"


def answered_live(rows: Rows) -> Told:
    """Answered a second, ours and both echoes."""
    shown = [
        (row["label"] if name == row["workload"] else name, {subject(name): ends(found["per_second"], _THOUSAND)})
        for row in rows
        for name, found in row["live"].items()
    ]
    return [[Bars("thousand answered a second", shown)]], _RUNS


def _bytes(size: float) -> str:
    return f"{size:g}" if size < _KIB else f"{size / _KIB:g}K"


def _rate(row: dict[str, Any]) -> Ends:
    return ends(row["per_second"], _THOUSAND)


def _p50(row: dict[str, Any]) -> Ends:
    return ends(row["latency_ns"]["p50"], _US_NS)


def _percentile(name: str, rows: Rows, latencies: list[dict[str, Any]], percentile: str) -> Curve:
    rates = [row["settings"]["rate"] / _THOUSAND for row in rows]
    return Curve(name, name, rates, [ends(latency[percentile], _US_NS) for latency in latencies])


def _is_series(row: dict[str, Any]) -> bool:
    return row["runs"] == 1 and row["series"] is not None and len(row["series"]["count"]) >= 10
