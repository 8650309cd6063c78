"""What the log process tells of its disk, in memory that it shares with the control process."""

from __future__ import annotations

import time

import numpy as np

from splinter.store.region import Region

# Each field is one aligned word, read and written whole. Times are of CLOCK_BOOTTIME; 0: never. It outlives its writers.
DISK_STATE = np.dtype(
    [
        ("synced_ns", "<u8"),  # when something was brought to the disk last. Writer: the log process, of all of these
        ("refused_ns", "<u8"),  # since when the disk refuses; 0: it does not
        ("failures", "<u8"),  # times that it began to refuse
        ("reserved", "<u8", 5),
    ]
)


def now_ns() -> int:
    """The time by the clock of these records."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class DiskState:
    """One such record. Made before the processes that share it are forked."""

    def __init__(self) -> None:
        self._region = Region.create("splinter-disk-state", DISK_STATE.itemsize)
        self._record = self._region.array(DISK_STATE, 1)[0]

    def note_sync(self) -> None:
        """Something is on the disk now."""
        self._record["synced_ns"] = now_ns()

    def note_refusal(self, *, is_refused: bool) -> None:
        """The disk refuses from now on, or does so no more."""
        if is_refused and not self._record["refused_ns"]:
            self._record["failures"] += np.uint64(1)
            self._record["refused_ns"] = now_ns()
        elif not is_refused:
            self._record["refused_ns"] = 0

    @property
    def sync_age_ns(self) -> int | None:
        """Nanoseconds since the last time that something came to the disk; None: nothing has."""
        return _age(int(self._record["synced_ns"]))

    @property
    def refused_age_ns(self) -> int | None:
        """For how many nanoseconds the disk has refused; None: it does not."""
        return _age(int(self._record["refused_ns"]))

    @property
    def failures(self) -> int:
        """Times that it began to refuse."""
        return int(self._record["failures"])


def _age(moment_ns: int) -> int | None:
    return max(0, now_ns() - moment_ns) if moment_ns else None
