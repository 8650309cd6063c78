"""Transactions: what was read still holds, and all is written at one instant or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from splinter import limits
from splinter.errors import Status, VersionChangedError
from splinter.native import libc
from splinter.native.atomics import load64, store64
from splinter.store.commit_layout import READ_BYTES
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.hashing import identity_of, store_hash
from splinter.store.objects import object_value, object_version
from splinter.store.operations import store_find, store_find_at
from splinter.store.outcomes import RECORDED, Outcome, claim_request, outcome_kind
from splinter.store.reclaim import reclaim
from splinter.store.snapshots import UNKNOWN, snapshot_of
from splinter.store.store import Store
from splinter.store.transactions import CONFLICT, note_read, note_write, store_transact
from tests.support.transactions import Transaction

TENANT = 1
TRIES_MAX = 10_000_000


def contents(store: Store) -> dict[bytes, bytes]:
    return {stored.key: stored.value for stored in store.scan(0, tenant=TENANT, participant=3)}


def test_all_writes_happen_together_and_have_one_version(store: Store):
    store.put(TENANT, 0, b"replaced", b"old")
    store.put(TENANT, 0, b"deleted", b"old")
    before = int(store.accounts[TENANT]["sequence"])
    writer = Transaction(store, TENANT)
    writer.put(b"replaced", b"new")
    writer.put(b"made", b"new" * 1000)
    writer.delete(b"deleted")
    writer.delete(b"was never there")
    assert writer.end() == Status.OK
    assert contents(store) == {b"replaced": b"new", b"made": b"new" * 1000}
    assert int(store.accounts[TENANT]["sequence"]) == before + 1
    versions = {stored.version for stored in store.scan(0, tenant=TENANT, participant=3)}
    assert versions == {2 * (before + 1)}


def test_every_commit_has_the_next_number(store: Store):
    numbers = [int(store.accounts[TENANT]["sequence"])]

    def next_number() -> int:
        numbers.append(int(store.accounts[TENANT]["sequence"]))
        return numbers[-1] - numbers[-2]

    assert store.put(TENANT, 0, b"k", b"1") == 2 * (numbers[0] + 1)
    assert next_number() == 1
    with pytest.raises(VersionChangedError):
        store.put(TENANT, 0, b"k", b"2", expected_version=4242)
    assert next_number() == 0
    store.delete(TENANT, 0, b"k")
    assert next_number() == 1
    store.delete(TENANT, 0, b"k")
    assert next_number() == 0
    writer = Transaction(store, TENANT)
    writer.put(b"a", b"")
    assert (writer.end(), next_number()) == (Status.OK, 1)


@pytest.mark.parametrize("changes", ["put", "delete", "make", "make and delete", "another"])
@pytest.mark.parametrize("writes", [1, 2])
def test_what_was_read_must_still_hold(store: Store, changes: str, writes: int):
    store.put(TENANT, 0, b"there", b"old")
    writer = Transaction(store, TENANT)
    assert (writer.get(b"there"), writer.get(b"absent")) == (b"old", None)
    for number in range(writes):
        writer.put(b"written %d" % number, b"")
    if changes == "put":
        store.put(TENANT, 0, b"there", b"old")
    elif changes == "delete":
        store.delete(TENANT, 0, b"there")
    elif changes == "another":
        store.put(TENANT, 0, b"another", b"")
    else:
        store.put(TENANT, 0, b"absent", b"")
        if changes == "make and delete":
            store.delete(TENANT, 0, b"absent")
    holds = changes in ("another", "make and delete")
    assert writer.end() == (Status.OK if holds else CONFLICT)
    assert (b"written 0" in contents(store)) is holds


@pytest.mark.parametrize("reason", ["quota", "memory", "too many"])
def test_what_cannot_be_written_leaves_nothing(store: Store, reason: str):
    store.put(TENANT, 0, b"replaced", b"old")
    store.put(TENANT, 0, b"deleted", b"old")
    before, account = contents(store), store.accounts[TENANT].copy()
    writer = Transaction(store, TENANT)
    writer.put(b"replaced", b"new")
    writer.delete(b"deleted")
    if reason == "quota":
        store.open_tenant(TENANT, int(account["bytes_used"]) + 1000)
        writer.put(b"made", bytes(5000))
    elif reason == "memory":
        free = store.descriptor["slabs_total"] - store.descriptor["slabs_used"]
        store.descriptor["slabs_total"] -= free
        for number in range(9):
            writer.put(b"big %d" % number, bytes(limits.VALUE_BYTES_MAX))
    else:
        for number in range(limits.COMMIT_OBJECTS_MAX):
            writer.put(b"made %d" % number, b"")
    refused = writer.end()
    assert refused == (Status.OUT_OF_MEMORY if reason == "memory" else Status.QUOTA_EXCEEDED)
    assert contents(store) == before
    for field in ("bytes_used", "objects", "sequence"):
        assert store.accounts[TENANT][field] == account[field]
    if reason == "memory":
        store.descriptor["slabs_total"] += free
    again = Transaction(store, TENANT)  # the number is given to another commit
    again.put(b"replaced", b"newer")
    again.delete(b"deleted")
    assert again.end() == Status.OK
    assert contents(store) == {b"replaced": b"newer"}


@pytest.mark.parametrize("writes", [1, 3])
def test_a_request_is_recorded_with_its_commit(store: Store, writes: int):
    for repeated in (False, True):
        writer = Transaction(store, TENANT)
        for number in range(writes):
            writer.put(b"key %d" % number, b"%d" % repeated)
        claim = claim_request(store.address, 0, 42, 1, 1, 0)
        assert writer.end(claim) == (RECORDED if repeated else Status.OK)
        assert outcome_kind(int(store.participants[0]["claim"]["word"])) == Outcome.STATUS
    assert contents(store) == {b"key %d" % number: b"0" for number in range(writes)}


ACCOUNTS = 16
START = 1000


@njit
def _read(store, snapshot, number, scratch, reads):
    """(balance, end of the READs); balance -1: the snapshot is too old."""
    store64(scratch, number)
    identity = identity_of(TENANT, 0, 8)
    hashed = store_hash(store, identity, scratch, 8)
    found = store_find_at(store, TENANT, 0, scratch, 8, hashed, snapshot)
    if found == UNKNOWN:
        return -1, reads
    if found == 0:  # an account of 0 is deleted
        return 0, note_read(reads, hashed, identity, 0)
    return load64(object_value(found)), note_read(reads, hashed, identity, object_version(found))


@njit
def _note_balance(store, number, balance, scratch, writes):
    store64(scratch, number)
    store64(scratch + 8, balance)
    identity = identity_of(TENANT, 0, 8)
    hashed = store_hash(store, identity, scratch, 8)
    return note_write(writes, hashed, identity, scratch, scratch + 8, 8 if balance != 0 else -1)


@njit
def transfer(store, p, transfers, seed, scratch):
    """Move money between accounts, two or three at a time; returns the number of failures."""
    reads_at, writes_at, wrong, done, tries = scratch + 64, scratch + 64 + 8 * READ_BYTES, 0, 0, 0
    while done < transfers and tries < TRIES_MAX:
        tries += 1
        epoch_enter(store, p, OLDEST_NONE)
        reclaim(store, p, 64)
        snapshot = snapshot_of(store, TENANT)
        seed = seed * 6364136223846793005 + 1442695040888963407
        sender, receiver, amount = seed >> 33 & (ACCOUNTS - 1), seed >> 40 & (ACCOUNTS - 1), seed >> 50 & 255
        if sender == receiver:
            continue
        left, reads = _read(store, snapshot, sender, scratch, reads_at)
        right, reads = _read(store, snapshot, receiver, scratch, reads)
        if left < 0 or right < 0:
            continue
        amount = min(amount, left)
        writes = _note_balance(store, sender, left - amount, scratch, writes_at)
        writes = _note_balance(store, receiver, right + amount, scratch, writes)
        status = store_transact(store, p, TENANT, snapshot, reads_at, reads, writes_at, writes, 0)
        if status == Status.OK:
            done += 1
        elif status != CONFLICT and status != Status.BUSY and status != Status.OUT_OF_MEMORY:
            wrong += 1
        else:
            libc.sched_yield()
    epoch_leave(store, p)
    return wrong + (done != transfers)


@njit
def add_up(store, p, times, scratch):
    """Read all accounts of a snapshot, as often; returns how often the sum was wrong."""
    wrong = 0
    for _ in range(times):
        epoch_enter(store, p, OLDEST_NONE)
        snapshot, total = snapshot_of(store, TENANT), 0
        for number in range(ACCOUNTS):
            balance = _read(store, snapshot, number, scratch, scratch + 64)[0]
            if balance < 0:
                total = ACCOUNTS * START
                break
            total += balance
        wrong += total != ACCOUNTS * START
    epoch_leave(store, p)
    return wrong


@njit
def see_in_order(store, p, times, scratch):
    """Look accounts up without a snapshot: what is found is in all snapshots that are taken later; returns how often not."""
    wrong = 0
    for i in range(times):
        epoch_enter(store, p, OLDEST_NONE)
        store64(scratch, i & (ACCOUNTS - 1))
        found = store_find(store, TENANT, 0, scratch, 8)
        wrong += found != 0 and object_version(found) > 2 * snapshot_of(store, TENANT)
    epoch_leave(store, p)
    return wrong


def test_money_is_conserved_while_all_transfer(store: Store, children):
    scratch = np.zeros((4, 4096), dtype=np.int64)
    for number in range(ACCOUNTS):
        store.put(TENANT, 0, number.to_bytes(8, "little"), START.to_bytes(8, "little"))
    at = [row.ctypes.data for row in scratch]
    transfer(store.address, 0, 1, 1, at[0])
    add_up(store.address, 1, 1, at[1])
    see_in_order(store.address, 1, 1, at[1])
    assert children(
        [
            lambda: transfer(store.address, 0, 20_000, 11, at[0]),
            lambda: transfer(store.address, 1, 20_000, 12, at[1]),
            lambda: add_up(store.address, 2, 20_000, at[2]),
            lambda: see_in_order(store.address, 3, 200_000, at[3]),
        ]
    ) == [0, 0, 0, 0]
    assert sum(int.from_bytes(value, "little") for value in contents(store).values()) == ACCOUNTS * START
    assert store.accounts[TENANT]["deletions"] > 0
