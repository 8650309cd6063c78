"""How far a command is, on standard error: a bar on a terminal, elsewhere a line now and then, for a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from splinter.terminal import Terminal, complain

_LINE_SECONDS = 2.0


@contextlib.contextmanager
def shown(doing: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show how far a block is that calls what it is given: with what is done, of how much (0: nobody knows), and what to say of
    it."""
    terminal = Terminal(stderr=True)
    if not terminal.is_terminal:
        yield _lines(doing)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (
        TextColumn(doing), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, what: progress.update(task, completed=done, total=total or None, description=what)


def _lines(doing: str) -> Callable[[int, int, str], None]:
    following = time.monotonic() + _LINE_SECONDS

    def line(done: int, total: int, what: str) -> None:
        nonlocal following
        if time.monotonic() >= following:
            share = f"{100 * done // total} %, " if total else ""
            complain(f"{doing}: {share}{what}")
            following = time.monotonic() + _LINE_SECONDS

    return line
