"""Commands that change something and print what came of it: where it cannot be printed, standard error says what was done.

A full disk, a pipe whose reader has gone (``| head``), Ctrl-C while nobody empties a pipe: the change stands all the same, and
what was to be printed, a new token for one, may stand nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Generator, Iterable

from splinter.cli.errors import fail
from splinter.cli.start import discard
from splinter.errors import SplinterError
from splinter.terminal import OutputError

_SPANS_MAX = 8  # that a sentence names


def require_reader() -> None:
    """Before a change whose result must be told: raise :class:`SplinterError` when nobody can read standard output.

    A pipe without readers and a closed descriptor are seen, and some devices; a full disk only when something is written.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # no file: a test's
        return
    reason: str | None = None
    try:
        os.write(descriptor, b"")  # one that is closed, or not open for writing, says so
    except OSError as error:
        reason = error.strerror
    waiting = select.poll()
    waiting.register(descriptor, 0)
    if any(events & select.POLLERR for _, events in waiting.poll(0)):
        reason = "nobody reads it"
    if reason:
        raise SplinterError(f"standard output: {reason}: nothing was done, as its result could not be told")


@contextlib.contextmanager
def telling(done: str) -> Generator[None]:
    """For the block that prints what came of a change. ``done`` is the sentence that says it without the block's help."""
    try:
        yield
        sys.stdout.flush()
    except (OSError, ValueError, OutputError) as error:
        _give_up()
        text = str(error) if isinstance(error, OutputError) else f"standard output: {getattr(error, 'strerror', None) or error}"
        raise fail(f"{text}; {done}") from None
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or a signal: of an output that takes nothing
        _give_up()
        fail(f"interrupted; {done}")
        raise


def _give_up() -> None:
    """What is still in the buffer would be tried again at the program's end."""
    with contextlib.suppress(OSError, ValueError):
        discard(sys.stdout.fileno())


def spans(numbers: Iterable[int]) -> str:
    """Numbers in order as text: ``3, 9 … 16008``."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    texts = [str(first) if first == last else f"{first} … {last}" for first, last in found[:_SPANS_MAX]]
    more = sum(last - first + 1 for first, last in found[_SPANS_MAX:])
    return ", ".join(texts) + (f" and {more} more" if more else "")
