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
from splinter.native.atomics import fence, load64, load64_acquire, store64, store64_release
from splinter.store.classes import class_bytes, class_units, magazine_slots, slots_per_slab
from splinter.store.epochs import epoch_oldest
from splinter.store.journal import commit, lock_inner, lock_pool, note, unlock
from splinter.store.layout import (
    D_SLABS_LOCK,
    D_SLABS_POOL,
    D_SLABS_POOLED,
    D_SLABS_TOTAL,
    D_SLABS_USED,
    H_FREE_SLOTS,
    H_HEAD,
    H_LOCK,
    L_BUMP,
    L_BUMP_END,
    L_FREE,
    L_FREE_COUNT,
    L_SPARE,
    L_SPARE_COUNT,
    O_VERSION,
    P_REFILLS,
    P_WANTS,
    SL_BUMP,
    SL_FREE,
    SL_FREE_COUNT,
    SL_NEXT,
    SLAB_IN_USE,
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
)
from splinter.store.limbo import is_held_up
from splinter.store.reclaim import reclaim_slots
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
    lists = lists_of(me, size_class)
    if load64(lists + L_FREE) == 0 and load64(lists + L_BUMP) == load64(lists + L_BUMP_END):
        status = _refill(store, me, size_class)
        if status != Status.OK:
            return -status
    free = load64(lists + L_FREE)
    return slot_at(store, free if free != 0 else load64(lists + L_BUMP))


@njit(cache=True)
def note_take(store: int, me: int, count: int, size_class: int) -> int:
    """Note that the slot that :func:`peek_slot` returns leaves the participant's lists; returns the count of words."""
    lists = lists_of(me, size_class)
    free = load64(lists + L_FREE)
    if free == 0:
        return note(store, me, count, lists + L_BUMP, load64(lists + L_BUMP) + class_units(size_class))
    count = note(store, me, count, lists + L_FREE, link_of(slot_at(store, free)))
    return note(store, me, count, lists + L_FREE_COUNT, load64(lists + L_FREE_COUNT) - 1)


@njit(cache=True)
def _refill(store: int, me: int, size_class: int) -> int:
    """Get slots of a class from the spare list, limbo, its slabs' lists, a slab of the pool, in this order; when there is
    none, what the participant holds of other classes goes back first. Returns a status."""
    lists = lists_of(me, size_class)
    store64(me + P_REFILLS, load64(me + P_REFILLS) + 1)
    if load64(lists + L_SPARE) != 0:
        count = note(store, me, 0, lists + L_FREE, load64(lists + L_SPARE))
        count = note(store, me, count, lists + L_FREE_COUNT, load64(lists + L_SPARE_COUNT))
        count = note(store, me, count, lists + L_SPARE, 0)
        count = note(store, me, count, lists + L_SPARE_COUNT, 0)
        commit(store, me, count)
        return Status.OK
    reclaim_slots(store, me, _RECLAIM_SLOTS_MAX)
    if load64(lists + L_FREE) != 0:
        return Status.OK
    status = _take_listed(store, me, size_class)
    if status == Status.OUT_OF_MEMORY:
        status = _take_slab(store, me, size_class)
    if status == Status.OUT_OF_MEMORY and give_back_all(store, me):
        status = _take_slab(store, me, size_class)
    if status == Status.OUT_OF_MEMORY and is_held_up(store):
        store64_release(me + P_WANTS, epoch_oldest(store))
        status = Status.BUSY  # there will be some when the oldest tasks have given way
    return status


@njit(cache=True)
def _take_listed(store: int, me: int, size_class: int) -> int:
    """Take some slots of the first slab of the class that has any. Returns a status."""
    shared = class_list(store, size_class)
    if load64_acquire(shared + H_HEAD) == 0:
        return Status.OUT_OF_MEMORY
    if not lock_inner(store, me, shared + H_LOCK):
        return Status.BUSY
    status = Status.OUT_OF_MEMORY
    slab = load64(shared + H_HEAD)
    if slab != 0:
        _take_of_slab(store, me, size_class, slab)
        status = Status.OK
    unlock(store, shared + H_LOCK)
    return status


@njit(cache=True)
def _take_of_slab(store: int, me: int, size_class: int, slab: int) -> None:
    lists, own, shared = lists_of(me, size_class), slab_list(store, slab), class_list(store, size_class)
    first = load64(own + SL_FREE)
    if first == 0:
        bump = load64(own + SL_BUMP)
        end = slab * SLAB_UNITS + slots_per_slab(size_class) * class_units(size_class)
        taken = (end - bump) // class_units(size_class)
        count = note(store, me, 0, lists + L_BUMP, bump)
        count = note(store, me, count, lists + L_BUMP_END, end)
        count = note(store, me, count, own + SL_BUMP, 0)
    else:
        most = magazine_slots(size_class)
        last, taken = slot_at(store, first), 1
        while taken < most and link_of(last) != 0:
            last = slot_at(store, link_of(last))
            taken += 1
        count = note(store, me, 0, lists + L_FREE, first)
        count = note(store, me, count, lists + L_FREE_COUNT, taken)
        count = note(store, me, count, own + SL_FREE, link_of(last))
        count = note_link(store, me, count, last, 0)
    left = load64(own + SL_FREE_COUNT) - taken
    count = note(store, me, count, own + SL_FREE_COUNT, left)
    if left == 0:
        count = note_unlisted(store, me, count, size_class, slab)
    else:
        count = note(store, me, count, shared + H_FREE_SLOTS, load64(shared + H_FREE_SLOTS) - taken)
    commit(store, me, count)


@njit(cache=True)
def _take_slab(store: int, me: int, size_class: int) -> int:
    if not _has_slab(store):
        return Status.OUT_OF_MEMORY
    if not lock_pool(store, me, store + D_SLABS_LOCK):
        return Status.BUSY
    status = Status.OUT_OF_MEMORY
    if _has_slab(store):
        slab = load64(store + D_SLABS_POOL)
        count = 0
        if slab != 0:
            _clear_versions(store, slab, size_class)
            count = note(store, me, count, store + D_SLABS_POOL, load64(slab_list(store, slab) + SL_NEXT))
            count = note(store, me, count, store + D_SLABS_POOLED, load64(store + D_SLABS_POOLED) - 1)
            count = note(store, me, count, slab_list(store, slab) + SL_NEXT, 0)
        else:
            slab = load64(store + D_SLABS_USED)
            count = note(store, me, count, store + D_SLABS_USED, slab + 1)
        lists = lists_of(me, size_class)
        bump = slab * SLAB_UNITS
        count = note(store, me, count, slab_record(store, slab), size_class | SLAB_IN_USE << SLAB_STATE_SHIFT)
        count = note(store, me, count, lists + L_BUMP, bump)
        count = note(store, me, count, lists + L_BUMP_END, bump + slots_per_slab(size_class) * class_units(size_class))
        commit(store, me, count)
        status = Status.OK
    unlock(store, store + D_SLABS_LOCK)
    return status


@njit(cache=True)
def _has_slab(store: int) -> bool:
    return load64_acquire(store + D_SLABS_POOL) != 0 or load64_acquire(store + D_SLABS_USED) < load64(store + D_SLABS_TOTAL)


@njit(cache=True)
def _clear_versions(store: int, slab: int, size_class: int) -> None:
    """Where versions will be there may be anything yet: the slab had slots of another size."""
    slot = slot_at(store, slab * SLAB_UNITS)
    for _ in range(slots_per_slab(size_class)):
        store64(slot + O_VERSION, 0)
        slot += class_bytes(size_class)
    fence()  # cleared versions are visible before the slots' bytes change
