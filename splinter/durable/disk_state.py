"""What log process and control process tell each other of the disk, in shared memory.

A *hold* has the files of log and snapshots stay where they are, for a backup (``docs/internals/durability.md``). The control
process numbers it, and says until when it lasts. The log process answers with how far the disk is; when it sees a hold end it
says that, before it moves anything: such a hold is over, whoever renews it.
"""

from __future__ import annotations

import time

import numpy as np

from splinter.store.region import Region

_NS_PER_SECOND = 1e9

# Each field is one aligned word, read and written whole. Times are of CLOCK_BOOTTIME; 0: never. It outlives its writers.
DISK_STATE = np.dtype(
    [
        ("synced_ns", "<u8"),  # when something was brought to the disk last. Writer: the log process, of the next two as well
        ("refused_ns", "<u8"),  # since when the disk refuses; 0: it does not
        ("failures", "<u8"),  # times that it began to refuse
        ("hold", "<u8"),  # number of the latest hold. Writer: the control process, of the next one as well
        ("hold_until_ns", "<u8"),  # 0: it was ended
        ("held_group", "<u8"),  # the log's last group when it was answered. Writer: the log process, of the next three as well
        ("held_snapshot", "<u8"),  # the first group behind the snapshot that there was; 0: there was none
        ("held", "<u8"),  # the latest hold that was answered, after those two
        ("ended", "<u8"),  # the latest hold that was seen to end
        ("turned_ns", "<u8"),  # all that came before this is on the disk. Writer: the log process
        ("reserved", "<u8", 6),
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

    def note_turn(self, began_ns: int) -> None:
        """All that came before ``began_ns`` is on the disk."""
        self._record["turned_ns"] = began_ns

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
    def turn_age_ns(self) -> int | None:
        """Nanoseconds since the latest moment before which all is on the disk that came; None: there was no turn yet."""
        return _age(int(self._record["turned_ns"]))

    @property
    def refused_age_ns(self) -> int | None:
        """For how many nanoseconds the disk has refused; None: it does not."""
        return _age(int(self._record["refused_ns"]))

    @property
    def failures(self) -> int:
        """Times that it began to refuse."""
        return int(self._record["failures"])

    # --- holds -------------------------------------------------------------------------------------------------------

    def begin_hold(self, seconds: float) -> int | None:
        """Have files stay where they are for so long. Returns the hold's number; None: there is another one."""
        if self._lasts():
            return None
        self._record["hold"] += np.uint64(1)
        self._record["hold_until_ns"] = now_ns() + int(seconds * _NS_PER_SECOND)
        return int(self._record["hold"])

    def renew_hold(self, number: int, seconds: float) -> bool:
        """Have a hold last for so long from now on. Whether it has lasted until now."""
        if number != int(self._record["hold"]) or not self._lasts():
            return False
        self._record["hold_until_ns"] = now_ns() + int(seconds * _NS_PER_SECOND)
        return int(self._record["ended"]) < number

    def shorten_hold(self, number: int, seconds: float) -> None:
        """Have a hold last for at most so long from now on, if there is still that one."""
        if number == int(self._record["hold"]):
            until = min(int(self._record["hold_until_ns"]), now_ns() + int(seconds * _NS_PER_SECOND))
            self._record["hold_until_ns"] = until

    def end_hold(self, number: int) -> None:
        """End a hold, if there is still that one."""
        if number == int(self._record["hold"]):
            self._record["hold_until_ns"] = 0

    def answer(self, number: int) -> tuple[int, int | None] | None:
        """The log's last group that a hold's backup is to have, and the first one behind its snapshot; None: not known yet."""
        if int(self._record["held"]) != number:
            return None
        return int(self._record["held_group"]), int(self._record["held_snapshot"]) or None

    def look_at_hold(self) -> int:
        """In the log process: the hold that lasts; 0: none. One that was seen to end is over."""
        number = int(self._record["hold"])
        if number <= int(self._record["ended"]):
            return 0
        if not self._lasts():
            self._record["ended"] = number
            return 0
        return number

    def answer_hold(self, number: int, group: int, snapshot: int | None) -> None:
        """In the log process: all that was acknowledged when the hold began is in these. Again: nothing."""
        if int(self._record["held"]) != number:
            self._record["held_group"], self._record["held_snapshot"] = group, snapshot or 0
            self._record["held"] = number

    def _lasts(self) -> bool:
        return now_ns() < int(self._record["hold_until_ns"])


def _age(moment_ns: int) -> int | None:
    return max(0, now_ns() - moment_ns) if moment_ns else None
