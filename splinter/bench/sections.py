"""The parts of the whole benchmark, ``scripts/bench-all``: what each measures, and how it is shown.

A section's ``measure`` returns a JSON document; ``show`` makes blocks of a report from that alone, so that a report can be
written again from its JSON. A further section is one line in SECTIONS.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from splinter.bench import benefit, benefit_picture, goals, rivals, suite_figures, suite_picture
from splinter.bench.benefit_cases import WAYS, Sizes
from splinter.bench.blocks import Block, Code, Paragraph, Picture, Table
from splinter.bench.figure import shown
from splinter.bench.local_server import lab_server
from splinter.bench.session import Session
from splinter.bench.suite import Progress, Settings
from splinter.bench.suite import measure as measure_suite

Document = dict[str, Any]
_QUICK_TENANTS, _QUICK_INSTALLS = 500, 50


@dataclass(frozen=True)
class Section:
    """``measure`` is called with whether it shall be quick, and with what to tell its progress."""

    name: str
    title: str
    measure: Callable[[bool, Progress], Document]
    show: Callable[[Document], Sequence[Block]]


def _measure_suite(is_quick: bool, progress: Progress) -> Document:
    settings = Settings(slices=5, rivals=rivals.installed())
    if is_quick:
        settings = replace(settings, runs=2, slices=2)
    with lab_server(_core()) as info:
        report = measure_suite(info, settings, progress)
    figures = [figure.to_json() for figure in suite_figures.figures_of(report)]
    return report.to_json() | {"figures": figures}


def _show_suite(document: Document) -> list[Block]:
    ratios = {(r["name"], r["depth"], r["ratio"]): r["median"] for r in document["ratios"]}
    rows = []
    for result in document["results"]:
        name, depth, latency = result["name"], result["depth"], result["latency_ns"]
        cells = [f"{latency[percentile]['median'] / 1000:.1f}" for percentile in ("p50", "p99", "p99.9")]
        echo = ratios.get((name, depth, "latency_over_echo")), ratios.get((name, depth, "throughput_of_echo"))
        ours = ratios.get((name, depth, "latency_over_ours")), ratios.get((name, depth, "throughput_of_ours"))
        versus = [
            f"{echo[0]:.2f} ×" if echo[0] else "",
            f"{echo[1]:.0%}" if echo[1] else "",
            f"{ours[0]:.1f} ×" if ours[0] else "",
            f"1/{1 / ours[1]:.1f}" if ours[1] else "",
        ]
        rows.append([name, str(depth), f"{result['per_second']['median']:,.0f}", *cells, *versus])
    header = [
        "",
        "depth",
        "per second",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "p50 / echo",
        "rate / echo",
        "p50 / ours",
        "rate / ours",
    ]
    others: dict[tuple[str, str], list[Document]] = {}
    for extra in document["extras"]:
        others.setdefault((extra["name"], str(extra["connections"])), []).append(extra)
    programs = [
        [
            *key,
            f"{statistics.median(e['per_second'] for e in found):,.0f}",
            f"{statistics.median(e['latency_ns']['p50'] for e in found) / 1000:.0f}",
        ]
        for key, found in others.items()
    ]
    configuration = "\n".join(f"{rival['version']}\n  {rival['command']}" for rival in document["rivals"].values())
    blocks: list[Block] = [
        Table(header, rows),
        Picture(
            "rates-and-latencies", "Rates and latencies beside the echo and the rivals", partial(suite_picture.draw, document)
        ),
    ]
    if programs:
        blocks += [Paragraph("By redis-benchmark:"), Table(["", "connections", "per second", "p50 µs"], programs)]
    if configuration:
        blocks += [Paragraph("The rivals, on the same core and the same veth pair:"), Code(configuration)]
    return blocks


def _measure_benefit(is_quick: bool, progress: Progress) -> Document:
    effort = benefit.Effort()
    if is_quick:
        effort = replace(effort, rounds=1, sizes=Sizes(steps=(1, 4, 16), records=(1, 4, 32), users=20))
    with lab_server(_core()) as info, Session(info) as session:
        return {"benefit": benefit.measure(session, effort, "redis" in rivals.installed(), progress)}


def _show_benefit(document: Document) -> list[Block]:
    rows = document["benefit"]
    asked = dict.fromkeys((row["case"], row["x"]) for row in rows)
    by_way = {(row["case"], row["x"], row["way"]): row for row in rows}
    tables: list[Block] = []
    for field, text, unit in (("time_ns", "µs for one question", 1e3), ("per_second", "thousand questions a second", 1e3)):
        lines = []
        for case, x in asked:
            found = [by_way.get((case, x, way)) for way in WAYS]
            lines.append([f"{case}, {x}", *(f"{row[field]['median'] / unit:,.1f}" if row else "" for row in found)])
        tables.append(Table([text, *WAYS], lines))
    return [*tables, Picture("benefit", "Code at the data against gets", lambda path: benefit_picture.draw(rows, path))]


def promised() -> list[goals.Goal]:
    """The goals that the report tells of; those of scheduling are left to the experiments, ``scripts/experiments``."""
    return [goal for goal in goals.GOALS if goal.area != "scheduling"]


def _measure_goals(is_quick: bool, progress: Progress) -> Document:
    effort = goals.Effort()
    if is_quick:
        counts = replace(effort.installs, tenants=_QUICK_TENANTS, installs=_QUICK_INSTALLS, rounds=1, lookups=1)
        effort = replace(
            effort,
            installs=counts,
            worker=replace(effort.worker, rounds=3),
            arithmetic=replace(effort.arithmetic, count=3),
            pushed=replace(effort.pushed, count=3),
            compiles=3,
            restarts=3,
        )
    of_suite = {*suite_figures.ECHO_FIGURES, *suite_figures.RIVAL_FIGURES}
    found = goals.measure({goal.figure for goal in promised()} - of_suite, effort, progress)
    return {"figures": [figure.to_json() for figure in found.figures.values()], "failures": found.failures}


def _show_goals(document: Document) -> list[Block]:
    rows = []
    for figure in document["figures"]:
        median, least, most = (shown(figure[what], figure["unit"]) for what in ("median", "min", "max"))
        parts = ", ".join(f"{name} {value:,.6g}" for name, value in figure["parts"].items())
        rows.append([figure["text"], median, f"{least} … {most}", parts])
    blocks: list[Block] = [Table(["figure", "median", "rounds", "made of"], rows)]
    return [*blocks, *(Paragraph(f"Not measured: {failure}") for failure in document["failures"])]


def _core() -> int:
    return max(os.sched_getaffinity(0))


SECTIONS = (
    Section("suite", "Splinter beside its limit and its rivals", _measure_suite, _show_suite),
    Section("benefit", "Code at the data against gets", _measure_benefit, _show_benefit),
    Section("goals", "Every other figure", _measure_goals, _show_goals),
)
