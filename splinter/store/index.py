"""The index: chains of buckets of seven entries, each one word that names an object."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import load32_acquire, load64, load64_acquire, prefetch, shift_right
from splinter.store.hashing import keys_equal
from splinter.store.journal import commit, lock_inner, note, unlock
from splinter.store.layout import (
    B_ENTRIES,
    B_NEXT,
    CACHE_LINE_BYTES,
    D_BUCKETS,
    D_BUCKETS_LOCK,
    D_BUCKETS_TOTAL,
    D_BUCKETS_USED,
    D_INDEX,
    D_SLABS,
    ENTRY_BYTES,
    ENTRY_CLASS_MASK,
    ENTRY_CLASS_SHIFT,
    ENTRY_TAG_SHIFT,
    O_IDENTITY,
    O_KEY,
    UNIT_BYTES,
    UNIT_MASK,
)

_OK, _BUSY, _OUT_OF_MEMORY = int(Status.OK), int(Status.BUSY), int(Status.OUT_OF_MEMORY)
_BUCKET_BYTES = limits.BUCKET_BYTES
_OBJECT_LINES = 3  # header, a key of 30 bytes and a value of 100
_BUCKET_ENTRIES = limits.BUCKET_ENTRIES
_CHAIN_BUCKETS_MAX = limits.CHAIN_BUCKETS_MAX
_BUCKET_HASH_BITS = 32


@njit(cache=True)
def entry_word(hashed: int, size_class: int, unit: int) -> int:
    """The word of an entry for the object at ``unit``; never 0."""
    return shift_right(hashed, ENTRY_TAG_SHIFT) << ENTRY_TAG_SHIFT | size_class << ENTRY_CLASS_SHIFT | unit


@njit(cache=True)
def word_unit(word: int) -> int:
    """The unit of an entry's object."""
    return word & UNIT_MASK


@njit(cache=True)
def word_class(word: int) -> int:
    """The size class of an entry's object."""
    return (word >> ENTRY_CLASS_SHIFT) & ENTRY_CLASS_MASK


@njit(cache=True)
def word_object(store: int, word: int) -> int:
    """The address of an entry's object."""
    return load64(store + D_SLABS) + (word & UNIT_MASK) * UNIT_BYTES


@njit(cache=True)
def bucket_at(store: int, index: int) -> int:
    """Address of a bucket."""
    return load64(store + D_INDEX) + index * _BUCKET_BYTES


@njit(cache=True)
def bucket_number(store: int, hashed: int) -> int:
    """The main bucket of a hash: its low 32 bits, scaled to the number of main buckets (which is no power of two)."""
    return shift_right((hashed & 0xFFFFFFFF) * load64(store + D_BUCKETS), _BUCKET_HASH_BITS)


@njit(cache=True)
def prefetch_bucket(store: int, hashed: int) -> None:
    """Ask for the cache line of a hash's main bucket."""
    prefetch(bucket_at(store, bucket_number(store, hashed)))


@njit(cache=True)
def prefetch_object(store: int, hashed: int) -> None:
    """Ask for the first cache lines of the object that a hash's main bucket names, if it names one (or another of its tag)."""
    tag = shift_right(hashed, ENTRY_TAG_SHIFT)
    bucket = bucket_at(store, bucket_number(store, hashed))
    for i in range(_BUCKET_ENTRIES):
        word = load64_acquire(bucket + B_ENTRIES + i * ENTRY_BYTES)
        if shift_right(word, ENTRY_TAG_SHIFT) == tag and word != 0:
            found = load64(store + D_SLABS) + (word & UNIT_MASK) * UNIT_BYTES
            for line in range(_OBJECT_LINES):
                prefetch(found + line * CACHE_LINE_BYTES)
            return


@njit(cache=True)
def find_entry(store: int, hashed: int, identity: int, key: int, key_length: int) -> tuple[int, int]:
    """(address, word) of the entry of a key; (0, 0) when there is none.

    The word is loaded once, with acquire: the object that it names is complete. The address may hold another word by
    now, unless the caller holds the tenant's lock.
    """
    tag = shift_right(hashed, ENTRY_TAG_SHIFT)
    slabs = load64(store + D_SLABS)
    bucket = bucket_at(store, bucket_number(store, hashed))
    for _ in range(_CHAIN_BUCKETS_MAX):
        for i in range(_BUCKET_ENTRIES):
            entry = bucket + B_ENTRIES + i * ENTRY_BYTES
            word = load64_acquire(entry)
            if shift_right(word, ENTRY_TAG_SHIFT) == tag and word != 0:
                found = slabs + (word & UNIT_MASK) * UNIT_BYTES
                if load64(found + O_IDENTITY) == identity and keys_equal(found + O_KEY, key, key_length):
                    return entry, word
        following = load32_acquire(bucket + B_NEXT)
        if following == 0:
            break
        bucket = bucket_at(store, following)
    return 0, 0


@njit(cache=True)
def empty_entry(store: int, me: int, hashed: int) -> int:
    """Address of an empty entry in a hash's chain, which grows if it must; or -OUT_OF_MEMORY, -BUSY.

    Anybody may fill the entry first: the caller claims it by compare-and-swap and asks again when that fails.
    """
    bucket = bucket_at(store, bucket_number(store, hashed))
    for depth in range(_CHAIN_BUCKETS_MAX):
        for i in range(_BUCKET_ENTRIES):
            entry = bucket + B_ENTRIES + i * ENTRY_BYTES
            if load64_acquire(entry) == 0:
                return entry
        if load32_acquire(bucket + B_NEXT) == 0:
            status = _OUT_OF_MEMORY if depth == _CHAIN_BUCKETS_MAX - 1 else _grow(store, me, bucket)
            if status != _OK:
                return -status
        bucket = bucket_at(store, load32_acquire(bucket + B_NEXT))
    return -_OUT_OF_MEMORY


@njit(cache=True)
def _grow(store: int, me: int, bucket: int) -> int:
    """Link an overflow bucket, all zero, behind ``bucket`` unless another participant has done so. Returns a status."""
    if not lock_inner(store, me, store + D_BUCKETS_LOCK):
        return _BUSY
    status = _OK
    if load32_acquire(bucket + B_NEXT) == 0:
        unused = load64(store + D_BUCKETS_USED)
        if unused == load64(store + D_BUCKETS_TOTAL):
            status = _OUT_OF_MEMORY
        else:
            count = note(store, me, 0, bucket + B_NEXT, unused)  # the whole word: the spare half is always 0
            count = note(store, me, count, store + D_BUCKETS_USED, unused + 1)
            commit(store, me, count)
    unlock(store, store + D_BUCKETS_LOCK)
    return status
