"""The hash that places a key, and the comparison of keys.

A key is taken as words of 8 bytes, the last one first; its first 1 to 8 bytes are the last word. Each word adds two
products to two sums: the halves of the word, plus two random halves, are multiplied (the hash NH of UMAC, RFC 4418, with two
rounds). Two keys of one length give the same sums with a chance of some 2^-64, whoever chose them, as the random words
(``hash_words`` of the store's descriptor) are nobody's but the store's. The two are then multiplied, 64 × 64 → 128 bits, and
the halves xored, as in wyhash (https://github.com/wangyi-fudan/wyhash). All of it can be computed under the BPF verifier, from
products of 32 bits, and those of a key's words do not wait for each other.

Neither function reads a byte outside the key: the last, partial word is read so that it overlaps the one before it,
or, in keys of less than 8 bytes, in two or three overlapping parts.
"""

from __future__ import annotations

from numba import njit

from splinter.layout import offset
from splinter.native.atomics import load8, load32, load64, multiply_fold, shift_right
from splinter.store.layout import STORE
from splinter.store.records import Descriptor

_HASH_WORDS = offset(STORE, "hash_words")

_TABLE_SHIFT = 16
_KEY_LENGTH_SHIFT = 32
_HALF_MASK = 0xFFFF
_WORD_MASK = 0xFFFFFFFF


@njit(cache=True, forceinline=True)
def identity_of(tenant: int, table: int, key_length: int) -> int:
    """Tenant, table and key length as they stand in an object's header, in the lower IDENTITY_BITS bits of a word."""
    return tenant | table << _TABLE_SHIFT | key_length << _KEY_LENGTH_SHIFT


@njit(cache=True)
def identity_tenant(identity: int) -> int:
    """The tenant of an identity."""
    return identity & _HALF_MASK


@njit(cache=True)
def identity_table(identity: int) -> int:
    """The table of an identity."""
    return identity >> _TABLE_SHIFT & _HALF_MASK


@njit(cache=True)
def identity_key_length(identity: int) -> int:
    """The key length of an identity."""
    return identity >> _KEY_LENGTH_SHIFT


@njit(cache=True, forceinline=True)
def _short_word(key: int, key_length: int) -> int:
    """All bytes of a key of 1 … 7 bytes as they stand in memory, in the lower end of a word."""
    if key_length >= 4:
        return load32(key) | load32(key + key_length - 4) << 8 * (key_length - 4)
    middle, last = key_length >> 1, key_length - 1
    return load8(key) | load8(key + middle) << 8 * middle | load8(key + last) << 8 * last


@njit(cache=True, forceinline=True)
def _product(word: int, random: int) -> int:
    """The product of the halves of ``word`` plus those of ``random``."""
    return (word + random & _WORD_MASK) * (shift_right(word, 32) + shift_right(random, 32) & _WORD_MASK)


@njit(cache=True, forceinline=True)
def store_hash(store: int, identity: int, key: int, key_length: int) -> int:
    """64-bit hash of a key of 1 … KEY_BYTES_MAX bytes at ``key``; ``identity`` as of :func:`identity_of`."""
    descriptor = Descriptor(store)
    random = store + _HASH_WORDS
    first = load64(random)
    following = load64(random + 8)
    left = key_length
    sum_first = sum_second = 0
    while left > 8:
        word = load64(key + left - 8)
        sum_first += _product(word, first)
        sum_second += _product(word, following)
        random += 8
        first, following = following, load64(random + 8)
        left -= 8
    unused = 64 - 8 * left
    word = shift_right(load64(key) << unused, unused) if key_length >= 8 else _short_word(key, key_length)
    sum_first += _product(word, first)
    sum_second += _product(word, following)
    return multiply_fold(identity * descriptor.seed + sum_first, descriptor.multiplier + sum_second)


@njit(cache=True, forceinline=True)
def keys_equal(left: int, right: int, key_length: int) -> bool:
    """Whether two keys of the same length, 1 … KEY_BYTES_MAX bytes, are the same bytes."""
    if key_length < 8:
        return _short_word(left, key_length) == _short_word(right, key_length)
    last = key_length - 8
    at = 0
    while at < last:
        if load64(left + at) != load64(right + at):
            return False
        at += 8
    return load64(left + last) == load64(right + last)
