"""``splinter bench profile``, which scripts/profile calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splinter.errors import SplinterError
from splinter_bench.machine import machine, versions
from splinter_bench.progress import progress
from splinter_bench.report.terminal import show
from splinter_bench.table import Table

if TYPE_CHECKING:  # both load the worker
    from splinter_bench.profile import Sampled, Staged

_WIDTH_MIN = 240  # where output is no terminal
_FUNCTIONS_DEFAULT = 20
_TITLE = "ns of the worker's time for each request"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile")(show_profile)


def show_profile(
    workload: Annotated[
        list[str] | None,
        typer.Option(
            help="get, put, invoke get (one object), invoke scan (a chain of 8), multiget (8 objects), "
            "tenants (gets of 1,024); may be given several times."
        ),
    ] = None,
    depth: Annotated[
        list[int] | None, typer.Option(help="Requests under way at a time; may be given several times.", min=1, max=1024)
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of each workload and depth.", min=0.01, max=60)] = 1.0,
    use_perf: Annotated[bool, typer.Option("--perf/--no-perf", help="Sample by perf as well, where it works.")] = True,
    functions: Annotated[
        int, typer.Option(help="Show so many functions, those that take longest.", min=1)
    ] = _FUNCTIONS_DEFAULT,
    folded: Annotated[
        Path | None,
        typer.Option(
            help="Write folded stacks, for flame graph tools: of perf's samples, or of stages without them.", dir_okay=False
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show where a worker's time goes, by stages of its loop and by function.

    Makes a lab, and a server whose loop reads the time-stamp counter between its stages, and removes both; then, where perf
    works, the same with a server as it always is, sampled by perf: how much is the kernel's, and which functions it is.
    """
    from splinter_bench import perf, profile

    names, depths = workload or profile.WORKLOADS, depth or profile.DEPTHS
    if unknown := [name for name in names if name not in profile.WORKLOADS]:
        raise SplinterError(f"there is no workload {unknown[0]!r}; there are {', '.join(profile.WORKLOADS)}")
    reason = perf.missing() if use_perf else None
    if reason:
        print(f"splinter: by stages only: {reason}", file=sys.stderr)
    samples = use_perf and not reason
    sampled: list[Sampled] = []
    with progress((1 + len(names) * len(depths)) * (2 if samples else 1)) as say:
        profiles = profile.measure(names, depths, seconds, progress=say)
        if samples:
            sampled = profile.sample(names, depths, seconds, progress=say)
    if folded is not None:
        shown = sampled or profiles
        perf.fold({(found.title, *stack): value for found in shown for stack, value in found.stacks.items()}, folded)
    if json_output:
        document = {"machine": machine(), "versions": versions(), "profiles": [found.to_json() for found in profiles]}
        print(json.dumps(document | {"sampled": [found.to_json() for found in sampled]}, indent=1))
        return
    tables = [_stages(profiles), *([_shares(sampled), _functions(sampled, functions)] if sampled else [])]
    show(*tables, width_min=_WIDTH_MIN)


def _stages(profiles: list[Staged]) -> Table:
    rows = []
    for found in profiles:
        numbers = found.per_second, *found.stacks.values(), found.busy, found.idle
        rows.append([found.workload, str(found.depth), *(f"{number:,.0f}" for number in numbers)])
    return Table(["", "depth", "per second", *profiles[0].functions(), "busy", "idle"], rows, f"{_TITLE}, by stage")


def _shares(sampled: list[Sampled]) -> Table:
    rows = []
    for found in sampled:
        numbers = found.per_second, found.busy - found.kernel, found.kernel, found.client_kernel
        share = f"{found.kernel_share:.0f}% of the {'round trip' if found.depth == 1 else 'worker'}"
        rows.append([found.workload, str(found.depth), *(f"{number:,.0f}" for number in numbers), share])
    header = ["", "depth", "per second", "worker, user", "worker, kernel", "client, kernel", "kernel's share"]
    return Table(header, rows, "ns for each request, by perf: own code (waiting included) and kernel")


def _functions(sampled: list[Sampled], most: int) -> Table:
    each = [found.functions() for found in sampled]
    total: dict[str, float] = {}
    for found, values in zip(sampled, each, strict=True):
        for name, value in values.items():
            total[name] = total.get(name, 0.0) + value / found.busy  # each workload counts the same
    names = sorted(total, key=lambda name: total[name], reverse=True)[:most]
    rows = [[name, *(f"{values.get(name, 0):,.0f}" for values in each)] for name in names]
    return Table(["function itself", *(f"{found.workload} {found.depth}" for found in sampled)], rows, f"{_TITLE}, by perf")
