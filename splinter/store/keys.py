"""Going over a tenant's keys by its roster, without its lock, while others write: for whoever lists them.

The cursor is a position. A key that has an object all the time keeps its position, so a walk over all positions comes to it
once. One that was put or deleted meanwhile is told or not; one that was deleted and put again may be told twice. There is no
order.

**Why what is read is sound.** The caller has entered an epoch. A chunk is found by the index; one that was moved or dropped
since stays as it was until the epoch is left, and the cell of a key that is there all the time says the same in each copy. A
cell may name an entry that another key has by now. So what the entry names counts only if it is published, of this tenant, and
at this position. A put may replace and date it in between; then the entry has another word, and is looked at again. If it has
the same word the cell is out of date, and its key was deleted.

**A commit of several objects** hides what it deletes behind ENTRY_DELETING, which does not tell what it is. It may be taken
back, and then the key was there all the time. So a walk ends before it, and its caller comes again. What such a commit has put
is told as readers see it (:func:`splinter.store.snapshots.shown`).
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import copy_bytes, load64_acquire, store8
from splinter.store.accounts import account_of
from splinter.store.hashing import keys_equal
from splinter.store.index import word_object, word_unit
from splinter.store.journal import participant_at
from splinter.store.layout import ENTRY_DELETING
from splinter.store.objects import (
    is_at_position,
    object_key,
    object_key_length,
    object_table,
    object_tenant,
)
from splinter.store.records import Account
from splinter.store.roster import cell_entry, chunk_cells, find_chunk
from splinter.store.roster_layout import CELL_BITS, CELL_MASK
from splinter.store.snapshots import shown

KEYS_END = -1  # in place of a cursor

_HIDDEN = -1  # in place of an object's address: who knows later
_TRIES_MAX = 100  # times that an entry is looked at again which changes all the while
_CHUNK_LOOKS = 8  # what it costs to find a chunk, in positions


@njit(cache=True)
def store_keys(
    store: int, p: int, tenant: int, table: int, prefix: int, prefix_length: int, cursor: int, looks: int, now: int,
    target: int, room: int,
) -> tuple[int, int]:  # fmt: skip
    """Write to ``target`` the keys of a table that begin with ``prefix``, from position ``cursor`` on (0 to begin with): each a
    byte with its length, and its bytes. What is over at ``now`` is left out.

    Looks at about ``looks`` positions, and writes at most ``room`` bytes, which suffices for the longest key. Returns the next
    cursor, or KEYS_END, and how many bytes were written. With the same cursor and nothing written: come again, somebody is in
    the middle of a commit.
    """
    me, written = participant_at(store, p), 0
    number, cell = cursor >> CELL_BITS, cursor & CELL_MASK
    while looks > 0:
        if number < 0 or number >= load64_acquire(Account(account_of(store, tenant)).at.roster_end):
            return KEYS_END, written
        chunk = find_chunk(store, me, tenant, number)
        cells = chunk_cells(number) if chunk != 0 else 0
        looks -= _CHUNK_LOOKS
        while cell < cells and looks > 0:
            found = _told(store, tenant, table, chunk, number, cell, now)
            if found == _HIDDEN:
                return number << CELL_BITS | cell, written
            if found != 0 and _begins(found, prefix, prefix_length):
                size = object_key_length(found)
                if written + 1 + size > room:
                    return number << CELL_BITS | cell, written
                store8(target + written, size)
                copy_bytes(target + written + 1, object_key(found), size)
                written += 1 + size
            cell += 1
            looks -= 1
        if cell >= cells:
            number, cell = number + 1, 0
    return number << CELL_BITS | cell, written


@njit(cache=True)
def _told(store: int, tenant: int, table: int, chunk: int, number: int, cell: int, now: int) -> int:
    """Address of the object of the key at a position, if it is there, of the table, and not over; 0; or _HIDDEN."""
    found = _named(store, tenant, chunk, number, cell)
    if found <= 0 or object_table(found) != table:
        return min(found, 0)
    return shown(store, found, now)


@njit(cache=True)
def _named(store: int, tenant: int, chunk: int, number: int, cell: int) -> int:
    """Address of the published object at a position; 0: none; or _HIDDEN."""
    for _ in range(_TRIES_MAX):
        entry = cell_entry(store, chunk, cell)
        if entry == 0:
            return 0
        word = load64_acquire(entry)
        if word == ENTRY_DELETING:
            return _HIDDEN
        if word_unit(word) == 0:
            return 0
        found = word_object(store, word)
        if object_tenant(found) == tenant and is_at_position(found, number << CELL_BITS | cell):
            return found
        if load64_acquire(entry) == word and cell_entry(store, chunk, cell) == entry:
            return 0
    return _HIDDEN


@njit(cache=True)
def _begins(found: int, prefix: int, prefix_length: int) -> bool:
    """Whether an object's key begins with the prefix."""
    return prefix_length == 0 or (
        object_key_length(found) >= prefix_length and keys_equal(object_key(found), prefix, prefix_length)
    )
