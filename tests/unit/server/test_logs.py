"""Lines of the log: time, level, nothing hidden, nothing cut into pieces."""

from __future__ import annotations

import json
import logging
import re
import select
import sys

import pytest

from splinter.server import logs
from splinter.server.events import event

EVIL = "\x1b[2J\nsplinter: all is well\u202e"


def record(message: str, *arguments: object, exc_info=None, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("splinter.x").makeRecord(
        "splinter.x", logging.WARNING, "f", 1, message, arguments, exc_info, extra=extra
    )
    made.created = 1_800_000_000.25
    return made


def failure():
    try:
        raise ValueError(EVIL * 1000)
    except ValueError:
        return sys.exc_info()


def test_text_has_time_and_level() -> None:
    assert logs.TextFormatter().format(record("a %d", 3)) == "2027-01-15T08:00:00.250Z WARNING a 3"


def test_hostile_text_is_one_visible_line() -> None:
    assert logs.TextFormatter().format(record("%s", EVIL)).isprintable()


def test_lines_of_a_traceback_are_indented() -> None:
    first, *rest = logs.TextFormatter().format(record("x", exc_info=failure())).splitlines()
    assert first.endswith("WARNING x") and rest and all(line.startswith("  ") for line in rest)
    assert all(line.isprintable() for line in rest)


def test_json_is_a_document_with_the_event() -> None:
    line = logs.JsonFormatter().format(record("moved", **event("tenant.moved", 7, 1, home=2)))
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z", "level": "warning", "logger": "splinter.x", "event": "tenant.moved", "tenant": 7,
        "home": 2, "message": "moved",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["x" * 10_000, EVIL * 1000, "\U0001f600" * 3000])
def test_a_long_line_of_json_is_cut_and_still_json(text: str) -> None:
    for line in (
        logs.JsonFormatter().format(record("%s", text)),
        logs.JsonFormatter().format(record(text, exc_info=failure())),
    ):
        assert line.isascii() and line.isprintable() and len(line) < select.PIPE_BUF
        assert json.loads(line)["cut"] is True and text.startswith(json.loads(line)["message"])


@pytest.mark.parametrize("level", logs.LEVELS)
def test_the_level_holds_for_all_but_audit_lines(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    root, ours = logging.getLogger(), logging.getLogger("splinter")
    before, level_before, ours_before = root.handlers[:], root.level, ours.level
    try:
        logs.set_up("text", level)
        for each in logs.LEVELS:
            logging.getLogger("splinter.x").log(logging.getLevelNamesMapping()[each.upper()], "told by %s", each)
        logs.AUDIT.info("audit: somebody")
    finally:
        root.handlers[:] = before
        root.setLevel(level_before)
        ours.setLevel(ours_before)
    said = capsys.readouterr().err
    assert re.findall(r"told by (\w+)", said) == list(logs.LEVELS[logs.LEVELS.index(level) :])
    assert "audit: somebody" in said


def test_notes_about_the_log_itself_have_its_form() -> None:
    assert logs.note_for("text")("5 lines") == "splinter: 5 lines"
    assert json.loads(logs.note_for("json")("5 lines"))["message"] == "5 lines"
