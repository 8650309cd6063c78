"""Slots and slabs: where they stand, and the lists of free slots that participants, slabs and classes have.

A participant has two lists of free slots of each class, and a range of never used ones. Free slots beyond two lists' worth go
back to their slabs: each slab in use has a list of its own, and each class a list of the slabs that have any. So it is known
when a slab has no other slots than free ones; then it goes back to the pool, for any class.

A slab that is *draining* (:mod:`splinter.store.compaction`) is in no class's list: what becomes free of it stays with it.

Locks, in this order: that of the class (``lock_inner``), that of the slabs (``lock_pool``).
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load32, load64, shift_right, store64
from splinter.store.classes import class_units, magazine_slots, slots_per_slab
from splinter.store.journal import commit, lock_inner, lock_pool, note, participant_at, unlock
from splinter.store.layout import (
    CLASS_LIST_BYTES,
    CLASSES,
    D_CLASS_LISTS,
    D_SLAB_LISTS,
    D_SLAB_RECORDS,
    D_SLABS,
    D_SLABS_LOCK,
    D_SLABS_POOL,
    D_SLABS_POOLED,
    FREE_LISTS_BYTES,
    H_FREE_SLOTS,
    H_HEAD,
    H_LOCK,
    L_BUMP,
    L_BUMP_END,
    L_FREE,
    L_FREE_COUNT,
    L_SPARE,
    L_SPARE_COUNT,
    O_LENGTH_AND_LINK,
    O_VALUE_LENGTH,
    P_LISTS,
    P_REFILLS,
    SL_BUMP,
    SL_FREE,
    SL_FREE_COUNT,
    SL_NEXT,
    SL_PREVIOUS,
    SLAB_DRAINING,
    SLAB_IN_USE,
    SLAB_LIST_BYTES,
    SLAB_POOLED,
    SLAB_RECORD_BYTES,
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
    UNIT_BYTES,
)

_HIGH_HALF = 32  # shift


@njit(cache=True)
def slot_at(store: int, unit: int) -> int:
    """Address of the slot at a unit."""
    return load64(store + D_SLABS) + unit * UNIT_BYTES


@njit(cache=True)
def unit_of(store: int, slot: int) -> int:
    """Unit of the slot at an address."""
    return (slot - load64(store + D_SLABS)) // UNIT_BYTES


@njit(cache=True)
def slab_record(store: int, slab: int) -> int:
    """Address of a slab's SLAB."""
    return load64(store + D_SLAB_RECORDS) + slab * SLAB_RECORD_BYTES


@njit(cache=True)
def slab_list(store: int, slab: int) -> int:
    """Address of a slab's SLAB_LIST."""
    return load64(store + D_SLAB_LISTS) + slab * SLAB_LIST_BYTES


@njit(cache=True)
def class_list(store: int, size_class: int) -> int:
    """Address of a class's CLASS_LIST."""
    return load64(store + D_CLASS_LISTS) + size_class * CLASS_LIST_BYTES


