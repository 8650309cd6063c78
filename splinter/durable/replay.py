"""Putting a store back together from groups of the change log, and from copied slots of a snapshot.

Groups come in the order in which they were written. Within one, and from one to the next, entries of a tenant may stand out of
order (:mod:`splinter.store.changes` says why): they are taken by their numbers, and those behind a number that has not come yet
wait for the next group. What waits at the end is what nobody was told of: it is left out.

That holds for a log that is whole. Where damage was left out, a missing number may be of what is lost, and who followed it may
have been acknowledged: then entries wait as long as those before them can be late, and no longer (``skips_gaps``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from splinter import limits
from splinter.errors import ServerError, Status
from splinter.store.commit_layout import LOGGED_BYTES
from splinter.store.compaction import compact, slabs_left
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.reclaim import reclaim
from splinter.store.restore import FOUND_BYTES, find_entries, restore_copies, restore_entries
from splinter.store.salvage import remove_cut_values
from splinter.store.store import Store

_CONTROL = limits.PARTICIPANT_CONTROL
_RECLAIM_SLOTS = 1 << 20
_ROOM_SECONDS = 1.0  # for emptying sparse slabs, where memory is short
_NOTHING = np.empty(0, np.uint8)
# What an entry follows comes at the latest in the log process's next turn (splinter.durable.logger). These are the groups of
# two turns, at most.
_LATER_GROUPS = 2 * (limits.LOG_RING_BYTES // limits.LOG_GROUP_BYTES_MAX + 1)


class DamagedEntryError(ServerError):
    """Bytes whose checksums are right hold what is no entry, or no copy of a slot. ``place``: bytes from their beginning."""

    def __init__(self, place: int) -> None:
        super().__init__(f"no sound entry at byte {place}")
        self.place = place


class Replay:
    """One recovery. The store is served by nobody, its changes are not logged, its tenants are open and have no quota."""

    def __init__(self, store: Store, generations: np.ndarray, numbers: np.ndarray) -> None:
        """``generations``: of each tenant id, that whose objects are wanted; 0: nobody's. ``numbers``: of each tenant id, the
        last entry of which nothing is wanted. Both int64, TENANTS_MAX long, and the replay's from now on."""
        self._store = store
        self._generations, self._numbers = generations, numbers
        self._wanted = np.zeros(len(generations), np.uint8)  # whose copied slots are restored: nobody's until it has begun
        self._left, self._born = _NOTHING, np.empty(0, np.int64)  # entries that wait, and the groups that they came in
        self._whose = np.empty(0, np.int64)  # their tenants
        self._groups = 0
        self.skips_gaps = False  # after damage was left out: what is missing before an entry may never come
        self.has_begun = False
        self.entries = 0  # restored, or passed over
        self.objects = 0  # restored from copied slots
        self._short_at = -1  # where there was no memory last

    def begin(self, places: np.ndarray) -> None:
        """Take the TENANT_PLACE records of a snapshot: its objects are of these generations, and have these entries in them.
        What has none but entries of which nothing is wanted is not wanted itself. Raises :class:`DamagedEntryError`."""
        ids = places["tenant"].astype(np.int64)
        if len(wrong := np.flatnonzero((ids < 1) | (ids >= limits.TENANTS_MAX))):
            raise DamagedEntryError(int(wrong[0]) * places.itemsize)
        is_later = places["number"] >= self._numbers[ids]
        self._numbers[ids] = np.maximum(self._numbers[ids], places["number"].astype(np.int64))
        self._wanted[:] = 0
        self._wanted[ids] = (places["generation"] == self._generations[ids]) & (self._generations[ids] != 0) & is_later
        self.has_begun = True
        accounts = self._store.accounts
        accounts["sequence"][ids] = np.maximum(accounts["sequence"][ids], places["sequence"])

    @property
    def waiting(self) -> dict[int, int]:
        """By tenant, how many entries follow one that has not come."""
        return {int(tenant): int(count) for tenant, count in zip(*np.unique(self._whose, return_counts=True), strict=True)}

    def group(self, payload: bytes | memoryview | np.ndarray) -> None:
        """Restore a group of the log. Raises :class:`DamagedEntryError`, and :class:`ServerError` when the store is too small
        for what there is."""
        self._groups += 1
        self._restore(np.frombuffer(payload, np.uint8), self._groups - _LATER_GROUPS if self.skips_gaps else 0)

    def _restore(self, data: np.ndarray, patient: int) -> None:
        """Restore entries, and those that wait; ``patient``: those of this group, or an older one, wait no longer."""
        before = len(self._left)
        data = np.concatenate((self._left, data)) if before else data
        base = int(data.ctypes.data)
        found = np.empty((len(data) // LOGGED_BYTES + 1, FOUND_BYTES // 8), np.int64)
        count = int(find_entries(base, base + len(data), int(found.ctypes.data)))
        if count < 0:
            raise DamagedEntryError(-1 - count - before)
        found = found[:count]
        born = np.append(self._born, np.full(count - len(self._born), self._groups))
        order = np.lexsort((found[:, 1], found[:, 0]))
        rows = np.ascontiguousarray(np.stack((found[order, 2], born[order] <= patient), axis=1, dtype=np.int64))
        left = np.empty(count, np.int64)
        arrays = (self._numbers, self._generations, left)
        while True:  # what was restored is passed over the next time
            status, waiting = self._within_epoch(
                restore_entries, base, int(rows.ctypes.data), count, *(int(array.ctypes.data) for array in arrays)
            )  # fmt: skip
            if status != Status.OUT_OF_MEMORY or not self._makes_room(int(self._numbers.sum())):
                break
        self._check(status)
        kept = np.sort(order[left[:waiting]])
        sizes = [int.from_bytes(data[at : at + 4].tobytes(), "little") for at in found[kept, 2]]
        pieces = [data[at : at + size] for at, size in zip(found[kept, 2], sizes, strict=True)]
        self._left, self._born = np.concatenate(pieces or [_NOTHING]), born[kept]
        self._whose = found[kept, 0]
        self.entries += count - waiting

    def copies(self, payload: bytes | memoryview | np.ndarray) -> None:
        """Restore copied slots of a snapshot. Raises as :meth:`group`."""
        data = np.frombuffer(payload, np.uint8)
        base = int(data.ctypes.data)
        end = base
        while True:
            status, count, end = self._within_epoch(restore_copies, end, base + len(data), int(self._wanted.ctypes.data))
            self.objects += int(count)
            if status != Status.OUT_OF_MEMORY or not self._makes_room(int(end)):
                break
        if status == Status.BAD_LENGTH:
            raise DamagedEntryError(int(end) - base)
        self._check(status)

    def end(self) -> int:
        """There are no more groups: say that all that is there now is on disk.

        Where damage was left out, what still waits is restored first, as what it follows will not come, and large values that
        lack a part are removed. Returns how many.
        """
        removed = 0
        if self.skips_gaps:
            self._restore(_NOTHING, self._groups)
            removed = int(self._within_epoch(remove_cut_values))
        accounts = self._store.accounts
        np.maximum(accounts["number"], self._numbers.astype(np.uint64), out=accounts["number"])
        accounts["durable"] = accounts["sequence"]
        return removed

    def _within_epoch(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a compiled function that changes the store, as the control process, and free what it replaced."""
        address = self._store.address
        self._store.participants["now"][_CONTROL] = 0  # nothing is over: what the log replaced and deleted is to be found
        epoch_enter(address, _CONTROL, OLDEST_NONE)
        try:
            return function(address, _CONTROL, *arguments)
        finally:
            epoch_leave(address, _CONTROL)
            reclaim(address, _CONTROL, _RECLAIM_SLOTS)

    def _makes_room(self, place: int) -> bool:
        """There was no memory for what stands at ``place``, which grows. Whether there may be now: what was replaced on the way
        there is free, and sparse slabs are emptied, as in a store that serves."""
        is_further, self._short_at = place != self._short_at, place
        if is_further:
            return True
        address = self._store.address
        before, until = int(slabs_left(address)), time.monotonic() + _ROOM_SECONDS
        while int(slabs_left(address)) <= before and time.monotonic() < until:
            self._within_epoch(compact, time.monotonic_ns(), True)
        return int(slabs_left(address)) > before

    def _check(self, status: int) -> None:
        if status == Status.OUT_OF_MEMORY:
            raise ServerError("the store is too small for what the data folder holds: start the server with more --memory")
        if status != Status.OK:
            raise ServerError(f"an entry cannot be restored: {Status(status).text}")
