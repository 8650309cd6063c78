"""The change log: what each step of the journal changes for a tenant, for whoever brings it to disk.

Each participant has a ring (LOG_RING) in shared memory. It appends an entry (LOGGED) to it with every change of an object, and
with every result that it records. The entry is written behind the ring's tail *before* the step, and the step itself moves the
tail and counts the tenant's entries: so an entry is in the log exactly if its change has happened, whenever its writer dies.
What is written behind the tail for a step that does not happen is overwritten.

**Order.** Entries of a tenant are numbered under its lock, whoever writes them. A step counts the entry before it moves the
tail. So who sees the tail sees the count, and finds all that came before in the rings when it looks at all tails once more
(:mod:`splinter.durable`). A number that is missing is a change that found no room: the log then lacks it, and a new snapshot
has to be taken. Writes of tenants begin only with LOG_ROOM_BYTES left (:func:`log_room`); so that is for a server whose disk
has stood still while the system went on by itself, forgetting clients and settling tasks.

Nothing is logged of a tenant without durability, of one that is closed (its objects are swept away, and its generation is
over), or without a data folder. Slots that are only moved are no change.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load64_acquire, store64
from splinter.store.accounts import account_of
from splinter.store.commit_layout import (
    CHANGE_BYTES,
    CHANGED_BYTES,
    CHANGED_CLIENT,
    CHANGED_DELETED,
    LOG_RING_HEADER_BYTES,
    LOGGED_BYTES,
)
from splinter.store.index import word_object
from splinter.store.journal import note
from splinter.store.layout import DURABILITY_ALWAYS, DURABILITY_NONE, ENTRY_DELETING, LOG_FAILED
from splinter.store.objects import object_expires, object_form, object_key, object_key_length, object_table, object_value_length
from splinter.store.outcomes import claimed_value
from splinter.store.records import Account, Change, Changed, Claim, Commit, Descriptor, Logged, LogRing, Participant

CHANGE_PUT, CHANGE_DELETE, CHANGE_CLIENT = range(3)  # the object is new, is deleted, is the record of a client

_RING_BYTES = limits.LOG_RING_BYTES
_ROOM_BYTES = limits.LOG_ROOM_BYTES
_MASK = _RING_BYTES - 1


@njit(cache=True)
def log_room(store: int, me: int, account_at: int) -> int:
    """Whether a write of a tenant may begin: OK; BUSY while the disk is far behind, or stands still; DISK_FAILED."""
    ring_at = Participant(me).log
    if ring_at == 0 or Account(account_at).durability == DURABILITY_NONE:
        return Status.OK
    if load64_acquire(Descriptor(store).at.log_state) == LOG_FAILED:
        return Status.DISK_FAILED
    if load64_acquire(Descriptor(store).at.log_stands) != 0 and Account(account_at).durability != DURABILITY_ALWAYS:
        return Status.BUSY  # else it would be acknowledged; "always" holds its replies back
    ring = LogRing(ring_at)
    return Status.OK if ring.tail - load64_acquire(ring.at.free) <= _RING_BYTES - _ROOM_BYTES else Status.BUSY


@njit(cache=True)
def is_logged(me: int, account_at: int) -> bool:
    """Whether what a participant changes for a tenant goes into the log. The caller holds the tenant's lock."""
    account = Account(account_at)
    return Participant(me).log != 0 and account.durability != DURABILITY_NONE and account.active != 0


@njit(cache=True)
def _part_bytes(found: int, kind: int) -> int:
    """Bytes of the CHANGED part of an object."""
    content = object_key_length(found) + (object_value_length(found) if kind == CHANGE_PUT else 0)
    return CHANGED_BYTES + (content + 7 & -8)


@njit(cache=True)
def _write_part(at: int, found: int, kind: int) -> int:
    """Write the CHANGED part of an object; returns where it ends."""
    part, key_length = Changed(at), object_key_length(found)
    value_length = object_value_length(found) if kind == CHANGE_PUT else 0
    form = object_form(found)
    part.table = object_table(found)
    part.key_length = key_length
    part.value_length = form if kind == CHANGE_PUT else CHANGED_DELETED if kind == CHANGE_DELETE else CHANGED_CLIENT
    part.expires = object_expires(found) if kind == CHANGE_PUT else 0
    size = CHANGED_BYTES + (key_length + value_length + 7 & -8)
    store64(at + size - 8, 0)  # so that no byte tells of what was here before
    copy_bytes(at + CHANGED_BYTES, object_key(found), key_length + value_length)
    return at + size


