"""Shared memory is described by NumPy structured dtypes. Compiled code has records of them (:mod:`splinter.native.records`).

What a client knows of as well, packets and what extensions see, is described by a :class:`Layout`, which makes the dtype.
Clients and the command line do without NumPy, which takes longer to load than all else of them.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_STRUCT_CODES = {"u1": "B", "<u2": "H", "<u4": "I", "<u8": "Q", "<i8": "q"}


class Layout:
    """Fields one behind the other, without gaps: of each its name, its kind as NumPy writes it, and of an array how many."""

    def __init__(self, *fields: tuple[str, str] | tuple[str, str, int]) -> None:
        self.fields = fields
        codes = [f"{''.join(map(str, count))}{_STRUCT_CODES[kind]}" for _, kind, *count in fields]
        self.struct = struct.Struct("<" + "".join(codes))
        self.itemsize = self.struct.size  # bytes
        self.names = tuple(name for name, *_ in fields)
        self._offsets = {name: struct.calcsize("<" + "".join(codes[:place])) for place, name in enumerate(self.names)}

    def offset(self, field: str) -> int:
        """Byte offset of a field."""
        return self._offsets[field]

    @functools.cached_property
    def dtype(self) -> np.dtype:
        """The same for NumPy, and so for compiled code."""
        import numpy

        return numpy.dtype(list(self.fields))


def offset(dtype: np.dtype, field: str) -> int:
    """Byte offset of a field of a structured dtype."""
    return int(dtype.fields[field][1])  # type: ignore[index]


def view(buffer: object, dtype: np.dtype, count: int = 1, at: int = 0) -> np.ndarray:
    """``count`` records of ``dtype`` at byte ``at`` of a buffer, without a copy."""
    import numpy

    records: np.ndarray = numpy.frombuffer(buffer, dtype=dtype, count=count, offset=at)  # type: ignore[call-overload]
    return records
