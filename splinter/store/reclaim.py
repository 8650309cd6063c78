"""How a retired slot becomes free again: it stays in its participant's limbo, oldest first, until no reader can hold it."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import fence, load64, load64_acquire, shift_right, store64, store64_release
from splinter.store.classes import class_bytes
from splinter.store.epochs import epoch_advance, epoch_oldest
from splinter.store.journal import commit, lock_inner, note, participant_at, unlock
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import (
    D_EPOCH,
    H_LOCK,
    L_FREE,
    L_FREE_COUNT,
    O_RETIRED,
    O_VERSION,
    P_BLOCKED_AT,
    P_BLOCKED_TURNS,
    P_LIMBO_BYTES,
    P_LIMBO_HEAD,
    P_LIMBO_TAIL,
    P_SAFE_EPOCH,
    SL_FREE,
    SL_FREE_COUNT,
    SLAB_DRAINING,
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
)
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
    if shift_right(record, SLAB_STATE_SHIFT) == SLAB_DRAINING and lock_inner(store, me, class_list(store, size_class) + H_LOCK):
        return True
    make_room(store, me, size_class)
    return False


@njit(cache=True)
def note_free(store: int, me: int, count: int, unit: int, size_class: int, draining: bool) -> int:
    """Note that a slot that no reader can hold is free; ``draining`` is what :func:`begin_free` said. Returns the count of
    words."""
    if draining:
        return _note_stays(store, me, count, unit, size_class)
    lists = lists_of(me, size_class)
    count = note_link(store, me, count, slot_at(store, unit), load64(lists + L_FREE))
    count = note(store, me, count, lists + L_FREE, unit)
    return note(store, me, count, lists + L_FREE_COUNT, load64(lists + L_FREE_COUNT) + 1)


@njit(cache=True)
def _note_stays(store: int, me: int, count: int, unit: int, size_class: int) -> int:
    """Note that a free slot stays with its slab."""
    slab = unit // SLAB_UNITS
    own = slab_list(store, slab)
    count = note_link(store, me, count, slot_at(store, unit), load64(own + SL_FREE))
    count = note(store, me, count, own + SL_FREE, unit)
    return note_listed(store, me, count, size_class, slab, load64(own + SL_FREE_COUNT), 1)


@njit(cache=True)
def end_free(store: int, me: int, unit: int, size_class: int) -> None:
    """After the step, where the slab is draining: it may be empty."""
    release_if_free(store, me, size_class, unit // SLAB_UNITS)
    unlock(store, class_list(store, size_class) + H_LOCK)


@njit(cache=True)
def note_retire(store: int, me: int, count: int, unit: int) -> int:
    """Note that an object that this step unlinks goes to the end of limbo; returns the count of words."""
    tail = load64(me + P_LIMBO_TAIL)
    if tail == 0:
        count = note(store, me, count, me + P_LIMBO_HEAD, unit)
    else:
        count = note_link(store, me, count, slot_at(store, tail), unit)
    count = note(store, me, count, me + P_LIMBO_TAIL, unit)
    return note_link(store, me, count, slot_at(store, unit), 0)


@njit(cache=True)
def reclaim(store: int, p: int, slots_max: int) -> int:
    """Free up to ``slots_max`` retired slots of ``p`` that no reader can hold any more; returns how many. Once in each turn."""
    me = participant_at(store, p)
    freed = reclaim_slots(store, me, slots_max)
    if load64(me + P_BLOCKED_AT) != 0:
        store64(me + P_BLOCKED_TURNS, load64(me + P_BLOCKED_TURNS) + 1)
    return freed


@njit(cache=True)
def reclaim_slots(store: int, me: int, slots_max: int) -> int:
    freed = 0
    while freed < slots_max:
        unit = load64(me + P_LIMBO_HEAD)
        if unit == 0:
            break
        slot = slot_at(store, unit)
        if load64(slot + O_RETIRED) >= load64(me + P_SAFE_EPOCH) and not _is_ripe(store, me, slot):
            break
        record = load64(slab_record(store, unit // SLAB_UNITS))
        size_class = record & _CLASS_MASK
        draining = begin_free(store, me, record)
        bytes_left = max(load64(me + P_LIMBO_BYTES) - class_bytes(size_class), 0)
        store64_release(slot + O_VERSION, 0)
        kill_point(store, KillPoint.SLOT_RIPE)
        following = link_of(slot)
        count = note(store, me, 0, me + P_LIMBO_HEAD, following)
        if following == 0:
            count = note(store, me, count, me + P_LIMBO_TAIL, 0)
        commit(store, me, note_free(store, me, count, unit, size_class, draining))
        if draining:
            end_free(store, me, unit, size_class)
        store64(me + P_LIMBO_BYTES, bytes_left if following != 0 else 0)
        freed += 1
    blocked_at = load64(me + P_SAFE_EPOCH) if freed == 0 and load64(me + P_LIMBO_HEAD) != 0 else 0
    if blocked_at != load64(me + P_BLOCKED_AT):
        store64(me + P_BLOCKED_AT, blocked_at)
        store64(me + P_BLOCKED_TURNS, 0)
    if freed != 0:
        fence()  # cleared versions are visible before the slots' bytes change
    return freed


@njit(cache=True)
def _is_ripe(store: int, me: int, slot: int) -> bool:
    """Look at all participants' epochs again; begin a new epoch if the slot's is the current one."""
    retired = load64(slot + O_RETIRED)
    if retired >= load64_acquire(store + D_EPOCH):
        epoch_advance(store)
    safe = epoch_oldest(store)
    store64(me + P_SAFE_EPOCH, safe)
    return retired < safe
