"""A commit of several objects: all of them change at one instant, or none, whatever dies.

The caller holds the tenant's lock, and hands over WRITE records one behind the other (:mod:`splinter.store.layout`). A commit
has three stages, which stand in the participant's COMMIT record:

* OPEN. Each object is published, one step of the journal after the other. Its version is odd, and of a commit that is not
  counted yet: readers go on to the object that it replaces, which is not retired. An object to be deleted has its entry changed
  to ENTRY_DELETING; readers find it by the ring of deletions. When one of the objects cannot be published, all are taken back.
* One step of the journal counts the commit, with the tenant's sums and what is recorded for a client. It has happened.
* MADE. Each object's version becomes even, and what it replaced is retired.

Whoever recovers a dead participant takes back what is OPEN, and finishes what is MADE. Both are made of steps that note how far
they have come, and may be recovered from in turn.

**What was taken back is never taken for committed.** Its number is given to the next commit. So its version is made
VERSION_VOID before its entry changes: a reader who found it, and then finds its number counted, looks at the version again.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import cas64, copy_bytes, fence, load64, store8, store64_release
from splinter.store.accounts import account_of
from splinter.store.changes import log_commit
from splinter.store.classes import class_bytes, class_for
from splinter.store.commit_layout import (
    CHANGE_BYTES,
    COMMIT_MADE,
    COMMIT_NONE,
    COMMIT_OPEN,
    NO_POSITION,
    WRITE_BYTES,
    WRITE_DELETES,
)
from splinter.store.hashing import identity_key_length, identity_table
from splinter.store.index import empty_entry, entry_word, find_entry, word_class, word_object, word_unit
from splinter.store.journal import announce, commit, date, note, published, withdraw
from splinter.store.layout import ENTRY_DELETING, O_ACCESS
from splinter.store.objects import (
    copy_position,
    fill_header,
    is_large,
    object_bytes,
    object_position,
    object_table,
    object_value,
    set_expires,
    set_position,
)
from splinter.store.outcomes import note_outcome
from splinter.store.publication import INSERT_TRIES_MAX, drop_parts_of
from splinter.store.reclaim import note_retire
from splinter.store.records import Account, Change, Commit, Object, Participant, Write
from splinter.store.roster import drop_if_empty, hand_chunk, next_position, note_joins, note_leaves, roster_prepare
from splinter.store.slabs import unit_of
from splinter.store.slots import note_take, peek_slot
from splinter.store.snapshots import note_deletion

VERSION_VOID = (1 << 62) | 1  # of an object that was taken back: later than all snapshots

_TABLES_MAX = limits.TABLES_MAX
_OBJECTS_MAX = limits.COMMIT_OBJECTS_MAX


@njit(cache=True)
def next_write(at: int, end: int) -> int:
    """The first WRITE from ``at`` on that stands; ``end`` when there is none."""
    while at < end and Write(at).identity == 0:
        at += Write(at).size
    return at


@njit(cache=True)
def commit_objects(store: int, me: int, tenant: int, writes: int, end: int, claim: int) -> int:
    """Publish what the WRITE records from ``writes`` to ``end`` say, at most COMMIT_OBJECTS_MAX of different keys, and record
    what ``claim`` says (0: nothing). The caller holds the tenant's lock.

    Returns OK; or QUOTA_EXCEEDED, OUT_OF_MEMORY, BUSY, with nothing changed.
    """
    status = open_commit(store, me, tenant, writes, end)
    if status == Status.OK:
        status = count_commit(store, me, claim)
    if status != Status.OK:
        take_back(store, me)
        return status
    finish(store, me)
    return Status.OK


@njit(cache=True)
def open_commit(store: int, me: int, tenant: int, writes: int, end: int) -> int:
    """The first stage: publish the objects, which nobody sees yet. Returns a status; other than OK, some may be published."""
    account, made = Account(account_of(store, tenant)), Commit(Participant(me).commit)
    made.tenant = tenant
    made.sequence = account.sequence + 1
    made.count = 0
    made.finished = 0
    store64_release(made.at.state, COMMIT_OPEN)
    status: int = Status.OK
    at, deletions = next_write(writes, end), account.deletions
    while at < end and status == Status.OK:
        if Write(at).value_length == WRITE_DELETES:
            deletions += _open_deletion(store, me, tenant, at, deletions)
        else:
            status = _open_put(store, me, tenant, at)
        at = next_write(at + Write(at).size, end)
    return status


@njit(cache=True)
def count_commit(store: int, me: int, claim: int) -> int:
    """The second stage: the commit happens. Returns OK, or QUOTA_EXCEEDED."""
    made = Commit(Participant(me).commit)
    account = Account(account_of(store, made.tenant))
    bytes_used, objects, deletions, version = account.bytes_used, account.objects, account.deletions, 0
    for number in range(made.count):
        change = Change(made.changes + number * CHANGE_BYTES)
        if change.old != 0:
            bytes_used -= class_bytes(word_class(change.old))
            objects -= 1
        if change.new == ENTRY_DELETING:
            deletions += 1
        else:
            bytes_used += class_bytes(word_class(change.new))
            objects += 1
            version = made.sequence * 2
    if bytes_used > account.bytes_used and bytes_used > account.quota_bytes:
        return Status.QUOTA_EXCEEDED
    count = note_outcome(store, me, 0, claim, version)
    count = note(store, me, count, account.at.bytes_used, bytes_used)
    count = note(store, me, count, account.at.objects, objects)
    count = note(store, me, count, account.at.deletions, deletions)
    count = note(store, me, count, account.at.sequence, made.sequence)
    count = log_commit(store, me, count, claim, version)
    commit(store, me, note(store, me, count, made.at.state, COMMIT_MADE))
    Participant(me).last_version = version
    return Status.OK


@njit(cache=True)
def _note_change(store: int, me: int, count: int, entry: int, old: int, new: int, position: int) -> int:
    """Note the change of an entry as the commit's next one. Returns the count of words."""
    made = Commit(Participant(me).commit)
    change = Change(made.changes + made.count * CHANGE_BYTES)
    store64_release(change.at.position, position)  # nobody reads it before the change counts
    count = note(store, me, count, change.at.entry, entry)
    count = note(store, me, count, change.at.old, old)
    count = note(store, me, count, change.at.new, new)
    return note(store, me, count, made.at.count, made.count + 1)


