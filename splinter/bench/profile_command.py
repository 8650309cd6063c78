"""``splinter bench profile``, which scripts/profile calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from splinter.bench.machine import machine, versions
from splinter.bench.progress import progress
from splinter.errors import SplinterError

_WIDTH_MIN = 140  # where output is no terminal


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile")(show_profile)


def show_profile(
    workload: Annotated[
        list[str] | None, typer.Option(help="get, put, invoke get, invoke scan; may be given several times.")
    ] = None,
    depth: Annotated[
        list[int] | None, typer.Option(help="Requests under way at a time; may be given several times.", min=1, max=1024)
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of each workload and depth.", min=0.01, max=60)] = 1.0,
    picture: Annotated[Path | None, typer.Option(help="Write a picture (.png, .svg, .pdf).", dir_okay=False)] = None,
    folded: Annotated[Path | None, typer.Option(help="Write folded stacks for flame graph tools.", dir_okay=False)] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show where a worker's time goes, by stages of its loop: nanoseconds for each request.

    Makes a lab, and a server whose loop reads the time-stamp counter between its stages, and removes both.
    """
    from splinter.bench import profile

    names, depths = workload or profile.WORKLOADS, depth or profile.DEPTHS
    if unknown := [name for name in names if name not in profile.WORKLOADS]:
        raise SplinterError(f"there is no workload {unknown[0]!r}; there are {', '.join(profile.WORKLOADS)}")
    with progress(1 + len(names) * len(depths)) as say:
        profiles = profile.measure(names, depths, seconds, progress=say)
    if picture is not None:
        profile.draw(profiles, picture)
    if folded is not None:
        folded.write_text("\n".join(line for found in profiles for line in found.folded()) + "\n", encoding="utf-8")
    if json_output:
        document = {"machine": machine(), "versions": versions(), "profiles": [found.to_json() for found in profiles]}
        print(json.dumps(document, indent=1))
        return
    stages = list(profiles[0].stages)
    table = Table(title="ns of the worker's time for each request", title_justify="left")
    for column in ("", "depth", "per second", *stages, "busy", "idle"):
        table.add_column(column, justify="right" if column else "left")
    for found in profiles:
        cells = [f"{found.stages[stage]:,.0f}" for stage in stages]
        table.add_row(
            found.workload, str(found.depth), f"{found.per_second:,.0f}", *cells, f"{found.busy:,.0f}", f"{found.idle:,.0f}"
        )
    Console(width=None if sys.stdout.isatty() else max(Console().width, _WIDTH_MIN)).print(table)
