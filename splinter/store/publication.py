"""Changing the index under a tenant's lock: publish a complete slot as an object, or remove an object."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import cas64, store8, store64_release
from splinter.store.accounts import account_of
from splinter.store.changes import CHANGE_DELETE, CHANGE_PUT, log_change
from splinter.store.classes import class_bytes
from splinter.store.hashing import identity_of
from splinter.store.index import empty_entry, entry_word, find_entry, word_class, word_object, word_unit
from splinter.store.journal import announce, note, published, withdraw
from splinter.store.layout import O_ACCESS
from splinter.store.objects import (
    copy_position,
    is_counted,
    is_large,
    is_over,
    object_position,
    object_table,
    object_value,
    set_position,
)
from splinter.store.outcomes import note_outcome
from splinter.store.parts import find_part, is_named, is_same_value, parts_of
from splinter.store.reclaim import note_retire
from splinter.store.records import Account, Intent, Large, Object, Participant, Stage
from splinter.store.roster import (
    NO_PLACE,
    drop_if_empty,
    hand_chunk,
    next_position,
    note_joins,
    note_leaves,
    remove_chunk,
)
from splinter.store.slabs import unit_of
from splinter.store.slots import note_take
from splinter.store.snapshots import note_deletion

_TABLES_MAX = limits.TABLES_MAX
_TABLE_PARTS = limits.TABLE_PARTS
_TABLE_ROSTER = limits.TABLE_ROSTER
INSERT_TRIES_MAX = limits.INSERT_TRIES_MAX
EXPECT_ABSENT = -1  # as expected_version: there must be no object yet; versions are even, so it is none


@njit(cache=True)
def _note_source(store: int, me: int, count: int, size_class: int, stage: int) -> int:
    """The slot comes from a staging entry, or (``stage`` 0) is the one that peek_slot returns."""
    if stage != 0:
        account = Account(account_of(store, Stage(stage).tenant))
        count = note(store, me, count, account.at.staged_bytes, account.staged_bytes - class_bytes(size_class))
        return note(store, me, count, Stage(stage).at.slot, 0)
    return note_take(store, me, count, size_class)


@njit(cache=True)
def _note_commit(store: int, me: int, account: int, slot: int, sequence: int, count: int) -> int:
    """Note that the commit is counted, and that the object in ``slot`` (0: none) is of it; returns the count of words."""
    count = note(store, me, count, Account(account).at.sequence, sequence)
    return note(store, me, count, Object(slot).at.version, sequence * 2) if slot != 0 else count


@njit(cache=True)
def publish(
    store: int, me: int, tenant: int, table: int, key: int, key_length: int, hashed: int, slot: int, size_class: int,
    stage: int, expected_version: int, claim: int,
) -> int:  # fmt: skip
    """Make the complete slot the object of its key, in place of the one that is there, whose parts go with it, and record what
    ``claim`` says (0: nothing). That is a commit, but for a reply that is kept, and for a part. The caller holds the tenant's
    lock.

    Returns a status, or NO_PLACE: :func:`splinter.store.roster.roster_prepare` is to be called first. Other than OK, nothing
    has changed.
    """
    Intent(Participant(me).intent).gone = 0  # who died with this number, or replayed a log, may have left one
    status = place(store, me, tenant, table, key, key_length, hashed, slot, size_class, stage, expected_version, claim)
    if status == Status.OK:
        _drop_parts(store, me, tenant)
    return status


@njit(cache=True)
def place(
    store: int, me: int, tenant: int, table: int, key: int, key_length: int, hashed: int, slot: int, size_class: int,
    stage: int, expected_version: int, claim: int,
) -> int:  # fmt: skip
    """As :func:`publish`, for who replays a log: parts are left alone. What follows in it may have the same parts again, and
    has their deletions."""
    account_at, mine = account_of(store, tenant), Participant(me)
    account = Account(account_at)
    entry, old_word = find_entry(store, hashed, identity_of(tenant, table, key_length), key, key_length)
    # A part is there whatever its moment says: an object may name it, and what that names never changes.
    is_there = entry != 0 and (table == _TABLE_PARTS or not is_over(word_object(store, old_word), mine.now))
    if expected_version == EXPECT_ABSENT:
        if is_there:
            return Status.VERSION_CHANGED
    elif expected_version != 0 and (not is_there or Object(word_object(store, old_word)).version != expected_version):
        return Status.VERSION_CHANGED
    used = account.bytes_used
    used_after = used + class_bytes(size_class)
    if entry != 0:
        used_after -= class_bytes(word_class(old_word))
    if used_after > used and used_after > account.quota_bytes:
        return Status.QUOTA_EXCEEDED
    counts = 1 if is_counted(table) else 0
    sequence = account.sequence + counts
    version = sequence * 2
    word = entry_word(hashed, size_class, unit_of(store, slot))
    if entry != 0:
        Object(slot).previous = word_unit(old_word)
        copy_position(slot, word_object(store, old_word))
        store8(slot + O_ACCESS, 1)  # a put is a use
        count = _note_commit(store, me, account_at, slot, sequence, note_outcome(store, me, 0, claim, version))
        count = _note_source(store, me, count, size_class, stage)
        count = note(store, me, count, account.at.bytes_used, used_after)
        count = note_retire(store, me, count, word_unit(old_word))
        count = log_change(store, me, count, tenant, sequence, slot, CHANGE_PUT, claim, version)
        announce(store, me, count, entry, old_word, word, slot, version + counts, 0)
        store64_release(entry, word)
        published(store, me)
        mine.last_version = version
        _note_gone(store, me, old_word, slot)
        return Status.OK
    chunk = 0
    if table < _TABLES_MAX:
        chunk = hand_chunk(store, me, tenant)
        if chunk == 0:
            return NO_PLACE
        set_position(slot, next_position(chunk))
    for _ in range(INSERT_TRIES_MAX):
        entry = empty_entry(store, me, hashed)
        if entry < 0:
            return -entry
        count = _note_commit(store, me, account_at, slot, sequence, note_outcome(store, me, 0, claim, version))
        count = log_change(store, me, count, tenant, sequence, slot, CHANGE_PUT, claim, version)
        if chunk != 0:
            count = note_joins(store, me, count, tenant, chunk, entry)
        if insert(store, me, account_at, entry, word, slot, size_class, stage, version + counts, used_after, count):
            mine.last_version = version
            return Status.OK
    return Status.BUSY


@njit(cache=True)
def insert(
    store: int, me: int, account: int, entry: int, word: int, slot: int, size_class: int, stage: int, version: int,
    used_after: int, noted: int,
) -> bool:  # fmt: skip
    """Make the complete slot an object by putting ``word`` into the empty ``entry``; ``noted`` words of the step are
    noted already. The caller holds the tenant's lock. False: nothing has changed, for another object took the entry."""
    Object(slot).previous = 0
    count = _note_source(store, me, noted, size_class, stage)
    count = note(store, me, count, Account(account).at.bytes_used, used_after)
    count = note(store, me, count, Account(account).at.objects, Account(account).objects + 1)
    announce(store, me, count, entry, 0, word, slot, version, 0)
    if cas64(entry, 0, word):
        published(store, me)
        return True
    withdraw(store, me)
    return False


