"""``splinter bench extensions`` and ``splinter bench goals``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from splinter.bench.figure import Figure, otherwise, shown
from splinter.bench.machine import machine, versions
from splinter.bench.progress import progress
from splinter.limits import TENANTS_MAX

if TYPE_CHECKING:  # the worker and the compiler are loaded only when they are measured
    from splinter.bench.goals import Effort, Goal, Outcome

_SHORT = 1  # exit status when a goal is not reached, or a measurement failed
_TENANTS_DEFAULT, _TENANTS_MAX = 10_000, TENANTS_MAX - 16  # a few more make the requests
_INSTALLS_DEFAULT = 1000
_RIVALS_SLICES = 3  # of each run: there are many measurements
_WIDTH_MIN = 120  # where output is no terminal
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("extensions")(extensions)
    app.command("goals")(show_goals)


def extensions(
    tenants: Annotated[int, typer.Option(help="With an extension each.", min=1, max=_TENANTS_MAX)] = _TENANTS_DEFAULT,
    installs: Annotated[int, typer.Option(help="Beside another tenant's gets.", min=1)] = _INSTALLS_DEFAULT,
    rounds: Annotated[
        int | None, typer.Option(help="Of each figure; by default as many as it needs to stand still.", min=1)
    ] = None,
    json_output: _Json = False,
) -> None:
    """Measure extensions: compiling, installing, running; in a lab and with servers of its own.

    Each figure is the median of its rounds; beside it stands what it was computed from.
    """
    from splinter.bench import goals

    effort = goals.Effort(installs=goals.installs.Counts(tenants=tenants, installs=installs))
    if rounds is not None:
        effort = _with_rounds(effort, rounds)
    names = [goal.figure for goal in goals.chosen([goals.EXTENSIONS])]
    with progress(goals.steps(names, effort)) as say:
        found = goals.measure(names, effort, say)
    figures = list(found.figures.values())
    _tell(found.failures)
    if json_output:
        print(json.dumps({**_circumstances(), "figures": [figure.to_json() for figure in figures]}, indent=1))
    else:
        table = Table("", "median", "rounds from", "to", "made of", title="medians of the rounds", title_justify="left")
        for figure in figures:
            ends = (shown(min(figure.values), figure.unit), shown(max(figure.values), figure.unit))
            table.add_row(figure.text, shown(figure.median, figure.unit), *ends, _parts(figure))
        _console().print(table)
    if found.failures:
        raise typer.Exit(_SHORT)


def show_goals(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="One goal, figure or area; may be given several times.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Show names and bounds, measure nothing.")] = False,
    json_output: _Json = False,
) -> None:
    """Measure what Splinter promises, and say whether it holds; exit status 1 when something falls short.

    Takes some minutes. Makes labs and servers of its own and removes them. Run it on a machine that does nothing else.
    """
    from splinter.bench import goals

    selected = goals.chosen(only or [])
    if list_only:
        _list(selected, json_output)
        return
    effort = goals.Effort(suite=goals.Settings(slices=_RIVALS_SLICES))
    names = [goal.figure for goal in selected]
    with progress(goals.steps(names, effort)) as say:
        found = goals.measure(names, effort, say)
    outcomes = [goals.Outcome(goal, found.figures.get(goal.figure)) for goal in selected]
    _tell(found.failures)
    holds = all(outcome.holds for outcome in outcomes)
    if json_output:
        document = {**_circumstances(), "goals": [outcome.to_json() for outcome in outcomes], "holds": holds}
        print(json.dumps(document, indent=1))
    else:
        _console().print(_table(outcomes))
        for against in dict.fromkeys(figure.against for figure in found.figures.values() if figure.against):
            print(against)
    if not holds:
        raise typer.Exit(_SHORT)


def _with_rounds(effort: Effort, rounds: int) -> Effort:
    return replace(
        effort,
        worker=replace(effort.worker, rounds=rounds),
        arithmetic=replace(effort.arithmetic, count=rounds),
        pushed=replace(effort.pushed, count=rounds),
        installs=replace(effort.installs, rounds=rounds, lookups=rounds),
        compiles=rounds,
        restarts=rounds,
    )


def _tell(failures: list[str]) -> None:
    for failure in failures:
        print(f"splinter: not measured: {failure}", file=sys.stderr)


def _list(selected: list[Goal], json_output: bool) -> None:
    if json_output:
        fields = [{"name": g.name, "bound": g.bound, "is": "at most" if g.is_most else "at least"} for g in selected]
        print(json.dumps(fields, indent=1))
        return
    table = Table("name", "bound")
    for goal in selected:
        table.add_row(goal.name, f"{'≤' if goal.is_most else '≥'} {goal.bound:g}")
    _console().print(table)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("name", "what", "value", "bound", "holds", "otherwise", title="medians", title_justify="left")
    for outcome in outcomes:
        goal, figure = outcome.goal, outcome.figure
        unit = figure.unit if figure else ""
        table.add_row(
            goal.name,
            figure.text if figure else "",
            shown(figure.median, unit) if figure else "not measured",
            f"{'≤' if goal.is_most else '≥'} {goal.bound:g} {unit}",
            "yes" if outcome.holds else "no",
            otherwise(figure.parts, unit) if figure else "",
        )
    return table


def _parts(figure: Figure) -> str:
    return ", ".join(f"{name} {value:,.6g}" for name, value in figure.parts.items())


def _circumstances() -> dict[str, Any]:
    return {"machine": machine(), "versions": versions()}


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else max(Console().width, _WIDTH_MIN))
