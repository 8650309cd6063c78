"""Chains of buckets: growth, bounds, holes, races for an entry."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from splinter import limits
from splinter.errors import OutOfMemoryError
from splinter.native.atomics import store64
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import bucket_number

TENANT, OTHER = 1, 2
CHAIN_ENTRIES = limits.CHAIN_BUCKETS_MAX * limits.BUCKET_ENTRIES


@njit
def find_colliding(store: int, tenant: int, key: int, found: np.ndarray) -> None:
    """Fill ``found`` with 8-byte integers that fall, as keys of table 0, into main bucket 0."""
    number = 0
    for i in range(len(found)):
        while True:
            store64(key, number)
            number += 1
            if bucket_number(store, store_hash(store, identity_of(tenant, 0, 8), key, 8)) == 0:
                break
        found[i] = number - 1


def colliding_keys(store, count: int, tenant: int = TENANT) -> list[bytes]:
    """Keys of table 0 that share one chain."""
    scratch, found = np.zeros(1, dtype=np.int64), np.zeros(count, dtype=np.int64)
    find_colliding(store.address, tenant, scratch.ctypes.data, found)
    return [int(number).to_bytes(8, "little") for number in found]


def test_a_chain_grows_to_its_bound_and_no_further(store):
    keys = colliding_keys(store, CHAIN_ENTRIES + 1)
    for key in keys[:-1]:
        store.put(TENANT, 0, key, key)
    assert store.usage().overflow_used == limits.CHAIN_BUCKETS_MAX - 1
    with pytest.raises(OutOfMemoryError):
        store.put(TENANT, 0, keys[-1], b"")
    assert store.get(TENANT, 0, keys[-1]) is None
    assert [store.get(TENANT, 0, key) for key in keys[:-1]] == keys[:-1]
    store.put(TENANT, 0, keys[30], b"replaced")
    store.delete(TENANT, 0, keys[3])
    store.put(TENANT, 0, keys[-1], b"fits now")
    assert store.get(TENANT, 0, keys[-1]) == b"fits now"
    assert store.usage().overflow_used == limits.CHAIN_BUCKETS_MAX - 1


def test_the_overflow_pool_ends_with_a_status(store):
    store.descriptor["buckets_total"] = store.descriptor["buckets"] + 1
    keys = colliding_keys(store, 2 * limits.BUCKET_ENTRIES + 1)
    for key in keys[:-1]:
        store.put(TENANT, 0, key, key)
    with pytest.raises(OutOfMemoryError):
        store.put(TENANT, 0, keys[-1], b"")
    assert [store.get(TENANT, 0, key) for key in keys[:-1]] == keys[:-1]


def test_an_emptied_entry_is_used_by_another_tenant(store):
    store.open_tenant(OTHER)
    for key in colliding_keys(store, limits.BUCKET_ENTRIES):
        store.put(TENANT, 0, key, b"")
        store.delete(TENANT, 0, key)
    for key in colliding_keys(store, limits.BUCKET_ENTRIES, OTHER):
        store.put(OTHER, 0, key, b"")
    assert store.usage().overflow_used == 0


def test_writers_of_several_tenants_race_for_the_entries_of_one_chain(store, children):
    """Each fills and empties its share of one chain over and over; no object is lost and no entry is taken twice."""
    share = CHAIN_ENTRIES // 4
    keys = {}
    for tenant in range(1, 5):
        store.open_tenant(tenant)
        keys[tenant] = colliding_keys(store, share, tenant)

    def fill_and_empty(tenant: int) -> int:
        wrong = 0
        for turn in range(100):
            for key in keys[tenant]:
                store.put(tenant, 0, key, bytes([turn]), participant=tenant - 1)
            for key in keys[tenant]:
                wrong += store.get(tenant, 0, key, participant=tenant - 1) != bytes([turn])
                if turn < 99:
                    wrong += not store.delete(tenant, 0, key, participant=tenant - 1)
        return min(wrong, 200)

    assert children([lambda tenant=tenant: fill_and_empty(tenant) for tenant in keys]) == [0, 0, 0, 0]
    assert store.usage().objects == CHAIN_ENTRIES
