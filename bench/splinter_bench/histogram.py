"""Latency histogram with the resolution of HdrHistogram (Gil Tene): log-linear, in a NumPy array.

Values below ``LINEAR`` have a cell each. Above, each power of two is divided into ``LINEAR / 2`` cells, so a cell is at
most 1/1024 of its values wide: three significant digits, from 1 ns to 10 s, in 200 KB. A longer one counts as 10 s.
Histograms of equal shape merge by addition.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter.native.atomics import load64, shift_right, store64

VALUE_NS_MAX = 10_000_000_000
_LINEAR_BITS = 11
LINEAR = 1 << _LINEAR_BITS
_WORD_BYTES = 8


@njit(cache=True)
def cell_of(value: int, linear_bits: int) -> int:
    """Number of the cell that counts a value of 0 … ``VALUE_NS_MAX``, where each power of two has ``2 ** linear_bits / 2``."""
    exponent, rest = 0, value
    while shift_right(rest, linear_bits):
        rest = shift_right(rest, 1)
        exponent += 1
    return (exponent << (linear_bits - 1)) + rest


def cells_for(linear_bits: int) -> int:
    """How many cells count all values."""
    exponent = max(0, VALUE_NS_MAX.bit_length() - linear_bits)
    return (exponent << (linear_bits - 1)) + (VALUE_NS_MAX >> exponent) + 1


CELLS = cells_for(_LINEAR_BITS)
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


@njit(cache=True)
def record(cells: int, value_ns: int) -> None:
    """Count one value, in ns, in the histogram whose ``CELLS`` 64-bit cells start at address ``cells``."""
    cell = cells + cell_of(min(max(value_ns, 0), VALUE_NS_MAX), _LINEAR_BITS) * _WORD_BYTES
    store64(cell, load64(cell) + 1)


def cell_bounds(cell: int, linear_bits: int = _LINEAR_BITS) -> tuple[int, int]:
    """Smallest and largest value, in ns, that a cell counts."""
    exponent = max(0, (cell >> (linear_bits - 1)) - 1)
    low = (cell - (exponent << (linear_bits - 1))) << exponent
    return low, low + (1 << exponent) - 1


class Histogram:
    """Counts of latencies in ns. ``cells`` is the array that :func:`record` counts in, by its ``address``."""

    def __init__(self) -> None:
        self.cells = np.zeros(CELLS, np.int64)

    @property
    def address(self) -> int:
        """Address of the cells, for compiled code; valid as long as this object lives."""
        return int(self.cells.ctypes.data)

    @property
    def count(self) -> int:
        """Number of values counted."""
        return int(self.cells.sum())

    def record(self, value_ns: int) -> None:
        """Count one value, in ns."""
        record(self.address, value_ns)

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts to this one."""
        self.cells += other.cells

    def clear(self) -> None:
        """Forget everything."""
        self.cells[:] = 0

    def percentile(self, percent: float) -> int:
        """Value in ns that ``percent`` of the values do not exceed (the middle of its cell); 0 when there are none."""
        total = self.count
        if total == 0:
            return 0
        rank = max(1, int(np.ceil(total * percent / 100.0)))
        low, high = cell_bounds(int(np.searchsorted(np.cumsum(self.cells), rank)))
        return (low + high) // 2

    def percentiles(self) -> dict[str, int]:
        """The :data:`PERCENTILES` in ns by name: ``p50`` … ``p99.99``."""
        return {f"p{percent:g}": self.percentile(percent) for percent in PERCENTILES}

    @property
    def max(self) -> int:
        """Upper end of the highest cell that counts anything, in ns; 0 when none does."""
        used = np.flatnonzero(self.cells)
        return cell_bounds(int(used[-1]))[1] if used.size else 0

    @property
    def mean(self) -> float:
        """Mean in ns, to the resolution of the cells. 0 when nothing was counted."""
        used = np.flatnonzero(self.cells)
        if used.size == 0:
            return 0.0
        middles = [sum(cell_bounds(int(cell))) / 2 for cell in used]
        return float(np.average(middles, weights=self.cells[used]))
