"""Counters in arrays. As all counters, one process writes them and any may read: no atomic operation is needed."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load64, store64


@njit(cache=True)
def count(counter: int) -> None:
    """Add one to the 64-bit counter at this address."""
    store64(counter, load64(counter) + 1)
