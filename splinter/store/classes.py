"""Size classes: slots of 64, 96, 128, 192, 256, … bytes, two to each power of two."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.store.layout import CLASS_BYTES_MIN, UNIT_BYTES

_SLAB_BYTES = limits.SLAB_BYTES
_MAGAZINE_SLOTS_MAX = limits.MAGAZINE_SLOTS_MAX
_MAGAZINE_BYTES_MAX = limits.SLAB_BYTES // 2  # so that no participant hoards more than a slab's worth of a class


@njit(cache=True)
def class_bytes(size_class: int) -> int:
    """Bytes of a slot of a class, 0 … CLASSES - 1."""
    return (CLASS_BYTES_MIN + (size_class & 1) * (CLASS_BYTES_MIN // 2)) << (size_class >> 1)


@njit(cache=True)
def class_units(size_class: int) -> int:
    """The same in 16-byte units."""
    return class_bytes(size_class) // UNIT_BYTES


@njit(cache=True)
def class_for(size: int) -> int:
    """The smallest class whose slots hold ``size`` bytes (header, key and value)."""
    size_class = 0
    while class_bytes(size_class) < size:
        size_class += 1
    return size_class


@njit(cache=True)
def slots_per_slab(size_class: int) -> int:
    """How many slots of a class one slab has."""
    return _SLAB_BYTES // class_bytes(size_class)


@njit(cache=True)
def magazine_slots(size_class: int) -> int:
    """How many free slots of a class make one batch of the shared list."""
    return max(1, min(_MAGAZINE_SLOTS_MAX, _MAGAZINE_BYTES_MAX // class_bytes(size_class)))
