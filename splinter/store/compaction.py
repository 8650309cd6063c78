"""Memory comes back from a size that is not needed any more: sparse slabs are emptied for those that cannot get one.

A slab whose last slot becomes free goes back to the pool by itself (:mod:`splinter.store.slabs`). This is for the others, and
only while slabs are *short*: fewer than one in SLABS_RESERVE_SHARE may be given out. Each participant then gives back its own
free slots, a class in a millisecond; and whoever finds the lock of compaction free does a turn's share of a *drain*:

* choose up to DRAINING_SLABS_MAX slabs of one class, the sparsest first, whose objects fit into free slots of other slabs; they
  leave their class's list, so that nobody takes a slot of them;
* walk over their slots and *move* what is published: a copy goes into another slab and takes the entry's place, under the
  tenant's lock and by the journal, as a replacement does. It keeps its version, so whoever holds that for a condition notices
  nothing; the old slot is retired, and readers keep it as long as they need it;
* what becomes free of them stays with them; with its last slot a slab goes to the pool. What is not empty after DRAIN_NS_MAX
  (a task holds its epoch for long) goes back to its class.

A turn looks at COMPACT_SLOTS slots and moves COMPACT_BYTES and one object at most. All that a drain must not forget stands in
the journalled steps; what else it keeps (where the walk is) may be lost with its process.

Readers without an epoch (a later XDP program) must read: entry, version, bytes, version, entry. A slab may have come to another
class meanwhile, so that what stands at the place of the version may be any bytes; but then the entry has changed.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import copy_bytes, load64, load64_acquire, shift_right, store64_release
from splinter.store.accounts import account_of
from splinter.store.classes import class_bytes, class_units, slots_per_slab
from splinter.store.clients import note_ring_moved
from splinter.store.epochs import EPOCH_OFFLINE
from splinter.store.hashing import identity_key_length, identity_table, identity_tenant, store_hash
from splinter.store.index import buckets_short, buckets_step, find_entry, word_unit
from splinter.store.journal import (
    announce,
    commit,
    lock_inner,
    note,
    participant_at,
    published,
    try_lock_compact,
    try_lock_tenant,
    unlock,
)
from splinter.store.layout import (
    CLASSES,
    CLIENT_KEY_BYTES,
    O_KEY,
    SLAB_DRAINING,
    SLAB_IN_USE,
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
    UNIT_MASK,
)
from splinter.store.objects import (
    copy_position,
    fill_header,
    object_expires,
    object_form,
    object_identity,
    object_key,
    object_value,
    object_value_length,
    set_expires,
)
from splinter.store.reclaim import note_retire
from splinter.store.records import Account, ClassList, Descriptor, Object, Participant, SlabList
from splinter.store.slabs import (
    class_list,
    give_back,
    give_back_all,
    note_linked,
    note_unlisted,
    release_if_free,
    slab_list,
    slab_record,
    slot_at,
    unit_of,
)
from splinter.store.slots import note_take, peek_slot

_TENANTS_MAX = limits.TENANTS_MAX
_KEY_BYTES_MAX = limits.KEY_BYTES_MAX
_TABLE_CLIENTS = limits.TABLE_CLIENTS
_RESERVE_SHARE = limits.SLABS_RESERVE_SHARE
_SLABS_MAX = limits.DRAINING_SLABS_MAX
_DRAIN_NS_MAX = limits.DRAIN_NS_MAX
_LOOKS = limits.COMPACT_LOOKS
_SLOTS = limits.COMPACT_SLOTS
_BYTES = limits.COMPACT_BYTES
_PAUSE_NS = limits.COMPACT_PAUSE_NS
_REST_NS = 10 * _PAUSE_NS  # when a whole round over the slabs found nothing
_RESERVE_MIN = 2
_EIGHTHS_FIRST, _EIGHTHS_LAST = 7, 2  # free, of a slab: the sparse ones first, in the last round a quarter is enough
_WORD_BYTES = 8
_CLASS_MASK = 0xFFFFFFFF


@njit(cache=True)
def slabs_left(store: int) -> int:
    """Slabs that may be given out."""
    descriptor = Descriptor(store)
    return descriptor.slabs_total - descriptor.slabs_used + descriptor.slabs_pooled


@njit(cache=True)
def compact(store: int, p: int, now_ns: int, idle: bool) -> None:
    """A turn's share of getting memory back, if any is needed. ``now_ns``: monotonic clock; ``idle``: the participant is about
    to sleep, and gives back all its free slots at once."""
    descriptor, me = Descriptor(store), participant_at(store, p)
    if Participant(me).epoch == EPOCH_OFFLINE:
        return
    if buckets_short(store):
        buckets_step(store, me)
    is_short = slabs_left(store) < max(_RESERVE_MIN, descriptor.slabs_total // _RESERVE_SHARE)
    if not is_short and descriptor.drain_number & 1 == 0:
        return
    if load64_acquire(descriptor.at.walks) & 1 != 0:
        return  # what is moved now would be missed in a snapshot; see splinter.store.walk
    _give_back_some(store, me, now_ns, idle)
    if try_lock_compact(store, me, descriptor.at.compact_lock):
        _go_on(store, me, now_ns, is_short)
        unlock(store, descriptor.at.compact_lock)


@njit(cache=True)
def _give_back_some(store: int, me: int, now_ns: int, idle: bool) -> None:
    """Of the class that is drained at once, of the others one in a millisecond; of all before a sleep."""
    descriptor, mine = Descriptor(store), Participant(me)
    drain = descriptor.drain_number
    if idle:
        give_back_all(store, me)
    elif mine.gave_drain != drain:
        mine.gave_drain = drain
        give_back(store, me, descriptor.drain_class)
    elif now_ns - mine.gave_ns >= _PAUSE_NS:
        mine.gave_ns = now_ns
        size_class = mine.gave_class
        give_back(store, me, size_class)
        mine.gave_class = size_class + 1 if size_class + 1 < CLASSES else 0


@njit(cache=True)
def _go_on(store: int, me: int, now_ns: int, is_short: bool) -> None:
    descriptor = Descriptor(store)
    if descriptor.drain_number & 1 != 0:
        if now_ns - descriptor.drain_since_ns > _DRAIN_NS_MAX:
            _stop_draining(store, me)
        if _drop_emptied(store) != 0:
            if now_ns >= descriptor.compact_rest_ns:
                _move_some(store, me, now_ns)
            return
        store64_release(descriptor.at.drain_number, descriptor.drain_number + 1)
        descriptor.compact_rest_ns = 0
    if is_short and now_ns >= descriptor.compact_rest_ns:
        _choose(store, me, now_ns)


@njit(cache=True)
def _draining_at(store: int, place: int) -> int:
    """Address of the number of a slab that is drained, 0 … DRAINING_SLABS_MAX - 1."""
    return Descriptor(store).draining + place * _WORD_BYTES


@njit(cache=True)
def _state_of(store: int, slab: int) -> int:
    return shift_right(load64_acquire(slab_record(store, slab)), SLAB_STATE_SHIFT)


# --- choosing --------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _choose(store: int, me: int, now_ns: int) -> None:
    """Look at the next COMPACT_LOOKS slabs for some to drain."""
    descriptor = Descriptor(store)
    slab, eighths = descriptor.compact_slab, descriptor.compact_eighths
    if eighths == 0:
        eighths = _EIGHTHS_FIRST
    chosen = 0
    for _ in range(_LOOKS):
        slab += 1
        if slab >= load64_acquire(descriptor.at.slabs_used):
            slab = 0
            eighths = eighths - 1 if eighths > _EIGHTHS_LAST else _EIGHTHS_FIRST
            if eighths == _EIGHTHS_FIRST:
                descriptor.compact_rest_ns = now_ns + _REST_NS
            break
        if _is_sparse(store, slab, eighths, chosen) and _begin_drain(store, me, slab, eighths, chosen):
            chosen += 1
            if chosen == _SLABS_MAX:
                break
    descriptor.compact_slab = slab
    descriptor.compact_eighths = eighths
    if chosen != 0:
        descriptor.drain_since_ns = now_ns
        descriptor.drain_place = 0
        descriptor.drain_slot = 0
        descriptor.compact_rest_ns = 0


@njit(cache=True)
def _is_sparse(store: int, slab: int, eighths: int, chosen: int) -> bool:
    """Whether a slab in use has so many free slots, and there are others of its class for what it holds."""
    record = load64_acquire(slab_record(store, slab))
    if shift_right(record, SLAB_STATE_SHIFT) != SLAB_IN_USE:
        return False
    size_class = record & _CLASS_MASK
    if chosen != 0 and size_class != Descriptor(store).drain_class:
        return False
    total, free = slots_per_slab(size_class), SlabList(slab_list(store, slab)).free_count
    if free * 8 < total * eighths:
        return False
    needed = total - free
    for i in range(chosen):
        needed += total - SlabList(slab_list(store, load64(_draining_at(store, i)))).free_count
    return ClassList(class_list(store, size_class)).free_slots - free >= needed


@njit(cache=True)
def _begin_drain(store: int, me: int, slab: int, eighths: int, chosen: int) -> bool:
    """Take a sparse slab out of its class's list; one without any object goes to the pool at once. False: it is not drained."""
    size_class = load64(slab_record(store, slab)) & _CLASS_MASK
    lock = ClassList(class_list(store, size_class)).at.lock
    if not lock_inner(store, me, lock):
        return False
    begun = False
    is_sparse = load64(slab_record(store, slab)) & _CLASS_MASK == size_class and _is_sparse(store, slab, eighths, chosen)
    if is_sparse and not release_if_free(store, me, size_class, slab):
        own, descriptor = SlabList(slab_list(store, slab)), Descriptor(store)
        count = note_unlisted(store, me, 0, size_class, slab)
        count = note(store, me, count, own.at.next, 0)
        count = note(store, me, count, own.at.previous, 0)
        count = note(store, me, count, slab_record(store, slab), size_class | SLAB_DRAINING << SLAB_STATE_SHIFT)
        count = note(store, me, count, _draining_at(store, chosen), slab)
        count = note(store, me, count, descriptor.at.drain_class, size_class)
        commit(store, me, note(store, me, count, descriptor.at.drain_number, descriptor.drain_number | 1))
        begun = True
    unlock(store, lock)
    return begun


