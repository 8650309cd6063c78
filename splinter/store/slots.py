"""Free slots: where a participant takes one from, and how a retired one becomes free again.

A slot is taken in two halves. :func:`peek_slot` finds one and leaves it where it is, on top of the free list or of
the range of never used slots; the caller fills it there (the link that the list needs is left alone), and
:func:`note_take` notes its removal together with whatever else makes it an object. A participant that dies in between
has taken nothing.

Free slots beyond two lists' worth go to a list per class that all share, in batches. A retired slot stays in its
participant's limbo, oldest first, until no reader can hold it. A slab stays with its class.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import fence, load32, load64, load64_acquire, shift_right, store64, store64_release
from splinter.store.classes import class_bytes, class_units, magazine_slots, slots_per_slab
from splinter.store.epochs import epoch_advance, epoch_oldest
from splinter.store.journal import commit, lock_inner, note, participant_at, unlock
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import (
    D_EPOCH,
    D_SHARED_LISTS,
    D_SLAB_RECORDS,
    D_SLABS,
    D_SLABS_LOCK,
    D_SLABS_TOTAL,
    D_SLABS_USED,
    FREE_LISTS_BYTES,
    H_HEAD,
    H_LOCK,
    L_BUMP,
    L_BUMP_END,
    L_FREE,
    L_FREE_COUNT,
    L_SPARE,
    L_SPARE_COUNT,
    O_BATCH,
    O_LENGTH_AND_LINK,
    O_RETIRED,
    O_VALUE_LENGTH,
    O_VERSION,
    P_BLOCKED_AT,
    P_BLOCKED_TURNS,
    P_HOLDER,
    P_LIMBO_BYTES,
    P_LIMBO_HEAD,
    P_LIMBO_TAIL,
    P_LISTS,
    P_SAFE_EPOCH,
    P_WANTS,
    SHARED_LIST_BYTES,
    SLAB_OWNER_SHIFT,
    SLAB_RECORD_BYTES,
    SLAB_UNITS,
    UNIT_BYTES,
    UNIT_MASK,
)
from splinter.store.limbo import is_held_up

_OK, _BUSY, _OUT_OF_MEMORY = int(Status.OK), int(Status.BUSY), int(Status.OUT_OF_MEMORY)
_RECLAIM_SLOTS_MAX = limits.RECLAIM_SLOTS_MAX
_SLOT_RIPE = int(KillPoint.SLOT_RIPE)
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
def class_at(store: int, unit: int) -> int:
    """Size class of the slot at a unit."""
    return load32(load64(store + D_SLAB_RECORDS) + unit // SLAB_UNITS * SLAB_RECORD_BYTES)


@njit(cache=True)
def lists_of(me: int, size_class: int) -> int:
    """Address of a participant's FREE_LISTS of a class."""
    return me + P_LISTS + size_class * FREE_LISTS_BYTES


@njit(cache=True)
def _link_of(slot: int) -> int:
    return shift_right(load64(slot + O_LENGTH_AND_LINK), _HIGH_HALF)


@njit(cache=True)
def _note_link(store: int, me: int, count: int, slot: int, link: int) -> int:
    """The link shares its word with the value length, which readers look at: it is stored again as it is."""
    return note(store, me, count, slot + O_LENGTH_AND_LINK, load32(slot + O_VALUE_LENGTH) | link << _HIGH_HALF)


# --- taking ----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def peek_slot(store: int, me: int, size_class: int) -> int:
    """Address of a free slot of a class, still in the participant's lists; or -OUT_OF_MEMORY, -BUSY."""
    lists = lists_of(me, size_class)
    if load64(lists + L_FREE) == 0 and load64(lists + L_BUMP) == load64(lists + L_BUMP_END):
        status = _refill(store, me, size_class)
        if status != _OK:
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
    count = note(store, me, count, lists + L_FREE, _link_of(slot_at(store, free)))
    return note(store, me, count, lists + L_FREE_COUNT, load64(lists + L_FREE_COUNT) - 1)


@njit(cache=True)
def _refill(store: int, me: int, size_class: int) -> int:
    """Get slots of a class from the spare list, limbo, the shared list, a new slab, in this order. Returns a status."""
    lists = lists_of(me, size_class)
    if load64(lists + L_SPARE) != 0:
        count = note(store, me, 0, lists + L_FREE, load64(lists + L_SPARE))
        count = note(store, me, count, lists + L_FREE_COUNT, load64(lists + L_SPARE_COUNT))
        count = note(store, me, count, lists + L_SPARE, 0)
        count = note(store, me, count, lists + L_SPARE_COUNT, 0)
        commit(store, me, count)
        return _OK
    _reclaim(store, me, _RECLAIM_SLOTS_MAX)
    if load64(lists + L_FREE) != 0:
        return _OK
    status = _take_batch(store, me, size_class)
    if status == _OUT_OF_MEMORY:
        status = _take_slab(store, me, size_class)
    if status == _OUT_OF_MEMORY and is_held_up(store):
        store64_release(me + P_WANTS, epoch_oldest(store))
        status = _BUSY  # there will be some when the oldest tasks have given way
    return status


