"""How a load generator waits without spinning: ``ppoll`` on its sockets, to the nanosecond.

The kernel ends a sleep up to the thread's timer slack later (50 µs, unless :func:`precise` was called), and the scheduler
runs the thread when it likes, unless it has a real-time priority (:func:`splinter_bench.process.real_time`).
"""

from __future__ import annotations

import ctypes
import select
from collections.abc import Sequence

import numpy as np
from numba import njit

from splinter.native.atomics import store64
from splinter.native.clock import SECOND_NS
from splinter.native.libc import ppoll

_POLLFD = np.dtype([("fd", "<i4"), ("events", "<i2"), ("returned", "<i2")])  # struct pollfd
_NANOSECONDS_AT = 8  # in a struct timespec
_PR_SET_TIMERSLACK = 29
_SLACK_NS_MIN = 1
_libc = ctypes.CDLL(None, use_errno=True)


def polled(descriptors: Sequence[int]) -> np.ndarray:
    """``struct pollfd`` for each descriptor, for packets that come in."""
    return np.array([(fd, select.POLLIN, 0) for fd in descriptors], _POLLFD)


def precise() -> None:
    """Have the kernel end the calling thread's sleeps on time."""
    _libc.prctl(_PR_SET_TIMERSLACK, _SLACK_NS_MIN, 0, 0, 0)


@njit(cache=True)
def sleep(polled: int, count: int, nanoseconds: int, timespec: int) -> None:
    """Sleep for so long, or until one of the descriptors is readable. ``timespec`` is the address of scratch memory."""
    store64(timespec, nanoseconds // SECOND_NS)
    store64(timespec + _NANOSECONDS_AT, nanoseconds % SECOND_NS)
    ppoll(polled, count, timespec, 0)