@njit(cache=True)
def remove(store: int, me: int, tenant: int, entry: int, word: int, noted: int, claim: int) -> None:
    """Unlink the object that ``entry`` names by ``word`` and retire it, its parts as well, and record what ``claim`` says (0:
    nothing); ``noted`` words of the step are noted already. The caller holds the tenant's lock."""
    unlink(store, me, tenant, entry, word, noted, claim)
    _drop_parts(store, me, tenant)


@njit(cache=True)
def unlink(store: int, me: int, tenant: int, entry: int, word: int, noted: int, claim: int) -> None:
    """As :func:`remove`; parts are left alone, as by :func:`place`."""
    account_at = account_of(store, tenant)
    account = Account(account_at)
    used = account.bytes_used - class_bytes(word_class(word))
    found, sequence = word_object(store, word), account.sequence
    table = object_table(found)
    if table == _TABLE_ROSTER:
        remove_chunk(store, me, tenant, entry, word)
        return
    position = object_position(found)
    is_listed = table < _TABLES_MAX and account.active != 0  # the roster of a tenant that is swept away goes with it
    count = note_outcome(store, me, noted, claim, 0)
    count = note(store, me, count, account.at.bytes_used, used)
    count = note(store, me, count, account.at.objects, account.objects - 1)
    count = note_retire(store, me, count, word_unit(word))
    if is_counted(table):
        sequence, number = sequence + 1, account.deletions
        note_deletion(store, tenant, number, sequence, word_unit(word))
        count = note(store, me, count, account.at.deletions, number + 1)
        count = _note_commit(store, me, account_at, 0, sequence, count)
    count = log_change(store, me, count, tenant, sequence, found, CHANGE_DELETE, claim, 0)
    if is_listed:
        count = note_leaves(store, me, count, tenant, position)
    announce(store, me, count, entry, word, 0, 0, 0, 0)
    store64_release(entry, 0)
    published(store, me)
    if is_listed:
        drop_if_empty(store, me, tenant, position)
    _note_gone(store, me, word, 0)


