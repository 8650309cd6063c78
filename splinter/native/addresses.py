"""Addresses that are the same in every server, for what outlives its processes."""

from __future__ import annotations

import ctypes
import mmap
import os
from enum import IntEnum

_MAP_FIXED_NOREPLACE = 0x100000
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Stretch(IntEnum):
    """Where each part of a store that outlives its processes has its own stretch of addresses: the same in every server, so
    that an address which one process wrote into the store means the same to those that come after it.

    The kernel gives out addresses downwards from the top (128 TiB), and a program lies below 4 GiB or near 85 TiB;
    so nothing else comes to the two TiB from 32 TiB on.
    """

    INDEX, SLABS, TENANTS, ACCOUNTS, STATE, CPU_EPOCHS, CODE, LOG = range(8)

    @property
    def address(self) -> int:
        """The first address of the stretch."""
        return FIXED_ADDRESSES + self * _STRETCH_BYTES


FIXED_ADDRESSES = 0x2000_0000_0000
FIXED_BYTES = 1 << 41
_STRETCH_BYTES = 1 << 37  # of one part: twice as large as the largest store
assert len(Stretch) * _STRETCH_BYTES <= FIXED_BYTES


def are_there() -> bool:
    """Whether a process can have all of these addresses: of 39 bits, which some kernels give, they are not."""
    last = FIXED_ADDRESSES + FIXED_BYTES - mmap.PAGESIZE
    try:
        found = map_memory(last, mmap.PAGESIZE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED_NOREPLACE, -1)
    except FileExistsError:
        return True
    except OSError:
        return False
    unmap(found, mmap.PAGESIZE)
    return found == last


def map_at(address: int, size: int, protection: int, descriptor: int) -> None:
    """Map a descriptor, shared, at this very address. Raises :class:`OSError`, ``EEXIST`` when something else is there."""
    found = map_memory(address, size, protection, mmap.MAP_SHARED | _MAP_FIXED_NOREPLACE, descriptor)
    if found != address:  # a kernel before 4.17 takes the address for a wish
        unmap(found, size)
        raise FileExistsError(f"addresses from {address:#x} on are in use")


def map_memory(address: int, size: int, protection: int, flags: int, descriptor: int) -> int:
    """``mmap``, which Python's own has without addresses; 0 leaves the address to the kernel. Returns the address.

    Raises :class:`OSError`.
    """
    found = _libc.mmap(address or None, size, protection, flags, descriptor, 0)
    if found is None or found == _MAP_FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code) + (f" (addresses from {address:#x} on)" if address else ""))
    return int(found)


def unmap(address: int, size: int) -> None:
    """Take a mapping away."""
    _libc.munmap(address, size)
