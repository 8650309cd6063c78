"""How a participant takes a free slot.

A slot is taken in two halves. :func:`peek_slot` finds one and leaves it where it is, on top of the free list or of
the range of never used slots; the caller fills it there (the link that the list needs is left alone), and
:func:`note_take` notes its removal together with whatever else makes it an object. A participant that dies in between
has taken nothing.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import fence, load64_acquire, store64_release
from splinter.store.classes import class_bytes, class_units, magazine_slots, slots_per_slab
from splinter.store.epochs import epoch_oldest
from splinter.store.journal import commit, lock_inner, lock_pool, note, unlock
from splinter.store.layout import SLAB_IN_USE, SLAB_STATE_SHIFT, SLAB_UNITS
from splinter.store.limbo import is_held_up
from splinter.store.reclaim import reclaim_slots
from splinter.store.records import ClassList, Descriptor, FreeLists, Object, Participant, SlabList
from splinter.store.slabs import (
    class_list,
    give_back_all,
    link_of,
    lists_of,
    note_link,
    note_unlisted,
    slab_list,
    slab_record,
    slot_at,
)

_RECLAIM_SLOTS_MAX = limits.RECLAIM_SLOTS_MAX


@njit(cache=True)
def peek_slot(store: int, me: int, size_class: int) -> int:
    """Address of a free slot of a class, still in the participant's lists; or -OUT_OF_MEMORY, -BUSY."""
    lists = FreeLists(lists_of(me, size_class))
    if lists.free == 0 and lists.bump == lists.bump_end:
        status = _refill(store, me, size_class)
        if status != Status.OK:
            return -status
    free = lists.free
    return slot_at(store, free if free != 0 else lists.bump)


@njit(cache=True)
def note_take(store: int, me: int, count: int, size_class: int) -> int:
    """Note that the slot that :func:`peek_slot` returns leaves the participant's lists; returns the count of words."""
    lists = FreeLists(lists_of(me, size_class))
    free = lists.free
    if free == 0:
        return note(store, me, count, lists.at.bump, lists.bump + class_units(size_class))
    count = note(store, me, count, lists.at.free, link_of(slot_at(store, free)))
    return note(store, me, count, lists.at.free_count, lists.free_count - 1)


@njit(cache=True)
def _refill(store: int, me: int, size_class: int) -> int:
    """Get slots of a class from the spare list, limbo, its slabs' lists, a slab of the pool, in this order; when there is
    none, what the participant holds of other classes goes back first. Returns a status."""
    lists, mine = FreeLists(lists_of(me, size_class)), Participant(me)
    mine.refills += 1
    if lists.spare != 0:
        count = note(store, me, 0, lists.at.free, lists.spare)
        count = note(store, me, count, lists.at.free_count, lists.spare_count)
        count = note(store, me, count, lists.at.spare, 0)
        count = note(store, me, count, lists.at.spare_count, 0)
        commit(store, me, count)
        return Status.OK
    reclaim_slots(store, me, _RECLAIM_SLOTS_MAX)
    if lists.free != 0:
        return Status.OK
    status = _take_listed(store, me, size_class)
    if status == Status.OUT_OF_MEMORY:
        status = _take_slab(store, me, size_class)
    if status == Status.OUT_OF_MEMORY and give_back_all(store, me):
        status = _take_slab(store, me, size_class)
    if status == Status.OUT_OF_MEMORY and is_held_up(store):
        store64_release(mine.at.wants, epoch_oldest(store))
        status = Status.BUSY  # there will be some when the oldest tasks have given way
    return status


@njit(cache=True)
def _take_listed(store: int, me: int, size_class: int) -> int:
    """Take some slots of the first slab of the class that has any. Returns a status."""
    shared = ClassList(class_list(store, size_class))
    if load64_acquire(shared.at.head) == 0:
        return Status.OUT_OF_MEMORY
    if not lock_inner(store, me, shared.at.lock):
        return Status.BUSY
    status = Status.OUT_OF_MEMORY
    slab = shared.head
    if slab != 0:
        _take_of_slab(store, me, size_class, slab)
        status = Status.OK
    unlock(store, shared.at.lock)
    return status


@njit(cache=True)
def _take_of_slab(store: int, me: int, size_class: int, slab: int) -> None:
    lists, own = FreeLists(lists_of(me, size_class)), SlabList(slab_list(store, slab))
    shared = ClassList(class_list(store, size_class))
    first = own.free
    if first == 0:
        bump = own.bump
        end = slab * SLAB_UNITS + slots_per_slab(size_class) * class_units(size_class)
        taken = (end - bump) // class_units(size_class)
        count = note(store, me, 0, lists.at.bump, bump)
        count = note(store, me, count, lists.at.bump_end, end)
        count = note(store, me, count, own.at.bump, 0)
    else:
        most = magazine_slots(size_class)
        last, taken = slot_at(store, first), 1
        while taken < most and link_of(last) != 0:
            last = slot_at(store, link_of(last))
            taken += 1
        count = note(store, me, 0, lists.at.free, first)
        count = note(store, me, count, lists.at.free_count, taken)
        count = note(store, me, count, own.at.free, link_of(last))
        count = note_link(store, me, count, last, 0)
    left = own.free_count - taken
    count = note(store, me, count, own.at.free_count, left)
    if left == 0:
        count = note_unlisted(store, me, count, size_class, slab)
    else:
        count = note(store, me, count, shared.at.free_slots, shared.free_slots - taken)
    commit(store, me, count)


@njit(cache=True)
def _take_slab(store: int, me: int, size_class: int) -> int:
    if not _has_slab(store):
        return Status.OUT_OF_MEMORY
    descriptor = Descriptor(store)
    if not lock_pool(store, me, descriptor.at.slabs_lock):
        return Status.BUSY
    status = Status.OUT_OF_MEMORY
    if _has_slab(store):
        slab = descriptor.slabs_pool
        count = 0
        if slab != 0:
            _clear_versions(store, slab, size_class)
            own = SlabList(slab_list(store, slab))
            count = note(store, me, count, descriptor.at.slabs_pool, own.next)
            count = note(store, me, count, descriptor.at.slabs_pooled, descriptor.slabs_pooled - 1)
            count = note(store, me, count, own.at.next, 0)
        else:
            slab = descriptor.slabs_used
            count = note(store, me, count, descriptor.at.slabs_used, slab + 1)
        lists = FreeLists(lists_of(me, size_class))
        bump = slab * SLAB_UNITS
        count = note(store, me, count, slab_record(store, slab), size_class | SLAB_IN_USE << SLAB_STATE_SHIFT)
        count = note(store, me, count, lists.at.bump, bump)
        count = note(store, me, count, lists.at.bump_end, bump + slots_per_slab(size_class) * class_units(size_class))
        commit(store, me, count)
        status = Status.OK
    unlock(store, descriptor.at.slabs_lock)
    return status


@njit(cache=True)
def _has_slab(store: int) -> bool:
    descriptor = Descriptor(store)
    return load64_acquire(descriptor.at.slabs_pool) != 0 or load64_acquire(descriptor.at.slabs_used) < descriptor.slabs_total


@njit(cache=True)
def _clear_versions(store: int, slab: int, size_class: int) -> None:
    """Where versions will be there may be anything yet: the slab had slots of another size."""
    slot = slot_at(store, slab * SLAB_UNITS)
    for _ in range(slots_per_slab(size_class)):
        Object(slot).version = 0
        slot += class_bytes(size_class)
    fence()  # cleared versions are visible before the slots' bytes change
