"""Telling all objects by the index: what a commit under way shows, and each key once while others write."""

from __future__ import annotations

import contextlib
import mmap
import time
from collections.abc import Callable

import numpy as np
import pytest

from splinter import limits
from splinter.client.dump_format import dumped
from splinter.errors import BusyError, Status
from splinter.store.commits import count_commit, finish, open_commit, take_back
from splinter.store.dump import (
    CHAIN_ADDRESSES_BYTES,
    CHAIN_BYTES_MAX,
    UNSOUND,
    count_dumped,
    dump_chains,
    put_dumped,
)
from splinter.store.journal import lock_tenant, participant_at, unlock
from splinter.store.layout import ENTRY_DELETING
from splinter.store.store import Store
from splinter.wire import (
    DUMPED,
    DUMPED_BYTES,
    DUMPED_LARGE,
    DUMPED_PART,
    LARGE,
    PART,
    PART_KEY_STRUCT,
)
from tests.support.large import parts_in
from tests.support.transactions import Transaction
from tests.unit.store.conftest import TENANT

OTHER = 2
STEADY, CHANGING = 60, 40
ROUNDS = 5000  # dumps beside writers
SECONDS_MAX = 120.0  # of those, should nobody end them


def told(store: Store, tenant: int = TENANT, enough: int = 4096) -> list[tuple[int, bytes, bytes]]:
    """All that a dump tells of a tenant, as table, key and value; waits for commits."""
    buffer = np.empty(CHAIN_BYTES_MAX + enough + CHAIN_ADDRESSES_BYTES, np.uint8)
    target = int(buffer.ctypes.data)
    buckets, bucket, found = int(store.descriptor["buckets"]), 0, []
    deadline = time.monotonic() + 30
    while bucket < buckets:
        with store.epoch():
            written, bucket = dump_chains(
                store.address, tenant, bucket, bucket + limits.DUMP_BUCKETS, store.now_ns, 0, target, enough,
                target + CHAIN_BYTES_MAX + enough,
            )  # fmt: skip
        assert time.monotonic() < deadline
        data, at = bytes(buffer[:written]), 0
        assert count_dumped(target, target + written) >= 0
        while at < written:
            _, table, key_length, _, value_length, _, _ = DUMPED.struct.unpack_from(data, at)
            key_at = at + DUMPED_BYTES
            found.append((table, data[key_at : key_at + key_length], data[key_at + key_length :][:value_length]))
            at = key_at + (key_length + value_length + 7 & -8)
    return found


def shown(store: Store) -> dict[bytes, bytes] | None:
    """What one look at all chains tells; None: somebody is in the middle of a deletion."""
    buffer = np.empty(CHAIN_BYTES_MAX + (1 << 20) + CHAIN_ADDRESSES_BYTES, np.uint8)
    target, buckets = int(buffer.ctypes.data), int(store.descriptor["buckets"])
    with store.epoch():
        written, bucket = dump_chains(
            store.address, TENANT, 0, buckets, store.now_ns, 0, target, 1 << 20, target + CHAIN_BYTES_MAX + (1 << 20)
        )
    if bucket != buckets:
        return None
    data, at, found = bytes(buffer[:written]), 0, {}
    while at < written:
        _, _, key_length, _, value_length, _, _ = DUMPED.struct.unpack_from(data, at)
        key_at = at + DUMPED_BYTES
        found[data[key_at : key_at + key_length]] = data[key_at + key_length :][:value_length]
        at = key_at + (key_length + value_length + 7 & -8)
    return found


def opened(store: Store, writer: Transaction) -> int:
    """Begin the commit of a transaction, under the tenant's lock; returns the participant's record."""
    me = participant_at(store.address, 0)
    lock = store.accounts_region.address + TENANT * store.accounts.itemsize + store.accounts.dtype.fields["lock"][1]
    assert lock_tenant(store.address, me, lock)
    assert open_commit(store.address, me, TENANT, writer._writes.ctypes.data, writer._writes_end) == Status.OK
    return int(me)


def closed(store: Store) -> None:
    lock = store.accounts_region.address + TENANT * store.accounts.itemsize + store.accounts.dtype.fields["lock"][1]
    unlock(store.address, lock)


