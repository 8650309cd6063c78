"""The roster of a tenant's keys: a place for each, that it keeps as long as it has an object, so that one can go over them.

Each object of a tenant's own tables has a *position*. A put that replaces, a move and an expire copy it along; that of a
deleted key is a hole, which another key takes. So a position tells nothing of a key, nor of its hash.

The roster consists of *chunks*, objects of the system in TABLE_ROSTER that are found by the index under their number, charged
to the tenant and moved by compaction as any object. A chunk has cells, each of which names the index entry of a key: an entry
stays where it is as long as its key has an object. A chunk is made before the insert that needs it, by a step of its own, and
goes away with its last key. Its cells are changed in the step of the journal that publishes or unlinks the object, by the
holder of the tenant's lock.

**Where an insert finds a hole.** ``roster_hand`` of the account names a chunk with holes. Where it names none,
:func:`roster_prepare` looks at ROSTER_LOOKS chunks, going round, and makes a new one if they are all full, with the number of
one that is missing, or at the end. So a tenant pays for holes that are not used as long as it takes to go round to them.

**Who reads it without the lock** has entered an epoch, and takes what a cell's entry names for the key's object only if that is
the tenant's and says the same position. Else a put may just have replaced it: then the entry has another word, and it looks
again.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import cas64, load32_acquire, load64, store64, store64_release
from splinter.store.accounts import account_of, system_version
from splinter.store.classes import class_bytes
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import empty_entry, entry_word, find_entry, word_class, word_object, word_unit
from splinter.store.journal import announce, note, published, withdraw
from splinter.store.layout import ENTRY_BYTES
from splinter.store.objects import fill_header
from splinter.store.reclaim import note_retire
from splinter.store.records import Account, Chunk, Descriptor, Object, Participant
from splinter.store.roster_layout import (
    CELL_BITS,
    CELL_BYTES,
    CELL_HOLE,
    CELL_MASK,
    CHUNK_AT,
    CHUNK_BYTES,
    CHUNK_CLASS_BYTES_FIRST,
    CHUNK_CLASS_FIRST,
    CHUNK_CLASS_STEP,
    CHUNK_GROWS,
    CHUNK_KEY_BYTES,
    CHUNKS_MAX,
    HOLE_SHIFT,
)
from splinter.store.slabs import unit_of
from splinter.store.slots import note_take, peek_slot

NO_PLACE = -1  # in place of a status: the account names no chunk with a hole; see roster_prepare

_TABLE = limits.TABLE_ROSTER
_LOOKS = limits.ROSTER_LOOKS
_INSERT_TRIES_MAX = limits.INSERT_TRIES_MAX
_WORD_MASK = 0xFFFFFFFF


@njit(cache=True)
def chunk_class(number: int) -> int:
    """The size class of a chunk."""
    return CHUNK_CLASS_FIRST + CHUNK_CLASS_STEP * min(number, CHUNK_GROWS)


@njit(cache=True)
def chunk_cells(number: int) -> int:
    """How many cells a chunk has, an even number."""
    return ((CHUNK_CLASS_BYTES_FIRST << min(number, CHUNK_GROWS)) - CHUNK_AT - CHUNK_BYTES) // CELL_BYTES


@njit(cache=True)
def chunk_number(chunk: int) -> int:
    """The number of the chunk at an address."""
    return load64(chunk - CHUNK_KEY_BYTES)


@njit(cache=True)
def _find_slot(store: int, me: int, tenant: int, number: int) -> tuple[int, int]:
    """As find_entry, for a chunk."""
    mine = Participant(me)
    mine.roster_key = number
    identity, key = identity_of(tenant, _TABLE, CHUNK_KEY_BYTES), mine.at.roster_key
    return find_entry(store, store_hash(store, identity, key, CHUNK_KEY_BYTES), identity, key, CHUNK_KEY_BYTES)


@njit(cache=True)
def find_chunk(store: int, me: int, tenant: int, number: int) -> int:
    """Address of a tenant's CHUNK; 0: there is none of this number."""
    word = _find_slot(store, me, tenant, number)[1]
    return word_object(store, word) + CHUNK_AT if word != 0 else 0


