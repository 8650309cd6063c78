"""``splinter bench misbehaviour``."""

from __future__ import annotations

import statistics
from dataclasses import replace

from splinter_bench.experiments.experiment import Document, distinct, rows
from splinter_bench.experiments.misbehaviour import (
    BOUND_AT,
    MODES,
    PREEMPT,
    REFERENCE_PER_SECOND,
    WATCHDOG,
    at_reference,
    measure,
    of_what_is_left,
    share,
    throughput,
)
from splinter_bench.figure import Figure, medians
from splinter_bench.report.charts import DASHED, DOTTED, NUMBER, Charts, Curves, alone
from splinter_bench.report.experiments.experiment import Experiment
from splinter_bench.report.experiments.lines import lines, median, simulated
from splinter_bench.report.palette import SPLINTER, WITHOUT
from splinter_bench.table import Table


def table(document: Document) -> Table:
    """Throughput and p99 of the good requests."""
    made = []
    for mode in MODES:
        for fraction in distinct(document["runs"], "fraction"):
            at = {"mode": mode, "fraction": fraction}
            rates = f"{statistics.median(throughput(document, **at)):,.0f}", f"{statistics.median(share(document, **at)):.1f} %"
            latencies = [f"{median(document, p, loop='open', **at):,.1f}" for p in ("p50_ns", "p99_ns", "p999_ns")]
            made.append([mode, f"{fraction:g}", *rates, *latencies])
    header = ["", "never end", "a second", "of none", "p50 µs", "p99 µs", "p99.9 µs"]
    return Table(header, made, "good requests; medians of the rounds; measured, one worker")


def charts(document: Document) -> Charts:
    """Throughput and p99 against the fraction, measured and simulated."""
    subjects = {PREEMPT: SPLINTER, WATCHDOG: WITHOUT}
    p99 = lines(document, subjects, "fraction", "p99_ns", loop="open")
    kept = [
        replace(curve, points=[alone(statistics.median(share(document, curve.label, fraction))) for fraction in curve.xs])
        for curve in p99
    ]
    for count, style in zip(distinct(document["simulated"], "cores"), (DASHED, DOTTED), strict=False):
        how = {"style": style, "name": f"simulated, {count} cores", "cores": count}
        p99 += simulated(document, subjects, "fraction", "p99_ns", **how)
        for curve in simulated(document, subjects, "fraction", "per_second", **how):
            kept.append(replace(curve, points=[alone(100 * rate / curve.points[0][1]) for _, rate, _ in curve.points]))
    x_label = "fraction of invokes that never end"
    rate = Curves(x_label, "good requests served, % of none", kept, is_log=False, y_max=105, width=1.4, step=NUMBER)
    return [[rate, Curves(x_label, "p99 of good requests at half load, µs", p99, width=1.4, step=NUMBER)]]


def figures(document: Document) -> list[Figure]:
    """Throughput that is left, and how long a stuck worker's core stood still."""
    found = []
    for name, mode, how, what in (
        ("preemption", PREEMPT, of_what_is_left, "of what is left when each of these takes its limit"),
        ("watchdog", WATCHDOG, at_reference, f"of that without, on a worker that serves {REFERENCE_PER_SECOND:,} a second"),
    ):
        # Of all runs, also those that had no peace: what was asked is not what came of it.
        some = [row["fraction"] for row in document["runs"] if row["mode"] == mode and row["fraction"] > 0]
        fraction = BOUND_AT[mode] if BOUND_AT[mode] in some else min(some)
        text = f"{mode}: throughput of good requests while {fraction:g} of all never end, {what}"
        parts = medians(without=throughput(document, mode, 0.0), per_second=throughput(document, mode, fraction))
        parts |= medians(share=share(document, mode, fraction))
        values, left_out = kept(how(document, mode, fraction), document, mode, fraction)
        found.append(Figure(f"misbehaviour-{name}", text, "%", values, parts, left_out=left_out))
    rounds = [row.get("replacement_ms", []) for row in rows(document, mode=WATCHDOG, fraction=fraction, loop="closed")]
    longest = tuple(max(times) for times in rounds if times)
    if longest:
        text = (
            f"from a stuck worker's last heartbeat until its successor serves, the longest of a round, {fraction:g} never end"
        )
        times = [time for of_round in rounds for time in of_round]
        parts = medians(median_ms=times) | {"replaced": len(times), "longest_ms": max(times)}
        found.append(Figure("replacement", text, "ms", longest, parts, left_out=left_out))
    return found


def kept(values: list[float], document: Document, mode: str, fraction: float) -> tuple[tuple[float, ...], int]:
    """The values of slices that had peace, and how many others there were; of all, if none had."""
    slices = [row for row in document["runs"] if (row["mode"], row["fraction"], row["loop"]) == (mode, fraction, "closed")]
    return tuple(values), sum(not row.get("is_still", True) for row in slices)


def notes(document: Document) -> list[str]:
    """What the watchdog did."""
    return [
        f"an invoke may use {document['settings']['task_milliseconds_max']} ms of CPU time",
        *(
            f"the watchdog alone, up to {fraction} never end: {found['replaced']} workers replaced, median "
            f"{found['replacement_ms_median']} ms, longest {found['replacement_ms_max']} ms after the last heartbeat"
            for fraction, found in document["watchdog"][WATCHDOG].items()
            if found["replaced"]
        ),
    ]


EXPERIMENT = Experiment("misbehaviour", measure, table, charts, figures, notes=notes)
