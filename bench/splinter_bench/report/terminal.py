"""Tables and lines on standard output, wide enough for the tables where that is no terminal."""

from __future__ import annotations

import sys

from splinter.terminal import Terminal
from splinter_bench.table import Table

_WIDTH_MIN = 140


def show(*shown: Table | str, width_min: int = _WIDTH_MIN) -> None:
    """Print these one below the other. Raises :class:`splinter.terminal.OutputError` when nothing more can be written."""
    terminal = Terminal(width=None if sys.stdout.isatty() else max(Terminal().width, width_min))
    for one in shown:
        terminal.print(one.rich() if isinstance(one, Table) else one)