@njit(cache=True)
def cell_entry(store: int, chunk: int, cell: int) -> int:
    """Address of the index entry that a cell names; 0: the cell is a hole."""
    number = load32_acquire(chunk + CHUNK_BYTES + cell * CELL_BYTES)
    return Descriptor(store).index + number * ENTRY_BYTES if number & CELL_HOLE == 0 else 0


@njit(cache=True)
def _note_cell(store: int, me: int, count: int, chunk: int, cell: int, value: int) -> int:
    """Note that a cell changes: with its neighbour, as one word."""
    pair, shift = chunk + CHUNK_BYTES + (cell & ~1) * CELL_BYTES, (cell & 1) * 32
    return note(store, me, count, pair, load64(pair) & ~(_WORD_MASK << shift) | value << shift)


@njit(cache=True)
def next_position(chunk: int) -> int:
    """The position that the next key takes, of the chunk that the account names."""
    return chunk_number(chunk) << CELL_BITS | Chunk(chunk).hole - 1


@njit(cache=True)
def hand_chunk(store: int, me: int, tenant: int) -> int:
    """Address of the chunk that the account names, with at least one hole; 0: it names none. The caller holds the tenant's
    lock, here and in all that follows."""
    hand = Account(account_of(store, tenant)).roster_hand
    return find_chunk(store, me, tenant, hand - 1) if hand != 0 else 0


