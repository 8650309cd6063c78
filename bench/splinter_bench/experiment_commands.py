"""``splinter bench`` followed by an experiment's name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Annotated

import typer

from splinter.errors import SplinterError
from splinter_bench.experiments.bench import Bench
from splinter_bench.figure import Figure, shown, shown_interval
from splinter_bench.observations import Observations
from splinter_bench.options import Json, Picture, circumstances, output
from splinter_bench.progress import progress
from splinter_bench.report import charts, told
from splinter_bench.report.told import described

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
        json_output: Json = False,
        picture: Picture = None,
        quick: Annotated[bool, typer.Option("--quick", help="A few seconds, to see that it works; no figures.")] = False,
        only: Annotated[
            list[str] | None, typer.Option("--only", metavar="PART", help="One part; may be given several times.")
        ] = None,
    ) -> None:
        parts = described()[name].get("parts", [])
        for part in only or []:
            if part not in parts:
                raise SplinterError(f"there is no part {part!r}; there are: {', '.join(parts) or 'none'}")
        if picture is not None:
            charts.check(picture)
        with progress(None) as say:  # what it needs is loaded only now: compilers, the worker
            measure = import_module(f"{__package__}.experiments.{name}").measure
            found: Observations = measure(Bench(quick, tuple(only or ()), say=say))
        document = {"experiment": name, **circumstances(), "is_quick": quick, **found.to_json()}
        figures = told.figures(document)
        document["figures"] = [figure.to_json() for figure in figures]
        output(document, json_output, picture, *map(_line, figures))

    return run


def _line(figure: Figure) -> str:
    left = f", {figure.left_out} left out" if figure.left_out else ""
    ends = shown_interval(figure.interval, figure.unit)
    return f"{figure.text}: {shown(figure.median, figure.unit)} ({ends}; {len(figure.values)} rounds{left})"
