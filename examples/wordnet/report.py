"""What the demonstration prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from splinter_bench.result import Result

from examples.wordnet.questions import Question, Way

_MICROSECOND_NS = 1000


class Reporter:
    """Prints one line for each finished step, with its time, and a bar or spinner while it runs on a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def note(self, text: str) -> None:
        """One line for what took no time worth telling."""
        self.console.print(f"[green]✓[/] {text}", highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[list[str]]:
        """A step without known length. What the caller appends to the list is printed behind the text."""
        start = time.monotonic()
        details: list[str] = []
        with self.console.status(text):
            yield details
        self._done(text, details, start)

    @contextmanager
    def counted_step(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """A step of ``total`` parts: call what is yielded with the number of parts just done."""
        start = time.monotonic()
        columns = (TextColumn("  {task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(text, total=total)
            yield lambda parts: progress.advance(task, parts)
        self._done(text, [], start)

    def _done(self, text: str, details: list[str], start: float) -> None:
        more = escape(f": {', '.join(details)}") if details else ""
        took = f"[dim]({time.monotonic() - start:.1f} s)[/]"
        self.note(f"{text}{more} {took}")


def results_table(questions: list[Question], measured: list[tuple[str, Result]]) -> Table:
    """Both ways below each other for each question; then what a compiled client measured in the same run."""
    table = Table(title="The same questions, asked both ways", title_justify="left", box=box.SIMPLE)
    table.add_column("", no_wrap=True)
    for heading in ("answers", "round\ntrips", "median\nµs", "p99\nµs", "per\nsecond"):
        table.add_column(heading, justify="right", no_wrap=True)
    for question in questions:
        for way in (question.gets, question.invoke):
            table.add_row(f"{question.title} by {way.name}", *_way_cells(question, way))
        table.add_section()
    for name, result in measured:
        latency = result.latency_ns
        times = (_microseconds(latency["p50"]), _microseconds(latency["p99"]))
        table.add_row(f"{name} *", "", f"{result.recorded:,}", *times, f"{result.per_second:,.0f}")
    if measured:
        table.caption = "* by a compiled client over AF_XDP, the others by the Python client"
        table.caption_justify = "left"
    return table


def _way_cells(question: Question, way: Way) -> list[str]:
    return [
        "equal" if not question.different else f"[red]{question.different:,} differ[/]",
        f"{way.round_trips:,}",
        _microseconds(way.percentile_ns(50)),
        _microseconds(way.percentile_ns(99)),
        f"{way.per_second:,.0f}",
    ]


def _microseconds(nanoseconds: float) -> str:
    return f"{nanoseconds / _MICROSECOND_NS:,.1f}"
