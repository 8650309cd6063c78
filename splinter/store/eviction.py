"""What a tenant gives up for others of its objects, where its quota has no room and it has asked for that.

**Which.** The one that was used least for the time that it is there (hyperbolic caching). A hand goes over the positions of
the tenant's roster. For each object that is evicted it looks at EVICTION_LOOKS, and notes of each whether it was used since the
look before: a reader has set its access byte. The object with the smallest share of looks with use goes. A new one is taken for
one that has had two looks, and a 16th of a use. The hand has four places, a quarter of the cells apart: what came together is
often used together.

**Where that stands.** In the word ``retired`` of a published object, beside its position: looks and looks with use, 11 bits
each, written under the tenant's lock; and in its highest byte the access byte, which readers set without a lock, perhaps late.
The hand's store of the whole word may lose a use that is noted meanwhile. When the looks are at their most both are halved. A
put that replaces and a move copy them.

**An eviction is a delete as any other**: a commit with its number, in the log, in the ring of deletions for readers of older
snapshots, in one step of the journal with its count. What a put evicts is gone, also when the put itself then fails. Objects of
the system are never evicted, as the roster has none.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import load64, shift_right
from splinter.store.account_layout import EVICTION_NONE
from splinter.store.accounts import account_of
from splinter.store.changes import log_room
from splinter.store.index import word_object
from splinter.store.journal import note
from splinter.store.layout import DATED_BIT, POSITION_BITS
from splinter.store.objects import is_over, object_position
from splinter.store.publication import remove
from splinter.store.records import Account, Chunk, Object, Participant
from splinter.store.roster import cell_entry, chunk_cells, find_chunk
from splinter.store.roster_layout import CELL_BITS, CHUNK_GROWS
from splinter.store.turns import turn_is_others

_LOOKS = limits.EVICTION_LOOKS
_POSITIONS = limits.EVICTION_POSITIONS
_OBJECTS = limits.EVICTION_OBJECTS
_COUNT_BITS = 11
_COUNT_MAX = (1 << _COUNT_BITS) - 1
_LOOKS_SHIFT, _USES_SHIFT = POSITION_BITS, POSITION_BITS + _COUNT_BITS
_POSITION_MASK = (1 << POSITION_BITS) - 1
_ACCESS_SHIFT = 56
_NEVER_USED = _COUNT_MAX << _LOOKS_SHIFT  # counts of what is less than all others
_PLACES, _BLOCK = 4, 4  # of the hand; cells that it looks at together, at each
_CHUNK_GROWS = CHUNK_GROWS
assert _USES_SHIFT + _COUNT_BITS <= DATED_BIT


@njit(cache=True)
def look_at(retired: int) -> int:
    """The word ``retired`` of an object after one look more, which finds whether it was used since the one before."""
    looks = (retired >> _LOOKS_SHIFT & _COUNT_MAX) + 1
    uses = (retired >> _USES_SHIFT & _COUNT_MAX) + (1 if shift_right(retired, _ACCESS_SHIFT) != 0 else 0)
    if looks > _COUNT_MAX:
        looks, uses = looks >> 1, uses >> 1
    return retired & _POSITION_MASK | looks << _LOOKS_SHIFT | uses << _USES_SHIFT


@njit(cache=True)
def is_used_less(first: int, second: int) -> bool:
    """Whether of two objects, told by their words ``retired``, the first was used for less of its time."""
    looks, uses = first >> _LOOKS_SHIFT & _COUNT_MAX, first >> _USES_SHIFT & _COUNT_MAX
    others_looks, others_uses = second >> _LOOKS_SHIFT & _COUNT_MAX, second >> _USES_SHIFT & _COUNT_MAX
    return (16 * uses + 1) * (others_looks + 2) < (16 * others_uses + 1) * (looks + 2)


@njit(cache=True)
def evict_for(store: int, me: int, tenant: int, size: int, kept: int) -> bool:
    """Evict objects of a tenant until its quota has room for ``size`` bytes, EVICTION_OBJECTS at most, but not the one that
    the index entry ``kept`` (0: none) names. The caller holds the tenant's lock. Returns whether there may be room then, or at
    another try: false where nothing could go."""
    account, evicted = Account(account_of(store, tenant)), 0
    if account.eviction == EVICTION_NONE or size > account.quota_bytes:  # what cannot fit is not worth a single object
        return False
    while evicted < _OBJECTS and account.bytes_used + size > account.quota_bytes and _evict(store, me, tenant, kept):
        evicted += 1
    return evicted > 0 or _has_others(store, me, tenant, kept)


@njit(cache=True)
def _has_others(store: int, me: int, tenant: int, kept: int) -> bool:
    """Whether a tenant has an object that could go, found or not: a look goes over a part of the roster alone."""
    chunks = Account(account_of(store, tenant)).roster_chunks
    if chunks != 1 or kept == 0:
        return chunks > 0
    chunk = find_chunk(store, me, tenant, object_position(word_object(store, load64(kept))) >> CELL_BITS)
    return chunk != 0 and Chunk(chunk).used > 1


@njit(cache=True)
def _evict(store: int, me: int, tenant: int, kept: int) -> bool:
    """Evict one object; false when EVICTION_POSITIONS positions have none, the disk is behind, or others have the turn."""
    account_at = account_of(store, tenant)
    if turn_is_others(store, me, account_at) or log_room(store, me, account_at) != Status.OK:
        return False
    entry = _least_used(store, me, tenant, kept)
    if entry == 0:
        return False
    account = Account(account_at)
    count = note(store, me, 0, account.at.evictions, account.evictions + 1)
    remove(store, me, tenant, entry, load64(entry), count, 0)
    return True


@njit(cache=True)
def _least_used(store: int, me: int, tenant: int, kept: int) -> int:
    """The index entry of the object that goes next, and the hand moved on; 0: there is none.

    The hand and its places count cells over all chunks, those that are missing too, and go on together: so each cell is looked
    at as often as any other, whatever the sizes of the chunks and wherever the holes are.
    """
    account = Account(account_of(store, tenant))
    cells = _cells_below(account.roster_end)
    if cells == 0:
        return 0
    found, least, looks, done = 0, 0, 0, 0
    hand, most = account.eviction_hand % cells, min(cells, _POSITIONS) // _PLACES
    while looks < _LOOKS and done + _BLOCK <= most:
        for place in range(_PLACES):
            first = (hand + place * cells // _PLACES) % cells
            entry, word, seen = _least_used_of_block(store, me, tenant, kept, first)
            looks += seen
            if entry != 0 and (found == 0 or is_used_less(word, least)):
                found, least = entry, word
        hand, done = (hand + _BLOCK) % cells, done + _BLOCK
    account.eviction_hand = hand
    return found


@njit(cache=True)
def _least_used_of_block(store: int, me: int, tenant: int, kept: int, first: int) -> tuple[int, int, int]:
    """Look at the objects of a block of cells, from the one on that has ``first`` below it. Returns the index entry of the one
    that was used least (0: there is none), its word, and how many there were."""
    end, now = Account(account_of(store, tenant)).roster_end, Participant(me).now
    number = min(_CHUNK_GROWS, end - 1)
    while number > 0 and _cells_below(number) > first:
        number -= 1
    if number == _CHUNK_GROWS:
        number += (first - _cells_below(number)) // chunk_cells(number)
    cell = first - _cells_below(number)
    chunk = find_chunk(store, me, tenant, number)
    found, least, seen = 0, 0, 0
    for _ in range(_BLOCK):
        if cell >= chunk_cells(number):
            number, cell = number + 1 if number + 1 < end else 0, 0
            chunk = find_chunk(store, me, tenant, number)
        entry = cell_entry(store, chunk, cell) if chunk != 0 else 0
        cell += 1
        if entry == 0 or entry == kept:
            continue
        seen += 1
        at = word_object(store, load64(entry))
        looked = look_at(Object(at).retired)
        Object(at).retired = looked
        if is_over(at, now):
            looked = _NEVER_USED
        if found == 0 or is_used_less(looked, least):
            found, least = entry, looked
    return found, least, seen


@njit(cache=True)
def _cells_below(number: int) -> int:
    """How many cells the chunks with smaller numbers have."""
    cells = 0
    for small in range(min(number, _CHUNK_GROWS)):
        cells += chunk_cells(small)
    return cells + max(number - _CHUNK_GROWS, 0) * chunk_cells(_CHUNK_GROWS)
