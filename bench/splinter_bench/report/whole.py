"""The whole benchmark: every section in a process of its own, one JSON document, one report.

``report.json`` is written anew after each section, so what was measured is there whatever happens later: a section that
fails is told in the report, and can be measured again alone. A section's process gets no more than SECTION_SECONDS_MAX; it
removes its labs and servers also when it is interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from splinter.errors import SplinterError
from splinter.testing.process import die_with_parent
from splinter_bench.as_json import as_json
from splinter_bench.machine import machine, versions
from splinter_bench.process import AFTERWARDS_SECONDS_MAX, bounded, end_group
from splinter_bench.progress import progress
from splinter_bench.report.blocks import Block, Code, Heading, Paragraph, between, markdown, page
from splinter_bench.report.figures import goals_table
from splinter_bench.report.ratios import ratios_table
from splinter_bench.report.sections import SECTIONS, Section, promised
from splinter_bench.table import Table

TITLE = "Splinter, measured against its rivals and its limit"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SECTION_SECONDS_MAX = 300
_MINUTE_SECONDS = 60
_REPORT_JSON, _REPORT_HTML = "report.json", "report.html"
_SAME = ("processor", "cpus", "kernel")  # of a machine whose pieces may stand in one report

Document = dict[str, Any]
Runner = Callable[[Section, bool], Document]  # measures a section; raises SplinterError


def chosen(names: Sequence[str], sections: Sequence[Section] = SECTIONS) -> list[Section]:
    """The sections of these names, all when there are none. Raises :class:`SplinterError` for others."""
    known = [section.name for section in sections]
    for name in names:
        if name not in known:
            raise SplinterError(f"there is no section {name!r}: there are {', '.join(known)}")
    return [section for section in sections if not names or section.name in names]


def measure(
    folder: Path,
    is_quick: bool,
    run: Runner,
    *,
    only: Sequence[str] = (),
    resume: bool = False,
    command: str,
    sections: Sequence[Section] = SECTIONS,
) -> Document:
    """Measure sections, telling of each on standard error, and keep ``report.json`` in the folder up to date.

    :param only: these sections; what the folder's report has of others stays.
    :param resume: only those that the folder's report has not.

    Raises :class:`SplinterError` for unknown names, and when the folder's report cannot be added to.
    """
    wanted = chosen(only, sections)
    document = _begun(folder, is_quick, command, is_kept=bool(only) or resume)
    if resume:
        wanted = [section for section in wanted if section.name not in document["sections"]]
    folder.mkdir(parents=True, exist_ok=True)
    for number, section in enumerate(wanted, start=1):
        begun = time.monotonic()
        print(f"{number} of {len(wanted)}: {section.title}", file=sys.stderr, flush=True)
        document["failures"].pop(section.name, None)
        try:
            found = run(section, is_quick)
        except SplinterError as error:
            document["failures"][section.name] = str(error)
            print(f"  failed: {error}", file=sys.stderr, flush=True)
        else:
            document["sections"][section.name] = found
            document["seconds"] = round(sum(part["seconds"] for part in document["sections"].values()), 1)
            for failure in found.get("failures", []):
                print(f"  failed: {failure}", file=sys.stderr, flush=True)
        _write_json(document, folder)
        print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return document


def _begun(folder: Path, is_quick: bool, command: str, *, is_kept: bool) -> Document:
    fresh: Document = {
        "command": command,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "is_quick": is_quick,
        "machine": machine(),
        "versions": versions(),
        "seconds": 0.0,
        "sections": {},
        "failures": {},
    }
    path = folder / _REPORT_JSON
    if not is_kept or not path.exists():
        return fresh
    before = read(path)
    for what, old, new in (
        ("quick", before["is_quick"], is_quick),
        *((name, before["machine"].get(name), fresh["machine"][name]) for name in _SAME),
    ):
        if old != new:
            raise SplinterError(f"{path} was measured otherwise ({what}: {old}, now {new}): choose another folder by --out")
    return fresh | {"sections": before["sections"], "failures": before["failures"], "seconds": before["seconds"]}


def read(path: Path) -> Document:
    """A document of :func:`measure`; raises :class:`SplinterError` when it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SplinterError(f"{path} is no JSON document: {error}") from error
    if not isinstance(found, dict) or not {"sections", "failures", "is_quick", "machine"} <= found.keys():
        raise SplinterError(f"{path} is no document of scripts/bench-all")
    return found


