"""The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.

It does not depend on the byte order, so words are added up as they stand in memory, eight bytes at a time.
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load8, load16, load32, load64, shift_right

WHOLE = 0xFFFF  # what a sum folds to that includes its own checksum, if nothing was damaged


@njit(cache=True)
def ones_sum(address: int, length: int) -> int:
    """The sum of ``length`` bytes (at most 2^31), not folded; a last odd byte counts as one followed by 0."""
    total = 0
    end = address + (length & -8)
    for at in range(address, end, 8):
        word = load64(at)
        total += (word & 0xFFFFFFFF) + shift_right(word, 32)
    if length & 4:
        total += load32(end)
        end += 4
    if length & 2:
        total += load16(end)
        end += 2
    if length & 1:
        total += load8(end)
    return total


@njit(cache=True)
def fold(total: int) -> int:
    """A sum below 2^48 in 16 bits."""
    total = (total & 0xFFFFFFFF) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)
