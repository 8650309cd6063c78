"""Time for compiled code.

``CLOCK_MONOTONIC`` through the vDSO costs about 22 ns a reading, the time-stamp counter about 10 ns: loops read the former
once a batch, tasks are accounted in ticks of the latter.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter.native.atomics import cycles, load64
from splinter.native.libc import CLOCK_MONOTONIC, clock_gettime

TIMESPEC_BYTES = 16
SECOND_NS = 1_000_000_000
_NANOSECONDS_AT = 8
_CALIBRATION_NS = 10_000_000


@njit(inline="always")
def now_ns(timespec: int) -> int:
    """Nanoseconds of ``CLOCK_MONOTONIC``; ``timespec`` is the address of ``TIMESPEC_BYTES`` of scratch memory."""
    clock_gettime(CLOCK_MONOTONIC, timespec)
    return load64(timespec) * SECOND_NS + load64(timespec + _NANOSECONDS_AT)


@njit(cache=True)
def _ticks_during(timespec: int, nanoseconds: int) -> tuple[int, int]:
    """Spin for so long; returns ticks of the time-stamp counter and nanoseconds that passed."""
    start_ns, start = now_ns(timespec), cycles()
    while True:
        passed = now_ns(timespec) - start_ns
        if passed >= nanoseconds:
            return cycles() - start, passed


@njit("int64()", cache=True)
def read_ticks() -> int:
    """The time-stamp counter, for Python code."""
    return cycles()


def cycles_per_millisecond() -> int:
    """Ticks of the time-stamp counter in a millisecond, measured (10 ms); the median of three, as others share the CPU."""
    scratch = np.zeros(TIMESPEC_BYTES, dtype=np.uint8)
    rates = []
    for _ in range(3):
        ticks, passed = _ticks_during(scratch.ctypes.data, _CALIBRATION_NS // 3)
        rates.append(ticks * (SECOND_NS // 1000) // passed)
    return sorted(rates)[1]
