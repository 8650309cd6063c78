"""The rings of the change log (:mod:`splinter.store.changes`), as supervisor, log process and tests see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from splinter import limits
from splinter.layout import offset
from splinter.native.atomics import fence, load64_acquire, store64_release
from splinter.store.account_layout import ACCOUNT, ACCOUNT_BYTES
from splinter.store.accounts import call_durable, raise_word
from splinter.store.commit_layout import LOG_RING, LOG_RING_HEADER_BYTES, LOG_RING_SPAN
from splinter.store.layout import LOG_FAILED, LOG_KEPT, LOG_NONE
from splinter.store.records import Descriptor, Logged, LogRing

if TYPE_CHECKING:
    from splinter.store.region import Region
    from splinter.store.store import Store

_MASK = limits.LOG_RING_BYTES - 1
_DURABLE_AT = offset(ACCOUNT, "durable")


@njit(cache=True)
def _say_sleeps(store: int, sleeps: int) -> None:
    store64_release(Descriptor(store).at.log_sleeps, sleeps)
    fence()  # a position that is read next is read after that


@njit(cache=True)
def _tail(ring: int) -> int:
    return load64_acquire(LogRing(ring).at.tail)


@njit(cache=True)
def _set(ring: int, head: int, durable: int, free: int) -> None:
    store64_release(LogRing(ring).at.durable, durable)
    store64_release(LogRing(ring).at.head, head)
    store64_release(LogRing(ring).at.free, free)


@njit(cache=True, nogil=True)
def _note_commits(ring: int, first: int, last: int, words: int, stride: int) -> int:
    """Raise the word of each tenant, ``stride`` bytes apart from ``words`` on, to the last commit that a ring's entries from
    ``first`` to ``last``, positions in bytes, are of. Returns how many entries there are."""
    data, count = ring + LOG_RING_HEADER_BYTES, 0
    while first < last:
        entry = Logged(data + (first & _MASK))
        if entry.tenant != 0:
            raise_word(words + entry.tenant * stride, entry.sequence)
            count += 1
        first += entry.size
    return count


@njit(cache=True)
def _boundary(ring: int, first: int, last: int, most: int) -> int:
    """Where the entries from ``first`` on end that have at most so many bytes together, or where the first one ends."""
    data, at = ring + LOG_RING_HEADER_BYTES, first
    while at < last:
        following = at + Logged(data + (at & _MASK)).size
        if following - first > most and at != first:
            break
        at = following
    return at


class LogRings:
    """All rings: those of the workers, then that of the control process. Positions are counts of bytes since the beginning."""

    def __init__(self, store: Store, region: Region, workers: int) -> None:
        """``region``: at least :meth:`bytes_for`; all zero for a new store, as it was left for one that is attached."""
        self._store, self.region = store, region
        self.participants = [*range(workers), limits.PARTICIPANT_CONTROL]
        byte, starts = np.dtype(np.uint8), range(0, self.bytes_for(len(self.participants) - 1), LOG_RING_SPAN)
        self._headers = [region.array(LOG_RING, 1, start)[0] for start in starts]
        self._data = [region.array(byte, limits.LOG_RING_BYTES, start + LOG_RING_HEADER_BYTES).data for start in starts]

    @staticmethod
    def bytes_for(workers: int) -> int:
        """Memory of the rings of a store with so many workers."""
        return (workers + 1) * LOG_RING_SPAN

    def address(self, number: int) -> int:
        """Address of a ring."""
        return self.region.address + number * LOG_RING_SPAN

    def connect(self) -> None:
        """Have the store's changes logged from now on. Called while nobody writes."""
        for number, participant in enumerate(self.participants):
            self._store.participants[participant]["log"] = self.address(number)
        self.tell_standing(False)
        self._store.descriptor["log_state"] = LOG_KEPT

    def disconnect(self) -> None:
        """Have nothing logged."""
        self._store.participants["log"] = 0
        self._store.descriptor["log_state"] = LOG_NONE

    def tell_failed(self, is_failed: bool) -> None:
        """Refuse writes, or take them again."""
        self._store.descriptor["log_state"] = LOG_FAILED if is_failed else LOG_KEPT

    def tell_standing(self, stands: bool) -> None:
        """Have writes wait while the disk stands still, or go on."""
        self._store.descriptor["log_stands"] = stands

    def tails(self) -> list[int]:
        """How far each ring is written. What came before an entry below these is below those of a later call."""
        return [int(_tail(self.address(number))) for number in range(len(self.participants))]

    def heads(self) -> list[int]:
        """How far each ring is on disk."""
        return [int(header["head"]) for header in self._headers]

    @property
    def behind(self) -> int:
        """Bytes that are not on disk."""
        return sum(self.tails()) - sum(self.heads())

    def durables(self) -> list[int]:
        """How far each ring is called durable."""
        return [int(header["durable"]) for header in self._headers]

    def pieces(self, number: int, first: int, last: int) -> list[memoryview]:
        """What a ring holds from one position to another, at most LOG_RING_BYTES: one or two pieces."""
        begin, size = first & _MASK, last - first
        data, whole = self._data[number], limits.LOG_RING_BYTES - begin
        return [data[begin : begin + size]] if size <= whole else [data[begin:], data[: size - whole]]

    def boundary(self, number: int, first: int, last: int, most: int) -> int:
        """The end of a ring's entries from one position on, up to another, that have at most so many bytes together."""
        return last if last - first <= most else int(_boundary(self.address(number), first, last, most))

    def settle(self, number: int, durable: int, head: int) -> int:
        """Say that a ring is on disk up to ``head``, and up to ``durable`` with all that its entries follow. Returns how many
        entries that are more."""
        before = int(self._headers[number]["durable"])
        words = int(self._store.accounts.ctypes.data) + _DURABLE_AT
        count = int(_note_commits(self.address(number), before, durable, words, ACCOUNT_BYTES))
        _set(self.address(number), head, durable, durable)
        return count

    def note_commits(self, number: int, first: int, last: int, sequences: np.ndarray) -> None:
        """Raise ``sequences``, an int64 for each tenant, to the last commits that a ring's entries between two positions are
        of."""
        _note_commits(self.address(number), first, last, int(sequences.ctypes.data), sequences.itemsize)

    def free(self, free: list[int], heads: list[int]) -> None:
        """Say that the rings are on disk up to ``heads``, and their room free up to ``free``, though nothing is called
        durable."""
        for number, (end, head) in enumerate(zip(free, heads, strict=True)):
            _set(self.address(number), head, int(self._headers[number]["durable"]), end)

    def call_durable(self, positions: list[int], sequences: np.ndarray) -> None:
        """Say that all below these positions is durable, after :meth:`free`, and of each tenant the commits up to its one of
        ``sequences``, an int64 each."""
        for tenant in np.flatnonzero(sequences > self._store.accounts["durable"].astype(np.int64)):
            call_durable(self._store.address, int(tenant), int(sequences[tenant]))
        for number, durable in enumerate(positions):
            header = self._headers[number]
            _set(self.address(number), int(header["head"]), durable, int(header["free"]))

    def awaits(self, number: int) -> bool:
        """Whether a ring's worker holds replies back until the disk has caught up."""
        return bool(self._headers[number]["awaited"])

    @property
    def is_urgent(self) -> bool:
        """Whether any does, and there is something that is not durable."""
        is_awaited = any(map(self.awaits, range(len(self._headers))))
        return is_awaited and any(int(header["durable"]) != int(header["tail"]) for header in self._headers)

    @property
    def gaps(self) -> int:
        """Counts what the log lacks."""
        return int(self._store.descriptor["log_gaps"]) + sum(int(header["lost"]) for header in self._headers)

    @property
    def gaps_covered(self) -> int:
        """How much of that snapshots have made good: all of it, or nothing more is called durable."""
        return int(self._store.descriptor["log_covered"])

    @gaps_covered.setter
    def gaps_covered(self, count: int) -> None:
        self._store.descriptor["log_covered"] = count

    def set_sleeps(self, sleeps: bool) -> None:
        """Ask to be woken, or not any more, when somebody waits."""
        _say_sleeps(self._store.address, int(sleeps))
