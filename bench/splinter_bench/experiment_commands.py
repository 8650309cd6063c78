"""``splinter bench`` followed by an experiment's name."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from splinter.errors import SplinterError
from splinter_bench.as_json import as_json
from splinter_bench.experiments.bench import Bench
from splinter_bench.figure import shown, shown_interval
from splinter_bench.machine import machine, versions
from splinter_bench.observations import Observations
from splinter_bench.progress import progress
from splinter_bench.report import charts, terminal, told
from splinter_bench.report.told import Document, described

_TEXT = (
    "Makes labs and servers of its own and removes them; needs root. See docs/experiments.md. Run it on a machine that does "
    "nothing else."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, about in described().items():
        if "help" not in about:  # of another command, or a section of the report
            continue
        app.command(name, help=f"{about['help']}\n\n{_TEXT}")(_command(name))


def _command(name: str) -> Callable[..., None]:
    def run(
        json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
        picture: Annotated[
            Path | None, typer.Option("--picture", metavar="FILE", help="Draw it: a PNG or SVG file.", dir_okay=False)
        ] = None,
        quick: Annotated[bool, typer.Option("--quick", help="A few seconds, to see that it works; no figures.")] = False,
        only: Annotated[
            list[str] | None, typer.Option("--only", metavar="PART", help="One part; may be given several times.")
        ] = None,
    ) -> None:
        document = made(name, Bench(quick, tuple(only or ())), picture)
        show(document, json_output)

    return run


def made(name: str, bench: Bench, picture: Path | None = None) -> Document:
    """Carry out an experiment; its document. Raises :class:`SplinterError` for what cannot be measured here."""
    parts = described()[name].get("parts", [])
    for part in bench.only:
        if part not in parts:
            raise SplinterError(f"there is no part {part!r}; there are: {', '.join(parts) or 'none'}")
    if picture is not None:
        charts.check(picture)
    with progress(None) as say:
        found: Observations = import_module(f"{__package__}.experiments.{name}").measure(replace(bench, say=say))
    document = {
        "experiment": name,
        "command": shlex.join(["splinter", "bench", name, *_arguments(name)]),
        "machine": machine(),
        "versions": versions(),
        "is_quick": bench.is_quick,
        **found.to_json(),
    }
    if picture is not None:
        charts.draw(told.charts(document), picture)
    return document


def show(document: Document, json_output: bool) -> None:
    """Print a document."""
    figures = told.figures(document)
    if json_output:
        print(as_json({**document, "figures": [figure.to_json() for figure in figures]}))
        return
    lines = []
    for figure in figures:
        ends, left_out = shown_interval(figure.interval, figure.unit), figure.left_out
        left = f", {left_out} left out" if left_out else ""
        lines.append(f"{figure.text}: {shown(figure.median, figure.unit)} ({ends}; {len(figure.values)} rounds{left})")
    terminal.show(*told.tables(document), *told.notes(document), *lines)


def _arguments(name: str) -> list[Any]:
    """The command line behind the experiment's name."""
    return sys.argv[sys.argv.index(name) + 1 :] if name in sys.argv else []