@njit(cache=True)
def _take_batch(store: int, me: int, size_class: int) -> int:
    shared = load64(store + D_SHARED_LISTS) + size_class * SHARED_LIST_BYTES
    if load64_acquire(shared + H_HEAD) == 0:
        return _OUT_OF_MEMORY
    if not lock_inner(store, me, shared + H_LOCK):
        return _BUSY
    status = _OUT_OF_MEMORY
    head = load64(shared + H_HEAD)
    if head != 0:
        lists = lists_of(me, size_class)
        batch = load64(slot_at(store, head) + O_BATCH)
        count = note(store, me, 0, shared + H_HEAD, batch & UNIT_MASK)
        count = note(store, me, count, lists + L_FREE, head)
        count = note(store, me, count, lists + L_FREE_COUNT, shift_right(batch, _HIGH_HALF))
        commit(store, me, count)
        status = _OK
    unlock(store, shared + H_LOCK)
    return status


@njit(cache=True)
def _take_slab(store: int, me: int, size_class: int) -> int:
    if load64_acquire(store + D_SLABS_USED) == load64(store + D_SLABS_TOTAL):
        return _OUT_OF_MEMORY
    if not lock_inner(store, me, store + D_SLABS_LOCK):
        return _BUSY
    status = _OUT_OF_MEMORY
    slab = load64(store + D_SLABS_USED)
    if slab < load64(store + D_SLABS_TOTAL):
        lists = lists_of(me, size_class)
        bump = slab * SLAB_UNITS
        record = size_class | load64(me + P_HOLDER) << SLAB_OWNER_SHIFT
        count = note(store, me, 0, load64(store + D_SLAB_RECORDS) + slab * SLAB_RECORD_BYTES, record)
        count = note(store, me, count, lists + L_BUMP, bump)
        count = note(store, me, count, lists + L_BUMP_END, bump + slots_per_slab(size_class) * class_units(size_class))
        count = note(store, me, count, store + D_SLABS_USED, slab + 1)
        commit(store, me, count)
        status = _OK
    unlock(store, store + D_SLABS_LOCK)
    return status


# --- giving back -----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def make_room(store: int, me: int, size_class: int) -> None:
    """Before a slot is freed: a full free list becomes the spare one, and a full spare one goes to the shared list."""
    lists = lists_of(me, size_class)
    if load64(lists + L_FREE_COUNT) < magazine_slots(size_class):
        return
    spare = load64(lists + L_SPARE)
    shared = load64(store + D_SHARED_LISTS) + size_class * SHARED_LIST_BYTES
    count = 0
    if spare != 0:
        if not lock_inner(store, me, shared + H_LOCK):
            return  # then the free list grows a little longer
        store64(slot_at(store, spare) + O_BATCH, load64(shared + H_HEAD) | load64(lists + L_SPARE_COUNT) << _HIGH_HALF)
        count = note(store, me, count, shared + H_HEAD, spare)
    count = note(store, me, count, lists + L_SPARE, load64(lists + L_FREE))
    count = note(store, me, count, lists + L_SPARE_COUNT, load64(lists + L_FREE_COUNT))
    count = note(store, me, count, lists + L_FREE, 0)
    count = note(store, me, count, lists + L_FREE_COUNT, 0)
    commit(store, me, count)
    if spare != 0:
        unlock(store, shared + H_LOCK)


@njit(cache=True)
def note_free(store: int, me: int, count: int, unit: int, size_class: int) -> int:
    """Note that a slot that no reader can hold goes on the free list; call :func:`make_room` before the step."""
    lists = lists_of(me, size_class)
    count = _note_link(store, me, count, slot_at(store, unit), load64(lists + L_FREE))
    count = note(store, me, count, lists + L_FREE, unit)
    return note(store, me, count, lists + L_FREE_COUNT, load64(lists + L_FREE_COUNT) + 1)


@njit(cache=True)
def note_retire(store: int, me: int, count: int, unit: int) -> int:
    """Note that an object that this step unlinks goes to the end of limbo; returns the count of words."""
    tail = load64(me + P_LIMBO_TAIL)
    if tail == 0:
        count = note(store, me, count, me + P_LIMBO_HEAD, unit)
    else:
        count = _note_link(store, me, count, slot_at(store, tail), unit)
    count = note(store, me, count, me + P_LIMBO_TAIL, unit)
    return _note_link(store, me, count, slot_at(store, unit), 0)


@njit(cache=True)
def reclaim(store: int, p: int, slots_max: int) -> int:
    """Free up to ``slots_max`` retired slots of ``p`` that no reader can hold any more; returns how many. Once in each turn."""
    me = participant_at(store, p)
    freed = _reclaim(store, me, slots_max)
    if load64(me + P_BLOCKED_AT) != 0:
        store64(me + P_BLOCKED_TURNS, load64(me + P_BLOCKED_TURNS) + 1)
    return freed


@njit(cache=True)
def _reclaim(store: int, me: int, slots_max: int) -> int:
    freed = 0
    while freed < slots_max:
        unit = load64(me + P_LIMBO_HEAD)
        if unit == 0:
            break
        slot = slot_at(store, unit)
        if load64(slot + O_RETIRED) >= load64(me + P_SAFE_EPOCH) and not _is_ripe(store, me, slot):
            break
        size_class = class_at(store, unit)
        bytes_left = max(load64(me + P_LIMBO_BYTES) - class_bytes(size_class), 0)
        make_room(store, me, size_class)
        store64_release(slot + O_VERSION, 0)
        kill_point(store, _SLOT_RIPE)
        following = _link_of(slot)
        count = note(store, me, 0, me + P_LIMBO_HEAD, following)
        if following == 0:
            count = note(store, me, count, me + P_LIMBO_TAIL, 0)
        commit(store, me, note_free(store, me, count, unit, size_class))
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
