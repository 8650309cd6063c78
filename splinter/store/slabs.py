"""Slots and slabs: where they stand, and the lists of free slots that participants, slabs and classes have.

A participant has two lists of free slots of each class, and a range of never used ones. Free slots beyond two lists' worth go
back to their slabs: each slab in use has a list of its own, and each class a list of the slabs that have any. So it is known
when a slab has no other slots than free ones; then it goes back to the pool, for any class.

A slab that is *draining* (:mod:`splinter.store.compaction`) is in no class's list: what becomes free of it stays with it.

Locks, in this order: that of the class (``lock_inner``), that of the slabs (``lock_pool``).
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load64, shift_right
from splinter.store.classes import class_units, magazine_slots, slots_per_slab
from splinter.store.journal import commit, lock_inner, lock_pool, note, participant_at, unlock
from splinter.store.layout import (
    CLASS_LIST_BYTES,
    CLASSES,
    FREE_LISTS_BYTES,
    O_LINKS,
    SLAB_DRAINING,
    SLAB_IN_USE,
    SLAB_LIST_BYTES,
    SLAB_POOLED,
    SLAB_RECORD_BYTES,
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
    UNIT_BYTES,
)
from splinter.store.records import ClassList, Descriptor, FreeLists, Object, Participant, Slab, SlabList

_HIGH_HALF = 32  # shift


@njit(cache=True)
def slot_at(store: int, unit: int) -> int:
    """Address of the slot at a unit."""
    return Descriptor(store).slabs + unit * UNIT_BYTES


@njit(cache=True)
def unit_of(store: int, slot: int) -> int:
    """Unit of the slot at an address."""
    return (slot - Descriptor(store).slabs) // UNIT_BYTES


@njit(cache=True)
def slab_record(store: int, slab: int) -> int:
    """Address of a slab's SLAB."""
    return Descriptor(store).slab_records + slab * SLAB_RECORD_BYTES


@njit(cache=True)
def slab_list(store: int, slab: int) -> int:
    """Address of a slab's SLAB_LIST."""
    return Descriptor(store).slab_lists + slab * SLAB_LIST_BYTES


@njit(cache=True)
def class_list(store: int, size_class: int) -> int:
    """Address of a class's CLASS_LIST."""
    return Descriptor(store).class_lists + size_class * CLASS_LIST_BYTES


