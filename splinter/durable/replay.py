"""Putting a store back together from groups of the change log, and from copied slots of a snapshot.

Groups come in the order in which they were written. Within one, and from one to the next, entries of a tenant may stand out of
order (:mod:`splinter.store.changes` says why): they are taken by their numbers, and those behind a number that has not come yet
wait for the next group. What waits at the end is what nobody was told of: it is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from splinter import limits
from splinter.errors import ServerError, Status
from splinter.store.commit_layout import LOGGED_BYTES
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.reclaim import reclaim
from splinter.store.restore import FOUND_BYTES, find_entries, restore_copies, restore_entries
from splinter.store.salvage import remove_cut_values
from splinter.store.store import Store

_CONTROL = limits.PARTICIPANT_CONTROL
_RECLAIM_SLOTS = 1 << 20


class DamagedEntryError(ServerError):
    """Bytes whose checksums are right hold what is no entry, or no copy of a slot. ``place``: bytes from their beginning."""

    def __init__(self, place: int) -> None:
        super().__init__(f"no sound entry at byte {place}")
        self.place = place


class Replay:
    """One recovery. The store is served by nobody, its changes are not logged, its tenants are open and have no quota."""

    def __init__(self, store: Store, generations: np.ndarray, numbers: np.ndarray) -> None:
        """``generations``: of each tenant id, that whose objects are wanted; 0: nobody's. ``numbers``: of each tenant id, the
        last entry that the snapshot's objects have in them. Both int64, TENANTS_MAX long, and the replay's from now on."""
        self._store = store
        self._generations, self._numbers = generations, numbers
        self._wanted = (generations != 0).astype(np.uint8)
        self._left = np.empty(0, np.uint8)
        self.entries = 0  # restored, or passed over
        self.objects = 0  # restored from copied slots

    def begin(self, places: np.ndarray) -> None:
        """Take the TENANT_PLACE records of a snapshot: its objects are of these generations, and have these entries in them.
        Raises :class:`DamagedEntryError`."""
        ids = places["tenant"].astype(np.int64)
        if len(wrong := np.flatnonzero((ids < 1) | (ids >= limits.TENANTS_MAX))):
            raise DamagedEntryError(int(wrong[0]) * places.itemsize)
        self._numbers[ids] = places["number"]
        wanted = np.zeros_like(self._wanted)
        wanted[ids] = places["generation"] == self._generations[ids]
        self._wanted = self._wanted & wanted
        accounts = self._store.accounts
        accounts["sequence"][ids] = np.maximum(accounts["sequence"][ids], places["sequence"])

    @property
    def waiting(self) -> int:
        """Bytes of entries that follow one that has not come."""
        return len(self._left)

    def group(self, payload: bytes | memoryview | np.ndarray) -> None:
        """Restore a group of the log. Raises :class:`DamagedEntryError`, and :class:`ServerError` when the store is too small
        for what there is."""
        data = np.frombuffer(payload, np.uint8)
        before = len(self._left)
        if before:
            data = np.concatenate((self._left, data))
        base = int(data.ctypes.data)
        found = np.empty((len(data) // LOGGED_BYTES + 1, FOUND_BYTES // 8), np.int64)
        count = int(find_entries(base, base + len(data), int(found.ctypes.data)))
        if count < 0:
            raise DamagedEntryError(-1 - count - before)
        found = found[:count]
        places = np.ascontiguousarray(found[np.lexsort((found[:, 1], found[:, 0])), 2])
        left = np.empty(count, np.int64)
        arrays = (self._numbers, self._generations, left)
        status, waiting = self._within_epoch(
            restore_entries, base, int(places.ctypes.data), count, *(int(array.ctypes.data) for array in arrays)
        )  # fmt: skip
        self._check(status)
        sizes = data.view(np.uint8)
        self._left = np.concatenate(
            [sizes[p : p + int.from_bytes(sizes[p : p + 4].tobytes(), "little")] for p in sorted(left[:waiting])]
            or [np.empty(0, np.uint8)]
        )
        self.entries += count - waiting

    def copies(self, payload: bytes | memoryview | np.ndarray) -> None:
        """Restore copied slots of a snapshot. Raises as :meth:`group`."""
        data = np.frombuffer(payload, np.uint8)
        base = int(data.ctypes.data)
        status, count, end = self._within_epoch(restore_copies, base, base + len(data), int(self._wanted.ctypes.data))
        if status == Status.BAD_LENGTH:
            raise DamagedEntryError(int(end) - base)
        self._check(status)
        self.objects += int(count)

    def remove_cut_values(self) -> int:
        """After damage was left out: remove large values that lack a part; returns how many."""
        return int(self._within_epoch(remove_cut_values))

    def end(self) -> None:
        """Say that all that is there now is on disk."""
        accounts = self._store.accounts
        np.maximum(accounts["number"], self._numbers.astype(np.uint64), out=accounts["number"])
        accounts["durable"] = accounts["sequence"]

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

    def _check(self, status: int) -> None:
        if status == Status.OUT_OF_MEMORY:
            raise ServerError("the store is too small for what the data folder holds: start the server with more --memory")
        if status != Status.OK:
            raise ServerError(f"an entry cannot be restored: {Status(status).text}")
