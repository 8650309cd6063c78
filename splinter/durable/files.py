"""What the files of a data folder need of the system: one place, where tests may put a disk of their own."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_IOV_MAX = 1024


class Disk:
    """The operations of files, and their order, that what is durable rests on. Each raises :class:`OSError`."""

    def open(self, path: Path, *, create: bool = False) -> int:
        """A descriptor for reading and writing; ``create``: of a new file."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)

    def write(self, descriptor: int, pieces: Sequence[memoryview], place: int) -> None:
        """Write all of the pieces, one behind the other, from a place on."""
        left = [piece for piece in pieces if len(piece)]
        while left:
            written = os.pwritev(descriptor, left[:_IOV_MAX], place)
            place += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left and written:
                left[0] = left[0][written:]

    def sync(self, descriptor: int) -> None:
        """Return when what was written is on the disk."""
        os.fdatasync(descriptor)

    def require_name(self, descriptor: int) -> None:
        """Raise :class:`OSError` when a file was removed: what it holds is nowhere when it is closed."""
        if os.fstat(descriptor).st_nlink == 0:
            raise OSError(errno.ENOENT, "the file was removed")

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of whatever has that."""
        old.rename(new)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def read_directly(self, path: Path, size: int) -> np.ndarray:
        """The first bytes of a file as the disk has them, not as the kernel remembers them. Raises :class:`OSError`."""
        import numpy as np  # here, as the command line writes files without it

        memory = mmap.mmap(-1, -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError:  # a file system without: what the kernel has forgotten is read from the disk as well
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            place = 0
            while place < size:
                read = os.preadv(descriptor, [memoryview(memory)[place:]], place)
                if read == 0:
                    break
                place += read
            return np.frombuffer(memory, np.uint8)[: min(place, size)]
        finally:
            os.close(descriptor)


def mapped(path: Path) -> np.ndarray:
    """The bytes of a file, to read. Raises :class:`OSError`."""
    import numpy as np  # likewise

    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return np.empty(0, np.uint8)
        memory = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        with contextlib.suppress(OSError, AttributeError):
            memory.madvise(mmap.MADV_SEQUENTIAL)
        return np.frombuffer(memory, np.uint8)
