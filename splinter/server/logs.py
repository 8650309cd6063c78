"""How a server's log is written: with time and level, as text for people or one JSON document a line.

Lines go to standard error, which never blocks (:mod:`splinter.server.output`). A line of JSON is shorter than what a
pipe takes in one piece, or it would be cut, and be no JSON any more.
"""

from __future__ import annotations

import json
import logging
import select
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from splinter.visible import visible, visible_lines

AUDIT = logging.getLogger("splinter.audit")  # of administrative acts: written whatever the level
FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
_LINE_BYTES_MAX = select.PIPE_BUF - 1
_least = logging.INFO  # that this process logs


def set_up(form: str, level: str) -> None:
    """Have this process and its children log to standard error in this form, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(lambda record: record.levelno >= _least or record.name == AUDIT.name)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Have this process log from this level on."""
    global _least
    _least = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger("splinter").setLevel(min(_least, logging.INFO))  # events are kept from INFO on


def level() -> str:
    """From which level on this process logs."""
    return logging.getLevelName(_least).lower()


def note_for(form: str) -> Callable[[str], str]:
    """What makes a line of a sentence about the log itself, such as that some of it was lost."""
    return _json_note if form == "json" else text_note


def text_note(text: str) -> str:
    """The sentence behind the program's name."""
    return f"splinter: {text}"


def _json_note(text: str) -> str:
    return json.dumps({"time": _moment(datetime.now(UTC).timestamp()), "level": "warning", "message": text})


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class TextFormatter(logging.Formatter):
    """``TIME LEVEL message``; a traceback has lines of its own. Nothing foreign begins a line, or reaches a terminal unseen."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        line = f"{_moment(record.created)} {record.levelname} {visible(record.getMessage())}"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return line + "".join(f"\n  {each}" for each in visible_lines(trace).splitlines())


class JsonFormatter(logging.Formatter):
    """One document a line: time, level, message; of an event also its kind, tenant and fields; ``trace`` of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line: ASCII, and never longer than a pipe takes at once."""
        told: dict[str, Any] = {"time": _moment(record.created), "level": record.levelname.lower(), "logger": record.name}
        if kind := getattr(record, "event", None):
            told |= {"event": kind, "tenant": getattr(record, "tenant", 0) or None, **getattr(record, "fields", {})}
        told["message"] = record.getMessage()
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        line = json.dumps(told, default=str)
        most = _LINE_BYTES_MAX
        while len(line) >= _LINE_BYTES_MAX and most:
            most //= 2
            # The end of a trace says what happened, the beginning of a message.
            told |= {
                name: text[-most:] if name == "trace" else text[:most] for name, text in told.items() if isinstance(text, str)
            }
            line = json.dumps(told | {"cut": True}, default=str)
        return line
