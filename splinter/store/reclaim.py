"""How a retired slot becomes free again: it stays in its participant's limbo, oldest first, until no reader can hold it."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import fence, load64, load64_acquire, shift_right, store64_release
from splinter.store.classes import class_bytes
from splinter.store.epochs import epoch_advance, epoch_oldest
from splinter.store.journal import commit, lock_inner, note, participant_at, unlock
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import SLAB_DRAINING, SLAB_STATE_SHIFT, SLAB_UNITS
from splinter.store.objects import date_of
from splinter.store.records import ClassList, Descriptor, FreeLists, Object, Participant, SlabList
from splinter.store.slabs import (
    class_list,
    link_of,
    lists_of,
    make_room,
    note_link,
    note_listed,
    release_if_free,
    slab_list,
    slab_record,
    slot_at,
)

_CLASS_MASK = 0xFFFFFFFF  # in a SLAB read as one word


@njit(cache=True)
def begin_free(store: int, me: int, record: int) -> bool:
    """Before a step that frees a slot: make room for it or, where its slab is draining (true), take the class's lock.
    ``record`` is the word of the slab's SLAB."""
    size_class = record & _CLASS_MASK
    lock = ClassList(class_list(store, size_class)).at.lock
    if shift_right(record, SLAB_STATE_SHIFT) == SLAB_DRAINING and lock_inner(store, me, lock):
        return True
    make_room(store, me, size_class)
    return False


@njit(cache=True)
def note_free(store: int, me: int, count: int, unit: int, size_class: int, draining: bool) -> int:
    """Note that a slot that no reader can hold is free; ``draining`` is what :func:`begin_free` said. Returns the count of
    words."""
    if draining:
        return _note_stays(store, me, count, unit, size_class)
    lists = FreeLists(lists_of(me, size_class))
    count = note_link(store, me, count, slot_at(store, unit), lists.free)
    count = note(store, me, count, lists.at.free, unit)
    return note(store, me, count, lists.at.free_count, lists.free_count + 1)


@njit(cache=True)
def _note_stays(store: int, me: int, count: int, unit: int, size_class: int) -> int:
    """Note that a free slot stays with its slab."""
    slab = unit // SLAB_UNITS
    own = SlabList(slab_list(store, slab))
    count = note_link(store, me, count, slot_at(store, unit), own.free)
    count = note(store, me, count, own.at.free, unit)
    return note_listed(store, me, count, size_class, slab, own.free_count, 1)


@njit(cache=True)
def end_free(store: int, me: int, unit: int, size_class: int) -> None:
    """After the step, where the slab is draining: it may be empty."""
    release_if_free(store, me, size_class, unit // SLAB_UNITS)
    unlock(store, ClassList(class_list(store, size_class)).at.lock)


@njit(cache=True)
def note_retire(store: int, me: int, count: int, unit: int) -> int:
    """Note that an object that this step unlinks goes to the end of limbo; returns the count of words."""
    mine = Participant(me)
    tail = mine.limbo_tail
    if tail == 0:
        count = note(store, me, count, mine.at.limbo_head, unit)
    else:
        count = note_link(store, me, count, slot_at(store, tail), unit)
    count = note(store, me, count, mine.at.limbo_tail, unit)
    return note_link(store, me, count, slot_at(store, unit), 0)


@njit(cache=True)
def reclaim(store: int, p: int, slots_max: int) -> int:
    """Free retired slots of ``p`` that no reader can hold any more; returns how many. Once in each turn.

    They are up to ``slots_max``, and twice as many as were retired since the last time if that is more: a packet may have many
    writes, and what waits must not grow by what turns leave over.
    """
    me = participant_at(store, p)
    mine = Participant(me)
    retired = mine.retired
    freed = reclaim_slots(store, me, max(slots_max, 2 * (retired - mine.retired_before)))
    mine.retired_before = retired
    if mine.blocked_at != 0:
        mine.blocked_turns += 1
    return freed


@njit(cache=True)
def reclaim_slots(store: int, me: int, slots_max: int) -> int:
    mine, freed = Participant(me), 0
    while freed < slots_max:
        unit = mine.limbo_head
        if unit == 0:
            break
        slot = slot_at(store, unit)
        if date_of(Object(slot).retired) >= mine.safe_epoch and not _is_ripe(store, me, slot):
            break
        record = load64(slab_record(store, unit // SLAB_UNITS))
        size_class = record & _CLASS_MASK
        draining = begin_free(store, me, record)
        bytes_left = max(mine.limbo_bytes - class_bytes(size_class), 0)
        store64_release(Object(slot).at.version, 0)
        kill_point(store, KillPoint.SLOT_RIPE)
        following = link_of(slot)
        count = note(store, me, 0, mine.at.limbo_head, following)
        if following == 0:
            count = note(store, me, count, mine.at.limbo_tail, 0)
        commit(store, me, note_free(store, me, count, unit, size_class, draining))
        if draining:
            end_free(store, me, unit, size_class)
        mine.limbo_bytes = bytes_left if following != 0 else 0
        freed += 1
    blocked_at = mine.safe_epoch if freed == 0 and mine.limbo_head != 0 else 0
    if blocked_at != mine.blocked_at:
        mine.blocked_at = blocked_at
        mine.blocked_turns = 0
    if freed != 0:
        fence()  # cleared versions are visible before the slots' bytes change
    return freed


@njit(cache=True)
def _is_ripe(store: int, me: int, slot: int) -> bool:
    """Look at all participants' epochs again; begin a new epoch if the slot's is the current one."""
    mine, retired = Participant(me), date_of(Object(slot).retired)
    if retired >= load64_acquire(Descriptor(store).at.epoch):
        epoch_advance(store)
    safe = epoch_oldest(store)
    mine.safe_epoch = safe
    return retired < safe
