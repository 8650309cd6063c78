"""``splinter bench benefit``, ``compare`` and ``all``."""

from __future__ import annotations

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from splinter.errors import SplinterError
from splinter_bench.compare import Change, compare
from splinter_bench.experiments.bench import Bench
from splinter_bench.options import Json, Picture, circumstances, output
from splinter_bench.progress import progress
from splinter_bench.report.terminal import show
from splinter_bench.table import Table

_WORSE, _INTERRUPTED = 1, 130  # exit statuses
_Document = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A JSON document of splinter bench or bench-all.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("benefit")(show_benefit)
    app.command("compare")(show_comparison)
    app.command("all")(measure_all)
    app.command("section", hidden=True)(measure_section)


def show_benefit(
    picture: Picture = None,
    rounds: Annotated[int, typer.Option(help="Every figure is the median of the rounds.", min=1)] = 5,
    json_output: Json = False,
) -> None:
    """Compare code that runs at the data with gets: WordNet's tree, aggregates, TAO, a forest; of Splinter and of Redis.

    Makes a lab and a server of its own and removes them.
    """
    from splinter_bench.experiments import benefit
    from splinter_bench.experiments.benefit_cases import Sizes
    from splinter_bench.report import charts

    if picture is not None:
        charts.check(picture)
    with progress(Sizes().points()) as say:
        document = {**circumstances(), **benefit.document(Bench(rounds=rounds, say=say))}
    output(document, json_output, picture)


def show_comparison(
    old: _Document,
    new: _Document,
    threshold: Annotated[float, typer.Option(help="Smaller changes are not shown, in percent.", min=0)] = 5.0,
) -> None:
    """Show what changed beyond the spread of the runs; exit status 1 when something got worse."""
    before, after = _read(old), _read(new)
    changes = compare(before, after, threshold / 100)
    if not changes:
        raise SplinterError(f"{old} and {new} have no value in common")
    if before.get("machine", {}).get("processor") != after.get("machine", {}).get("processor"):
        print("splinter: the two were measured on different machines", file=sys.stderr)
    changed = [change for change in changes if change.is_beyond_noise]
    cells = [
        [change.name, f"{change.old.median:,.4g}", f"{change.new.median:,.4g}", f"{abs(change.share):.0%} {_verdict(change)}"]
        for change in changed
    ]
    styles = ["red" if change.is_worse else "green" for change in changed]
    table = Table(["", "old", "new", "change"], cells, f"{len(changes)} values compared", styles)
    show(table if changed else f"{len(changes)} values compared: none changed beyond noise")
    if any(change.is_worse for change in changed):
        raise typer.Exit(_WORSE)


def _verdict(change: Change) -> str:
    return "worse" if change.is_worse else "better"


def measure_all(
    quick: Annotated[bool, typer.Option("--quick", help="Few and short runs: to see that all works.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="SECTION", help="One section, the others stay as they are; may be given several times."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Only the sections that the folder's report does not have.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Show the sections, measure nothing.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for report.json and report.html.", file_okay=False)] = Path("build/bench"),
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Also write the figures of a whole report over those in benchmarks.md of this folder.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    of: Annotated[
        Path | None, typer.Option("--of", help="Measure nothing: write the report of this report.json.", exists=True)
    ] = None,
    prefix: Annotated[
        str,
        typer.Option(
            envvar="BENCH_PREFIX",
            metavar="COMMAND",
            help="Put before the command of each section's process, for example a lock that keeps others quiet.",
        ),
    ] = "",
) -> None:
    """Measure everything, and write one JSON document and one HTML report; exit status 1 when something failed.

    Each section runs in a process of its own and is written when it is done: one that fails, or Ctrl-C, loses no other.
    """
    from splinter_bench.report import whole
    from splinter_bench.report.sections import SECTIONS

    if list_only:
        for section in SECTIONS:
            print(f"{section.name:16}{section.title}")
        return
    if docs is not None and quick:
        raise SplinterError("quick runs give no figures for a page: leave out --quick or --docs")
    if of is not None:
        document = whole.read(of)
    else:
        command = " ".join(["scripts/bench-all", *(["--quick"] if quick else [])])
        run = partial(whole.in_child, shlex.split(prefix))
        try:
            document = whole.measure(out, quick, run, only=only or (), resume=resume, command=command)
        except KeyboardInterrupt:
            print("splinter: interrupted: --resume measures what is missing", file=sys.stderr)
            raise typer.Exit(_INTERRUPTED) from None
    for path in whole.write(document, out):
        print(path)
    has_failed = bool(document["failures"]) or any(part.get("failures") for part in document["sections"].values())
    if docs is not None and not document["is_quick"] and not has_failed:
        whole.write_docs(document, docs)
        print(docs / "benchmarks.md")
    elif docs is not None:
        print(f"splinter: {docs / 'benchmarks.md'} stays as it is: the report is quick, or not whole", file=sys.stderr)
    if has_failed:
        raise typer.Exit(_WORSE)


def measure_section(
    name: Annotated[str, typer.Argument(help="Of the section.")],
    path: Annotated[Path, typer.Argument(help="File for its JSON document.", dir_okay=False)],
    quick: Annotated[bool, typer.Option("--quick", help="Few and short runs.")] = False,
) -> None:
    """Measure one section in this process: what 'bench all' starts."""
    from splinter_bench.report import whole

    whole.measure_into(name, path, quick)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SplinterError(f"{path} is no JSON document: {error}") from error
    if not isinstance(found, dict):
        raise SplinterError(f"{path} is no document of splinter bench")
    return found
