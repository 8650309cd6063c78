"""What the supervisor does while all is well: it waits for its descriptors, and looks at the heartbeats in compiled code."""

from __future__ import annotations

import numpy as np

from splinter import limits
from splinter.worker.heartbeats import scan_heartbeats
from splinter.worker.layout import POLLFD, POLLIN
from splinter.worker.memory import WorkerMemory


class Scan:
    """Scans the heartbeats of all workers, and one descriptor."""

    def __init__(self, workers: list[WorkerMemory], descriptor: int, limit_ms: int, cycles_per_millisecond: int) -> None:
        """``descriptor`` becomes readable when the supervisor has anything to do; ``limit_ms`` is the watchdog's."""
        self._blocks = np.array([worker.address for worker in workers], np.uint64)
        self._seen = np.zeros(len(workers), np.int64)
        self._poll = np.array([(descriptor, POLLIN, 0)], POLLFD)
        self._ticks = cycles_per_millisecond
        # One that wakes now is not stale before the limit.
        self._asleep_ms = max(limits.WATCHDOG_SCAN_MS, limit_ms - limits.WATCHDOG_SCAN_MS)

    def wait(self) -> bool:
        """Until there may be something to do, or some hundred looks have been taken; true when a heartbeat is stale."""
        poll, blocks, seen = self._poll.ctypes.data, self._blocks.ctypes.data, self._seen.ctypes.data
        return bool(scan_heartbeats(poll, blocks, len(self._seen), self._ticks, seen, self._asleep_ms))