def test_a_commit_that_is_not_counted_is_not_told(store: Store):
    store.put(TENANT, 0, b"replaced", b"old")
    writer = Transaction(store, TENANT)
    writer.put(b"replaced", b"new")
    writer.put(b"made", b"new")
    me = opened(store, writer)
    assert shown(store) == {b"replaced": b"old"}
    assert count_commit(store.address, me, 0) == Status.OK
    assert shown(store) == {b"replaced": b"new", b"made": b"new"}
    finish(store.address, me)
    closed(store)
    assert writer._store.get(TENANT, 0, b"made") == b"new"


def test_what_a_commit_deletes_is_waited_for_until_it_is_finished_or_taken_back(store: Store):
    store.put(TENANT, 0, b"deleted", b"old")
    for ends in (take_back, finish):
        writer = Transaction(store, TENANT)
        writer.delete(b"deleted")
        me = opened(store, writer)
        assert (store.index_region.array(np.dtype("<u8")) == ENTRY_DELETING).sum() == 1
        assert shown(store) is None
        if ends is finish:
            assert count_commit(store.address, me, 0) == Status.OK
            assert shown(store) is None
        ends(store.address, me)
        closed(store)
        assert shown(store) == ({b"deleted": b"old"} if ends is take_back else {})


def test_the_system_other_tenants_and_what_is_over_are_left_out(store: Store):
    store.open_tenant(OTHER)
    store.put(TENANT, 0, b"own", b"value")
    store.put(TENANT, limits.TABLES_MAX - 1, b"own", b"of the last table")
    store.put(OTHER, 0, b"others", b"value")
    store.put(TENANT, limits.TABLE_EXTENSIONS, b"system", b"value")
    store.put(TENANT, 0, b"over", b"value", ttl=1)
    assert sorted(told(store)) == [(0, b"own", b"value"), (limits.TABLES_MAX - 1, b"own", b"of the last table")]
    assert len(told(store, 0)) == 3
    store.close_tenant(OTHER)
    assert len(told(store, 0)) == 2
    for _ in store.sweep_tenant(OTHER):
        pass


def test_nothing_that_is_told_is_longer_than_there_is_room(store: Store):
    for number in range(200):
        store.put(TENANT, 0, b"%d" % number, bytes(number * 20))
    assert sorted(len(value) for _, _, value in told(store, enough=1)) == [number * 20 for number in range(200)]


def test_each_key_comes_once_while_others_write(store: Store, children: Callable[[list[Callable[[], int]]], list[int]]):
    """One overwrites, one deletes and makes again, one commits several of both; chains grow and shrink meanwhile."""
    store.descriptor["buckets"] = store.descriptor["buckets_used"] = 16  # long chains
    for number in range(STEADY):
        store.put(TENANT, 1, b"steady %d" % number, b"")

    is_done = mmap.mmap(-1, mmap.PAGESIZE)

    def until(turn: Callable[[int], None]) -> Callable[[], int]:
        def run() -> int:
            number, end = 0, time.monotonic() + SECONDS_MAX
            while not is_done[0] and time.monotonic() < end:
                with contextlib.suppress(BusyError):  # who holds the lock was stopped: ask again
                    turn(number)
                    number += 1
            return 0 if number else 2

        return run

    def overwrite(turn: int) -> None:
        store.put(TENANT, 1, b"steady %d" % (turn % STEADY), b"x" * (turn % 200), participant=0)

    def delete_and_make(turn: int) -> None:
        key = b"changing %d" % (turn % CHANGING)
        store.put(TENANT, 2, key, b"y", participant=1) if turn // CHANGING % 2 else store.delete(TENANT, 2, key, participant=1)

    def commit(turn: int) -> None:
        writer = Transaction(store, TENANT, participant=2, table=1)
        for number in range(turn % 7, STEADY, 7):
            writer.put(b"steady %d" % number, b"z" * (turn % 100))
        for number in range(10):
            writer.put(b"both %d" % number, b"") if turn % 2 else writer.delete(b"both %d" % number)
        writer.end()

    wanted = {b"steady %d" % number for number in range(STEADY)}

    def dump() -> int:
        try:
            for _ in range(ROUNDS):
                found = told(store)
                keys = [(table, key) for table, key, _ in found]
                if len(set(keys)) != len(keys) or not wanted <= {key for table, key in keys if table == 1}:
                    return 1
            return 0
        finally:
            is_done[0] = 1

    assert children([until(overwrite), until(delete_and_make), until(commit), dump]) == [0, 0, 0, 0]


