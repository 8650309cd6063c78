"""Where commands write: nothing foreign reaches the terminal but what can be seen (:mod:`splinter.visible`).

Every command prints by :func:`say`, :func:`complain` or a :class:`Terminal`; a test fails when one does not.
"""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from splinter.visible import visible_lines


class Terminal(Console):
    """A console that takes text as text: no markup, no escape sequences, whoever wrote it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that is printed, alone, in a table, or as a title, comes by here."""
        return super().render_str(visible_lines(text), **{**options, "markup": False, "emoji": False})


def say(text: str, end: str = "\n") -> None:
    """Print text on standard output."""
    print(visible_lines(text), end=end)


def complain(text: str) -> None:
    """Print text on standard error."""
    print(visible_lines(text), file=sys.stderr, flush=True)
