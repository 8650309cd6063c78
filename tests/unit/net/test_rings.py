"""The compiled ring operations over rings in plain memory, with the test in the kernel's part."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from splinter.net.afxdp import ADDRESS, DESCRIPTOR, XSK, compiled
from splinter.net.afxdp.constants import XDP_RING_NEED_WAKEUP
from splinter.net.afxdp.record import RINGS

SIZE = 8
WRAP = 1 << 32


class Rings:
    """A record whose rings are NumPy arrays, all positions at ``start``; ``rings["rx_producer"]`` and so on are the arrays."""

    def __init__(self, start: int = 0) -> None:
        self.record = np.zeros(1, XSK)
        self.record["fd"] = -1
        self._arrays: dict[str, np.ndarray] = {}
        for ring in RINGS:
            self._arrays[f"{ring}_producer"] = np.full(1, start, np.uint32)
            self._arrays[f"{ring}_consumer"] = np.full(1, start, np.uint32)
            self._arrays[f"{ring}_flags"] = np.zeros(1, np.uint32)
            self._arrays[f"{ring}_entries"] = np.zeros(SIZE, DESCRIPTOR if ring in ("rx", "tx") else ADDRESS)
            self.record[f"{ring}_mask"] = SIZE - 1
        for name, array in self._arrays.items():
            self.record[name] = array.ctypes.data

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    @property
    def xsk(self) -> int:
        return int(self.record.ctypes.data)


STARTS = pytest.mark.parametrize("start", [0, 5, WRAP - 3, WRAP - 1])


@STARTS
def test_rx_takes_what_the_kernel_produced(start: int) -> None:
    rings = Rings(start)
    assert compiled.rx_available(rings.xsk) == 0
    for n in range(SIZE):
        rings["rx_entries"][(start + n) % SIZE] = (4096 + n, 60 + n, 0)
    rings["rx_producer"][0] = (start + SIZE) % WRAP
    assert compiled.rx_available(rings.xsk) == SIZE
    position = compiled.rx_position(rings.xsk)
    for n in range(SIZE):
        at = compiled.advance(position, n)
        assert (compiled.rx_address(rings.xsk, at), compiled.rx_length(rings.xsk, at)) == (4096 + n, 60 + n)
    compiled.rx_release(rings.xsk, compiled.advance(position, 6))
    assert rings["rx_consumer"][0] == (start + 6) % WRAP
    assert compiled.rx_available(rings.xsk) == 2
    assert rings["rx_producer"][0] == (start + SIZE) % WRAP  # the kernel's word


@STARTS
def test_tx_is_seen_only_when_published(start: int) -> None:
    rings = Rings(start)
    assert compiled.tx_free(rings.xsk) == SIZE
    position = compiled.tx_position(rings.xsk)
    for n in range(SIZE):
        compiled.tx_write(rings.xsk, compiled.advance(position, n), 2048 * n, 100 + n)
    assert rings["tx_producer"][0] == start and compiled.tx_pending(rings.xsk) == 0
    compiled.tx_publish(rings.xsk, compiled.advance(position, SIZE))
    assert rings["tx_producer"][0] == (start + SIZE) % WRAP
    assert [tuple(rings["tx_entries"][(start + n) % SIZE]) for n in range(SIZE)] == [
        (2048 * n, 100 + n, 0) for n in range(SIZE)
    ]
    assert compiled.tx_free(rings.xsk) == 0 and compiled.tx_pending(rings.xsk) == SIZE
    rings["tx_consumer"][0] = (start + 3) % WRAP
    assert compiled.tx_free(rings.xsk) == 3


@STARTS
def test_fill_and_completion_carry_addresses(start: int) -> None:
    rings = Rings(start)
    position = compiled.fill_position(rings.xsk)
    for n in range(SIZE):
        compiled.fill_write(rings.xsk, compiled.advance(position, n), 2048 * n)
    assert compiled.fill_free(rings.xsk) == SIZE
    compiled.fill_publish(rings.xsk, compiled.advance(position, SIZE))
    assert compiled.fill_free(rings.xsk) == 0 and compiled.fill_pending(rings.xsk) == SIZE
    assert [rings["fill_entries"][(start + n) % SIZE] for n in range(SIZE)] == [2048 * n for n in range(SIZE)]

    assert compiled.completion_available(rings.xsk) == 0
    for n in range(3):
        rings["completion_entries"][(start + n) % SIZE] = 9 + n
    rings["completion_producer"][0] = (start + 3) % WRAP
    assert compiled.completion_available(rings.xsk) == 3
    position = compiled.completion_position(rings.xsk)
    taken = [compiled.completion_address(rings.xsk, compiled.advance(position, n)) for n in range(3)]
    assert taken == [9, 10, 11]
    compiled.completion_release(rings.xsk, compiled.advance(position, 3))
    assert rings["completion_consumer"][0] == (start + 3) % WRAP and compiled.completion_available(rings.xsk) == 0


def test_wake_up_flags() -> None:
    rings = Rings()
    assert not compiled.tx_needs_wakeup(rings.xsk) and not compiled.fill_needs_wakeup(rings.xsk)
    rings["tx_flags"][0] = rings["fill_flags"][0] = XDP_RING_NEED_WAKEUP
    assert compiled.tx_needs_wakeup(rings.xsk) and compiled.fill_needs_wakeup(rings.xsk)
    rings["tx_flags"][0] = 0
    rings.record["wake_always"] = 1
    assert compiled.tx_needs_wakeup(rings.xsk)


def test_kick_calls_nobody_for_an_empty_ring_and_tells_hard_errors() -> None:
    rings = Rings()
    assert compiled.kick(rings.xsk) == 0  # with the descriptor -1, a call would fail
    compiled.tx_publish(rings.xsk, 1)
    assert compiled.kick(rings.xsk) == -errno.EBADF
