"""Latencies over time: a coarse histogram for each interval of a run.

An interval's histogram has two significant digits (a cell is at most 1/64 of its values wide), so that a few hundred of them
take a few megabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from splinter.native.atomics import load64, store64
from splinter_bench.histogram import VALUE_NS_MAX, cell_bounds, cell_of, cells_for

INTERVAL_NS_MIN = 100_000_000
INTERVALS_MAX = 600
_LINEAR_BITS = 7
_CELLS = cells_for(_LINEAR_BITS)
_WORD_BYTES = 8
_PERCENTILES = (50.0, 99.0)


@njit(cache=True)
def record_in_series(cells: int, intervals: int, interval: int, value_ns: int) -> None:
    """Count one value, in ns, in interval number ``interval`` of those whose cells start at address ``cells``."""
    if 0 <= interval < intervals:
        value = min(max(value_ns, 0), VALUE_NS_MAX)
        cell = cells + (interval * _CELLS + cell_of(value, _LINEAR_BITS)) * _WORD_BYTES
        store64(cell, load64(cell) + 1)


class Series:
    """Counts of latencies in ns by interval, for a run of ``seconds``."""

    def __init__(self, seconds: float) -> None:
        nanoseconds = int(seconds * 1e9)
        self.interval_ns = max(INTERVAL_NS_MIN, -(-nanoseconds // INTERVALS_MAX))
        self.cells = np.zeros((max(1, -(-nanoseconds // self.interval_ns)), _CELLS), np.int64)

    @property
    def address(self) -> int:
        """Address of the cells, for compiled code; valid as long as this object lives."""
        return int(self.cells.ctypes.data)

    def percentile(self, interval: int, percent: float) -> int:
        """Value in ns that ``percent`` of an interval's values do not exceed; 0 when there are none."""
        counts = self.cells[interval]
        total = int(counts.sum())
        if total == 0:
            return 0
        rank = max(1, int(np.ceil(total * percent / 100)))
        return sum(cell_bounds(int(np.searchsorted(np.cumsum(counts), rank)), _LINEAR_BITS)) // 2

    def to_json(self) -> dict[str, Any]:
        """``interval_ns``, and a list for each of ``count``, ``p50`` and ``p99`` (ns)."""
        found: dict[str, Any] = {"interval_ns": self.interval_ns, "count": self.cells.sum(axis=1).tolist()}
        for percent in _PERCENTILES:
            found[f"p{percent:g}"] = [self.percentile(n, percent) for n in range(len(self.cells))]
        return found
