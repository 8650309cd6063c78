"""Progress on standard error."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

Progress = Callable[[str], None]  # called with a sentence before each step
_WATCH_SECONDS = 0.5


@contextlib.contextmanager
def progress(steps: int | None) -> Generator[Progress]:
    """Yields what to call with a sentence before each of ``steps`` steps; None: nobody knows how many.

    It draws only then: nothing of ours competes with what is measured.
    """
    with _bar() as shown:
        task = shown.add_task("", total=steps, rate="")

        def say(text: str) -> None:
            shown.update(task, description=text, refresh=True)
            shown.advance(task)

        yield say


@contextlib.contextmanager
def live_progress(done: Callable[[], int]) -> Generator[Progress]:
    """Yields what to call with a sentence before each step; beside it, what ``done`` counts and how fast it grows.

    It looks and draws twice a second, and on a terminal only, so that it takes little from what is measured.
    """
    with _bar() as shown:
        task = shown.add_task("", total=None, rate="")
        ended = threading.Event()

        def watch() -> None:
            before, then = 0, time.monotonic()
            while not ended.wait(_WATCH_SECONDS):
                count, now = done(), time.monotonic()
                rate = f"{(count - before) / (now - then):,.0f} requests a second" if count > before else ""
                before, then = count, now
                shown.update(task, rate=rate, refresh=True)

        watcher = threading.Thread(target=watch, daemon=True)
        if shown.console.is_terminal:
            watcher.start()
        try:
            yield lambda text: shown.update(task, description=text, refresh=True)
        finally:
            ended.set()
            if watcher.is_alive():
                watcher.join()


def _bar() -> ProgressBar:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[rate]}"))
    return ProgressBar(*columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal)