@njit(cache=True)
def _note_gone(store: int, me: int, word: int, slot: int) -> None:
    """Remember an object that is gone, in whose place there is the one in ``slot`` (0: none), if parts go with it."""
    gone = word_object(store, word)
    Intent(Participant(me).intent).gone = gone if is_large(gone) and (slot == 0 or not is_same_value(gone, slot)) else 0


@njit(cache=True)
def _drop_parts(store: int, me: int, tenant: int) -> None:
    """Remove the parts of what the last step was the end of."""
    intent = Intent(Participant(me).intent)
    head, intent.gone = intent.gone, 0
    if head != 0:
        drop_parts_of(store, me, tenant, head)


@njit(cache=True)
def drop_parts_of(store: int, me: int, tenant: int, head: int) -> None:
    """Remove the parts of a large value whose object is gone. The caller holds the tenant's lock, and an epoch as old as that
    object's end.

    They are no commit, and nobody reads them but by a head: a reader who has that still finds none, and begins anew.
    """
    large = object_value(head)
    for number in range(parts_of(Large(large).length)):
        entry, word = find_part(store, me, tenant, large, number)
        if entry != 0:
            unlink(store, me, tenant, entry, word, 0, 0)


@njit(cache=True)
def drop_unnamed(store: int, me: int, tenant: int, large: int) -> None:
    """Remove the parts of a value that was not to be put, but those that its key's object has. The caller holds the tenant's
    lock."""
    for number in range(parts_of(Large(large).length)):
        entry, word = find_part(store, me, tenant, large, number)
        if entry != 0 and not is_named(store, tenant, word_object(store, word)):
            unlink(store, me, tenant, entry, word, 0, 0)


@njit(cache=True)
def remove_key(
    store: int, me: int, tenant: int, table: int, key: int, key_length: int, hashed: int, expected_version: int,
    claim: int,
) -> int:  # fmt: skip
    """Remove the object of a key, and record what ``claim`` says (0: nothing). The caller holds the tenant's lock.
    Returns OK, NOT_FOUND or VERSION_CHANGED."""
    entry, word = find_entry(store, hashed, identity_of(tenant, table, key_length), key, key_length)
    if entry == 0 or is_over(word_object(store, word), Participant(me).now):
        return Status.NOT_FOUND
    if expected_version != 0 and Object(word_object(store, word)).version != expected_version:
        return Status.VERSION_CHANGED
    remove(store, me, tenant, entry, word, 0, claim)
    return Status.OK
