"""The memory that installed machine code lies in.

One memfd, mapped readable and executable by the supervisor before it forks, so every worker has it at the same address. No
process ever maps it writable: the control process, which has given up its executable view, writes through the descriptor,
and what it writes is in the mappings of the others at once (they are the same pages). So no process has memory that is both
writable and executable, nor two views that amount to it.

The allocator's book-keeping is the control process's own; after a restart it is rebuilt from the records in the store.

Where the store outlives all processes, so must the code that its records name, at the same address. No memory that the kernel
keeps without a process can be executed. So what is written is written a second time, to :class:`Pages`, from which the next
server fills its memfd.
"""

from __future__ import annotations

import bisect
import contextlib
import mmap
import os
from collections.abc import Iterable
from typing import Protocol

from splinter.errors import ServerError
from splinter.ext.native.elf import PADDING
from splinter.limits import CODE_REGION_BYTES
from splinter.native.addresses import Stretch, map_at, map_memory, unmap

ALIGNMENT = 64  # bytes: one cache line
_MFD_CLOEXEC, _MFD_EXEC = 1, 0x10
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_PROT_NONE = 0


class Pages(Protocol):
    """What keeps a copy of the code: memory pages by number, one after the other from the region's start."""

    def write(self, page: int, content: bytes, /) -> None:
        """Keep a page. Raises :class:`OSError`."""

    def pages(self) -> Iterable[tuple[int, bytes]]:
        """All that are kept."""

    def close(self) -> None:
        """Give up the means of writing."""


class CodeRegion:
    """``size`` bytes of machine code at ``address``, in this process and in all that are forked from it."""

    def __init__(self, descriptor: int, address: int, size: int, copy: Pages | None = None) -> None:
        self.descriptor = descriptor
        self._copy = copy
        self.address = address
        self.size = size
        self._used: dict[int, int] = {}  # offset → bytes, multiples of ALIGNMENT
        self._free: list[tuple[int, int]] = [(0, size)]  # (offset, bytes) in ascending order, never adjacent

    @classmethod
    def create(cls, size: int = CODE_REGION_BYTES, copy: Pages | None = None) -> CodeRegion:
        """Make a region and map it executable; with a ``copy`` at the address that it has in every server, with the code that
        is in the copy. Raises :class:`ServerError` when the kernel refuses."""
        size = _round_up(size, mmap.PAGESIZE)
        protection = mmap.PROT_READ | mmap.PROT_EXEC
        try:
            descriptor = _memfd()
            os.ftruncate(descriptor, size)
            if copy is None:
                return cls(descriptor, map_memory(0, size, protection, mmap.MAP_SHARED, descriptor), size)
            for page, content in copy.pages():
                os.pwrite(descriptor, content, page * mmap.PAGESIZE)
            map_at(Stretch.CODE.address, size, protection, descriptor)
        except OSError as error:
            raise ServerError(f"no memory for machine code: {error}") from None
        return cls(descriptor, Stretch.CODE.address, size, copy)

    def become_writer(self) -> None:
        """Give up the executable view (its addresses stay reserved). For the control process, before its first write."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED
        try:
            map_memory(self.address, self.size, _PROT_NONE, flags, -1)
        except OSError as error:
            raise ServerError(f"the executable view of the code region cannot be given up: {error}") from error

    def become_reader(self) -> None:
        """Give up the descriptor, and with it all ways of writing. For workers, after the fork."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        if self._copy is not None:
            self._copy.close()

    def close(self) -> None:
        """Unmap and close; nobody may run code from here any more."""
        self.become_reader()
        unmap(self.address, self.size)

    def write(self, code: bytes) -> tuple[int, int]:
        """Place machine code; returns its absolute address and its offset. Raises :class:`ServerError` when full."""
        offset = self.allocate(len(code))
        self._fill(offset, code)
        try:
            self._keep(offset, len(code))
        except OSError as error:
            self._release(offset)
            raise ServerError(f"there is no memory to keep machine code: {error.strerror}") from error
        return self.address + offset, offset

    def allocate(self, nbytes: int) -> int:
        """Offset of a free place, the lowest one that is large enough. Raises :class:`ServerError` when there is none."""
        wanted = _round_up(max(nbytes, 1), ALIGNMENT)
        for offset, free in self._free:
            if free >= wanted:
                self._take(offset, wanted)
                return offset
        raise ServerError(f"the code region has no {nbytes} bytes in one piece left; uninstall something")

    def reserve(self, offset: int, nbytes: int) -> None:
        """Mark a place as used that was allocated before a restart. Raises ``ValueError`` when it is not free."""
        if offset < 0 or offset % ALIGNMENT:
            raise ValueError(f"offset {offset} is not aligned")
        self._take(offset, _round_up(max(nbytes, 1), ALIGNMENT))

    def free(self, offset: int) -> None:
        """Give a place back; it is filled with trap instructions. Raises ``KeyError`` when it is not in use."""
        size = self._used[offset]
        self._fill(offset, bytes([PADDING]) * size)
        with contextlib.suppress(OSError):  # what the copy has there is nobody's
            self._keep(offset, size)
        self._release(offset)

    def _release(self, offset: int) -> None:
        size = self._used.pop(offset)
        at = bisect.bisect(self._free, (offset, 0))
        if at < len(self._free) and self._free[at][0] == offset + size:
            size += self._free.pop(at)[1]
        if at and sum(self._free[at - 1]) == offset:
            at -= 1
            previous_offset, previous_size = self._free.pop(at)
            offset, size = previous_offset, previous_size + size
        self._free.insert(at, (offset, size))

    @property
    def used_bytes(self) -> int:
        """Bytes in use, rounding included."""
        return sum(self._used.values())

    def _take(self, offset: int, size: int) -> None:
        at = bisect.bisect(self._free, (offset, self.size + 1)) - 1
        start, free = self._free[at] if at >= 0 else (0, 0)
        if at < 0 or offset + size > start + free:
            raise ValueError(f"{size} bytes at offset {offset} are not free")
        pieces = [(start, offset - start), (offset + size, start + free - offset - size)]
        self._free[at : at + 1] = [piece for piece in pieces if piece[1]]
        self._used[offset] = size

    def _fill(self, offset: int, content: bytes) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self.descriptor, view, offset)
            view, offset = view[written:], offset + written

    def _keep(self, offset: int, size: int) -> None:
        """Write the pages of a place to the copy."""
        if self._copy is not None:
            for page in range(offset // mmap.PAGESIZE, -(-(offset + size) // mmap.PAGESIZE)):
                self._copy.write(page, os.pread(self.descriptor, mmap.PAGESIZE, page * mmap.PAGESIZE))


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _memfd() -> int:
    with contextlib.suppress(OSError):  # kernels before 6.3 do not know the flag, and need none
        return os.memfd_create("splinter-code", _MFD_CLOEXEC | _MFD_EXEC)
    return os.memfd_create("splinter-code", _MFD_CLOEXEC)
