"""What commands that list share: one way of saying it for machines."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from splinter.terminal import say

AsJson = Annotated[bool, typer.Option("--json", help="For machines: one JSON document.")]


def say_json(found: Any) -> None:
    """Print one document, ASCII only, on one line."""
    say(json.dumps(found, default=_text))


def _text(value: Any) -> str:
    """Bytes as text; what is no UTF-8 stays visible as escapes."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