def measure_here(section: Section, is_quick: bool) -> Document:
    """Measure a section in this process; its document says when that was and how long it took."""
    begun, date = time.monotonic(), time.strftime("%Y-%m-%d %H:%M:%S %z")
    with progress(None) as say:
        found = section.measure(is_quick, say)
    return found | {"date": date, "seconds": round(time.monotonic() - begun, 1)}


def in_child(prefix: Sequence[str], section: Section, is_quick: bool) -> Document:
    """Measure a section in a process of its own, whose command begins with ``prefix``.

    Raises :class:`SplinterError` when it ended without a document.
    """
    with tempfile.TemporaryDirectory(prefix="splinter-section-") as scratch:
        path = Path(scratch) / "section.json"
        words = ["-W", "ignore", "-m", "splinter", "bench", "section", section.name, str(path)]
        process = subprocess.Popen(
            [*prefix, sys.executable, *words, *(["--quick"] if is_quick else [])],
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),
            process_group=0,  # what stands before the command (flock) may have it as a child
        )
        try:
            status = process.wait()
        except KeyboardInterrupt:
            end_group(process, AFTERWARDS_SECONDS_MAX)
            raise
        if not path.exists():
            raise SplinterError(f"its process ended with status {status}")
        found: Document = json.loads(path.read_text(encoding="utf-8"))
    if "error" in found:
        raise SplinterError(found["error"])
    return found


def measure_into(name: str, path: Path, is_quick: bool) -> None:
    """Measure a section and write its document, or ``error``, to a file: what the process of :func:`in_child` does."""
    (section,) = chosen([name])
    try:
        with bounded(SECTION_SECONDS_MAX):
            found = measure_here(section, is_quick)
    except KeyboardInterrupt as interrupt:
        if not interrupt.args:
            raise
        found = {"error": str(interrupt)}
    except SplinterError as error:
        found = {"error": "\n".join([str(error), *getattr(error, "__notes__", [])])}
    path.write_text(json.dumps(found), encoding="utf-8")


def blocks_of(document: Document, sections: Sequence[Section] = SECTIONS) -> list[Block]:
    """A report of what :func:`measure` returned."""
    on = ", ".join(f"{name} {value}" for name, value in {**document["machine"], **document["versions"]}.items())
    titles = {section.name: section.title for section in sections}
    blocks: list[Block] = [
        Code(document["command"]),
        Paragraph(
            f"{document['date']}; the sections took {document['seconds'] / _MINUTE_SECONDS:.0f} minutes"
            f"{', short runs' if document['is_quick'] else ''}. {on}."
        ),
        *(Paragraph(f"Failed: {titles.get(name, name)}: {text}") for name, text in document["failures"].items()),
        Heading("Beside the limits and the rivals"),
        ratios_table(document),
        Heading("What is promised"),
        _promises(document),
    ]
    for section in sections:
        if section.name in document["sections"]:
            found = document["sections"][section.name]
            took = Paragraph(f"{found['date']}, {found['seconds']:.0f} s")
            blocks += [Heading(section.title), took, *section.show(found)]
    return blocks


def _promises(document: Document) -> Table:
    """Every goal, its bound, and what the sections found."""
    found = {f["name"]: f for part in document["sections"].values() for f in part.get("figures", [])}
    return goals_table((goal, found.get(goal.figure)) for goal in promised())


def _write_json(document: Document, folder: Path) -> Path:
    path = folder / _REPORT_JSON
    fresh = path.with_suffix(".new")
    fresh.write_text(as_json(document) + "\n", encoding="utf-8")
    return fresh.rename(path)


def write(document: Document, folder: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html`` into a folder; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    json_path, as_html = _write_json(document, folder), folder / _REPORT_HTML
    with tempfile.TemporaryDirectory(prefix="splinter-report-") as scratch:
        as_html.write_text(page(TITLE, blocks_of(document), Path(scratch)), encoding="utf-8")
    return json_path, as_html


def write_docs(document: Document, docs: Path) -> None:
    """Put the report between the markers in ``benchmarks.md`` of a folder, its pictures into ``pictures`` beside it.

    Raises :class:`SplinterError` when the markers are not there.
    """
    path = docs / "benchmarks.md"
    made = markdown(blocks_of(document), docs / "pictures", "pictures")
    path.write_text(between(path.read_text(encoding="utf-8"), BEGIN, END, made, path), encoding="utf-8")
