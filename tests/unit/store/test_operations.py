"""get, put, delete: values, versions, isolation, quotas, a full store."""

from __future__ import annotations

import ctypes
import random

import numpy as np
import pytest

from splinter import limits
from splinter.errors import (
    BadKeyError,
    OutOfMemoryError,
    QuotaExceededError,
    Status,
    UnknownTenantError,
    ValueTooLargeError,
    VersionChangedError,
)
from splinter.store.epochs import OLDEST_NONE, epoch_enter
from splinter.store.layout import KEY_LENGTH_BITS, OBJECT
from splinter.store.objects import object_value
from splinter.store.operations import store_find, store_key_hash, store_prefetch, store_put
from splinter.store.store import Store
from tests.support.rosters import bytes_for

TENANT, OTHER = 1, limits.TENANTS_MAX - 1
BIG = b"\xa5" * limits.VALUE_BYTES_MAX


def address_of(data: bytes) -> int:
    """Where the bytes of a bytes object lie, as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def test_an_object_is_found_replaced_and_deleted(store):
    assert store.get(TENANT, 0, b"dog") is None
    first = store.put(TENANT, 0, b"dog", b"woof")
    assert store.get(TENANT, 0, b"dog") == b"woof"
    second = store.put(TENANT, 0, b"dog", b"a much longer value than the first" * 10)
    assert second not in (0, first)
    stored = store.lookup(TENANT, 0, b"dog")
    assert (stored.value, stored.version) == (b"a much longer value than the first" * 10, second)
    assert store.delete(TENANT, 0, b"dog")
    assert not store.delete(TENANT, 0, b"dog")
    assert store.get(TENANT, 0, b"dog") is None


def test_keys_of_every_length_are_distinct(store):
    source = random.Random(1).randbytes(limits.KEY_BYTES_MAX)
    for length in range(1, limits.KEY_BYTES_MAX + 1):
        store.put(TENANT, 0, source[:length], length.to_bytes(2, "little"))
    for length in range(1, limits.KEY_BYTES_MAX + 1):
        assert store.get(TENANT, 0, source[:length]) == length.to_bytes(2, "little")
    zeros = [bytes(length) for length in range(1, 20)]
    for key in zeros:
        store.put(TENANT, 1, key, key)
    assert [store.get(TENANT, 1, key) for key in zeros] == zeros


@pytest.mark.parametrize("size", [0, 1, 7, 8, 24, 25, 31, 32, 33, 1408, 4096, 40000, 65535, limits.VALUE_BYTES_MAX])
def test_values_of_every_size(store, size):
    value = random.Random(size).randbytes(size)
    store.put(TENANT, 0, b"k" * limits.KEY_BYTES_MAX, value)
    assert store.get(TENANT, 0, b"k" * limits.KEY_BYTES_MAX) == value


def test_bad_lengths_are_refused(store):
    for key in (b"", bytes(limits.KEY_BYTES_MAX + 1)):
        with pytest.raises(BadKeyError):
            store.put(TENANT, 0, key, b"")
        with pytest.raises(BadKeyError):
            store.delete(TENANT, 0, key)
    with pytest.raises(ValueTooLargeError):
        store.put(TENANT, 0, b"key", BIG + b"x")


def test_tenants_and_tables_do_not_see_each_other(store):
    store.open_tenant(OTHER)
    places = [(tenant, table) for tenant in (TENANT, OTHER) for table in (0, 1, limits.TABLES_MAX - 1)]
    for tenant, table in places:
        assert store.get(tenant, table, b"key") is None
        store.put(tenant, table, b"key", f"{tenant} {table}".encode())
    for tenant, table in places:
        assert store.get(tenant, table, b"key") == f"{tenant} {table}".encode()
    store.delete(TENANT, 0, b"key")
    assert store.get(OTHER, 0, b"key") is not None


def test_writes_need_an_active_tenant(store):
    for tenant in (0, 2, limits.TENANTS_MAX, 1 << 31):
        with pytest.raises(UnknownTenantError):
            store.put(tenant, 0, b"key", b"")
        with pytest.raises(UnknownTenantError):
            store.delete(tenant, 0, b"key")


def test_expected_version_guards_a_put_and_a_delete(store):
    with pytest.raises(VersionChangedError):
        store.put(TENANT, 0, b"key", b"0", expected_version=2)
    first = store.put(TENANT, 0, b"key", b"1")
    second = store.put(TENANT, 0, b"key", b"2", expected_version=first)
    with pytest.raises(VersionChangedError):
        store.put(TENANT, 0, b"key", b"3", expected_version=first)
    with pytest.raises(VersionChangedError):
        store.delete(TENANT, 0, b"key", expected_version=first)
    assert store.get(TENANT, 0, b"key") == b"2"
    assert store.delete(TENANT, 0, b"key", expected_version=second)


def test_versions_are_unique_across_participants(store):
    versions = [
        store.put(TENANT, 0, b"key%d" % (number % 3), b"", participant=participant)
        for number in range(10)
        for participant in (0, 1, limits.PARTICIPANT_CONTROL)
    ]
    assert len(set(versions)) == len(versions)
    assert all(version > 0 and version % 2 == 0 for version in versions)


def test_accounts_charge_size_classes(store):
    store.put(TENANT, 0, b"12345678", bytes(24))  # 32 + 8 + 24
    assert store.accounts[TENANT]["bytes_used"] == 64 + bytes_for(1)
    store.put(TENANT, 0, b"12345678", bytes(25))
    assert store.accounts[TENANT]["bytes_used"] == 96 + bytes_for(1)
    store.put(TENANT, limits.TABLE_EXTENSIONS, b"extension", bytes(1000))
    assert (store.accounts[TENANT]["bytes_used"], store.accounts[TENANT]["objects"]) == (96 + 1536 + bytes_for(1), 2)
    store.delete(TENANT, 0, b"12345678")
    store.delete(TENANT, limits.TABLE_EXTENSIONS, b"extension")
    assert (store.accounts[TENANT]["bytes_used"], store.accounts[TENANT]["objects"]) == (0, 0)


def test_a_quota_holds_to_the_byte(store):
    store.open_tenant(TENANT, 3 * 64 + bytes_for(3))
    for number in range(3):
        store.put(TENANT, 0, b"key%d" % number, b"")
    with pytest.raises(QuotaExceededError):
        store.put(TENANT, 0, b"key3", b"")
    with pytest.raises(QuotaExceededError):
        store.put(TENANT, 0, b"key0", bytes(64))
    assert store.get(TENANT, 0, b"key0") == b""
    store.put(TENANT, 0, b"key0", b"same class")
    store.delete(TENANT, 0, b"key1")
    store.put(TENANT, 0, b"key3", b"")


def test_a_lowered_quota_lets_objects_shrink(store):
    store.put(TENANT, 0, b"key", bytes(1000))
    store.open_tenant(TENANT, 100)
    with pytest.raises(QuotaExceededError):
        store.put(TENANT, 0, b"key", bytes(2000))
    store.put(TENANT, 0, b"key", bytes(500))


def test_a_full_store_keeps_old_values_and_recovers(store):
    stored = 0
    with pytest.raises(OutOfMemoryError):
        for number in range(1000):
            store.put(TENANT, 0, b"%d" % number, BIG)
            stored = number + 1
    assert stored > 100
    with pytest.raises(OutOfMemoryError):
        store.put(TENANT, 0, b"0", BIG[:-1])
    for number in range(stored):
        assert store.get(TENANT, 0, b"%d" % number) == BIG
    assert store.problems() == []
    for number in range(10):
        store.delete(TENANT, 0, b"%d" % number)
    for number in range(8):  # the last deletions may still be in limbo
        store.put(TENANT, 0, b"new %d" % number, BIG)


def test_memory_is_reused_forever(store):
    slabs_before = None
    for turn in range(200):
        for key in (b"a", b"b", b"c"):
            store.put(TENANT, 0, key, bytes([turn]) * 1000)
            if turn % 3 == 0:
                store.delete(TENANT, 0, key)
        if turn == 20:
            slabs_before = store.usage().slabs_used
    assert store.usage().slabs_used == slabs_before
    assert store.usage().objects == 3


def test_a_value_may_come_out_of_the_store(store):
    store.put(TENANT, 0, b"from", b"contents")
    epoch_enter(store.address, 0, OLDEST_NONE)
    key = b"from"
    found = store_find(store.address, TENANT, 0, address_of(key), 4)
    to = b"to"
    assert store_put(store.address, 0, TENANT, 0, address_of(to), 2, object_value(found), 8, 0) == Status.OK
    assert store.get(TENANT, 0, b"to") == b"contents"


def test_a_prefetched_lookup_finds_the_same(store):
    store.put(TENANT, 5, b"key", b"value")
    key = b"key"
    hashed = store_key_hash(store.address, TENANT, 5, address_of(key), 3)
    hashes = np.array([[hashed, 7], [0, 7], [hashed, 7]], np.int64)  # in records of two words
    first = int(hashes.ctypes.data)
    store_prefetch(store.address, first, first + hashes.nbytes, 16)
    found = store_find(store.address, TENANT, 5, address_of(key), 3, hashed)
    assert found == store_find(store.address, TENANT, 5, address_of(key), 3) != 0
    assert store_find(store.address, TENANT, 6, address_of(key), 3, hashed) == 0


def test_an_object_says_what_it_is(store):
    version = store.put(TENANT, 258, b"key", b"value")
    key = b"key"
    found = store_find(store.address, TENANT, 258, address_of(key), 3)
    header = store.slabs_region.array(OBJECT, 1, found - store.slabs_region.address)[0]
    assert (header["version"], header["tenant"], header["table"]) == (version, TENANT, 258)
    assert header["lengths"] == 3 | 5 << KEY_LENGTH_BITS


def test_plan_splits_the_memory():
    buckets, slabs = Store.plan(1 << 30)
    assert buckets * limits.BUCKET_BYTES == 1 << 27
    assert slabs * limits.SLAB_BYTES == (1 << 30) - (1 << 27)
    for size in (limits.STORE_BYTES_MIN - 1, limits.STORE_BYTES_MAX + 1):
        with pytest.raises(ValueError, match="a store has"):
            Store.plan(size)
