"""Latency histogram with the resolution of HdrHistogram (Gil Tene): log-linear, in a NumPy array.

Values below ``LINEAR`` have a cell each. Above, each power of two is divided into ``LINEAR / 2`` cells, so a cell is at
most 1/1024 of its values wide: three significant digits, from 1 ns to 10 s, in 200 KB. A longer one counts as 10 s.
Histograms of equal shape merge by addition.

A series has a coarser one for each interval of a run, with two significant digits (a cell is at most 1/64 of its values wide),
so that a few hundred of them take a few megabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from splinter.native.atomics import load64, shift_right, store64

VALUE_NS_MAX = 10_000_000_000
_LINEAR_BITS = 11
LINEAR = 1 << _LINEAR_BITS
_SERIES_BITS = 7
_WORD_BYTES = 8
_INTERVAL_NS_MIN = 100_000_000
_INTERVALS_MAX = 600


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
_SERIES_CELLS = cells_for(_SERIES_BITS)
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


@njit(inline="always")
def _count(cells: int, value_ns: int, linear_bits: int) -> None:
    cell = cells + cell_of(min(max(value_ns, 0), VALUE_NS_MAX), linear_bits) * _WORD_BYTES
    store64(cell, load64(cell) + 1)


@njit(cache=True)
def record(cells: int, value_ns: int) -> None:
    """Count one value, in ns, in the histogram whose ``CELLS`` 64-bit cells start at address ``cells``."""
    _count(cells, value_ns, _LINEAR_BITS)


@njit(cache=True)
def record_in_series(cells: int, intervals: int, interval: int, value_ns: int) -> None:
    """Count one value, in ns, in interval number ``interval`` of those whose cells start at address ``cells``."""
    if 0 <= interval < intervals:
        _count(cells + interval * _SERIES_CELLS * _WORD_BYTES, value_ns, _SERIES_BITS)


def cell_bounds(cell: int, linear_bits: int = _LINEAR_BITS) -> tuple[int, int]:
    """Smallest and largest value, in ns, that a cell counts."""
    exponent = max(0, (cell >> (linear_bits - 1)) - 1)
    low = (cell - (exponent << (linear_bits - 1))) << exponent
    return low, low + (1 << exponent) - 1


def _percentile(cells: np.ndarray, percent: float, linear_bits: int) -> int:
    total = int(cells.sum())
    if total == 0:
        return 0
    rank = max(1, int(np.ceil(total * percent / 100.0)))
    return sum(cell_bounds(int(np.searchsorted(np.cumsum(cells), rank)), linear_bits)) // 2


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

    def percentile(self, percent: float) -> int:
        """Value in ns that ``percent`` of the values do not exceed (the middle of its cell); 0 when there are none."""
        return _percentile(self.cells, percent, _LINEAR_BITS)

    def percentiles(self) -> dict[str, int]:
        """The :data:`PERCENTILES` in ns by name: ``p50`` … ``p99.99``."""
        return {f"p{percent:g}": self.percentile(percent) for percent in PERCENTILES}

    @property
    def max(self) -> int:
        """Upper end of the highest cell that counts anything, in ns; 0 when none does."""
        used = np.flatnonzero(self.cells)
        return cell_bounds(int(used[-1]))[1] if used.size else 0


class Series:
    """Counts of latencies in ns by interval, for a run of ``seconds``: ``cells`` has a row for each interval."""

    def __init__(self, seconds: float) -> None:
        nanoseconds = int(seconds * 1e9)
        self.interval_ns = max(_INTERVAL_NS_MIN, -(-nanoseconds // _INTERVALS_MAX))
        self.cells = np.zeros((max(1, -(-nanoseconds // self.interval_ns)), _SERIES_CELLS), np.int64)

    @property
    def address(self) -> int:
        """Address of the cells, for compiled code; valid as long as this object lives."""
        return int(self.cells.ctypes.data)

    def to_json(self) -> dict[str, Any]:
        """``interval_ns``, and a list for each of ``count``, ``p50`` and ``p99`` (ns)."""
        p50, p99 = ([_percentile(cells, percent, _SERIES_BITS) for cells in self.cells] for percent in (50, 99))
        return {"interval_ns": self.interval_ns, "count": self.cells.sum(axis=1).tolist(), "p50": p50, "p99": p99}
