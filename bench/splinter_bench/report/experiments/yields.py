"""``splinter bench yields``."""

from __future__ import annotations

from splinter_bench.experiments.experiment import Document, distinct, paired, refusals, rows
from splinter_bench.experiments.yields import AUTHOR, COMPILER, ECHO, LONG, MODES, NONE, SMALL, measure
from splinter_bench.figure import Figure, medians
from splinter_bench.report.charts import DASHED, Charts, Curves
from splinter_bench.report.experiments.experiment import Experiment
from splinter_bench.report.experiments.lines import US_NS, lines, median, simulated
from splinter_bench.report.palette import AF_XDP_ECHO, OTHERWISE, SPLINTER, WITHOUT
from splinter_bench.table import Table

_LOAD = 0.7  # where the paper shows it, and the bound is set
_PERCENTILES = ("p50", "p90", "p99")
_SUBJECTS = {NONE: WITHOUT, AUTHOR: OTHERWISE, COMPILER: SPLINTER}


def table(document: Document) -> Table:
    """Latencies of both kinds by load and mode."""
    made = []
    for load in distinct(document["runs"], "load"):
        for kind in (SMALL, LONG):
            at = {"load": load, "kind": kind}
            cells = [f"{median(document, f'{p}_ns', mode=mode, **at):,.1f}" for mode in MODES for p in _PERCENTILES]
            echo = f"{median(document, 'p99_ns', mode=ECHO, load=load):,.1f}" if kind == SMALL else ""
            made.append([f"{load:.0%}", f"{median(document, 'offered', 1, **at):,.0f}", kind, *cells, echo])
    header = ["offered load", "a second", "", *(f"{mode}, {p}" for mode in MODES for p in _PERCENTILES), f"{ECHO}, p99"]
    return Table(header, made, "latencies in µs, medians of the rounds; measured")


def charts(document: Document) -> Charts:
    """p50 and p99 of the small requests: measured on one core with the simulation beside it, simulated on more."""
    drawn = {
        f"{percentile}, measured{' and simulated' * (percentile == 'p99')}, one worker": lines(
            document, _SUBJECTS | {ECHO: AF_XDP_ECHO}, "load", f"{percentile}_ns", kind=SMALL
        )
        for percentile in ("p50", "p99")
    }
    for count in distinct(document["simulated"], "cores"):
        plus_ns = _path_ns(document) if count == 1 else 0.0
        curves = simulated(document, _SUBJECTS, "load", "p99_ns", DASHED, plus_ns=plus_ns, cores=count, kind=SMALL)
        title = f"p99, simulated, {count} cores, at the server" if count > 1 else "p99, measured and simulated, one worker"
        drawn[title] = [*drawn.get(title, []), *curves]
    made = [
        Curves("load, share of saturation", f"small requests' {title[:3]}, µs", curves, title, width=1.3)
        for title, curves in drawn.items()
    ]
    return [row for row in (made[:2], made[2:]) if row]


def _path_ns(document: Document) -> float:
    """What network and client take: the measured median at the least load less the simulated one."""
    at = {"mode": COMPILER, "kind": SMALL, "load": min(distinct(document["runs"], "load"))}
    return median(document, "p50_ns", 1, **at) - median(document, "p50_ns", 1, "simulated", cores=1, **at)


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
        f"alone, a small request takes {service['small_ns'] / US_NS:.2f} µs of the worker's core, a long one"
        f" {service['long_ns'] / US_NS:.0f} µs without yields, {service['long_author_ns'] / US_NS:.0f} with the author's,"
        f" {service['long_compiler_ns'] / US_NS:.0f} with the compiler's, in {service['slices']:.0f} slices",
    ]
    for load in distinct(document["runs"], "load"):
        for mode in MODES:
            asked = rows(document, mode=mode, load=load)
            errors = [row["errors"] for row in asked if row["kind"] == SMALL]  # the same stand in both rows
            found += refusals(f"{mode} at {load:.0%}", errors, sum(row["count"] for row in asked))
    return found


EXPERIMENT = Experiment("yields", measure, table, charts, figures, notes=notes)
