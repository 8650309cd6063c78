"""When objects end: the store's clock, and sweeping away what has expired.

**The clock** counts ns since 1970, as far as this host knew that when the store was made: the monotonic clock plus
``clock_base`` of the descriptor. Nobody sets it back or ahead while the store lives. A store that is made from a data folder
begins no earlier than the last moment that is on the disk (:mod:`splinter.durable.recovery`): a host that woke up in 1970
makes nothing live for ever. Time that the host sleeps does not count.

**An object** has its moment from its publication on; another moment is another commit, with another version. Who finds an
object that is over by his clock has found nothing: a worker's clock is that of its turn, a task's that of its snapshot, that
of a commit the one under the tenant's lock. What a transaction read is compared with that once more: it happens at one instant
of the clock, too.

**Sweeping.** What is over keeps its memory, and counts for its tenant's quota, until it is deleted: as by a delete of its
tenant's, log entry included. Workers take slab after slab, each its own, and look at SWEEP_SLOTS slots in a millisecond, or
more before they sleep. A put that its tenant's quota refuses looks for what is over of the tenant's own (:func:`make_room`),
and is tried once more. A sweep waits for nobody: what it cannot delete, as its tenant's lock is held or the disk is behind, or
what is left in the slab of a worker that died, the next round finds.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import cas64, load64, load64_acquire, shift_right
from splinter.store.accounts import account_of
from splinter.store.changes import log_room
from splinter.store.classes import class_bytes, slots_per_slab
from splinter.store.hashing import identity_key_length, identity_of, identity_table, identity_tenant, store_hash
from splinter.store.index import find_entry, word_object, word_unit
from splinter.store.journal import participant_at, try_lock_tenant, unlock
from splinter.store.layout import (
    CLASSES,
    EXPIRES_BYTES,
    O_IDENTITY,
    O_KEY,
    SLAB_IN_USE,
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
)
from splinter.store.objects import copy_size, is_over
from splinter.store.parts import is_named
from splinter.store.publication import remove
from splinter.store.records import Account, Descriptor, Object, Participant
from splinter.store.roster import cell_entry, chunk_cells, find_chunk
from splinter.store.roster_layout import CELL_BITS, CELL_MASK
from splinter.store.slabs import slab_record, slot_at, unit_of
from splinter.store.turns import turn_is_others

_CLASS_MASK = 0xFFFFFFFF
_TENANTS_MAX = limits.TENANTS_MAX
_KEY_LENGTH_MAX = limits.KEY_BYTES_MAX  # of eight bits
_TABLE_PARTS = limits.TABLE_PARTS
_OBJECTS = limits.SWEEP_OBJECTS
_SLABS = limits.SWEEP_SLABS
_PAUSE_NS = limits.SWEEP_PAUSE_NS
_ROOM_POSITIONS = limits.ROOM_POSITIONS


@njit(cache=True)
def sweep(store: int, p: int, slots: int) -> None:
    """Look at the next ``slots`` slots, and delete what is over, SWEEP_OBJECTS at most. By the clock of the participant's turn;
    not more often than in SWEEP_PAUSE_NS."""
    descriptor, me = Descriptor(store), participant_at(store, p)
    mine = Participant(me)
    if descriptor.expiring == 0 or mine.now < mine.sweep_ns:
        return
    mine.sweep_ns = mine.now + _PAUSE_NS
    slab, number, deleted, slabs = mine.sweep_slab, mine.sweep_slot, 0, 0
    while slots > 0 and deleted < _OBJECTS and slabs < _SLABS:
        if slab == 0:
            slab, number, slabs = _take_slab(store), 0, slabs + 1
        size_class, last = _slots_of(store, slab)
        while number < last and slots > 0 and deleted < _OBJECTS:
            slot = slot_at(store, slab * SLAB_UNITS) + number * class_bytes(size_class)
            if load64(slot + O_IDENTITY) < 0 and _sweep_object(store, me, slot, size_class):
                deleted += 1
            number += 1
            slots -= 1
        if number >= last:
            slab = 0
    mine.sweep_slab, mine.sweep_slot = slab, number


@njit(cache=True)
def make_room(store: int, me: int, tenant: int) -> bool:
    """Delete what is over of a tenant, whose quota refuses a put and whose lock the caller holds: at the next ROOM_POSITIONS
    positions of its roster, SWEEP_OBJECTS at most. By the clock of the participant's turn. Returns whether there was any, and
    the put may begin again."""
    account_at, now = account_of(store, tenant), Participant(me).now
    account = Account(account_at)
    if Descriptor(store).expiring == 0 or turn_is_others(store, me, account_at) or log_room(store, me, account_at) != Status.OK:
        return False
    number, cell = account.room_next >> CELL_BITS, account.room_next & CELL_MASK
    looks, deleted, chunks = _ROOM_POSITIONS, 0, account.roster_end + 1
    while looks > 0 and deleted < _OBJECTS and chunks > 0:
        chunk = find_chunk(store, me, tenant, number)
        cells = chunk_cells(number) if chunk != 0 else 0
        while cell < cells and looks > 0 and deleted < _OBJECTS:
            entry = cell_entry(store, chunk, cell)
            cell, looks = cell + 1, looks - 1
            if entry != 0 and is_over(word_object(store, load64(entry)), now):
                remove(store, me, tenant, entry, load64(entry), 0, 0)
                deleted += 1
                chunk = find_chunk(store, me, tenant, number)
                if chunk == 0 or log_room(store, me, account_at) != Status.OK:
                    break
        if cell >= cells or chunk == 0:
            number = number + 1 if number + 1 < account.roster_end else 0
            cell, looks, chunks = 0, looks - 1, chunks - 1
        elif log_room(store, me, account_at) != Status.OK:
            break
    account.room_next = number << CELL_BITS | cell
    return deleted > 0 and log_room(store, me, account_at) == Status.OK


@njit(cache=True)
def _slots_of(store: int, slab: int) -> tuple[int, int]:
    """The size class of a slab, and how many slots it has; 0 slots when it holds no objects."""
    record = load64_acquire(slab_record(store, slab))
    size_class = record & _CLASS_MASK
    is_used = shift_right(record, SLAB_STATE_SHIFT) == SLAB_IN_USE and size_class < CLASSES
    return size_class, slots_per_slab(size_class) if is_used else 0


@njit(cache=True)
def _take_slab(store: int) -> int:
    """The number of the slab whose turn it is, for one participant alone."""
    descriptor = Descriptor(store)
    while True:
        slab = load64_acquire(descriptor.at.sweep_next)
        taken = slab if 0 < slab < descriptor.slabs_used else 1
        if cas64(descriptor.at.sweep_next, slab, taken + 1):
            return taken


@njit(cache=True)
def _sweep_object(store: int, me: int, slot: int, size_class: int) -> bool:
    """Delete the object in a slot, if there is one and it is over; returns whether it was.

    What is read before the tenant's lock is held may be anything, and change; but an entry that has this identity and names
    this unit says that it is the tenant's object, which nobody else changes.
    """
    word, version, now = load64(slot + O_IDENTITY), load64_acquire(Object(slot).at.version), Participant(me).now
    tenant, key_length, size = identity_tenant(word), identity_key_length(word) & _KEY_LENGTH_MAX, copy_size(word)
    if tenant < 1 or tenant >= _TENANTS_MAX or key_length < 1 or version & 1 != 0 or version == 0 or word >= 0:
        return False
    if size > class_bytes(size_class) or load64(slot + size - EXPIRES_BYTES) > now:
        return False
    account_at = account_of(store, tenant)
    account = Account(account_at)
    if not try_lock_tenant(store, me, account.at.lock):
        return False
    is_it = False
    if account.active != 0 and not turn_is_others(store, me, account_at) and log_room(store, me, account_at) == Status.OK:
        identity = identity_of(tenant, identity_table(word), key_length)
        entry, word = find_entry(
            store, store_hash(store, identity, slot + O_KEY, key_length), identity, slot + O_KEY, key_length
        )
        is_it = entry != 0 and word_unit(word) == unit_of(store, slot) and is_over(slot, now)
        if is_it and identity_table(identity) == _TABLE_PARTS:
            is_it = not is_named(store, tenant, slot)
        if is_it:
            remove(store, me, tenant, entry, word, 0, 0)
    unlock(store, account.at.lock)
    return is_it
