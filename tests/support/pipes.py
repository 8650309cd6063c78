"""Pipes whose readers leave them full."""

from __future__ import annotations

import contextlib
import os

_PIECE_BYTES = 4096


def full_pipe() -> tuple[int, int]:
    """(read end, write end) of a pipe into which nothing fits any more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * _PIECE_BYTES)
    os.set_blocking(writing, True)
    return reading, writing