@njit(cache=True)
def _open_put(store: int, me: int, tenant: int, write: int) -> int:
    """Publish an object of the commit; nobody sees it. Returns a status; other than OK, nothing has changed."""
    made, written = Commit(Participant(me).commit), Write(write)
    if made.count == _OBJECTS_MAX:
        return Status.QUOTA_EXCEEDED
    key, key_length, version = write + WRITE_BYTES, identity_key_length(written.identity), made.sequence * 2 + 1
    table = identity_table(written.identity)
    entry, old = find_entry(store, written.hashed, written.identity, key, key_length)
    if entry == 0 and table < _TABLES_MAX:  # before a slot is looked for: it may take that
        status = roster_prepare(store, me, tenant, 0)
        if status != Status.OK:
            return status
    size_class = class_for(object_bytes(key_length, written.value_length, written.expires))
    slot = peek_slot(store, me, size_class)
    if slot < 0:
        return -slot
    fill_header(slot, tenant, table, key, key_length, written.value_length)
    copy_bytes(object_value(slot), key + key_length, written.value_length)
    set_expires(slot, written.expires)
    word = entry_word(written.hashed, size_class, unit_of(store, slot))
    if entry != 0:
        Object(slot).previous = word_unit(old)
        copy_position(slot, word_object(store, old))
        store8(slot + O_ACCESS, 1)  # a put is a use
        count = note_take(store, me, _note_change(store, me, 0, entry, old, word, NO_POSITION), size_class)
        announce(store, me, count, entry, old, word, slot, version, 1)
        store64_release(entry, word)
        published(store, me)
        return Status.OK
    Object(slot).previous = 0
    chunk, position = 0, NO_POSITION
    if table < _TABLES_MAX:
        chunk = hand_chunk(store, me, tenant)
        position = next_position(chunk)
        set_position(slot, position)
    for _ in range(INSERT_TRIES_MAX):
        entry = empty_entry(store, me, written.hashed)
        if entry < 0:
            return -entry
        count = note_take(store, me, _note_change(store, me, 0, entry, 0, word, position), size_class)
        if chunk != 0:
            count = note_joins(store, me, count, tenant, chunk, entry)
        announce(store, me, count, entry, 0, word, slot, version, 1)
        if cas64(entry, 0, word):
            published(store, me)
            return Status.OK
        withdraw(store, me)
    return Status.BUSY