@njit(cache=True)
def note_joins(store: int, me: int, count: int, tenant: int, chunk: int, entry: int) -> int:
    """Note that the key of an index entry takes :func:`next_position`. Returns the count of words: at most three more."""
    kept = Chunk(chunk)
    cell = kept.hole - 1
    following = load32_acquire(chunk + CHUNK_BYTES + cell * CELL_BYTES) & ~CELL_HOLE
    count = _note_cell(store, me, count, chunk, cell, (entry - Descriptor(store).index) // ENTRY_BYTES)
    count = note(store, me, count, chunk, kept.used + 1 | following << HOLE_SHIFT)
    if following == 0:
        count = note(store, me, count, Account(account_of(store, tenant)).at.roster_hand, 0)
    return count


@njit(cache=True)
def note_leaves(store: int, me: int, count: int, tenant: int, position: int) -> int:
    """Note that a key leaves its position. Returns the count of words: at most three more. Behind the step comes
    :func:`drop_if_empty`."""
    number, cell = position >> CELL_BITS, position & CELL_MASK
    chunk = find_chunk(store, me, tenant, number)
    kept, account = Chunk(chunk), Account(account_of(store, tenant))
    count = _note_cell(store, me, count, chunk, cell, CELL_HOLE | kept.hole)
    count = note(store, me, count, chunk, kept.used - 1 | cell + 1 << HOLE_SHIFT)
    if account.roster_hand == 0:
        count = note(store, me, count, account.at.roster_hand, number + 1)
    return count


# --- chunks come and go ----------------------------------------------------------------------------------------------------


@njit(cache=True)
def roster_prepare(store: int, me: int, tenant: int, size: int) -> int:
    """Have the account name a chunk with a hole, and make one if need be. It may take a slot that the caller has peeked at.

    Returns OK; or QUOTA_EXCEEDED, where there is no room for it and ``size`` bytes more; OUT_OF_MEMORY; BUSY.
    """
    account = Account(account_of(store, tenant))
    if account.roster_hand != 0:
        return Status.OK
    end, number = account.roster_end, account.roster_next
    absent = end
    for _ in range(min(_LOOKS, end)):
        number = number + 1 if number + 1 < end else 0
        chunk = find_chunk(store, me, tenant, number)
        if chunk == 0:
            absent = min(absent, number)
        elif Chunk(chunk).hole != 0:
            account.roster_next = number
            store64_release(account.at.roster_hand, number + 1)
            return Status.OK
    account.roster_next = number
    return _make_chunk(store, me, tenant, absent, size) if absent < CHUNKS_MAX else Status.OUT_OF_MEMORY


@njit(cache=True)
def _make_chunk(store: int, me: int, tenant: int, number: int, size: int) -> int:
    account_at, size_class, mine = account_of(store, tenant), chunk_class(number), Participant(me)
    account = Account(account_at)
    used_after = account.bytes_used + class_bytes(size_class)
    if used_after + size > account.quota_bytes:
        return Status.QUOTA_EXCEEDED
    slot = peek_slot(store, me, size_class)
    if slot < 0:
        return -slot
    cells, key = chunk_cells(number), mine.at.roster_key
    mine.roster_key = number
    fill_header(slot, tenant, _TABLE, key, CHUNK_KEY_BYTES, CHUNK_BYTES + cells * CELL_BYTES)
    chunk = slot + CHUNK_AT
    store64(chunk, 1 << HOLE_SHIFT)
    for cell in range(0, cells, 2):
        last = CELL_HOLE | (cell + 2 if cell + 2 < cells else -1) + 1
        store64(chunk + CHUNK_BYTES + cell * CELL_BYTES, CELL_HOLE | cell + 2 | last << 32)
    Object(slot).previous = 0
    hashed = store_hash(store, identity_of(tenant, _TABLE, CHUNK_KEY_BYTES), key, CHUNK_KEY_BYTES)
    word = entry_word(hashed, size_class, unit_of(store, slot))
    for _ in range(_INSERT_TRIES_MAX):
        entry = empty_entry(store, me, hashed)
        if entry < 0:
            return -entry
        count = note_take(store, me, 0, size_class)
        count = note(store, me, count, account.at.bytes_used, used_after)
        count = note(store, me, count, account.at.roster_chunks, account.roster_chunks + 1)
        count = note(store, me, count, account.at.roster_end, max(account.roster_end, number + 1))
        count = note(store, me, count, account.at.roster_hand, number + 1)
        announce(store, me, count, entry, 0, word, slot, system_version(account_at), 0)
        if cas64(entry, 0, word):
            published(store, me)
            account.roster_next = number
            return Status.OK
        withdraw(store, me)
    return Status.BUSY


@njit(cache=True)
def drop_if_empty(store: int, me: int, tenant: int, position: int) -> None:
    """Remove the chunk of a position that a key has left, if it was the last one in it."""
    number = position >> CELL_BITS
    entry, word = _find_slot(store, me, tenant, number)
    if word != 0 and Chunk(word_object(store, word) + CHUNK_AT).used == 0:
        remove_chunk(store, me, tenant, entry, word)


@njit(cache=True)
def remove_chunk(store: int, me: int, tenant: int, entry: int, word: int) -> None:
    """Unlink the chunk that an index entry names by ``word``, and retire it."""
    account = Account(account_of(store, tenant))
    number = chunk_number(word_object(store, word) + CHUNK_AT)
    end = account.roster_end
    for _ in range(_LOOKS):
        if end == 0 or (end - 1 != number and find_chunk(store, me, tenant, end - 1) != 0):
            break
        end -= 1
    count = note(store, me, 0, account.at.bytes_used, account.bytes_used - class_bytes(word_class(word)))
    count = note(store, me, count, account.at.roster_chunks, account.roster_chunks - 1)
    count = note(store, me, count, account.at.roster_end, end)
    if account.roster_hand == number + 1:
        count = note(store, me, count, account.at.roster_hand, 0)
    count = note_retire(store, me, count, word_unit(word))
    announce(store, me, count, entry, word, 0, 0, 0, 0)
    store64_release(entry, 0)
    published(store, me)
