"""Where commands write: nothing foreign reaches the terminal but what can be seen (:mod:`splinter.visible`).

Every command prints by :func:`say`, :func:`complain` or a :class:`Terminal`; a test fails when one does not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from splinter.errors import SplinterError
from splinter.visible import visible_lines


class Terminal(Console):
    """A console that takes text as text: no markup, no escape sequences, whoever wrote it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that is printed, alone, in a table, or as a title, comes by here."""
        return super().render_str(visible_lines(text), **{**options, "markup": False, "emoji": False})

    def print(self, *things: Any, **options: Any) -> None:
        """As the base's, but a failure names standard output."""
        with naming_output():
            super().print(*things, **options)

    def on_broken_pipe(self) -> NoReturn:
        """Nobody reads: an error as any other."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class OutputError(SplinterError):
    """Standard output takes nothing more, and its reader has not simply gone."""


@contextlib.contextmanager
def naming_output() -> Iterator[None]:
    """For a block that writes to standard output: what the system says of it is told as being about it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror or error}") from error


def say(text: str, end: str = "\n") -> None:
    """Print text on standard output."""
    with naming_output():
        print(visible_lines(text), end=end)


def flush() -> None:
    """Have what was said arrive now: for who goes on for long, as a pipe or a file gets only full blocks by itself."""
    with naming_output():
        sys.stdout.flush()


def complain(text: str) -> None:
    """Print text on standard error."""
    print(visible_lines(text), file=sys.stderr, flush=True)