@njit(cache=True)
def _open_deletion(store: int, me: int, tenant: int, write: int, number: int) -> int:
    """Hide an object that the commit deletes from look-ups; readers of the snapshots before it have it by the ring of
    deletions, where it is ``number``. Returns 1; 0: there is no such object, and nothing to do."""
    made, written = Commit(Participant(me).commit), Write(write)
    key, key_length = write + WRITE_BYTES, identity_key_length(written.identity)
    entry, old = find_entry(store, written.hashed, written.identity, key, key_length)
    if entry == 0:
        return 0
    note_deletion(store, tenant, number, made.sequence, word_unit(old))
    found = word_object(store, old)
    position = object_position(found) if object_table(found) < _TABLES_MAX else NO_POSITION
    count = _note_change(store, me, 0, entry, old, ENTRY_DELETING, position)
    announce(store, me, count, entry, old, ENTRY_DELETING, 0, 0, 1)
    store64_release(entry, ENTRY_DELETING)
    published(store, me)
    return 1


@njit(cache=True)
def finish(store: int, me: int) -> None:
    """Go on with a commit that is MADE, to its end."""
    made = Commit(Participant(me).commit)
    fence()  # who does not see it counted has published an epoch no newer than those that are read from here on
    while made.finished < made.count:
        change = Change(made.changes + made.finished * CHANGE_BYTES)
        old, new = change.old, change.new
        if new != ENTRY_DELETING:
            store64_release(Object(word_object(store, new)).at.version, made.sequence * 2)
        count = note(store, me, 0, made.at.finished, made.finished + 1)
        if old != 0:
            date(store, me, old)
            count = note_retire(store, me, count, word_unit(old))
        if new == ENTRY_DELETING:
            position = change.position  # the object's own word has its date by now
            if position != NO_POSITION:
                count = note_leaves(store, me, count, made.tenant, position)
            announce(store, me, count, change.entry, new, 0, 0, 0, 1)
            store64_release(change.entry, 0)
            published(store, me)
            if position != NO_POSITION:
                drop_if_empty(store, me, made.tenant, position)
        else:
            commit(store, me, count)
        if old != 0 and is_large(word_object(store, old)):
            drop_parts_of(store, me, made.tenant, word_object(store, old))
    store64_release(made.at.state, COMMIT_NONE)


@njit(cache=True)
def take_back(store: int, me: int) -> None:
    """Undo a commit that is OPEN, the last change first."""
    made = Commit(Participant(me).commit)
    while made.count > 0:
        change = Change(made.changes + (made.count - 1) * CHANGE_BYTES)
        old, new = change.old, change.new
        count = note(store, me, 0, made.at.count, made.count - 1)
        if new != ENTRY_DELETING:
            store64_release(Object(word_object(store, new)).at.version, VERSION_VOID)
            count = note_retire(store, me, count, word_unit(new))
        position = change.position if old == 0 else NO_POSITION
        if position != NO_POSITION:
            count = note_leaves(store, me, count, made.tenant, position)
        announce(store, me, count, change.entry, new, old, 0, 0, 1 if new == ENTRY_DELETING else 0)
        store64_release(change.entry, old)
        published(store, me)
        if position != NO_POSITION:
            drop_if_empty(store, me, made.tenant, position)
    store64_release(made.at.state, COMMIT_NONE)


@njit(cache=True)
def recover_commit(store: int, me: int) -> None:
    """Finish, or take back, the commit that a dead participant was in the middle of; its journal is replayed."""
    made = Commit(Participant(me).commit)
    state = load64(made.at.state)
    if state == COMMIT_OPEN:
        take_back(store, me)
    elif state == COMMIT_MADE:
        finish(store, me)