@njit(cache=True, forceinline=True)
def class_at(store: int, unit: int) -> int:
    """Size class of the slot at a unit."""
    return Slab(slab_record(store, unit // SLAB_UNITS)).size_class


@njit(cache=True)
def lists_of(me: int, size_class: int) -> int:
    """Address of a participant's FREE_LISTS of a class."""
    return Participant(me).lists + size_class * FREE_LISTS_BYTES


@njit(cache=True)
def link_of(slot: int) -> int:
    return Object(slot).link


@njit(cache=True)
def note_link(store: int, me: int, count: int, slot: int, link: int) -> int:
    """The link shares its word with ``previous``, which readers look at: it is stored again as it is."""
    return note(store, me, count, slot + O_LINKS, link | Object(slot).previous << _HIGH_HALF)


@njit(cache=True)
def note_listed(store: int, me: int, count: int, size_class: int, slab: int, had: int, added: int) -> int:
    """Note that a slab's own list, which had ``had`` free slots, has ``added`` more; the class's lock is held. Returns the
    count of words."""
    own = SlabList(slab_list(store, slab))
    count = note(store, me, count, own.at.free_count, had + added)
    if shift_right(load64(slab_record(store, slab)), SLAB_STATE_SHIFT) == SLAB_DRAINING:
        return count
    shared = ClassList(class_list(store, size_class))
    count = note(store, me, count, shared.at.free_slots, shared.free_slots + added)
    return note_linked(store, me, count, size_class, slab) if had == 0 else count


@njit(cache=True)
def note_linked(store: int, me: int, count: int, size_class: int, slab: int) -> int:
    """Note that a slab becomes the first of its class's list. Returns the count of words."""
    own, shared = SlabList(slab_list(store, slab)), ClassList(class_list(store, size_class))
    head = shared.head
    count = note(store, me, count, own.at.next, head)
    count = note(store, me, count, own.at.previous, 0)
    if head != 0:
        count = note(store, me, count, SlabList(slab_list(store, head)).at.previous, slab)
    return note(store, me, count, shared.at.head, slab)


@njit(cache=True)
def note_unlisted(store: int, me: int, count: int, size_class: int, slab: int) -> int:
    """Note that a slab leaves its class's list, with all its free slots. Returns the count of words."""
    own, shared = SlabList(slab_list(store, slab)), ClassList(class_list(store, size_class))
    following, previous = own.next, own.previous
    if previous == 0:
        count = note(store, me, count, shared.at.head, following)
    else:
        count = note(store, me, count, SlabList(slab_list(store, previous)).at.next, following)
    if following != 0:
        count = note(store, me, count, SlabList(slab_list(store, following)).at.previous, previous)
    return note(store, me, count, shared.at.free_slots, shared.free_slots - own.free_count)


@njit(cache=True)
def release_if_free(store: int, me: int, size_class: int, slab: int) -> bool:
    """Give a slab all of whose slots are free back to the pool; the class's lock is held. False: it is not, or the lock of
    the slabs was not to be had; then compaction comes across it."""
    own, descriptor = SlabList(slab_list(store, slab)), Descriptor(store)
    if own.free_count != slots_per_slab(size_class):
        return False
    if not lock_pool(store, me, descriptor.at.slabs_lock):
        return False
    count = 0
    if shift_right(load64(slab_record(store, slab)), SLAB_STATE_SHIFT) == SLAB_IN_USE:
        count = note_unlisted(store, me, count, size_class, slab)
    count = note(store, me, count, slab_record(store, slab), size_class | SLAB_POOLED << SLAB_STATE_SHIFT)
    count = note(store, me, count, own.at.free, 0)
    count = note(store, me, count, own.at.bump, 0)
    count = note(store, me, count, own.at.free_count, 0)
    count = note(store, me, count, own.at.next, descriptor.slabs_pool)
    count = note(store, me, count, own.at.previous, 0)
    count = note(store, me, count, descriptor.at.slabs_pool, slab)
    count = note(store, me, count, descriptor.at.slabs_pooled, descriptor.slabs_pooled + 1)
    commit(store, me, count)
    unlock(store, descriptor.at.slabs_lock)
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
    own = SlabList(slab_list(store, slab))
    count = note(store, me, 0, head, link_of(last))
    count = note(store, me, count, length, most - run)
    count = note_link(store, me, count, last, own.free)
    count = note(store, me, count, own.at.free, first)
    commit(store, me, note_listed(store, me, count, size_class, slab, own.free_count, run))
    release_if_free(store, me, size_class, slab)


@njit(cache=True)
def _give_bump(store: int, me: int, size_class: int) -> None:
    """Give the never used slots back to their slab; the class's lock is held."""
    lists = FreeLists(lists_of(me, size_class))
    bump, end = lists.bump, lists.bump_end
    slab = bump // SLAB_UNITS
    own = SlabList(slab_list(store, slab))
    count = note(store, me, 0, lists.at.bump, 0)
    count = note(store, me, count, lists.at.bump_end, 0)
    count = note(store, me, count, own.at.bump, bump)
    added = (end - bump) // class_units(size_class)
    commit(store, me, note_listed(store, me, count, size_class, slab, own.free_count, added))
    release_if_free(store, me, size_class, slab)


@njit(cache=True)
def give_back(store: int, me: int, size_class: int) -> bool:
    """Give all that the participant holds of a class back to the slabs; false when that was nothing."""
    lists = FreeLists(lists_of(me, size_class))
    has_bump = lists.bump != lists.bump_end
    if lists.free == 0 and lists.spare == 0 and not has_bump:
        return False
    shared = ClassList(class_list(store, size_class))
    if not lock_inner(store, me, shared.at.lock):
        return False
    Participant(me).refills += 1
    while lists.free != 0:
        _give_run(store, me, size_class, lists.at.free, lists.at.free_count)
    while lists.spare != 0:
        _give_run(store, me, size_class, lists.at.spare, lists.at.spare_count)
    if has_bump:
        _give_bump(store, me, size_class)
    unlock(store, shared.at.lock)
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
    if FreeLists(lists_of(me, size_class)).free_count >= magazine_slots(size_class):
        _make_room(store, me, size_class)


@njit(cache=True)
def _make_room(store: int, me: int, size_class: int) -> None:
    lists = FreeLists(lists_of(me, size_class))
    if lists.spare != 0:
        shared = ClassList(class_list(store, size_class))
        if not lock_inner(store, me, shared.at.lock):
            return  # then the free list grows a little longer
        while lists.spare != 0:
            _give_run(store, me, size_class, lists.at.spare, lists.at.spare_count)
        unlock(store, shared.at.lock)
    count = note(store, me, 0, lists.at.spare, lists.free)
    count = note(store, me, count, lists.at.spare_count, lists.free_count)
    count = note(store, me, count, lists.at.free, 0)
    count = note(store, me, count, lists.at.free_count, 0)
    commit(store, me, count)
