"""The parts of the whole benchmark, ``scripts/bench-all``: what each measures, and how it is shown.

A section's ``measure`` returns a JSON document; ``show`` makes blocks of a report from that alone, so that a report can be
written again from its JSON. A further section is one line in SECTIONS. Each is to take two minutes at most.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from splinter.errors import SplinterError
from splinter_bench import goals
from splinter_bench.experiments import benefit, suite
from splinter_bench.experiments.bench import Bench
from splinter_bench.progress import Progress
from splinter_bench.report import cases, told
from splinter_bench.report.blocks import Block, Code, Paragraph
from splinter_bench.report.figures import figures_table
from splinter_bench.subjects import rivals
from splinter_bench.subjects.local_server import lab_server

Document = dict[str, Any]
Measure = Callable[[bool, Progress], Document]  # called with whether it shall be quick, and with what to tell its progress
_OTHER_SECTIONS = ("echo", "redis", "memcached", "many", "installs")  # of goals.toml, that other sections find
_RIVAL_DEPTHS = (1,)  # besides theirs
_SLICES, _RIVAL_SLICES = 5, 4  # of each run
_QUICK_TENANTS, _QUICK_INSTALLS = 500, 50
_MANY_FIGURES = frozenset(goals.names_found_by("many"))
_INSTALL_FIGURES = frozenset(goals.names_found_by("installs"))


@dataclass(frozen=True)
class Section:
    """``show`` makes blocks of a report from a document."""

    name: str
    title: str
    measure: Measure
    show: Callable[[Document], Sequence[Block]]


def _measure_suite(rival: str | None, command: str, is_quick: bool, progress: Progress) -> Document:
    """Splinter beside the AF_XDP echo and one rival, or none; with the figures that this section is to find.

    Raises :class:`SplinterError` when the rival is not installed.
    """
    if rival is not None and rival not in rivals.installed():
        raise SplinterError(f"{rival} is not installed")
    settings = suite.Settings(slices=_SLICES)
    if rival is not None:
        settings = replace(settings, slices=_RIVAL_SLICES, rivals=(rival,), depths=_RIVAL_DEPTHS)
    if is_quick:
        settings = replace(settings, runs=2, slices=2)
    with lab_server(max(os.sched_getaffinity(0))) as info:
        report = suite.measure(info, settings, progress)
    names = goals.names_found_by(rival or "echo")
    figures = [figure.to_json() for figure in goals.figures_of(report.observations()) if figure.name in names]
    return {**report.to_json(), "command": command, "figures": figures}


def _measure_benefit(is_quick: bool, progress: Progress) -> Document:
    bench = Bench(is_quick, rounds=1 if is_quick else None, say=progress)
    return benefit.document(bench) | {"command": "splinter bench benefit --picture benefit.png"}


def promised() -> list[goals.Goal]:
    """The goals that the report tells of; those of scheduling are left to the experiments, ``scripts/experiments``."""
    return [goal for goal in goals.GOALS if goal.area != "scheduling"]


def _measure_goals(figures: frozenset[str], is_quick: bool, progress: Progress) -> Document:
    bench = Bench(say=progress)
    if is_quick:
        bench = replace(bench, is_quick=True, tenants=_QUICK_TENANTS, installs=_QUICK_INSTALLS)
    found = goals.measure(figures, bench)
    if not found.figures:
        raise SplinterError("; ".join(found.failures))
    command = shlex.join(["splinter", "bench", "goals", *(word for name in sorted(figures) for word in ("--only", name))])
    return {
        "command": command,
        "figures": [figure.to_json() for figure in found.figures.values()],
        "failures": found.failures,
    }


def _show_goals(document: Document) -> list[Block]:
    failures = [Paragraph(f"Not measured: {failure}") for failure in document["failures"]]
    return [figures_table(document["figures"]), *failures, Code(document["command"])]


def _remaining() -> frozenset[str]:
    """Figures of goals that no other section finds."""
    elsewhere = {name for found_by in _OTHER_SECTIONS for name in goals.names_found_by(found_by)}
    return frozenset(goal.figure for goal in promised()) - elsewhere


def _goals(name: str, title: str, figures: frozenset[str]) -> Section:
    return Section(name, title, partial(_measure_goals, figures), _show_goals)


def _told(name: str, title: str, measure: Measure, picture: str, text: str) -> Section:
    return Section(name, title, measure, partial(told.blocks, picture=picture, text=text))


def _beside(name: str, title: str, rival: str | None, command: str) -> Section:
    picture, text = f"beside-{rival or 'echo'}", f"Rates and latencies beside {rival or 'echo'}"
    return _told(name, title, partial(_measure_suite, rival, command), picture, text)


_ECHOES = "rates and latencies beside both echoes"
SECTIONS = (
    _beside("limit", "Splinter beside its limit", None, "splinter bench --lab --seconds 0.5"),
    _beside("redis", "Beside Redis", "redis", "splinter bench --lab --redis --depth 1 --seconds 0.4"),
    _beside("memcached", "Beside memcached", "memcached", "splinter bench --lab --memcached --depth 1 --seconds 0.4"),
    _told("benefit", "Code at the data against gets", _measure_benefit, "benefit", "Code at the data against gets"),
    _told("ycsb", "YCSB", cases.YCSB.measure, "ycsb", f"YCSB: {_ECHOES}"),
    _told("requests", "Kinds of requests", cases.REQUESTS.measure, "requests", f"Kinds of requests: {_ECHOES}"),
    _told("sizes", "Sizes of values", cases.SIZES.measure, "sizes", "Values from 16 bytes to 64 KiB"),
    _told("tenants", "Tenants and their skew", cases.TENANTS.measure, "tenants", "One tenant and many, evenly active and not"),
    _told("load", "Latency against load", cases.LOAD.measure, "load", "Latency against offered load, and over time"),
    _told("live", "Overload", cases.LIVE.measure, "live", "Answered a second under load from within the kernel"),
    _goals("goals", "Figures of the worker, the compiler and extensions", _remaining()),
    _goals("goals-tenants", "Ten thousand tenants", _MANY_FIGURES),
    _goals("goals-installs", "Installs beside gets", _INSTALL_FIGURES),
)
