"""``splinter bench locality``."""

from __future__ import annotations

import statistics
from typing import Any

from splinter_bench.experiments.experiment import Document, distinct, paired, refusals, rows
from splinter_bench.experiments.locality import AWAY, BOTH, HOME, HOME_SHORT, MODES, SKEWS, STEALING, measure
from splinter_bench.figure import Figure, medians
from splinter_bench.report.charts import DASHED, Charts, Curves
from splinter_bench.report.experiments.experiment import Experiment
from splinter_bench.report.experiments.lines import US_NS, lines, median, simulated
from splinter_bench.report.palette import OTHERWISE, SECOND, SPLINTER, THIRD, WITHOUT
from splinter_bench.table import Table

_SUBJECTS = dict(zip(MODES, (OTHERWISE, WITHOUT, SPLINTER, SECOND, THIRD), strict=True))  # Splinter steals
_LOAD, _SKEW = 0.6, 0.99  # where the bound is set
_WAIT_MIN = 0.01  # of a request's own time: what is below is no wait that could be measured
_COMPARED = {"stealing": STEALING, "steering-away": AWAY, "stealing-and-steering-away": BOTH}  # with locality alone


def table(document: Document) -> Table:
    """Latencies by skew, load and mode."""
    columns = [(mode, percentile) for mode in MODES for percentile in ("p50", "p99")]
    cells = []
    for skew in distinct(document["runs"], "skew"):
        for load in distinct(document["runs"], "load"):
            at = {"skew": skew, "load": load}
            latencies = [f"{median(document, f'{percentile}_ns', mode=mode, **at):,.0f}" for mode, percentile in columns]
            cells.append(
                [f"{skew:g}", f"{load:.0%}", f"{median(document, 'offered', 1, mode=MODES[0], **at):,.0f}", *latencies]
            )
    header = ["skew", "load", "a second", *(", ".join(column) for column in columns)]
    return Table(header, cells, "latencies in µs, medians of the rounds; measured, two workers")


def charts(document: Document) -> Charts:
    """p99 for the largest skew: measured on two workers beside the simulation, simulated on more."""
    skew = max(distinct(document["runs"], "skew"))
    made = []
    for number, count in enumerate(distinct(document["simulated"], "cores")):
        curves = simulated(document, _SUBJECTS, "load", "p99_ns", DASHED, cores=count, skew=skew)
        title = f"simulated, {count} cores"
        if number == 0:
            curves = lines(document, _SUBJECTS, "load", "p99_ns", skew=skew) + curves
            title = f"measured and simulated, {count} workers"
        made.append(Curves("load, share of what the cores can do", "p99, µs", curves, f"{title}, skew {skew}", width=1.15))
    return [made]


def _bound_at(document: Document) -> tuple[float, float]:
    """The skew and the load, of those measured, that are nearest to where the bound is set."""
    skew = min(distinct(document["runs"], "skew"), key=lambda skew: abs(skew - _SKEW))
    load = min(distinct(document["runs"], "load"), key=lambda load: abs(load - _LOAD))
    return skew, load


def figures(document: Document) -> list[Figure]:
    """What the slowest tenth waits for with locality alone, over with stealing (``stealing``), with steering away, with both.

    Waits, since a request's own time is the same for all; of the slowest tenth, since a machine that stands still for one or
    two hundredths of the time has a p99 of its own, whoever takes whose requests. p99 stands among the parts.
    """
    skew, load = _bound_at(document)
    measured, found = distinct([row for row in document["runs"] if "p90_ns" in row], "mode"), []
    request_ns = document["service"]["request_ns"]
    for name, mode in _COMPARED.items():
        if mode not in measured:
            continue
        at: dict[str, Any] = {"skew": skew, "load": load}
        p90, left_out = paired(document, {"mode": HOME, **at}, {"mode": mode, **at}, "p90_ns")
        p99, _ = paired(document, {"mode": HOME, **at}, {"mode": mode, **at}, "p99_ns")
        text = f"wait of the slowest tenth, two workers, skew {skew}, {load:.0%} load: locality alone over with {mode}"
        parts = medians(alone_p90_ns=[a for a, _ in p90], other_p90_ns=[b for _, b in p90], p99_ratio=[a / b for a, b in p99])
        waits = [tuple(max(value - request_ns, _WAIT_MIN * request_ns) for value in pair) for pair in p90]
        found.append(Figure(name, text, "×", tuple(a / b for a, b in waits), parts, left_out=left_out))
    return found


def notes(document: Document) -> list[str]:
    """The set-up's own figures, and what the simulation says of the same set-up."""
    shares = [row["client_share"] for row in document["runs"]]
    hot = ", ".join(f"{share:.0%} (skew {skew})" for skew, share in document["settings"]["hot_share"].items())
    said = [
        f"a request takes {document['service']['request_ns'] / US_NS:.1f} µs of a core; the client took {min(shares):.0%} to "
        f"{max(shares):.0%} of its CPU, in the median {statistics.median(shares):.0%}; home to the last core are {hot} of the "
        "requests",
    ]
    skew, load = _bound_at(document)
    simulated = {row["mode"]: row for row in rows(document, "simulated", cores=2, skew=skew, load=load)}
    if simulated:
        p99 = {mode: row["p99_ns"] for mode, row in simulated.items()}
        said.append(
            f"simulated, with skew {skew} at {load:.0%}: p99 of locality alone {p99[HOME] / p99[STEALING]:.2f} × that with "
            f"stealing; {p99[HOME_SHORT] / p99[STEALING]:.2f} × if it took as few packets at a time as with stealing"
        )
    if all("p90_ns" in row for row in simulated.values()) and simulated:
        request_ns = document["service"]["request_ns"]
        waits = {mode: row["p90_ns"] - request_ns for mode, row in simulated.items()}
        said.append(f"simulated, the slowest tenth waits {waits[HOME] / waits[STEALING]:.2f} × as long with locality alone")
    for mode in distinct(document["runs"], "mode"):
        asked = [row for row in document["runs"] if row["mode"] == mode and "errors" in row]
        said += refusals(f"{mode}, over all loads", [row["errors"] for row in asked], sum(row["count"] for row in asked))
    return said


EXPERIMENT = Experiment("locality", measure, table, charts, figures, tuple(map(str, SKEWS)), notes)
