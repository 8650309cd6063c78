"""Ending a benchmark before its end, so that it removes the labs and servers that it has made."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
from collections.abc import Generator

_AFTERWARDS_SECONDS_MAX = 60  # for removing labs and servers


@contextlib.contextmanager
def bounded(seconds_max: int) -> Generator[None]:
    """:func:`interruptible`, and ``KeyboardInterrupt`` with a reason when the block takes longer.

    The process ends at once when removing what the block has made takes too long as well.
    """
    with interruptible({signal.SIGALRM: f"took longer than {seconds_max} s"}):
        signal.alarm(seconds_max)
        faulthandler.dump_traceback_later(seconds_max + _AFTERWARDS_SECONDS_MAX, exit=True)
        try:
            yield
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def interruptible(reasons: dict[int, str] | None = None) -> Generator[None]:
    """``KeyboardInterrupt`` in the block at Ctrl-C, at SIGTERM, and with its reason at each signal of ``reasons``.

    Only once: further ones are ignored, so that what the block has made is removed in order.
    """
    texts: dict[int, str] = {signal.SIGINT: "", signal.SIGTERM: "", **(reasons or {})}

    def interrupt(number: int, _: object) -> None:
        for one in texts:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt(*filter(None, [texts[number]]))

    before = {one: signal.signal(one, interrupt) for one in texts}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
