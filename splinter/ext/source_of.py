"""The source text of an extension that is given as a Python function."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from splinter.errors import SplinterError


def source_of(function: Callable[..., Any]) -> tuple[str, str, int]:
    """Source of one function, its file, and the number of lines in front of it there.

    Raises :class:`SplinterError` when there is no source (a function typed into the interactive interpreter).
    """
    function = inspect.unwrap(function)
    try:
        lines, first = inspect.getsourcelines(function)
        filename = inspect.getsourcefile(function) or "<source>"
    except (OSError, TypeError):
        raise SplinterError(f"the source of {function!r} is not at hand: write it into a file, or give its text") from None
    return textwrap.dedent("".join(lines)), filename, first - 1
