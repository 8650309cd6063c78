"""Progress on standard error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextlib.contextmanager
def progress(steps: int) -> Generator[Callable[[str], None]]:
    """Yields what to call with a sentence before each of ``steps`` steps.

    It draws only then: nothing of ours competes with what is measured.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as shown:
        task = shown.add_task("", total=steps)

        def say(text: str) -> None:
            shown.update(task, description=text, refresh=True)
            shown.advance(task)

        yield say
