"""The sum of bytes is that of their 16-bit words, whatever their number and place."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numba import njit

from splinter.native.checksum import BLOCK_BYTES, WHOLE, fold, is_whole, ones_sum, word_sum

LENGTHS = (*range(5 * BLOCK_BYTES), 1471, 1472, 9000)


@pytest.fixture
def rng() -> random.Random:
    """Each test's own, so that what it finds does not depend on those before it."""
    return random.Random(1071)


@njit
def folded(address: int, length: int) -> int:
    return fold(ones_sum(address, length))


def expected(data: bytes) -> int:
    """The same modulo ``WHOLE``."""
    padded = data + bytes(len(data) % 2)
    return sum(int.from_bytes(padded[at : at + 2], "little") for at in range(0, len(padded), 2)) % WHOLE


@pytest.mark.parametrize("fill", [None, 0x00, 0xFF])
def test_any_number_of_bytes_at_any_place(rng: random.Random, fill: int | None) -> None:
    """What stands in front of them and behind them does not count."""
    for length in LENGTHS:
        start = BLOCK_BYTES + rng.randrange(BLOCK_BYTES)
        data = rng.randbytes(length) if fill is None else bytes([fill]) * length
        memory = np.frombuffer(bytearray(rng.randbytes(start) + data + rng.randbytes(BLOCK_BYTES)), np.uint8)
        total = folded(memory.ctypes.data + start, length)
        assert 0 <= total <= WHOLE
        assert total % WHOLE == expected(data), length
        assert (total == 0) == (not any(data)), length


def test_a_word_is_the_sum_of_its_parts() -> None:
    for word in (0, 1, -1, 1 << 62, -(1 << 63), 0x1234_5678_9ABC_DEF0):
        assert fold(word_sum(word)) % WHOLE == expected((word & (1 << 64) - 1).to_bytes(8, "little"))


def test_whole_is_what_a_sum_folds_to(rng: random.Random) -> None:
    sums = [count * WHOLE + more for count in (1, 2, 3, 65_536, (1 << 31) - 1) for more in (-1, 0, 1)]
    sums += [rng.randrange(1, 1 << 47) for _ in range(1000)] + [rng.randrange(1, 1 << 31) * WHOLE for _ in range(1000)]
    for total in sums:
        assert is_whole(total) == (fold(total) == WHOLE) == (total % WHOLE == 0), total
