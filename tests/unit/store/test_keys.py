"""Going over a tenant's keys while they change: what is there all the time comes once."""

from __future__ import annotations

import random

import numpy as np
import pytest

from splinter import limits
from splinter.errors import Status
from splinter.store.accounts import account_of
from splinter.store.commit_layout import WRITE_DELETES
from splinter.store.commits import open_commit, take_back
from splinter.store.hashing import identity_of, store_hash
from splinter.store.journal import lock_tenant, participant_at, unlock
from splinter.store.keys import KEYS_END, store_keys
from splinter.store.store import Store
from splinter.store.transactions import note_write
from tests.support.transactions import Transaction, address_of

TENANT, OTHER, READER = 1, 2, 2
ROOM = 1024


class Walk:
    """One walk over a table's keys, a step at a time."""

    def __init__(self, store: Store, prefix: bytes = b"", table: int = 0) -> None:
        self._store, self._prefix, self._table = store, prefix, table
        self._area = np.zeros(ROOM, np.uint8)
        self.cursor, self.keys = 0, list[bytes]()

    def step(self, looks: int = 30) -> bool:
        """Returns whether there was a step to do."""
        if self.cursor == KEYS_END:
            return False
        with self._store.epoch(READER):
            cursor, size = store_keys(
                self._store.address, READER, TENANT, self._table, address_of(self._prefix), len(self._prefix), self.cursor,
                looks, self._store.now_ns, self._area.ctypes.data, ROOM,
            )  # fmt: skip
        self.cursor, told, at = int(cursor), self._area[:size].tobytes(), 0
        while at < size:
            self.keys.append(told[at + 1 : at + 1 + told[at]])
            at += 1 + told[at]
        return True

    def to_the_end(self) -> list[bytes]:
        while self.step():
            pass
        return self.keys


def test_all_keys_of_a_table_of_one_tenant_and_no_others(store: Store) -> None:
    store.open_tenant(OTHER)
    keys = {b"%d" % number for number in range(300)} | {b"k" * limits.KEY_BYTES_MAX}
    for key in keys:
        store.put(TENANT, 0, key, b"")
        store.put(TENANT, 1, b"in another table " + key[:200], b"")
        store.put(OTHER, 0, b"another's " + key[:200], b"")
    store.put(TENANT, 0, b"over", b"", ttl=1)
    store.put(TENANT, limits.TABLE_EXTENSIONS, b"extension", b"")
    told = Walk(store).to_the_end()
    assert len(told) == len(set(told)) and set(told) == keys
    assert Walk(store, table=limits.TABLES_MAX - 1).to_the_end() == []


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 254, 255])
def test_only_what_begins_with_the_prefix(store: Store, length: int) -> None:
    prefix = bytes(range(1, 256))[:length]
    inside = {prefix} | {prefix + b"%d" % number for number in range(30) if length < 250}
    half = max(length // 2, 1)
    keys = [
        key
        for key in (*inside, prefix[:-1] + b"\xff", prefix[:half] + bytes(length - half + 1))
        if len(key) <= limits.KEY_BYTES_MAX
    ]
    for key in keys:
        store.put(TENANT, 0, key, b"")
    assert sorted(Walk(store, prefix).to_the_end()) == sorted({key for key in keys if key.startswith(prefix)})


@pytest.mark.parametrize("seed", range(5))
def test_what_is_there_all_the_time_comes_once(store: Store, seed: int) -> None:
    choice = random.Random(seed)
    stay = [b"stays %d" % number for number in range(200)]
    for number, key in enumerate(stay):
        store.put(TENANT, 0, key, b"")
        store.put(TENANT, 0, b"goes %d" % number, b"")
    walk = Walk(store)
    while walk.step(choice.randrange(9, 40)):
        for _ in range(choice.randrange(10)):
            key, other = choice.choice(stay), b"goes %d" % choice.randrange(400)
            what = choice.randrange(5)
            if what == 0:
                store.put(TENANT, 0, key, bytes(choice.randrange(2000)), participant=choice.randrange(2))
            elif what == 1:
                store.delete(TENANT, 0, other, participant=choice.randrange(2))
            elif what == 2:
                store.put(TENANT, 0, other, b"", ttl=choice.choice([0, 1]))
            elif what == 3:
                store.expire(TENANT, 0, key, 3600 * 10**9)
            else:
                writer = Transaction(store, TENANT)
                writer.put(key, bytes(100))
                writer.put(b"goes %d" % choice.randrange(400), b"")
                writer.delete(other)
                assert writer.end() == Status.OK
    told = [key for key in walk.keys if key.startswith(b"stays")]
    assert sorted(told) == sorted(stay)


def test_before_what_a_commit_hides_a_walk_ends_and_comes_again(store: Store) -> None:
    for key in (b"before", b"deleted", b"replaced"):
        store.put(TENANT, 0, key, b"")
    writes = np.zeros(1 << 12, np.uint8)
    end = writes.ctypes.data
    for key, length in ((b"new", 0), (b"deleted", WRITE_DELETES), (b"replaced", 0)):
        identity = identity_of(TENANT, 0, len(key))
        hashed = store_hash(store.address, identity, address_of(key), len(key))
        end = note_write(end, hashed, identity, address_of(key), address_of(key), length)
    me, lock = participant_at(store.address, 0), account_of(store.address, TENANT)  # its first word
    assert lock_tenant(store.address, me, lock)
    assert open_commit(store.address, me, TENANT, writes.ctypes.data, end) == Status.OK
    walk = Walk(store)
    for _ in range(3):
        walk.step()
        assert walk.keys == [b"before"] and walk.cursor == 1
    take_back(store.address, me)
    unlock(store.address, lock)
    assert walk.to_the_end() == [b"before", b"deleted", b"replaced"]


@pytest.mark.parametrize("cursor", [-5, 255, 256, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, -(1 << 63)])
def test_any_cursor_is_harmless(store: Store, cursor: int) -> None:
    store.put(TENANT, 0, b"key", b"")
    walk = Walk(store)
    walk.cursor = cursor
    assert set(walk.to_the_end()) <= {b"key"}
