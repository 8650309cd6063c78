"""The hash and the comparison of keys: every byte counts, no byte beyond the key is read."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import pytest
from numba import njit

from splinter import limits
from splinter.native.atomics import store64
from splinter.store.hashing import identity_of, keys_equal, store_hash
from splinter.store.index import bucket_number

PAGE = mmap.PAGESIZE
PROT_NONE = 0
PROT_READ_WRITE = 3


@njit
def hash_all_lengths(store: int, start: int, end: int) -> int:
    """Hash keys that begin at ``start`` and keys that end at ``end``, of every length; returns the number of keys that differ
    from their copy at the other place."""
    different = 0
    for length in range(1, 256):
        identity = identity_of(7, 3, length)
        if store_hash(store, identity, start, length) != store_hash(store, identity, end - length, length):
            different += 1
        if not keys_equal(start, end - length, length):
            different += 1
    return different


@njit
def count_buckets(store: int, key: int, keys: int, counts: np.ndarray) -> None:
    """Add to each main bucket's count the keys 0 … ``keys - 1`` (8 bytes, written at ``key``) that fall in it."""
    for number in range(keys):
        store64(key, number)
        counts[bucket_number(store, store_hash(store, identity_of(1, 0, 8), key, 8))] += 1


@pytest.fixture
def fenced_page():
    """Address of a page between two that may not be touched."""
    memory = mmap.mmap(-1, 3 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for page in (address, address + 2 * PAGE):
        assert libc.mprotect(ctypes.c_void_p(page), PAGE, PROT_NONE) == 0
    yield address + PAGE
    for page in (address, address + 2 * PAGE):
        libc.mprotect(ctypes.c_void_p(page), PAGE, PROT_READ_WRITE)


def test_hash_and_comparison_never_read_outside_the_key(store, children, fenced_page):
    ctypes.memset(fenced_page, 0x5A, PAGE)  # so that the keys at both ends are equal
    assert children([lambda: hash_all_lengths(store.address, fenced_page, fenced_page + PAGE)]) == [0]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 30, 64, 255])
def test_every_bit_of_the_key_counts(store, length):
    key = np.zeros(length, dtype=np.uint8)
    other = np.zeros(length, dtype=np.uint8)
    identity = identity_of(1, 0, length)
    plain = store_hash(store.address, identity, key.ctypes.data, length)
    assert keys_equal(key.ctypes.data, other.ctypes.data, length)
    seen = {plain}
    for bit in range(8 * length):
        other[bit // 8] = 1 << bit % 8
        assert not keys_equal(key.ctypes.data, other.ctypes.data, length)
        seen.add(store_hash(store.address, identity, other.ctypes.data, length))
        other[bit // 8] = 0
    assert len(seen) == 8 * length + 1


def test_tenant_table_and_length_count(store):
    key = np.zeros(limits.KEY_BYTES_MAX, dtype=np.uint8)
    hashes = {
        store_hash(store.address, identity_of(tenant, table, length), key.ctypes.data, length)
        for tenant in (1, 2, limits.TENANTS_MAX - 1)
        for table in (0, 1, limits.TABLE_EXTENSIONS)
        for length in (1, 2, 3, 4, 8, 16, 24, 255)
    }
    assert len(hashes) == 3 * 3 * 8


def test_seed_changes_every_hash(store):
    key = np.zeros(16, dtype=np.uint8)
    identity = identity_of(1, 0, 16)
    before = store_hash(store.address, identity, key.ctypes.data, 16)
    store.descriptor["seed"] ^= 1
    assert store_hash(store.address, identity, key.ctypes.data, 16) != before


def test_flipping_high_bits_of_two_words_does_not_collide(store):
    """What collides under every seed when a hash keeps only the low half of each product."""
    keys = np.zeros((2, 16), dtype=np.uint8)
    keys[1, 7] = 0x80
    keys[1, 11], keys[1, 15] = 0x80, 0x80
    identity = identity_of(1, 0, 16)
    first, second = (store_hash(store.address, identity, key.ctypes.data, 16) for key in keys)
    assert first != second


def test_counting_keys_spread_evenly(store):
    """Chi-square of 200,000 consecutive integers over all main buckets, within 6 standard deviations of its mean."""
    buckets = int(store.descriptor["buckets"])
    counts = np.zeros(buckets, dtype=np.int64)
    key = np.zeros(8, dtype=np.uint8)
    count_buckets(store.address, key.ctypes.data, 200_000, counts)
    expected = 200_000 / buckets
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_square - buckets) < 6 * (2 * buckets) ** 0.5
