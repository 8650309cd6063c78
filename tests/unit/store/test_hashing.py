"""The hash and the comparison of keys: every byte counts, no byte beyond the key is read."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import pytest
from numba import njit

from splinter import limits
from splinter.layout import offset
from splinter.native.atomics import shift_right, store64
from splinter.store.hashing import identity_of, keys_equal, store_hash
from splinter.store.index import bucket_number
from splinter.store.layout import ENTRY_TAG_SHIFT, STORE
from tests.unit.store.store_scenario import set_hash

PAGE = mmap.PAGESIZE
KEYS = 200_000
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
def count_places(store: int, key: int, length: int, number_at: int, shift: int, buckets: np.ndarray, tags: np.ndarray) -> None:
    """Count where the keys fall that are as that at ``key``, with 0 … KEYS - 1, times a power of two, at a place in them."""
    for number in range(KEYS):
        store64(key + number_at, number << shift)
        hashed = store_hash(store, identity_of(1, 0, length), key, length)
        buckets[bucket_number(store, hashed)] += 1
        tags[shift_right(hashed, ENTRY_TAG_SHIFT)] += 1


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


def test_every_random_number_counts(store):
    """Who knows all but one of them does not know where a key is."""
    key = np.zeros(limits.KEY_BYTES_MAX, dtype=np.uint8)
    identity = identity_of(1, 0, len(key))
    seen = {store_hash(store.address, identity, key.ctypes.data, len(key))}
    names = ("seed", "multiplier", "hash_words")
    memory = store.state_region.array(np.dtype("<u8"), STORE.itemsize // 8)
    for name in names:
        first = offset(STORE, name) // 8
        for place in range(first, first + STORE[name].itemsize // 8):
            memory[place] ^= np.uint64(1 << 40)
            seen.add(store_hash(store.address, identity, key.ctypes.data, len(key)))
            memory[place] ^= np.uint64(1 << 40)
    assert len(seen) == 1 + sum(STORE[name].itemsize // 8 for name in names)


def test_flipping_high_bits_of_two_words_does_not_collide(store):
    """What collides under every seed when a hash keeps only the low half of each product."""
    keys = np.zeros((2, 16), dtype=np.uint8)
    keys[1, 7] = 0x80
    keys[1, 11], keys[1, 15] = 0x80, 0x80
    identity = identity_of(1, 0, 16)
    first, second = (store_hash(store.address, identity, key.ctypes.data, 16) for key in keys)
    assert first != second


@pytest.mark.parametrize(
    ("length", "number_at", "shift"),
    [(8, 0, 0), (8, 0, 8), (8, 0, 32), (8, 0, 44), (30, 22, 0), (30, 3, 0), (250, 9, 0)],
)
def test_counting_keys_spread_evenly(store, length, number_at, shift):
    """Chi-square of many numbers, over all main buckets and over all tags, beside its mean.

    With the random words of this test it is within 6 standard deviations. With others it may be far outside of these, and is
    still near enough for an index: of 2,000 the worst was 1.15 times its mean.
    """
    spreads = [_spreads(store, length, number_at, shift)]
    set_hash(store)
    spreads.append(_spreads(store, length, number_at, shift))
    assert all(0.5 < spread < 1.5 for spread, _ in spreads[0])
    assert all(abs(spread - 1) * count < 6 * (2 * count) ** 0.5 for spread, count in spreads[1])


def _spreads(store, length, number_at, shift):
    """Of buckets and of tags: chi-square over its mean, and how many of them there are."""
    key = np.full(length, ord("k"), dtype=np.uint8)
    buckets = np.zeros(int(store.descriptor["buckets"]), dtype=np.int64)
    tags = np.zeros(1 << 64 - ENTRY_TAG_SHIFT, dtype=np.int64)
    count_places(store.address, key.ctypes.data, length, number_at, shift, buckets, tags)
    return [(((counts - KEYS / len(counts)) ** 2).sum() / KEYS, len(counts)) for counts in (buckets, tags)]
