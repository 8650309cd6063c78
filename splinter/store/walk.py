"""Walking over the slabs, without a lock and without an epoch, to copy all objects while others write: for a snapshot.

A slot is read as by a sequence lock: version and date before, and once more after its bytes were copied, with the record of its
slab, which says how large its slots are. A slot that holds no published object has no version, or an odd one, or a date. Memory
stays mapped, and lengths are bounded by the slot. So what is read may be rubbish, but what is kept was an object as a whole.

**What a walk finds.** Each object that was there when it began, and was not replaced or deleted since; of what changed
meanwhile, something: the log has all of that. It begins when every participant has ended the turn in which the log's place was
noted (:func:`walk_begins`, :func:`turns_over`): what was unlinked before is dated then. While it goes on nothing moves objects
(``walks`` is odd; :mod:`splinter.store.compaction` looks at it in each turn): what is moved from a slab that is still to come
to one that was passed would be missed.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import copy_bytes, fence, load64, load64_acquire, shift_right, store64, store64_release
from splinter.store.accounts import account_of
from splinter.store.classes import class_bytes, slots_per_slab
from splinter.store.epochs import epoch_advance
from splinter.store.hashing import identity_table
from splinter.store.journal import participant_at
from splinter.store.layout import (
    CLASSES,
    DURABILITY_NONE,
    EXPIRES_BYTES,
    O_IDENTITY,
    OBJECT_BYTES,
    SLAB_DRAINING,
    SLAB_IN_USE,
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
)
from splinter.store.objects import content_bytes, copy_size, is_dated
from splinter.store.records import Account, Descriptor, Object, Participant
from splinter.store.slabs import slab_record, slot_at

SLAB_DONE = -1  # what copy_slab returns in place of a slot
COPY_BYTES_MAX = OBJECT_BYTES + (limits.KEY_BYTES_MAX + limits.VALUE_BYTES_MAX + 7 & -8) + EXPIRES_BYTES
_CONTROL = limits.PARTICIPANT_CONTROL
_CLASS_MASK = 0xFFFFFFFF
_TENANT_MASK = 0xFFFF


@njit(cache=True)
def walk_begins(store: int) -> int:
    """Hold off what moves objects, and begin an epoch; returns it, for :func:`turns_over`."""
    descriptor = Descriptor(store)
    store64_release(descriptor.at.walks, descriptor.walks | 1)
    fence()
    epoch_advance(store)
    return load64_acquire(descriptor.at.epoch)


@njit(cache=True)
def walk_ends(store: int) -> None:
    """Let objects be moved again. Also for who comes after a walk that was cut short; again: nothing."""
    descriptor = Descriptor(store)
    if descriptor.walks & 1 != 0:
        store64_release(descriptor.at.walks, descriptor.walks + 1)


@njit(cache=True)
def turns_over(store: int, epoch: int) -> bool:
    """Whether every participant has ended the turn that it was in when ``epoch`` began. A task that holds an older epoch holds
    this up, as long as a task may take."""
    workers = Descriptor(store).workers
    for number in range(workers + 1):
        p = number if number < workers else _CONTROL
        if load64_acquire(Participant(participant_at(store, p)).at.epoch) < epoch:
            return False
    return True


@njit(cache=True)
def _holds_object(slot: int) -> int:
    """The version of the object that a slot holds; 0: none that is published."""
    version = load64_acquire(Object(slot).at.version)
    return version if version & 1 == 0 and not is_dated(load64_acquire(Object(slot).at.retired)) else 0


@njit(cache=True, nogil=True)
def copy_slab(store: int, slab: int, first: int, target: int, room: int) -> tuple[int, int]:
    """Copy the objects of a slab, from slot number ``first`` on, to ``target``, as :func:`splinter.store.objects.copy_size`
    says. Objects of tenants without durability are left out, and rosters.

    Returns the bytes that were written, at most ``room`` (COPY_BYTES_MAX suffices for one), and the slot to go on with, which
    may be 0, or SLAB_DONE.
    """
    record = load64_acquire(slab_record(store, slab))
    state, size_class = shift_right(record, SLAB_STATE_SHIFT), record & _CLASS_MASK
    if (state != SLAB_IN_USE and state != SLAB_DRAINING) or size_class >= CLASSES:
        return 0, SLAB_DONE
    slot_bytes, written = class_bytes(size_class), 0
    base = slot_at(store, slab * SLAB_UNITS)
    for number in range(first, slots_per_slab(size_class)):
        slot = base + number * slot_bytes
        version = _holds_object(slot)
        if version == 0:
            continue
        identity = load64(slot + O_IDENTITY)
        expires, content, size = identity < 0, content_bytes(identity), copy_size(identity)
        tenant = identity & _TENANT_MASK
        if (size if expires else OBJECT_BYTES + content) > slot_bytes or tenant >= limits.TENANTS_MAX:
            continue
        if identity_table(identity) == limits.TABLE_ROSTER:  # it is made anew, as the objects are put
            continue
        if Account(account_of(store, tenant)).durability == DURABILITY_NONE:
            continue
        if written + size > room:
            return written, number
        copy = target + written
        store64(copy + OBJECT_BYTES + (content + 7 & -8) - 8, 0)
        copy_bytes(copy, slot, OBJECT_BYTES + content)
        if expires:
            store64(copy + size - 8, load64(slot + size - 8))
        fence()
        is_same = load64(copy + O_IDENTITY) == identity and load64(slot + O_IDENTITY) == identity
        if is_same and _holds_object(slot) == version and load64_acquire(slab_record(store, slab)) == record:
            Object(copy).version = version
            Object(copy).retired = 0  # its position is of this store alone
            written += size
    return written, SLAB_DONE
