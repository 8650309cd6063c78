"""What a counter is: an object of 8 bytes, an unsigned integer, to which extensions add."""

from __future__ import annotations

from numba import njit

from splinter.ext.abi import ExtensionError
from splinter.native.atomics import less_unsigned, load64
from splinter.worker.records import Frame

COUNTER_BYTES = 8


@njit(cache=True)
def add_to_counter(frame_at: int, found: int, n: int) -> int:
    """Add ``n``, which may be negative, to the counter that a get has left in the frame (``found`` 0: there is none, which is
    0). Leaves the sum in the frame's ``out_version``, and returns 0, or -ExtensionError."""
    frame, counted = Frame(frame_at), 0
    if found != 0:
        if frame.out_length != COUNTER_BYTES:
            return -ExtensionError.COUNTER
        counted = load64(frame.out_address)
    total = counted + n
    if less_unsigned(total, counted) != (n < 0):
        return -ExtensionError.OVERFLOW
    frame.out_version = total
    return 0
