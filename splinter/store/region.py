"""A stretch of shared memory: a memfd, or the memory of a mmapable BPF array."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

import numpy as np

from splinter.native.addresses import Stretch, map_at, unmap


class Region:
    """Memory that this process and every process forked from it see at the same address.

    ``address`` and ``bytes`` say where it is and how large; the memory is unmapped when nothing refers to the region or
    to an array of it any more.
    """

    def __init__(self, descriptor: int, size: int, stretch: Stretch | None = None) -> None:
        """Map ``size`` bytes of an open descriptor, readable and writable. The descriptor stays the caller's.

        Without a ``stretch`` the kernel chooses the address. Raises :class:`OSError`, ``EEXIST`` when something else is there.
        """
        memory = (
            mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED) if stretch is None else _map(descriptor, size, stretch.address)
        )
        self._memory = np.frombuffer(memory, dtype=np.uint8)
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
    def from_fd(cls, descriptor: int, size: int, stretch: Stretch | None = None) -> Region:
        """The first ``size`` bytes of a BPF array map made with ``BPF_F_MMAPABLE``, or of any other file."""
        return cls(descriptor, size, stretch)

    def array(self, dtype: np.dtype, count: int | None = None, at: int = 0) -> np.ndarray:
        """``count`` records (default: as many as fit) from byte ``at`` on, without a copy."""
        if count is None:
            count = (self.bytes - at) // dtype.itemsize
        return np.frombuffer(self._memory, dtype=dtype, count=count, offset=at)


def _map(descriptor: int, size: int, address: int) -> memoryview:
    map_at(address, size, mmap.PROT_READ | mmap.PROT_WRITE, descriptor)
    memory = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(memory, unmap, address, size).atexit = False
    return memoryview(memory)
