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
from splinter_bench.experiments import benefit
from splinter_bench.experiments.benefit_cases import Sizes
from splinter_bench.progress import Progress
from splinter_bench.report import benefit as benefit_report
from splinter_bench.report import cases, suite
from splinter_bench.report.blocks import Block, Code, Paragraph
from splinter_bench.report.figures import figures_table
from splinter_bench.subjects import rivals
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.session import Session

Document = dict[str, Any]
_OTHER_SECTIONS = ("echo", "redis", "memcached", "many", "installs")  # of goals.toml, that other sections find
_QUICK_TENANTS, _QUICK_INSTALLS = 500, 50
_MANY_FIGURES = frozenset(goals.names_found_by("many"))
_INSTALL_FIGURES = frozenset(goals.names_found_by("installs"))


@dataclass(frozen=True)
class Section:
    """``measure`` is called with whether it shall be quick, and with what to tell its progress."""

    name: str
    title: str
    measure: Callable[[bool, Progress], Document]
    show: Callable[[Document], Sequence[Block]]


def _measure_benefit(is_quick: bool, progress: Progress) -> Document:
    effort = benefit.Effort()
    if is_quick:
        effort = replace(effort, rounds=1, sizes=Sizes(steps=(1, 4, 16), records=(1, 4, 32), users=200))
    with lab_server(_core()) as info, Session(info) as session:
        rows = benefit.measure(session, effort, "redis" in rivals.installed(), progress)
    return {"command": "splinter bench benefit --picture benefit.png", "benefit": rows}


def promised() -> list[goals.Goal]:
    """The goals that the report tells of; those of scheduling are left to the experiments, ``scripts/experiments``."""
    return [goal for goal in goals.GOALS if goal.area != "scheduling"]


def _measure_goals(figures: frozenset[str], is_quick: bool, progress: Progress) -> Document:
    effort = goals.Effort()
    if is_quick:
        counts = replace(effort.installs, tenants=_QUICK_TENANTS, installs=_QUICK_INSTALLS, lookups=1)
        effort = replace(
            effort,
            installs=counts,
            worker=replace(effort.worker, rounds=3),
            arithmetic=replace(effort.arithmetic, count=3),
            pushed=replace(effort.pushed, count=3),
            compiles=3,
            restarts=3,
        )
    found = goals.measure(figures, effort, progress)
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


def _core() -> int:
    return max(os.sched_getaffinity(0))


def _remaining() -> frozenset[str]:
    """Figures of goals that no other section finds."""
    elsewhere = {name for found_by in _OTHER_SECTIONS for name in goals.names_found_by(found_by)}
    return frozenset(goal.figure for goal in promised()) - elsewhere


def _goals(name: str, title: str, figures: frozenset[str]) -> Section:
    return Section(name, title, partial(_measure_goals, figures), _show_goals)


def _of(name: str, title: str, made_of: Any) -> Section:
    return Section(name, title, made_of.measure, made_of.show)


SECTIONS = (
    _of("limit", "Splinter beside its limit", suite.LIMIT),
    _of("redis", "Beside Redis", suite.REDIS),
    _of("memcached", "Beside memcached", suite.MEMCACHED),
    Section("benefit", "Code at the data against gets", _measure_benefit, benefit_report.show),
    _of("ycsb", "YCSB", cases.YCSB),
    _of("requests", "Kinds of requests", cases.REQUESTS),
    _of("sizes", "Sizes of values", cases.SIZES),
    _of("tenants", "Tenants and their skew", cases.TENANTS),
    _of("load", "Latency against load", cases.LOAD),
    _of("live", "Overload", cases.LIVE),
    _goals("goals", "Figures of the worker, the compiler and extensions", _remaining()),
    _goals("goals-tenants", "Ten thousand tenants", _MANY_FIGURES),
    _goals("goals-installs", "Installs beside gets", _INSTALL_FIGURES),
)
