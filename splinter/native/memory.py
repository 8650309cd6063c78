"""Anonymous memory that forked processes share."""

from __future__ import annotations

import mmap

import numpy as np

_LINE = 64


class SharedArena:
    """A block of zeroed memory, shared with every process forked later, handed out in cache-line-aligned pieces.

    Nothing is given back before the whole arena is: it holds what lives as long as the server.
    """

    def __init__(self, size_bytes: int) -> None:
        self._map = mmap.mmap(-1, max(size_bytes, mmap.PAGESIZE))  # MAP_SHARED | MAP_ANONYMOUS
        self._bytes = np.frombuffer(self._map, dtype=np.uint8)
        self.address = self._bytes.ctypes.data
        self._used = 0

    @staticmethod
    def rounded(size_bytes: int) -> int:
        """What a piece of this size takes of the arena."""
        return -(-size_bytes // _LINE) * _LINE

    def take(self, size_bytes: int) -> int:
        """Address of a new piece. Raises ``MemoryError`` when the arena is used up."""
        start = self._used
        if start + size_bytes > len(self._bytes):
            raise MemoryError(f"shared arena of {len(self._bytes)} bytes is used up")
        self._used += self.rounded(size_bytes)
        return self.address + start

    def array(self, dtype: np.dtype, count: int = 1) -> np.ndarray:
        """A new piece as ``count`` zeroed records of ``dtype``."""
        start = self.take(dtype.itemsize * count) - self.address
        return self._bytes[start : start + dtype.itemsize * count].view(dtype)
