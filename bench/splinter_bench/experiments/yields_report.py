"""``splinter bench yields``."""

from __future__ import annotations

import statistics
from typing import Any

from rich.table import Table

from splinter_bench.experiments.experiment import Document, Experiment, distinct, paired, refusals, rows
from splinter_bench.experiments.picture import line
from splinter_bench.experiments.yields import COMPILER, ECHO, LONG, MODES, NONE, SMALL, measure
from splinter_bench.figure import Figure, medians

_LOAD = 0.7  # where the paper shows it, and the bound is set
_US = 1e3
_PERCENTILES = ("p50", "p90", "p99")


def value(found: list[dict[str, Any]], field: str) -> float:
    """The median of a field over the rounds."""
    return float(statistics.median(row[field] for row in found if row[field] is not None))


def table(document: Document) -> Table:
    """Latencies of both kinds by load and mode."""
    made = Table("offered load", "a second", "", title="latencies in µs, medians of the rounds; measured", title_justify="left")
    for mode in MODES:
        for percentile in _PERCENTILES:
            made.add_column(f"{mode}, {percentile}", justify="right")
    made.add_column(f"{ECHO}, p99", justify="right")
    for load in distinct(document["runs"], "load"):
        for kind in (SMALL, LONG):
            cells = []
            for mode in MODES:
                found = rows(document, mode=mode, load=load, kind=kind)
                cells += [f"{value(found, f'{p}_ns') / _US:,.1f}" for p in _PERCENTILES]
            cells.append(f"{value(rows(document, mode=ECHO, load=load), 'p99_ns') / _US:,.1f}" if kind == SMALL else "")
            offered = value(rows(document, load=load, kind=kind), "offered")
            made.add_row(f"{load:.0%}", f"{offered:,.0f}", kind, *cells)
    return made


def draw(document: Document, figure: Any) -> None:
    """p99 and median of the small requests: measured on one core with the simulation beside it, simulated on more."""
    cores = [count for count in distinct(document["simulated"], "cores") if count > 1]
    places = figure.subplots(1, 1 + len(cores))
    loads = distinct(document["runs"], "load")
    for number, mode in enumerate(MODES):
        for percentile, width in (("p99_ns", 1.0), ("p50_ns", 0.4)):
            found = [value(rows(document, mode=mode, load=load, kind=SMALL), percentile) / _US for load in loads]
            line(places[0], number, loads, found, f"{mode}, {percentile[:3]}", alpha=width)
        for axes, count in zip(places, (1, *cores), strict=True):
            path = 0.0 if count > 1 else _path_ns(document)
            simulated = rows(document, "simulated", cores=count, mode=mode, kind=SMALL)
            x, y = [row["load"] for row in simulated], [(row["p99_ns"] + path) / _US for row in simulated]
            line(axes, number, x, y, f"{mode}, p99, simulated", simulated=True)
    found = [value(rows(document, mode=ECHO, load=load), "p99_ns") / _US for load in loads]
    line(places[0], len(MODES), loads, found, f"{ECHO}, p99")
    places[0].set_title("measured, one worker (dashed: simulated)")
    for axes, count in zip(places[1:], cores, strict=True):
        axes.set_title(f"simulated, {count} cores, at the server")
    for axes in places:
        axes.set(yscale="log", xlabel="load, share of saturation", ylabel="small requests, µs")
        axes.grid(alpha=0.3)
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")


def _path_ns(document: Document) -> float:
    """What network and client take: the measured median at the least load less the simulated one."""
    least = min(distinct(document["runs"], "load"))
    (simulated,) = rows(document, "simulated", cores=1, mode=COMPILER, kind=SMALL, load=least)
    return value(rows(document, mode=COMPILER, load=least, kind=SMALL), "p50_ns") - float(simulated["p50_ns"])


def figures(document: Document) -> list[Figure]:
    """``yields``: p90 of the small requests without yields over with the compiler's.

    Not their p99: a machine that stands still for one or two hundredths of the time has a p99 of its own, with whatever
    yields. p99 stands among the parts.
    """
    load = min(distinct(document["runs"], "load"), key=lambda load: abs(load - _LOAD))
    at = {"load": load, "kind": SMALL}
    p90, left_out = paired(document, {"mode": NONE, **at}, {"mode": COMPILER, **at}, "p90_ns")
    p99, _ = paired(document, {"mode": NONE, **at}, {"mode": COMPILER, **at}, "p99_ns")
    text = f"p90 of small requests at {load:.0%} of saturation: without yields over with the compiler's"
    parts = medians(without_p90_ns=[a for a, _ in p90], compiler_p90_ns=[b for _, b in p90], p99_ratio=[a / b for a, b in p99])
    parts |= medians(echo_p99_ns=[row["p99_ns"] for row in rows(document, mode=ECHO, load=load)])
    return [Figure("yields", text, "×", tuple(a / b for a, b in p90), parts, left_out=left_out)]


def notes(document: Document) -> list[str]:
    """Saturation and service times, which the simulation was fed with, and what was refused."""
    service = document["service"]
    found = [
        f"saturation, which the loads are shares of: {service['saturation']:,.0f} a second without yields; with the compiler's"
        f" {service['saturation_yields']:,.0f}",
        f"alone, a small request takes {service['small_ns'] / _US:.2f} µs of the worker's core, a long one"
        f" {service['long_ns'] / _US:.0f} µs without yields, {service['long_author_ns'] / _US:.0f} with the author's,"
        f" {service['long_compiler_ns'] / _US:.0f} with the compiler's, in {service['slices']:.0f} slices",
    ]
    for load in distinct(document["runs"], "load"):
        for mode in MODES:
            asked = rows(document, mode=mode, load=load)
            errors = [row["errors"] for row in asked if row["kind"] == SMALL]  # the same stand in both rows
            found += refusals(f"{mode} at {load:.0%}", errors, sum(row["count"] for row in asked))
    return found


EXPERIMENT = Experiment("yields", measure, table, draw, figures, notes=notes)
