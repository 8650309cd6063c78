"""Redis's own TCL suites, from the distribution's source package, against an external server behind the gate."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from splinter.testing.process import die_with_parent, free_port
from tests.support.redis_suites import sources
from tests.support.redis_suites.gate import Gate
from tests.support.redis_suites.verdicts import Outcome

SUITE = "tcl"
UNITS = tuple(f"unit/{name}" for name in ("type/string", "type/incr", "expire", "scan", "protocol", "keyspace", "multi"))
SILENCE_SECONDS_MAX = 60  # then the suite gives up
UNIT_SECONDS_MAX = 540
T = TypeVar("T")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(r"\[(ok|err|exception)\]: (.*)")
_OK = re.compile(r"(.*) \(\d+ ms\)$")
STOPPED = "(a block of the unit stopped)"


def run(gate: Gate, skip: Mapping[str, Collection[str]] | None = None, units: Collection[str] = UNITS) -> list[Outcome]:
    """Run some units one after the other, and tell the outcomes, with what the gate refused.

    ``skip``: tests by unit that are not to run. One that stops on what is not served leaves the connection within a MULTI, say,
    and those behind it fail for that.
    """
    with sources.redis_server() as folder:
        return [outcome for unit in UNITS if unit in units for outcome in _run(folder, unit, gate, (skip or {}).get(unit, ()))]


def _run(folder: Path, unit: str, gate: Gate, skip: Collection[str] = ()) -> list[Outcome]:
    before = len(gate.seen)
    skipped = folder / "skipped"
    skipped.write_text("\n".join(skip), encoding="utf-8")
    words = [
        "tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(gate.port), "--single", unit, "--durable",
        "--timeout", str(SILENCE_SECONDS_MAX), "--baseport", str(free_port() + 32), "--dont-clean",
        "--skipfile", str(skipped),
    ]  # fmt: skip
    process = subprocess.Popen(
        words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0,
        preexec_fn=partial(die_with_parent, os.getpid()),
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=UNIT_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    finally:
        _end_group(process.pid)
    refused: dict[str, tuple[str, ...]] = {}
    for name, seen in _numbered([seen.test.rpartition(" in ")[0] for seen in gate.seen[before:]], gate.seen[before:]):
        refused[name] = tuple(seen.refused)
    ends = list(_ends(_COLOUR.sub("", output.decode("utf-8", "replace"))))
    numbered = _numbered([name for name, _, _ in ends], ends)
    return [Outcome(unit, name, result, said, refused.get(name, ())) for name, (_, result, said) in numbered]


def _end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _numbered(names: list[str], things: list[T]) -> Iterator[tuple[str, T]]:
    """Names made different where a unit has one several times."""
    count: Counter[str] = Counter()
    for name, thing in zip(names, things, strict=True):
        count[name] += 1
        yield (name if count[name] == 1 else f"{name} #{count[name]}"), thing


def _ends(said: str) -> Iterator[tuple[str, str, str]]:
    """Name, outcome and reason of each test, from what the suite printed before its summary."""
    lines = said.split("\n                   The End\n")[0].splitlines()
    for place, line in enumerate(lines):
        if (found := _LINE.match(line)) is None:
            continue
        kind, text = found.groups()
        if kind == "ok":
            name = _OK.match(text)
            yield (name.group(1) if name else text), "passed", ""
            continue
        reason = []
        for further in lines[place + 1 :]:
            if further.startswith("["):
                break
            reason.append(further)
        name, of_test, _ = text.rpartition(" in tests/")
        if of_test:
            yield name, "failed", "\n".join(reason)
        else:
            yield STOPPED, "failed", "\n".join([text, *reason])
