"""A snapshot: what a reader without a lock sees while others write."""

from __future__ import annotations

import random

import pytest

from splinter import limits
from splinter.errors import Status
from splinter.store.snapshots import last_deletion
from splinter.store.store import Store
from tests.support.transactions import Transaction, UnknownError

TENANT = 1
READER = 1
STEP_NS_MAX = 200  # of an older object that no cache holds
KEYS = [b"key %d" % number for number in range(6)]


def test_a_reader_keeps_its_snapshot_over_puts_and_deletes(store: Store):
    store.put(TENANT, 0, b"replaced", b"old")
    store.put(TENANT, 0, b"deleted", b"old")
    store.put(TENANT, 0, b"deleted and made anew", b"old")
    reader = Transaction(store, TENANT, participant=READER)
    for number in range(10):
        store.put(TENANT, 0, b"replaced", b"%d" % number)
    store.delete(TENANT, 0, b"deleted")
    store.delete(TENANT, 0, b"deleted and made anew")
    store.put(TENANT, 0, b"deleted and made anew", b"new")
    store.put(TENANT, 0, b"made", b"new")
    assert [reader.get(key) for key in (b"replaced", b"deleted", b"deleted and made anew", b"made")] == [b"old"] * 3 + [None]
    reader.end()
    now = Transaction(store, TENANT, participant=READER)
    assert [now.get(key) for key in (b"replaced", b"deleted", b"made")] == [b"9", None, b"new"]
    now.end()


def test_snapshots_are_what_the_store_held(store: Store):
    """Random histories: each snapshot, however old, reads as a copy of the store at that time; a compactor moves objects."""
    rng = random.Random(12)
    for _ in range(30):
        model = {key: store.get(TENANT, 0, key) for key in KEYS}
        held = Transaction(store, TENANT, participant=READER)
        for _ in range(rng.randrange(60)):
            key = rng.choice(KEYS)
            if rng.random() < 0.4:
                store.delete(TENANT, 0, key)
            else:
                store.put(TENANT, 0, key, rng.randbytes(rng.choice((3, 60, 300))))
            if rng.random() < 0.1:
                writer = Transaction(store, TENANT, participant=2)
                for other in rng.sample(KEYS, 3):
                    writer.put(other, b"together") if rng.random() < 0.7 else writer.delete(other)
                assert writer.end() == 0
        assert {key: held.get(key) for key in KEYS} == model
        held.end()


def test_a_slice_of_look_ups_of_an_old_snapshot_is_not_taken_for_stuck():
    look_ups = (limits.TASK_BUDGET + limits.CHECKPOINT_COST) // limits.HELPER_COST + 1
    assert look_ups * limits.SNAPSHOT_STEPS_MAX * STEP_NS_MAX < limits.WATCHDOG_MS * 1_000_000 // 2


def test_what_is_too_old_is_told(store: Store):
    store.put(TENANT, 0, b"hot", b"first")
    store.put(TENANT, 0, b"gone", b"first")
    reader = Transaction(store, TENANT, participant=READER)
    for _ in range(limits.SNAPSHOT_STEPS_MAX):
        store.put(TENANT, 0, b"hot", b"next")
    with pytest.raises(UnknownError):
        reader.get(b"hot")
    store.delete(TENANT, 0, b"gone")
    for _ in range(limits.DELETIONS - 2):
        store.put(TENANT, 0, b"other", b"")
        store.delete(TENANT, 0, b"other")
    assert reader.get(b"gone") == b"first"
    for _ in range(2):
        store.put(TENANT, 0, b"other", b"")
        store.delete(TENANT, 0, b"other")
    with pytest.raises(UnknownError):
        reader.get(b"gone")
    reader.end()


def test_other_tenants_commits_do_not_matter(store: Store):
    store.open_tenant(2)
    store.put(TENANT, 0, b"key", b"mine")
    store.delete(TENANT, 0, b"none")
    reader = Transaction(store, TENANT, participant=READER)
    for _ in range(2 * limits.DELETIONS):
        store.put(2, 0, b"key", b"theirs")
        store.delete(2, 0, b"key")
    assert (reader.get(b"key"), reader.get(b"absent")) == (b"mine", None)
    reader.end()


def test_a_deletion_that_was_taken_back_is_none_that_anybody_has_seen(store: Store):
    """Whoever finds nothing waits for the disk to have the last deletion: it must be one that comes to the disk."""
    store.put(TENANT, 0, b"gone", b"value")
    store.delete(TENANT, 0, b"gone")
    store.put(TENANT, 0, b"kept", b"value")
    account = store.accounts[TENANT]
    seen, store.accounts[TENANT]["quota_bytes"] = int(account["sequence"]), account["bytes_used"]
    assert last_deletion(store.address, TENANT) == seen - 1
    writer = Transaction(store, TENANT)
    writer.delete(b"kept")
    writer.put(b"large", bytes(1000))
    assert writer.end() == Status.QUOTA_EXCEEDED
    assert (store.get(TENANT, 0, b"kept"), int(account["sequence"])) == (b"value", seen)
    assert account["deleted"] > seen
    assert last_deletion(store.address, TENANT) == seen
