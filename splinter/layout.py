"""Shared memory is described by NumPy structured dtypes. Compiled code has records of them (:mod:`splinter.native.records`)."""

from __future__ import annotations

import numpy as np


def offset(dtype: np.dtype, field: str) -> int:
    """Byte offset of a field of a structured dtype."""
    return int(dtype.fields[field][1])  # type: ignore[index]


def view(buffer: object, dtype: np.dtype, count: int = 1, at: int = 0) -> np.ndarray:
    """``count`` records of ``dtype`` at byte ``at`` of a buffer, without a copy."""
    records: np.ndarray = np.frombuffer(buffer, dtype=dtype, count=count, offset=at)  # type: ignore[call-overload]
    return records
