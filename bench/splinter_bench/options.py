"""What commands of ``splinter bench`` share: options, and how a document is begun, printed and drawn."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from splinter_bench.as_json import as_json
from splinter_bench.machine import machine, versions
from splinter_bench.report import told
from splinter_bench.report.charts import draw
from splinter_bench.report.terminal import show

FAILED_REQUESTS = 1  # exit status when requests were lost or answered wrongly

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Picture = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="Draw it: a PNG, SVG or PDF file.", dir_okay=False)
]
Instance = Annotated[str, typer.Option("--instance", "-i", envvar="SPLINTER_INSTANCE", help="Name of a server on this host.")]
Lab = Annotated[bool, typer.Option("--lab", help="Make a lab and a server for the benchmark.")]
ServerCore = Annotated[int | None, typer.Option(help="CPU of the worker to measure; the server's last one if not given.")]
ClientCore = Annotated[int | None, typer.Option(help="CPU of the load generator; another one if not given.")]


def circumstances() -> dict[str, Any]:
    """The beginning of a document: what was called, where."""
    words = sys.argv[sys.argv.index("bench") :] if "bench" in sys.argv else ["bench", *sys.argv[1:]]
    return {"command": shlex.join(["splinter", *words]), "machine": machine(), "versions": versions()}


def output(document: dict[str, Any], json_output: bool, picture: Path | None = None, *further: str) -> None:
    """Draw and print a document of observations. Raises ``typer.Exit`` when requests ``failed`` that should not have."""
    if picture is not None:
        draw(told.charts(document), picture)
    if json_output:
        print(as_json(document))
    else:
        show(*told.tables(document), *told.notes(document), *further)
    if failed := document.get("failed"):
        print(f"splinter: {failed} requests were lost or answered wrongly", file=sys.stderr)
        raise typer.Exit(FAILED_REQUESTS)