@njit(cache=True)
def _drop_emptied(store: int) -> int:
    """Forget those that have gone to the pool; returns how many are left."""
    left = 0
    for i in range(_SLABS_MAX):
        place = _draining_at(store, i)
        slab = load64(place)
        if slab != 0 and _state_of(store, slab) != SLAB_DRAINING:
            store64_release(place, 0)
        elif slab != 0:
            left += 1
    return left


@njit(cache=True)
def _stop_draining(store: int, me: int) -> None:
    """What could not be emptied in time is used again."""
    size_class = Descriptor(store).drain_class
    lock = ClassList(class_list(store, size_class)).at.lock
    if not lock_inner(store, me, lock):
        return
    for i in range(_SLABS_MAX):
        slab = load64(_draining_at(store, i))
        if slab != 0 and _state_of(store, slab) == SLAB_DRAINING:
            free = SlabList(slab_list(store, slab)).free_count
            shared = ClassList(class_list(store, size_class))
            count = note(store, me, 0, slab_record(store, slab), size_class | SLAB_IN_USE << SLAB_STATE_SHIFT)
            count = note(store, me, count, _draining_at(store, i), 0)
            if free != 0:
                count = note(store, me, count, shared.at.free_slots, shared.free_slots + free)
                count = note_linked(store, me, count, size_class, slab)
            commit(store, me, count)
    unlock(store, lock)


