"""``splinter warm``."""

from __future__ import annotations

import time
from collections.abc import Callable

import typer

from splinter.errors import SplinterError
from splinter.terminal import Terminal, say


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(warm)


def warm() -> None:
    """Compile ahead what servers run, so that a first start takes no longer than others.

    The code of both transports, and of the Redis protocol, goes into this user's cache (~/.cache/splinter). Nothing is done
    twice; a change of Splinter's sources, or of Numba, makes it necessary again.
    """
    from splinter.server.supervisor.warm import by_lines, compile_ahead, missing, remember

    began = time.monotonic()
    steps = missing()
    if not steps:
        remember()
        say("nothing to do: everything is compiled")
        return
    terminal = Terminal(stderr=True)
    if terminal.is_terminal:
        is_whole = _with_bar(terminal, len(steps), lambda tell: compile_ahead(steps, tell))
    else:
        is_whole = compile_ahead(steps, by_lines(len(steps), say))
    if not is_whole:
        raise SplinterError("not everything could be compiled and saved")
    remember()
    say(f"compiled {len(steps)} functions in {time.monotonic() - began:.0f} s")


def _with_bar(terminal: Terminal, total: int, run: Callable[[Callable[[int, str], None]], bool]) -> bool:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("compiling"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # No thread refreshes it: processes are forked meanwhile.
    with Progress(*columns, console=terminal, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=total)
        return run(lambda done, name: progress.update(task, completed=done, description=name, refresh=True))
