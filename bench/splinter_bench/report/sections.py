"""The parts of the whole benchmark, ``scripts/bench-all``: what each measures, and how it is shown.

What they are is data, ``whole.toml``. A section's ``measure`` returns a JSON document; ``show`` makes blocks of a report from
that alone, so that a report can be written again from its JSON.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from itertools import product
from typing import Any

from splinter.errors import SplinterError
from splinter_bench import goals
from splinter_bench.experiments import benefit, suite
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.case import Case, run_case
from splinter_bench.experiments.runs import failures, limits
from splinter_bench.observations import Observations
from splinter_bench.progress import Progress
from splinter_bench.report import told
from splinter_bench.report.blocks import Block, Code, Paragraph
from splinter_bench.report.figures import figures_table
from splinter_bench.subjects import rivals
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.session import Session
from splinter_bench.subjects.target import Target

Document = dict[str, Any]
_QUICK_TENANTS, _QUICK_INSTALLS = 500, 50
_SECONDS = 0.2  # of each run of a case
_QUICK_PART = 10  # of the seconds of a long run
_SHAPE = ("depth", "rate", "tenants", "value_bytes")  # settings that rows have
_SERIES_INTERVALS_MIN = 10  # of a run that is drawn over time


@dataclass(frozen=True)
class Section:
    """``measure`` is called with whether it shall be quick, and with what to tell its progress; ``show`` with a document."""

    name: str
    title: str
    measure: Callable[[bool, Progress], Document]
    show: Callable[[Document], Sequence[Block]]


def _measure_suite(about: Document, is_quick: bool, progress: Progress) -> Document:
    """Splinter beside the AF_XDP echo and one rival, or none; with the figures that this section is to find.

    Raises :class:`SplinterError` when the rival is not installed.
    """
    settings = suite.Settings(**_options(about["suite"]))
    for rival in settings.rivals:
        if rival not in rivals.installed():
            raise SplinterError(f"{rival} is not installed")
    if is_quick:
        settings = replace(settings, runs=2, slices=2)
    with lab_server(max(os.sched_getaffinity(0))) as info:
        report = suite.measure(info, settings, progress)
    names = [name for found_by in settings.rivals or ("echo",) for name in goals.names_found_by(found_by)]
    figures = [figure.to_json() for figure in goals.figures_of(report.observations()) if figure.name in names]
    return {**report.to_json(), "figures": figures, "command": about["command"]}


def _measure_benefit(about: Document, is_quick: bool, progress: Progress) -> Document:
    bench = Bench(is_quick, rounds=1 if is_quick else None, say=progress)
    return benefit.document(bench) | {"command": about["command"]}


def _measure_goals(about: Document, is_quick: bool, progress: Progress) -> Document:
    bench = Bench(say=progress)
    if is_quick:
        bench = replace(bench, is_quick=True, tenants=_QUICK_TENANTS, installs=_QUICK_INSTALLS)
    names = sorted(name for found_by in about["goals"] for name in goals.names_found_by(found_by))
    found = goals.measure(names, bench)
    if not found.figures:
        raise SplinterError("; ".join(found.failures))
    command = shlex.join(["splinter", "bench", "goals", *(word for name in names for word in ("--only", name))])
    figures = [figure.to_json() for figure in found.figures.values()]
    return {"command": command, "figures": figures, "failures": found.failures}


def _show_goals(document: Document) -> list[Block]:
    failures = [Paragraph(f"Not measured: {failure}") for failure in document["failures"]]
    return [figures_table(document["figures"]), *failures, Code(document["command"])]


def _options(values: Document) -> Document:
    return {name: tuple(of) if isinstance(of, list) else of for name, of in values.items()}


def cases_of(about: Document) -> Iterator[tuple[str, Case]]:
    """The labels and cases of a section: each combination of what is a list, in its order."""
    for asked in about["cases"]:
        lists = {name: value if isinstance(value, list) else [value] for name, value in asked.items() if name != "label"}
        for values in product(*lists.values()):
            options: Document = {"seconds": _SECONDS} | _options(dict(zip(lists, values, strict=True)))
            case = Case(**options)
            most = about.get("stored_bytes_max", case.keys * case.value_bytes) // case.value_bytes
            yield asked["label"].format(**options), replace(case, keys=min(case.keys, most))


def _measure_cases(about: Document, is_quick: bool, progress: Progress) -> Document:
    """Make a lab and a server, measure each case, remove both. A case that cannot be measured leaves the others.

    Raises :class:`SplinterError` when no case succeeds.
    """
    found, failed, commands = Observations(), list[str](), list[str]()
    with (
        lab_server(max(os.sched_getaffinity(0))) as info,
        Session(info) as session,
        limits(session if about["echoes"] else None) as all_echoes,
    ):
        echoes = {name: all_echoes[name] for name in about["echoes"] if name in all_echoes}
        for label, full in cases_of(about):
            case = _shortened(full) if is_quick else full
            try:
                with Target.of_instance(info, case.tenants) as target:
                    one, workload = run_case(target, case, echoes, partial(_say, progress, label))
            except (SplinterError, ValueError) as error:
                failed.append(f"{label}: {error}")
                continue
            commands.append(case.command())
            if bad := _unexpected(one, workload.name, case):
                failed.append(f"{label}: {bad:,} requests failed")
            shape = {name: value for name, value in case.settings().items() if name in _SHAPE and value is not None}
            is_series = case.runs == 1 and len(one.series) >= _SERIES_INTERVALS_MIN
            place = {"label": label, "workload": workload.name, "is_series": is_series, **shape}
            found.rows += [place | row for row in one.rows]
            found.series += [{"label": label} | row for row in one.series if is_series]
    if not found.rows:
        raise SplinterError("; ".join(failed))
    return {"experiment": about["told"], **found.to_json(), "failures": failed, "command": "\n".join(commands)}


def _unexpected(found: Observations, workload: str, case: Case) -> int:
    """Requests that failed; in an open loop, whose rate may be more than the server takes, what is lost is a result."""
    lost = sum(row.get("lost", 0) for row in found.rows if row["subject"] == workload)
    return failures(found, workload) - (lost if case.rate else 0)


def _say(progress: Progress, label: str, text: str) -> None:
    progress(f"{label}: {text}")


def _shortened(case: Case) -> Case:
    return replace(case, runs=1, seconds=case.seconds / _QUICK_PART if case.seconds > 1 else _SECONDS / 2)


def promised() -> list[goals.Goal]:
    """The goals that the report tells of; those of scheduling are left to the experiments, ``scripts/experiments``."""
    return [goal for goal in goals.GOALS if goal.area != goals.SCHEDULING]


def described() -> list[Document]:
    """What ``whole.toml`` says of each section."""
    found: list[Document] = tomllib.loads(resources.files(__package__).joinpath("whole.toml").read_text("utf-8"))["sections"]
    return found


def _section(about: Document) -> Section:
    measures = {"suite": _measure_suite, "benefit": _measure_benefit, "cases": _measure_cases, "goals": _measure_goals}
    (measure,) = (measures[kind] for kind in measures if kind in about)
    show = partial(told.blocks, picture=about["picture"], text=about["text"]) if "picture" in about else _show_goals
    return Section(about["name"], about["title"], partial(measure, about), show)


SECTIONS = tuple(map(_section, described()))
