"""``splinter bench misbehaviour``."""

from __future__ import annotations

import statistics
from typing import Any

from rich.table import Table

from splinter_bench.experiments.experiment import Document, Experiment, distinct, rows
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
from splinter_bench.experiments.picture import line
from splinter_bench.figure import Figure, medians

_US = 1e3


def table(document: Document) -> Table:
    """Throughput and p99 of the good requests."""
    title = "good requests; medians of the rounds; measured, one worker"
    made = Table("", "never end", "a second", "of none", "p50 µs", "p99 µs", "p99.9 µs", title=title, title_justify="left")
    for mode in MODES:
        for fraction in distinct(document["runs"], "fraction"):
            rate = statistics.median(throughput(document, mode, fraction))
            latencies = rows(document, mode=mode, fraction=fraction, loop="open")
            cells = [f"{statistics.median(row[p] for row in latencies) / _US:,.1f}" for p in ("p50_ns", "p99_ns", "p999_ns")]
            kept = statistics.median(share(document, mode, fraction))
            made.add_row(mode, f"{fraction:g}", f"{rate:,.0f}", f"{kept:.1f} %", *cells)
    return made


def draw(document: Document, figure: Any) -> None:
    """Throughput and p99 against the fraction, measured and simulated."""
    cores = distinct(document["simulated"], "cores")
    places = figure.subplots(1, 2)
    fractions = distinct(document["runs"], "fraction")
    ticks = range(len(fractions))
    for number, mode in enumerate(MODES):
        kept = [statistics.median(share(document, mode, fraction)) for fraction in fractions]
        line(places[0], number, list(ticks), kept, f"{mode}, measured, one worker")
        p99 = [statistics.median(r["p99_ns"] for r in rows(document, mode=mode, fraction=f, loop="open")) for f in fractions]
        line(places[1], number, list(ticks), [value / _US for value in p99], f"{mode}, measured, one worker")
        for place, count in enumerate(cores):
            simulated = rows(document, "simulated", mode=mode, cores=count)
            rates = [100 * row["per_second"] / simulated[0]["per_second"] for row in simulated]
            label, alpha = f"{mode}, simulated, {count} cores", 1.0 - 0.5 * place
            line(places[0], number, list(ticks), rates, label, simulated=True, alpha=alpha)
            line(places[1], number, list(ticks), [r["p99_ns"] / _US for r in simulated], label, simulated=True, alpha=alpha)
    places[0].set(ylabel="throughput of good requests, % of none", ylim=(0, 105))
    places[1].set(ylabel="p99 of good requests at half the saturation, µs", yscale="log")
    for axes in places:
        axes.set_xticks(list(ticks), [f"{fraction:g}" for fraction in fractions])
        axes.set_xlabel("fraction of invokes that never end")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")


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


EXPERIMENT = Experiment("misbehaviour", measure, table, draw, figures, notes=notes)
