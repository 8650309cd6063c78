"""Free slots: where a participant takes one from, and how a retired one becomes free again.

A slot is taken in two halves. :func:`peek_slot` finds one and leaves it where it is, on top of the free list or of
the range of never used slots; the caller fills it there (the link that the list needs is left alone), and
:func:`note_take` notes its removal together with whatever else makes it an object. A participant that dies in between
has taken nothing.

Free slots beyond two lists' worth go back to their slabs: each slab in use has a list of its own, and each class a list
of the slabs that have any. So it is known when a slab has no other slots than free ones; then it goes back to the pool,
for any class. A retired slot stays in its participant's limbo, oldest first, until no reader can hold it.

A slab that is *draining* (:mod:`splinter.store.compaction`) is in no class's list: what becomes free of it stays with it.

Locks, in this order: that of the class (``lock_inner``), that of the slabs (``lock_pool``).
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import fence, load32, load64, load64_acquire, shift_right, store64, store64_release
from splinter.store.classes import class_bytes, class_units, magazine_slots, slots_per_slab
from splinter.store.epochs import epoch_advance, epoch_oldest
from splinter.store.journal import commit, lock_inner, lock_pool, note, participant_at, unlock
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import (
    CLASS_LIST_BYTES,
    CLASSES,
    D_CLASS_LISTS,
    D_EPOCH,
    D_SLAB_LISTS,
    D_SLAB_RECORDS,
    D_SLABS,
    D_SLABS_LOCK,
    D_SLABS_POOL,
    D_SLABS_POOLED,
    D_SLABS_TOTAL,
    D_SLABS_USED,
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
    O_RETIRED,
    O_VALUE_LENGTH,
    O_VERSION,
    P_BLOCKED_AT,
    P_BLOCKED_TURNS,
    P_LIMBO_BYTES,
    P_LIMBO_HEAD,
    P_LIMBO_TAIL,
    P_LISTS,
    P_REFILLS,
    P_SAFE_EPOCH,
    P_WANTS,
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
from splinter.store.limbo import is_held_up

_RECLAIM_SLOTS_MAX = limits.RECLAIM_SLOTS_MAX
_HIGH_HALF = 32  # shift
_CLASS_MASK = 0xFFFFFFFF  # in a SLAB read as one word


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
    count = note(store, me, count, lists + L_FREE, _link_of(slot_at(store, free)))
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
    _reclaim(store, me, _RECLAIM_SLOTS_MAX)
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
        while taken < most and _link_of(last) != 0:
            last = slot_at(store, _link_of(last))
            taken += 1
        count = note(store, me, 0, lists + L_FREE, first)
        count = note(store, me, count, lists + L_FREE_COUNT, taken)
        count = note(store, me, count, own + SL_FREE, _link_of(last))
        count = _note_link(store, me, count, last, 0)
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


# --- giving back -----------------------------------------------------------------------------------------------------------


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
    while run < most and _link_of(last) // SLAB_UNITS == slab:
        last = slot_at(store, _link_of(last))
        run += 1
    own = slab_list(store, slab)
    count = note(store, me, 0, head, _link_of(last))
    count = note(store, me, count, length, most - run)
    count = _note_link(store, me, count, last, load64(own + SL_FREE))
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
    count = _note_link(store, me, count, slot_at(store, unit), load64(lists + L_FREE))
    count = note(store, me, count, lists + L_FREE, unit)
    return note(store, me, count, lists + L_FREE_COUNT, load64(lists + L_FREE_COUNT) + 1)


@njit(cache=True)
def _note_stays(store: int, me: int, count: int, unit: int, size_class: int) -> int:
    """Note that a free slot stays with its slab."""
    slab = unit // SLAB_UNITS
    own = slab_list(store, slab)
    count = _note_link(store, me, count, slot_at(store, unit), load64(own + SL_FREE))
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
        record = load64(slab_record(store, unit // SLAB_UNITS))
        size_class = record & _CLASS_MASK
        draining = begin_free(store, me, record)
        bytes_left = max(load64(me + P_LIMBO_BYTES) - class_bytes(size_class), 0)
        store64_release(slot + O_VERSION, 0)
        kill_point(store, KillPoint.SLOT_RIPE)
        following = _link_of(slot)
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
