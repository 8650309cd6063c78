"""The hash that places a key, and the comparison of keys.

One multiplication of 64 × 64 → 128 bits for each 8 bytes, its halves xored, as in wyhash
(https://github.com/wangyi-fudan/wyhash). Seed and multiplier are random per store: without them nobody can construct
keys that collide. (A multiplication that keeps only the low half would not do: flipping the highest bit of two
consecutive words collides under every seed.) It needs only multiplication, xor and shift, so it can be computed under
the BPF verifier from four 32-bit products.

Neither function reads a byte outside the key: the last, partial word is read so that it overlaps the one before it,
or, in keys of less than 8 bytes, in two overlapping halves.
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load8, load32, load64, multiply_fold
from splinter.store.records import Descriptor

_TABLE_SHIFT = 16
_KEY_LENGTH_SHIFT = 32
_HALF_MASK = 0xFFFF


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
    """All bytes of a key of 1 … 7 bytes, in one word."""
    if key_length >= 4:
        return load32(key) | load32(key + key_length - 4) << 32
    return load8(key) | load8(key + (key_length >> 1)) << 8 | load8(key + key_length - 1) << 16


@njit(cache=True, forceinline=True)
def store_hash(store: int, identity: int, key: int, key_length: int) -> int:
    """64-bit hash of a key of 1 … KEY_BYTES_MAX bytes at ``key``; ``identity`` as of :func:`identity_of`."""
    descriptor = Descriptor(store)
    multiplier = descriptor.multiplier
    mixed = multiply_fold(identity ^ descriptor.seed, multiplier)
    if key_length < 8:
        mixed = multiply_fold(mixed ^ _short_word(key, key_length), multiplier)
    else:
        last = key + key_length - 8
        while key < last:
            mixed = multiply_fold(mixed ^ load64(key), multiplier)
            key += 8
        mixed = multiply_fold(mixed ^ load64(last), multiplier)
    return multiply_fold(mixed ^ identity, multiplier)


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