# --- moving ----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _move_some(store: int, me: int, now_ns: int) -> None:
    """Go on with the walk over the slots of the slabs that are drained."""
    descriptor = Descriptor(store)
    size_class = descriptor.drain_class
    place, number = descriptor.drain_place, descriptor.drain_slot
    moved = 0
    for _ in range(_SLOTS):
        slab = load64(_draining_at(store, place))
        if slab == 0 or number >= slots_per_slab(size_class):
            place, number = place + 1, 0
            if place == _SLABS_MAX:
                place = 0
                descriptor.compact_rest_ns = now_ns + _PAUSE_NS
                break
            continue
        size = _move(store, me, slab * SLAB_UNITS + number * class_units(size_class), size_class)
        if size < 0:  # no slot for it
            descriptor.compact_rest_ns = now_ns + _PAUSE_NS
            break
        number += 1
        moved += size
        if moved >= _BYTES:
            break
    descriptor.drain_place = place
    descriptor.drain_slot = number


@njit(cache=True)
def _move(store: int, me: int, unit: int, size_class: int) -> int:
    """Move the object at a unit, if there is one, to another slab. Returns its bytes; -1: there is no slot for it.

    What is read before the tenant's lock is held may be anything; but an entry that has this identity and names this
    unit says that it is the tenant's object, which nobody else changes.
    """
    found = slot_at(store, unit)
    if load64_acquire(Object(found).at.version) == 0:
        return 0
    identity = object_identity(found)
    tenant, key_length = identity_tenant(identity), identity_key_length(identity)
    if tenant < 1 or tenant >= _TENANTS_MAX or key_length < 1 or key_length > _KEY_BYTES_MAX:
        return 0
    if O_KEY + key_length > class_bytes(size_class):
        return 0
    lock = Account(account_of(store, tenant)).at.lock
    if not try_lock_tenant(store, me, lock):
        return 0
    hashed = store_hash(store, identity, found + O_KEY, key_length)
    entry, word = find_entry(store, hashed, identity, found + O_KEY, key_length)
    moved = 0
    if entry != 0 and word_unit(word) == unit:
        moved = _replace(store, me, entry, word, size_class, found, tenant, identity, key_length)
    unlock(store, lock)
    return moved


@njit(cache=True)
def _replace(
    store: int, me: int, entry: int, word: int, size_class: int, found: int, tenant: int, identity: int, key_length: int
) -> int:  # fmt: skip
    """Put a copy in an object's place, version included. The caller holds the tenant's lock. As :func:`_move`."""
    slot = peek_slot(store, me, size_class)
    if slot < 0:
        return -1
    value_length = object_value_length(found)
    size = key_length + value_length
    fill_header(slot, tenant, identity_table(identity), object_key(found), key_length, object_form(found))
    copy_bytes(object_value(slot), object_value(found), value_length)
    set_expires(slot, object_expires(found))
    copy_position(slot, found)
    Object(slot).previous = Object(found).previous
    unit = unit_of(store, slot)
    count = note_take(store, me, 0, size_class)
    count = note_retire(store, me, count, word_unit(word))
    if identity_table(identity) == _TABLE_CLIENTS and key_length == CLIENT_KEY_BYTES:
        count = note_ring_moved(store, me, count, tenant, word_unit(word), unit)
    moved = word & ~UNIT_MASK | unit
    announce(store, me, count, entry, word, moved, slot, Object(found).version, 0)
    store64_release(entry, moved)
    published(store, me)
    return O_KEY + size