@njit(cache=True)
def class_at(store: int, unit: int) -> int:
    """Size class of the slot at a unit."""
    return load32(load64(store + D_SLAB_RECORDS) + unit // SLAB_UNITS * SLAB_RECORD_BYTES)


@njit(cache=True)
def lists_of(me: int, size_class: int) -> int:
    """Address of a participant's FREE_LISTS of a class."""
    return me + P_LISTS + size_class * FREE_LISTS_BYTES


@njit(cache=True)
def link_of(slot: int) -> int:
    return shift_right(load64(slot + O_LENGTH_AND_LINK), _HIGH_HALF)


@njit(cache=True)
def note_link(store: int, me: int, count: int, slot: int, link: int) -> int:
    """The link shares its word with the value length, which readers look at: it is stored again as it is."""
    return note(store, me, count, slot + O_LENGTH_AND_LINK, load32(slot + O_VALUE_LENGTH) | link << _HIGH_HALF)


@njit(cache=True)
def note_listed(store: int, me: int, count: int, size_class: int, slab: int, had: int, added: int) -> int:
    """Note that a slab's own list, which had ``had`` free slots, has ``added`` more; the class's lock is held. Returns the
    count of words."""
    own = slab_list(store, slab)
    count = note(store, me, count, own + SL_FREE_COUNT, had + added)
    if shift_right(load64(slab_record(store, slab)), SLAB_STATE_SHIFT) == SLAB_DRAINING:
        return count
    shared = class_list(store, size_class)
    count = note(store, me, count, shared + H_FREE_SLOTS, load64(shared + H_FREE_SLOTS) + added)
    return note_linked(store, me, count, size_class, slab) if had == 0 else count


@njit(cache=True)
def note_linked(store: int, me: int, count: int, size_class: int, slab: int) -> int:
    """Note that a slab becomes the first of its class's list. Returns the count of words."""
    own, shared = slab_list(store, slab), class_list(store, size_class)
    head = load64(shared + H_HEAD)
    count = note(store, me, count, own + SL_NEXT, head)
    count = note(store, me, count, own + SL_PREVIOUS, 0)
    if head != 0:
        count = note(store, me, count, slab_list(store, head) + SL_PREVIOUS, slab)
    return note(store, me, count, shared + H_HEAD, slab)


@njit(cache=True)
def note_unlisted(store: int, me: int, count: int, size_class: int, slab: int) -> int:
    """Note that a slab leaves its class's list, with all its free slots. Returns the count of words."""
    own, shared = slab_list(store, slab), class_list(store, size_class)
    following, previous = load64(own + SL_NEXT), load64(own + SL_PREVIOUS)
    if previous == 0:
        count = note(store, me, count, shared + H_HEAD, following)
    else:
        count = note(store, me, count, slab_list(store, previous) + SL_NEXT, following)
    if following != 0:
        count = note(store, me, count, slab_list(store, following) + SL_PREVIOUS, previous)
    return note(store, me, count, shared + H_FREE_SLOTS, load64(shared + H_FREE_SLOTS) - load64(own + SL_FREE_COUNT))


@njit(cache=True)
def release_if_free(store: int, me: int, size_class: int, slab: int) -> bool:
    """Give a slab all of whose slots are free back to the pool; the class's lock is held. False: it is not, or the lock of
    the slabs was not to be had; then compaction comes across it."""
    own = slab_list(store, slab)
    if load64(own + SL_FREE_COUNT) != slots_per_slab(size_class):
        return False
    if not lock_pool(store, me, store + D_SLABS_LOCK):
        return False
    count = 0
    if shift_right(load64(slab_record(store, slab)), SLAB_STATE_SHIFT) == SLAB_IN_USE:
        count = note_unlisted(store, me, count, size_class, slab)
    count = note(store, me, count, slab_record(store, slab), size_class | SLAB_POOLED << SLAB_STATE_SHIFT)
    count = note(store, me, count, own + SL_FREE, 0)
    count = note(store, me, count, own + SL_BUMP, 0)
    count = note(store, me, count, own + SL_FREE_COUNT, 0)
    count = note(store, me, count, own + SL_NEXT, load64(store + D_SLABS_POOL))
    count = note(store, me, count, own + SL_PREVIOUS, 0)
    count = note(store, me, count, store + D_SLABS_POOL, slab)
    count = note(store, me, count, store + D_SLABS_POOLED, load64(store + D_SLABS_POOLED) + 1)
    commit(store, me, count)
    unlock(store, store + D_SLABS_LOCK)
    return True


@njit(cache=True)
def _give_run(store: int, me: int, size_class: int, head: int, length: int) -> None:
    """Give the first slots of a private list, as many as lie in the same slab one after the other, back to that slab; the
    class's lock is held. ``head`` and ``length``: addresses of the list's words."""
    first, most = load64(head), load64(length)
    slab = first // SLAB_UNITS
    last, run = slot_at(store, first), 1
    while run < most and link_of(last) // SLAB_UNITS == slab:
        last = slot_at(store, link_of(last))
        run += 1
    own = slab_list(store, slab)
    count = note(store, me, 0, head, link_of(last))
    count = note(store, me, count, length, most - run)
    count = note_link(store, me, count, last, load64(own + SL_FREE))
    count = note(store, me, count, own + SL_FREE, first)
    commit(store, me, note_listed(store, me, count, size_class, slab, load64(own + SL_FREE_COUNT), run))
    release_if_free(store, me, size_class, slab)


@njit(cache=True)
def _give_bump(store: int, me: int, size_class: int) -> None:
    """Give the never used slots back to their slab; the class's lock is held."""
    lists = lists_of(me, size_class)
    bump, end = load64(lists + L_BUMP), load64(lists + L_BUMP_END)
    slab = bump // SLAB_UNITS
    own = slab_list(store, slab)
    count = note(store, me, 0, lists + L_BUMP, 0)
    count = note(store, me, count, lists + L_BUMP_END, 0)
    count = note(store, me, count, own + SL_BUMP, bump)
    added = (end - bump) // class_units(size_class)
    commit(store, me, note_listed(store, me, count, size_class, slab, load64(own + SL_FREE_COUNT), added))
    release_if_free(store, me, size_class, slab)


@njit(cache=True)
def give_back(store: int, me: int, size_class: int) -> bool:
    """Give all that the participant holds of a class back to the slabs; false when that was nothing."""
    lists = lists_of(me, size_class)
    has_bump = load64(lists + L_BUMP) != load64(lists + L_BUMP_END)
    if load64(lists + L_FREE) == 0 and load64(lists + L_SPARE) == 0 and not has_bump:
        return False
    shared = class_list(store, size_class)
    if not lock_inner(store, me, shared + H_LOCK):
        return False
    store64(me + P_REFILLS, load64(me + P_REFILLS) + 1)
    while load64(lists + L_FREE) != 0:
        _give_run(store, me, size_class, lists + L_FREE, lists + L_FREE_COUNT)
    while load64(lists + L_SPARE) != 0:
        _give_run(store, me, size_class, lists + L_SPARE, lists + L_SPARE_COUNT)
    if has_bump:
        _give_bump(store, me, size_class)
    unlock(store, shared + H_LOCK)
    return True


@njit(cache=True)
def give_back_all(store: int, me: int) -> bool:
    """The same of all classes: some ten microseconds at most."""
    gave = False
    for size_class in range(CLASSES):
        if give_back(store, me, size_class):
            gave = True
    return gave


@njit(cache=True)
def retreat(store: int, p: int) -> None:
    """Give all free slots of ``p`` back: for one that writes seldom, and must not keep memory from the others."""
    give_back_all(store, participant_at(store, p))


@njit(cache=True)
def make_room(store: int, me: int, size_class: int) -> None:
    """Before a slot is freed: a full free list becomes the spare one, and the slots of a full spare one go to their slabs."""
    if load64(lists_of(me, size_class) + L_FREE_COUNT) >= magazine_slots(size_class):
        _make_room(store, me, size_class)


@njit(cache=True)
def _make_room(store: int, me: int, size_class: int) -> None:
    lists = lists_of(me, size_class)
    if load64(lists + L_SPARE) != 0:
        shared = class_list(store, size_class)
        if not lock_inner(store, me, shared + H_LOCK):
            return  # then the free list grows a little longer
        while load64(lists + L_SPARE) != 0:
            _give_run(store, me, size_class, lists + L_SPARE, lists + L_SPARE_COUNT)
        unlock(store, shared + H_LOCK)
    count = note(store, me, 0, lists + L_SPARE, load64(lists + L_FREE))
    count = note(store, me, count, lists + L_SPARE_COUNT, load64(lists + L_FREE_COUNT))
    count = note(store, me, count, lists + L_FREE, 0)
    count = note(store, me, count, lists + L_FREE_COUNT, 0)
    commit(store, me, count)