@njit(cache=True)
def _place(ring_at: int, size: int) -> tuple[int, int]:
    """Where an entry of so many bytes goes, and the ring's tail behind it; (0, the tail) when there is no room for it."""
    ring = LogRing(ring_at)
    tail, data = ring.tail, ring_at + LOG_RING_HEADER_BYTES
    end = load64_acquire(ring.at.free) + _RING_BYTES
    rest = _RING_BYTES - (tail & _MASK)
    if rest >= size:
        return (data + (tail & _MASK), tail + size) if tail + size <= end else (0, tail)
    if tail + rest + size > end:
        return 0, tail
    store64(data + (tail & _MASK), rest)  # size; tenant 0
    return data, tail + rest + size


@njit(cache=True)
def _note_entry(
    store: int, me: int, count: int, tenant: int, sequence: int, at: int, tail: int, size: int, changes: int, claim: int,
    version: int,
) -> int:  # fmt: skip
    """Write the head of the entry at ``at`` (0: there was no room), whose parts are written, and note that it is in the log."""
    account, ring = Account(account_of(store, tenant)), LogRing(Participant(me).log)
    number = account.number + 1
    if at == 0:
        ring.lost += 1
        return note(store, me, count, account.at.number, number)
    entry = Logged(at)
    entry.size = size
    entry.tenant = tenant
    entry.changes = changes
    entry.generation = account.active
    entry.number = number
    entry.sequence = sequence
    entry.word = 0
    if claim != 0:
        claimed = Claim(claim)
        entry.client = claimed.client
        entry.request = claimed.sequence
        entry.acknowledged = claimed.acknowledged
        if claimed.entry != 0:
            entry.word = claimed.word
            entry.value = claimed_value(claim, version)
    count = note(store, me, count, account.at.number, number)
    return note(store, me, count, ring.at.tail, tail)


@njit(cache=True)
def log_change(
    store: int, me: int, count: int, tenant: int, sequence: int, found: int, kind: int, claim: int, version: int
) -> int:  # fmt: skip
    """Log what the step under way does with the object at ``found``, which is complete, and records for ``claim`` (0: nothing).

    ``sequence``: of the commit; ``version``: what the claim records for an object that is put. The caller holds the tenant's
    lock. Returns the step's count of words: at most two more.
    """
    if not is_logged(me, account_of(store, tenant)):
        return count
    size = LOGGED_BYTES + _part_bytes(found, kind)
    at, tail = _place(Participant(me).log, size)
    if at != 0:
        _write_part(at + LOGGED_BYTES, found, kind)
    return _note_entry(store, me, count, tenant, sequence, at, tail, size, 1, claim, version)


@njit(cache=True)
def log_result(store: int, me: int, count: int, tenant: int, sequence: int, claim: int, word: int, value: int) -> int:
    """Log a result that is recorded for ``claim`` without a change of an object, as the commit ``sequence``. As
    :func:`log_change`."""
    if not is_logged(me, account_of(store, tenant)):
        return count
    at, tail = _place(Participant(me).log, LOGGED_BYTES)
    count = _note_entry(store, me, count, tenant, sequence, at, tail, LOGGED_BYTES, 0, claim, 0)
    if at != 0:
        entry = Logged(at)
        entry.word = word
        entry.value = value
    return count


@njit(cache=True)
def log_commit(store: int, me: int, count: int, claim: int, version: int) -> int:
    """Log all that the participant's commit of several objects changes. As :func:`log_change`."""
    made = Commit(Participant(me).commit)
    if not is_logged(me, account_of(store, made.tenant)):
        return count
    size = LOGGED_BYTES
    for number in range(made.count):
        change = Change(made.changes + number * CHANGE_BYTES)
        if change.new == ENTRY_DELETING:
            size += _part_bytes(word_object(store, change.old), CHANGE_DELETE)
        else:
            size += _part_bytes(word_object(store, change.new), CHANGE_PUT)
    at, tail = _place(Participant(me).log, size)
    if at != 0:
        part = at + LOGGED_BYTES
        for number in range(made.count):
            change = Change(made.changes + number * CHANGE_BYTES)
            if change.new == ENTRY_DELETING:
                part = _write_part(part, word_object(store, change.old), CHANGE_DELETE)
            else:
                part = _write_part(part, word_object(store, change.new), CHANGE_PUT)
    return _note_entry(store, me, count, made.tenant, made.sequence, at, tail, size, made.count, claim, version)
