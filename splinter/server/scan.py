"""The watchdog's look at the heartbeats while all is well: compiled, since it is done some hundred times a second.

It returns to Python when a descriptor of the supervisor's is readable, or when a heartbeat has not moved since the look before
and is old enough to be asked about (:meth:`splinter.server.watchdog.Watchdog.judge`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import load32_acquire, load64, load64_acquire
from splinter.native.clock import cycles
from splinter.worker.layout import POLLFD, POLLIN, STATE_SLEEPING, W_HEARTBEAT, W_STATE
from splinter.worker.memory import WorkerMemory

SLEEP_MS_MAX = 3 * limits.IDLE_POLL_MS  # a sleeping worker beats at least every IDLE_POLL_MS
_SCAN_MS = limits.WATCHDOG_SCAN_MS
_LOOKS = 512  # in a row, at most a second or some, before Python has a look at the rest


@njit("boolean(int64, int64, int64, int64[::1], int64)", cache=True)
def _watch(pollfd: int, blocks: int, ticks: int, seen: np.ndarray, asleep_ms: int) -> bool:
    wait_ms = _SCAN_MS
    for _ in range(_LOOKS):
        if libc.poll(pollfd, 1, wait_ms) != 0:
            return False
        now, wait_ms = cycles(), asleep_ms
        for index in range(len(seen)):
            block = load64(blocks + index * 8)
            sleeps = load32_acquire(block + W_STATE) == STATE_SLEEPING
            heartbeat = load64_acquire(block + W_HEARTBEAT)
            if not sleeps:
                wait_ms = _SCAN_MS
            if heartbeat == seen[index] and now - heartbeat >= (SLEEP_MS_MAX if sleeps else _SCAN_MS) * ticks:
                return True
            seen[index] = heartbeat
    return False


class Scan:
    """Watches the heartbeats of all workers, and one descriptor."""

    def __init__(self, workers: list[WorkerMemory], descriptor: int, limit_ms: int, cycles_per_millisecond: int) -> None:
        """``descriptor`` becomes readable when the supervisor has anything to do; ``limit_ms`` is the watchdog's."""
        self._blocks = np.array([worker.address for worker in workers], np.uint64)
        self._seen = np.zeros(len(workers), np.int64)
        self._poll = np.array([(descriptor, POLLIN, 0)], POLLFD)
        self._ticks = cycles_per_millisecond
        # One that wakes now is not stale before the limit.
        self._asleep_ms = max(_SCAN_MS, limit_ms - _SCAN_MS)

    def watch(self) -> bool:
        """Until there is something to do, at most for some seconds; true when a heartbeat is stale."""
        return bool(_watch(self._poll.ctypes.data, self._blocks.ctypes.data, self._ticks, self._seen, self._asleep_ms))
