"""The load generators' clock, for compiled code.

``CLOCK_MONOTONIC`` through the vDSO costs about 22 ns a reading; the time-stamp counter would cost 10 ns but needs
calibration and is not constant on every machine. A closed loop reads the clock once per batch: the difference is lost.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from splinter.native.atomics import load64
from splinter.native.libc import CLOCK_MONOTONIC, clock_gettime

TIMESPEC_BYTES = 16
_NANOSECONDS_AT = 8
SECOND_NS = 1_000_000_000


@njit(inline="always")
def now_ns(timespec: Any) -> Any:
    """Nanoseconds of ``CLOCK_MONOTONIC``; ``timespec`` is the address of ``TIMESPEC_BYTES`` of scratch memory."""
    clock_gettime(CLOCK_MONOTONIC, timespec)
    return load64(timespec) * SECOND_NS + load64(timespec + _NANOSECONDS_AT)
