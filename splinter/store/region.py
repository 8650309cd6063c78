"""A stretch of shared memory: a memfd, or the memory of a mmapable BPF array."""

from __future__ import annotations

import mmap
import os

import numpy as np


class Region:
    """Memory that this process and every process forked from it see at the same address.

    ``address`` and ``bytes`` say where it is and how large; the memory is unmapped when nothing refers to the region or
    to an array of it any more.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        """Map ``size`` bytes of an open descriptor, readable and writable. The descriptor stays the caller's."""
        self._memory = np.frombuffer(mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED), dtype=np.uint8)
        self.address = int(self._memory.ctypes.data)
        self.bytes = size

    @classmethod
    def create(cls, name: str, size: int, *, is_reserved: bool = False) -> Region:
        """New memory, all zero, backed by a memfd; ``name`` shows in /proc/*/maps.

        With ``is_reserved`` all of its pages are taken from the machine at once; else each when it is touched, and who touches
        one that the machine does not have is killed. Raises :class:`OSError` when memory, or a limit of it, does not suffice.
        """
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, size)
            if is_reserved:
                os.posix_fallocate(descriptor, 0, size)
            return cls(descriptor, size)
        finally:
            os.close(descriptor)

    @classmethod
    def from_fd(cls, descriptor: int, size: int) -> Region:
        """The first ``size`` bytes of a BPF array map made with ``BPF_F_MMAPABLE``, or of any other file."""
        return cls(descriptor, size)

    def array(self, dtype: np.dtype, count: int | None = None, at: int = 0) -> np.ndarray:
        """``count`` records (default: as many as fit) from byte ``at`` on, without a copy."""
        if count is None:
            count = (self.bytes - at) // dtype.itemsize
        return np.frombuffer(self._memory, dtype=dtype, count=count, offset=at)