# --- putting back ----------------------------------------------------------------------------------------------------


def put(store: Store, data: bytes, *, most: int = 1000, now: int = 0, deletes: bool = False) -> tuple[int, int, int, int]:
    """What comes of putting objects: status, bytes that were read, how many were done, and were over."""
    held = np.frombuffer(data, np.uint8)
    at = int(held.ctypes.data)
    with store.epoch():
        status, end, done, over = put_dumped(
            store.address, limits.PARTICIPANT_CONTROL, TENANT, at, at + len(data), most, now, deletes
        )
    return int(status), int(end) - at, int(done), int(over)


def one(key: bytes, value: bytes, expires: int = 0) -> bytes:
    head = DUMPED.struct.pack(99, 0, len(key), 0, len(value), 5, expires)
    return head + key + value + bytes(-(len(key) + len(value)) % 8)


def test_what_is_put_back_expires_at_its_moment_and_not_when_it_is_over(store: Store):
    data = one(b"never", b"") + one(b"later", b"v", 5_000_000_000) + one(b"over", b"v", 1000)
    before = store.now_ns
    assert put(store, data, now=1000) == (0, len(data), 2, 1)
    found = store.lookup(TENANT, 0, b"later")
    assert found is not None and before <= found.expires - (5_000_000_000 - 1000) <= store.now_ns
    assert store.get(TENANT, 0, b"over") is None and store.lookup(TENANT, 0, b"never").expires == 0
    assert put(store, one(b"far", b"", (1 << 63) - 1)) == (0, 32, 1, 0)
    assert put(store, data, deletes=True) == (0, len(data), 3, 0)
    assert told(store) == [(0, b"far", b"")]


def test_of_a_large_value_that_is_over_before_it_is_whole_nothing_stays(store: Store):
    def of_value(identity: int, length: int = 70_000) -> list[bytes]:
        parts = [
            dumped(0, PART_KEY_STRUCT.pack(identity, number), PART.struct.pack(0, 3, 0) + b"key" + data, 1000, kind=DUMPED_PART)
            for number, data in enumerate((bytes(64_000), bytes(6_000)))
        ]
        return [*parts, dumped(0, b"key", LARGE.struct.pack(identity, length), 1000, kind=DUMPED_LARGE)]

    used = int(store.accounts["bytes_used"][TENANT])
    for later in (1, 2):  # so many parts are put before its moment
        value = of_value(5)
        first, last = b"".join(value[:later]), b"".join(value[later:])
        assert put(store, first, now=999) == (0, len(first), later, 0)
        assert len(parts_in(store, TENANT)) == later
        assert put(store, last, now=1000) == (0, len(last), 0, 3 - later)
        assert parts_in(store, TENANT) == [] and store.accounts["bytes_used"][TENANT] == used
    whole = b"".join(of_value(6))
    assert put(store, whole, now=0) == (0, len(whole), 3, 0)
    for length in (70_000, 0, (1 << 64) - 1):  # one that an object has stays, and what no length can be does nothing
        head = of_value(6, length)[2]
        assert put(store, head, now=1000) == (0, len(head), 0, 1)
        assert len(parts_in(store, TENANT)) == 2
    store.delete(TENANT, 0, b"key")


def test_it_goes_on_where_it_has_ended(store: Store):
    data = b"".join(one(b"%d" % number, b"value") for number in range(10))
    assert put(store, data, most=4) == (0, 4 * 32, 4, 0)
    used = int(store.accounts["bytes_used"][TENANT])
    store.open_tenant(TENANT, used + 64)
    assert put(store, data[4 * 32 :]) == (Status.QUOTA_EXCEEDED, 32, 1, 0)
    assert len(told(store)) == 5


@pytest.mark.parametrize("cut", range(1, 64))
def test_what_is_no_whole_objects_is_unsound(cut: int):
    data = np.frombuffer(one(b"key", b"value") * 2, np.uint8)
    at = int(data.ctypes.data)
    assert count_dumped(at, at + 64) == 2
    assert count_dumped(at, at + 64 - cut) == (1 if cut == 32 else UNSOUND)
