"""SHA-1 (FIPS 180-4), by which the Redis protocol names scripts. It protects nothing: a digest chooses one of a fixed table."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load8, store8

DIGEST_BYTES = 20
_BLOCK_BYTES = 64
_WORDS = 16  # of a block
_MASK = 0xFFFFFFFF


@njit(cache=True)
def _turn(word: int, by: int) -> int:
    return (word << by | word >> (32 - by)) & _MASK


@njit(cache=True)
def _byte(address: int, length: int, place: int, end: int) -> int:
    """A byte of the padded message: the bytes, 0x80, zeros, and in the last 8 bytes their number in bits."""
    if place < length:
        return load8(address + place)
    if place == length:
        return 0x80
    return length * 8 >> 8 * (end - 1 - place) & 0xFF if place >= end - 8 else 0


@njit(cache=True)
def sha1(address: int, length: int, digest: int) -> None:
    """Write the digest of these bytes, DIGEST_BYTES of it."""
    end = (length + 8) // _BLOCK_BYTES * _BLOCK_BYTES + _BLOCK_BYTES
    h0, h1, h2, h3, h4 = 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0
    words = [0] * 80
    for start in range(0, end, _BLOCK_BYTES):
        for number in range(_WORDS):
            word = 0
            for place in range(start + 4 * number, start + 4 * number + 4):
                word = word << 8 | _byte(address, length, place, end)
            words[number] = word
        for number in range(_WORDS, 80):
            words[number] = _turn(words[number - 3] ^ words[number - 8] ^ words[number - 14] ^ words[number - 16], 1)
        a, b, c, d, e = h0, h1, h2, h3, h4
        for number in range(80):
            if number < 20:
                mixed, constant = b & c | ~b & d, 0x5A827999
            elif number < 40:
                mixed, constant = b ^ c ^ d, 0x6ED9EBA1
            elif number < 60:
                mixed, constant = b & c | b & d | c & d, 0x8F1BBCDC
            else:
                mixed, constant = b ^ c ^ d, 0xCA62C1D6
            a, b, c, d, e = (_turn(a, 5) + (mixed & _MASK) + e + constant + words[number]) & _MASK, a, _turn(b, 30), c, d
        h0, h1, h2, h3, h4 = h0 + a & _MASK, h1 + b & _MASK, h2 + c & _MASK, h3 + d & _MASK, h4 + e & _MASK
    for number, word in enumerate((h0, h1, h2, h3, h4)):
        for place in range(4):
            store8(digest + 4 * number + place, word >> 8 * (3 - place) & 0xFF)
