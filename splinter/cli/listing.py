"""What commands that list share: one way of saying it for machines, and a table for people."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.table import Column, Table

from splinter.terminal import Terminal, say

_WRAPPED_WIDTH_MIN = 24  # of a column that may take several lines

AsJson = Annotated[bool, typer.Option("--json", help="For machines: one JSON document.")]


def say_json(found: Any) -> None:
    """Print one document, ASCII only, on one line."""
    say(json.dumps(found, default=_text))


def say_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, wraps: str | None = None, keeps: str | None = None
) -> None:
    """Print a table in which nothing is cut: a number without its end is another number.

    A pipe or a file gets it as wide as it is. On a terminal that is narrower the column ``wraps`` takes more lines, and the
    last columns are left out and named below; never the first, nor ``keeps``.
    """
    console = Terminal()
    widths = [
        max(cell_len(line) for cell in cells for line in cell.splitlines() or [""]) for cells in zip(heads, *rows, strict=True)
    ]
    shown = list(range(len(heads)))
    if console.is_terminal or "COLUMNS" in os.environ:
        least = [min(width, _WRAPPED_WIDTH_MIN) if head == wraps else width for head, width in zip(heads, widths, strict=True)]
        may_go = [place for place in shown[1:] if heads[place] != keeps]
        while may_go and _table_width(least, shown) > console.width:
            shown.remove(may_go.pop())
    else:
        console.width = _table_width(widths, shown)
    table = Table(*(Column(heads[place], no_wrap=heads[place] != wraps, overflow="fold") for place in shown))
    for row in rows:
        table.add_row(*(row[place] for place in shown))
    console.print(table)
    if len(shown) < len(heads):
        say(
            f"… also: {', '.join(head for place, head in enumerate(heads) if place not in shown)} (a wider terminal, or --json)"
        )


def _table_width(widths: Sequence[int], shown: Sequence[int]) -> int:
    """In cells, with a space on either side of each column, and a line."""
    return 1 + sum(widths[place] + 3 for place in shown)


def _text(value: Any) -> str:
    """Bytes as text; what is no UTF-8 stays visible as escapes."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
