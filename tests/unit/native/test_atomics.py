"""The intrinsics do what their names say."""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter.native import atomics, libc


def test_loads_zero_extend_and_stores_truncate() -> None:
    @njit
    def run(address: int) -> tuple[int, int, int, int]:
        atomics.store64(address, -1)
        atomics.store8(address, 0x1FF)
        atomics.store16(address + 2, 0x1FFFE)
        return (
            atomics.load8(address),
            atomics.load16(address + 2),
            atomics.load32(address + 4),
            atomics.load64(address),
        )

    memory = np.zeros(1, dtype=np.int64)
    assert run(memory.ctypes.data) == (0xFF, 0xFFFE, 0xFFFFFFFF, -65537)


def test_unaligned_plain_access() -> None:
    @njit
    def run(address: int) -> int:
        atomics.store64(address + 3, 0x0102030405060708)
        return atomics.load64(address + 3)

    memory = np.zeros(2, dtype=np.int64)
    assert run(memory.ctypes.data) == 0x0102030405060708


def test_compare_and_swap_exchange_and_fetch_add() -> None:
    @njit
    def run(address: int) -> tuple[bool, bool, int, int, int]:
        atomics.store64(address, 5)
        first = atomics.cas64(address, 4, 9)
        second = atomics.cas64(address, 5, 9)
        added = atomics.fetch_add64(address, 3)
        swapped = atomics.exchange64(address, 1)
        return first, second, added, swapped, atomics.load64_acquire(address)

    memory = np.zeros(1, dtype=np.int64)
    assert run(memory.ctypes.data) == (False, True, 9, 12, 1)


def test_narrow_atomics_leave_their_neighbours_alone() -> None:
    @njit
    def run(address: int) -> tuple[bool, int]:
        done = atomics.cas32(address, 0, -1)
        return done, atomics.fetch_add32(address, 1)

    memory = np.zeros(2, dtype=np.uint32)
    assert run(memory.ctypes.data) == (True, 0xFFFFFFFF)
    assert memory.tolist() == [0, 0]


def test_unsigned_arithmetic_of_words() -> None:
    @njit
    def run(left: int, right: int) -> tuple[int, bool, bool]:
        return atomics.shift_right(left, 60), atomics.less_unsigned(left, right), atomics.less_unsigned(right, left)

    assert run(-1, 1) == (15, False, True)


def test_errno_is_that_of_the_failed_call() -> None:
    @njit
    def run() -> tuple[int, int]:
        result = libc.sendto(-1, 0, 0, 0, 0, 0)
        return result, libc.errno()

    assert run() == (-1, 9)  # EBADF
