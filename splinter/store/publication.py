"""Changing the index under a tenant's lock: publish a complete slot as an object, or remove an object."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import cas64, copy_bytes, exchange64, store64, store64_release
from splinter.store.classes import class_bytes
from splinter.store.hashing import identity_of
from splinter.store.index import empty_entry, entry_word, find_entry, word_class, word_object, word_unit
from splinter.store.journal import announce, note, published, withdraw
from splinter.store.layout import ACCOUNT_BYTES, O_IDENTITY, O_KEY
from splinter.store.outcomes import note_outcome
from splinter.store.reclaim import note_retire
from splinter.store.records import Account, Descriptor, Object, Participant, Stage
from splinter.store.slabs import unit_of
from splinter.store.slots import note_take

_PARTICIPANTS_MAX = limits.PARTICIPANTS_MAX
INSERT_TRIES_MAX = limits.INSERT_TRIES_MAX
EXPECT_ABSENT = -1  # as expected_version: there must be no object yet; versions are even, so it is none


@njit(cache=True)
def account_of(store: int, tenant: int) -> int:
    """Address of a tenant's account, 0 … TENANTS_MAX - 1."""
    return Descriptor(store).accounts + tenant * ACCOUNT_BYTES


@njit(cache=True)
def fill_header(slot: int, tenant: int, table: int, key: int, key_length: int) -> None:
    """Write the header's identity, and the key, into a slot that is not published; the link is left alone."""
    store64(slot + O_IDENTITY, identity_of(tenant, table, key_length))
    copy_bytes(slot + O_KEY, key, key_length)


@njit(cache=True)
def next_version(me: int) -> int:
    """A version that nobody else gives out: even, not 0. A number that a dead participant did not come to use stays unused."""
    mine = Participant(me)
    counter = mine.counter + 1
    store64_release(mine.at.counter, counter)
    return (counter * _PARTICIPANTS_MAX + mine.holder - 1) * 2


@njit(cache=True)
def _note_source(store: int, me: int, count: int, size_class: int, stage: int) -> int:
    """The slot comes from a staging entry, or (``stage`` 0) is the one that peek_slot returns."""
    if stage != 0:
        account = Account(account_of(store, Stage(stage).tenant))
        count = note(store, me, count, account.at.staged_bytes, account.staged_bytes - class_bytes(size_class))
        return note(store, me, count, Stage(stage).at.slot, 0)
    return note_take(store, me, count, size_class)


@njit(cache=True)
def publish(
    store: int, me: int, tenant: int, table: int, key: int, key_length: int, hashed: int, slot: int, size_class: int,
    stage: int, expected_version: int, claim: int,
) -> int:  # fmt: skip
    """Make the complete slot the object of its key, in place of the one that is there, and record what ``claim`` says
    (0: nothing). The caller holds the tenant's lock.

    Returns a status; other than OK, nothing has changed.
    """
    account_at, mine = account_of(store, tenant), Participant(me)
    account = Account(account_at)
    entry, old_word = find_entry(store, hashed, identity_of(tenant, table, key_length), key, key_length)
    if expected_version == EXPECT_ABSENT:
        if entry != 0:
            return Status.VERSION_CHANGED
    elif expected_version != 0 and (entry == 0 or Object(word_object(store, old_word)).version != expected_version):
        return Status.VERSION_CHANGED
    used = account.bytes_used
    used_after = used + class_bytes(size_class)
    if entry != 0:
        used_after -= class_bytes(word_class(old_word))
    if used_after > used and used_after > account.quota_bytes:
        return Status.QUOTA_EXCEEDED
    version = next_version(me)
    word = entry_word(hashed, size_class, unit_of(store, slot))
    if entry != 0:
        count = note_outcome(store, me, 0, claim, version)
        count = _note_source(store, me, count, size_class, stage)
        count = note(store, me, count, account.at.bytes_used, used_after)
        count = note_retire(store, me, count, word_unit(old_word))
        announce(store, me, count, entry, old_word, word, slot, version)
        exchange64(entry, word)
        published(store, me)
        mine.last_version = version
        return Status.OK
    for _ in range(INSERT_TRIES_MAX):
        entry = empty_entry(store, me, hashed)
        if entry < 0:
            return -entry
        count = note_outcome(store, me, 0, claim, version)
        if insert(store, me, account_at, entry, word, slot, size_class, stage, version, used_after, count):
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
    count = _note_source(store, me, noted, size_class, stage)
    count = note(store, me, count, Account(account).at.bytes_used, used_after)
    count = note(store, me, count, Account(account).at.objects, Account(account).objects + 1)
    announce(store, me, count, entry, 0, word, slot, version)
    if cas64(entry, 0, word):
        published(store, me)
        return True
    withdraw(store, me)
    return False


@njit(cache=True)
def remove(store: int, me: int, tenant: int, entry: int, word: int, noted: int) -> None:
    """Unlink the object that ``entry`` names by ``word`` and retire it; ``noted`` words of the step are noted already.
    The caller holds the tenant's lock."""
    account = Account(account_of(store, tenant))
    used = account.bytes_used - class_bytes(word_class(word))
    count = note(store, me, noted, account.at.bytes_used, used)
    count = note(store, me, count, account.at.objects, account.objects - 1)
    count = note_retire(store, me, count, word_unit(word))
    announce(store, me, count, entry, word, 0, 0, 0)
    exchange64(entry, 0)
    published(store, me)


@njit(cache=True)
def remove_key(
    store: int, me: int, tenant: int, table: int, key: int, key_length: int, hashed: int, expected_version: int,
    claim: int,
) -> int:  # fmt: skip
    """Remove the object of a key, and record what ``claim`` says (0: nothing). The caller holds the tenant's lock.
    Returns OK, NOT_FOUND or VERSION_CHANGED."""
    entry, word = find_entry(store, hashed, identity_of(tenant, table, key_length), key, key_length)
    if entry == 0:
        return Status.NOT_FOUND
    if expected_version != 0 and Object(word_object(store, word)).version != expected_version:
        return Status.VERSION_CHANGED
    remove(store, me, tenant, entry, word, note_outcome(store, me, 0, claim, 0))
    return Status.OK
