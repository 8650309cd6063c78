"""The whole benchmark: every section, one JSON document, one report."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splinter.bench.blocks import Block, Code, Heading, Paragraph, Table, markdown, page
from splinter.bench.figure import shown
from splinter.bench.machine import machine, versions
from splinter.bench.progress import progress
from splinter.bench.sections import SECTIONS, Section, promised
from splinter.errors import SplinterError

TITLE = "Splinter, measured against its rivals and its limit"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_MINUTE_SECONDS = 60


def measure(is_quick: bool, command: str, sections: Sequence[Section] = SECTIONS) -> dict[str, Any]:
    """Measure all sections, telling of each on standard error. One that fails does not keep the others from running."""
    started = time.monotonic()
    document: dict[str, Any] = {
        "command": command,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "is_quick": is_quick,
        "machine": machine(),
        "versions": versions(),
        "sections": {},
        "failures": [],
    }
    for number, section in enumerate(sections, start=1):
        begun = time.monotonic()
        print(f"{number} of {len(sections)}: {section.title}", file=sys.stderr, flush=True)
        try:
            with progress(None) as say:
                document["sections"][section.name] = section.measure(is_quick, say)
        except SplinterError as error:
            document["failures"].append(f"{section.title}: {error}")
            print(f"  failed: {error}", file=sys.stderr, flush=True)
        print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    document["seconds"] = round(time.monotonic() - started, 1)
    return document


def blocks_of(document: dict[str, Any], sections: Sequence[Section] = SECTIONS) -> list[Block]:
    """A report of what :func:`measure` returned."""
    blocks: list[Block] = [
        Code(document["command"]),
        Paragraph(
            f"{document['date']}, {document['seconds'] / _MINUTE_SECONDS:.0f} minutes"
            f"{', short runs' if document['is_quick'] else ''}. "
            + ", ".join(f"{name} {value}" for name, value in {**document["machine"], **document["versions"]}.items())
        ),
        *(Paragraph(f"Failed: {failure}") for failure in document["failures"]),
        Heading("What is promised"),
        _promises(document),
    ]
    for section in sections:
        if section.name in document["sections"]:
            blocks += [Heading(section.title), *section.show(document["sections"][section.name])]
    return blocks


def _promises(document: dict[str, Any]) -> Table:
    """Every goal, its bound, and what the sections found."""
    found = {f["name"]: f for part in document["sections"].values() for f in part.get("figures", [])}
    rows = []
    for goal in promised():
        figure = found.get(goal.figure)
        sign = "≤" if goal.is_most else "≥"
        if figure is None:
            rows.append([goal.name, "", "not measured", f"{sign} {goal.bound:g}", "", "no"])
            continue
        median, least, most = (shown(figure[what], figure["unit"]) for what in ("median", "min", "max"))
        holds = "yes" if goal.holds(figure["median"]) else "no"
        rows.append([goal.name, figure["text"], median, f"{sign} {goal.bound:g} {figure['unit']}", f"{least} … {most}", holds])
    return Table(["goal", "what", "median", "bound", "rounds", "holds"], rows)


def write(document: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html`` into a folder; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_html = folder / "report.json", folder / "report.html"
    as_json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="splinter-report-") as scratch:
        as_html.write_text(page(TITLE, blocks_of(document), Path(scratch)), encoding="utf-8")
    return as_json, as_html


def write_docs(document: dict[str, Any], docs: Path) -> None:
    """Put the report between the markers in ``benchmarks.md`` of a folder, its pictures into ``pictures`` beside it.

    Raises :class:`SplinterError` when the markers are not there.
    """
    path = docs / "benchmarks.md"
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SplinterError(f"{path} has no {BEGIN} and {END}")
    made = markdown(blocks_of(document), docs / "pictures", "pictures")
    path.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{after}", encoding="utf-8")
