"""``splinter bench extensions`` and ``splinter bench goals``."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splinter.limits import TENANTS_MAX
from splinter_bench.experiments.bench import Bench
from splinter_bench.figure import Figure, shown
from splinter_bench.neighbour import noisy_neighbour
from splinter_bench.options import Json, circumstances
from splinter_bench.progress import progress
from splinter_bench.report import terminal
from splinter_bench.rounds import Verdict
from splinter_bench.table import Table

if TYPE_CHECKING:  # the worker and the compiler are loaded only when they are measured
    from splinter_bench.goals import Goal, Outcome

_SHORT = 1  # exit status when a goal is not reached, or a measurement failed
_CANNOT_TELL = 3  # when this machine could not tell of a goal whether it is, and no other falls short
_TENANTS_DEFAULT, _TENANTS_MAX = 10_000, TENANTS_MAX - 16  # a few more make the requests
_INSTALLS_DEFAULT = 1000


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
    json_output: Json = False,
) -> None:
    """Measure extensions: compiling, installing, running; in a lab and with servers of its own.

    Each figure is the median of its rounds; beside it stands what it was computed from.
    """
    from splinter_bench import goals
    from splinter_bench.report.figures import figures_table

    names = [goal.figure for goal in goals.chosen([goals.EXTENSIONS])]
    with progress(goals.steps(names)) as say:
        found = goals.measure(names, Bench(rounds=rounds, tenants=tenants, installs=installs, say=say))
    figures = list(found.figures.values())
    _tell(found.failures)
    if json_output:
        print(json.dumps({**circumstances(), "figures": [figure.to_json() for figure in figures]}, indent=1))
    else:
        terminal.show(figures_table([figure.to_json() for figure in figures]))
    if found.failures:
        raise typer.Exit(_SHORT)


def show_goals(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="One goal, figure or area; may be given several times.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Show names and bounds, measure nothing.")] = False,
    repeat: Annotated[int, typer.Option(help="Measure so many times, and compare the verdicts.", min=1)] = 1,
    noisy: Annotated[bool, typer.Option("--noisy", help="Beside a program that takes a CPU for 50 ms of each second.")] = False,
    json_output: Json = False,
) -> None:
    """Measure what Splinter promises, and say whether it holds.

    Takes some minutes. Makes labs and servers of its own and removes them. Run it on a machine that does nothing else: a round
    beside which other programs or the host took the CPUs is taken again, and left out if that does not help. A goal holds or
    fails when the 95 % interval of the rounds' median is on one side of its bound; else one cannot tell on this machine.

    Exit status 0: all hold. 1: something falls short, could not be measured, or, with --repeat, was judged in different ways.
    3: nothing of that, but this machine cannot tell of each goal.
    """
    from splinter_bench import goals
    from splinter_bench.report.figures import goals_table

    selected = goals.chosen(only or [])
    if list_only:
        fields = [{"name": g.name, "bound": g.bound, "is": "at most" if g.is_most else "at least"} for g in selected]
        table = Table(["name", "bound"], [[goal.name, goal.bound_text()] for goal in selected])
        print(json.dumps(fields, indent=1)) if json_output else terminal.show(table)
        return
    runs, failures = [], []
    for _ in range(repeat):
        outcomes, failed = _measured(selected, noisy)
        runs.append(outcomes)
        failures += failed
        _tell(failed)
        if not json_output:
            terminal.show(goals_table((each.goal, each.figure.to_json() if each.figure else None) for each in outcomes))
            for against in dict.fromkeys(outcome.figure.against for outcome in outcomes if outcome.figure):
                print(against, end="\n" if against else "")
    if json_output:
        print(json.dumps({**circumstances(), **_as_json(runs)}, indent=1))
    elif repeat > 1:
        terminal.show(_verdicts(runs))
    if status := _status(runs, failures):
        raise typer.Exit(status)


def _measured(selected: list[Goal], noisy: bool) -> tuple[list[Outcome], list[str]]:
    """Each goal's outcome, and in a sentence each what could not be measured."""
    from splinter_bench import goals

    names = [goal.figure for goal in selected]
    with progress(goals.steps(names)) as say, noisy_neighbour() if noisy else contextlib.nullcontext():
        found = goals.measure(names, Bench(say=say))
    return [goals.Outcome(goal, found.figures.get(goal.figure)) for goal in selected], found.failures


def _status(runs: list[list[Outcome]], failures: list[str]) -> int:
    """Of the command."""
    verdicts = [{outcome.verdict for outcome in outcomes} for outcomes in zip(*runs, strict=True)]
    if failures or any(Verdict.FAILS in each or len(each) > 1 for each in verdicts):
        return _SHORT
    return _CANNOT_TELL if any(Verdict.CANNOT_TELL in each for each in verdicts) else 0


def _as_json(runs: list[list[Outcome]]) -> dict[str, Any]:
    """The goals of the only run; of each where there are several."""
    found = [[outcome.to_json() for outcome in outcomes] for outcomes in runs]
    return {"goals": found[0]} if len(found) == 1 else {"runs": found}


def _tell(failures: list[str]) -> None:
    for failure in failures:
        print(f"splinter: not measured: {failure}", file=sys.stderr)


def _verdicts(runs: list[list[Outcome]]) -> Table:
    """Each goal's verdict in each run, and its figure."""
    rows = [
        [
            outcomes[0].goal.name,
            *(f"{each.verdict.value}\n{_median(each.figure)}" for each in outcomes),
            "yes" if len({each.verdict for each in outcomes}) == 1 else "no",
        ]
        for outcomes in zip(*runs, strict=True)
    ]
    return Table(["name", *(f"run {number + 1}" for number in range(len(runs))), "same"], rows, "verdicts")


def _median(figure: Figure | None) -> str:
    return "not measured" if figure is None else shown(figure.median, figure.unit)
