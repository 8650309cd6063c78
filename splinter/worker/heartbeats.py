"""The supervisor's look at the workers' heartbeats: compiled, since it is done some hundred times a second."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import cycles, load32_acquire, load64, load64_acquire, store64
from splinter.worker.layout import STATE_SLEEPING
from splinter.worker.records import Worker

SLEEP_MS_MAX = 3 * limits.IDLE_POLL_MS  # a sleeping worker beats at least every IDLE_POLL_MS
_SCAN_MS = limits.WATCHDOG_SCAN_MS
_LOOKS = 512  # in a row, for a second or some


@njit("boolean(int64, int64, int64, int64, int64, int64)", cache=True)
def scan_heartbeats(pollfd: int, blocks: int, workers: int, ticks: int, seen: int, asleep_ms: int) -> bool:
    """Look every WATCHDOG_SCAN_MS, and every ``asleep_ms`` while all sleep; returns whether a heartbeat is stale.

    It is when it has not moved since the look before and is older than WATCHDOG_SCAN_MS, a sleeping worker's than
    SLEEP_MS_MAX. False also when the descriptor of ``pollfd`` is ready, and after a while. ``blocks`` is the address of the
    addresses of the workers' blocks, ``ticks`` the time-stamp counter's in a millisecond, ``seen`` the address of the
    heartbeats of the look before: the caller's to keep.
    """
    wait_ms = _SCAN_MS
    for _ in range(_LOOKS):
        if libc.poll(pollfd, 1, wait_ms) != 0:
            return False
        now, wait_ms = cycles(), asleep_ms
        for index in range(workers):
            block, before = load64(blocks + index * 8), seen + index * 8
            worker = Worker(block)
            sleeps = load32_acquire(worker.at.state) == STATE_SLEEPING
            heartbeat = load64_acquire(worker.at.heartbeat)
            if not sleeps:
                wait_ms = _SCAN_MS
            if heartbeat == load64(before) and now - heartbeat >= (SLEEP_MS_MAX if sleeps else _SCAN_MS) * ticks:
                return True
            store64(before, heartbeat)
    return False
