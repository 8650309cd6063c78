"""A disk under the real code that loses what was not flushed: its power goes at any operation, its flushes fail, its room ends.

The files are real: they show what the kernel would remember. Beside them stands what the disk has. A write waits in sectors.
A flush brings those of one file to the disk; where the power goes first, any of them may have come, in any order. Names (of
new, renamed and removed files) wait for a flush of their folder. Of those that wait, the earlier come first, as in the
journal of a file system. A flush that fails brings any of its sectors, and forgets the others: the kernel still shows them,
and will never write them (as Linux does).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

from splinter.durable.files import Disk

SECTOR = 512


def land(data: bytearray, place: int, piece: bytes, chance: float, random: Random) -> None:
    """Have each sector of a write come to a disk's bytes, or not."""
    for at in range(place, place + len(piece), SECTOR):
        if random.random() < chance:
            sector = piece[at - place : at - place + SECTOR]
            data.extend(bytes(max(0, at + len(sector) - len(data))))
            data[at : at + len(sector)] = sector


class SimulatedDisk(Disk):
    """Of one folder, whose files are on the disk at the beginning."""

    def __init__(self, folder: Path, random: Random) -> None:
        self._random, self._lock = random, threading.RLock()
        paths = [path for path in sorted(folder.iterdir()) if path.suffix in (".log", ".spare", ".new", ".snap")]
        self._named: dict[Path, int] = {path: number for number, path in enumerate(paths)}  # as the kernel shows them
        self._data = {number: bytearray(path.read_bytes()) for path, number in self._named.items()}
        self._names = dict(self._named)  # on the disk
        self._waiting: dict[int, list[tuple[int, bytes]]] = {number: [] for number in self._data}
        self._steps: list[tuple[Path | None, Path | None, int]] = []  # names that wait: the old one, the new one, the file
        self._descriptors: dict[int, int] = {}
        self.operations = 0
        self.power_until = 1 << 60  # operations; from then on each fails, and does nothing more than begin
        self.failing: dict[str, int] = {}  # errors of operations, by their name

    def _begin(self, name: str) -> None:
        self.operations += 1
        if self.operations > self.power_until:
            raise OSError(errno.EIO, "no power")
        if name in self.failing:
            raise OSError(self.failing[name], os.strerror(self.failing[name]))

    def open(self, path: Path, *, create: bool = False) -> int:
        with self._lock:
            self._begin("create" if create else "open")
            descriptor = super().open(path, create=create)
            if create:
                self._step(None, path, len(self._data))
                self._data[len(self._data)] = bytearray()
                self._waiting[len(self._waiting)] = []
            self._descriptors[descriptor] = self._named[path]
            return descriptor

    def write(self, descriptor: int, pieces: Sequence[memoryview], place: int) -> None:
        with self._lock:
            whole = b"".join(pieces)
            if self.operations < self.power_until + 1:  # the write under way when the power goes comes in part
                self._waiting[self._descriptors[descriptor]].append((place, whole))
                super().write(descriptor, pieces, place)
            self._begin("write")

    def sync(self, descriptor: int) -> None:
        with self._lock:
            number = self._descriptors[descriptor]
            try:
                self._begin("sync")
            except OSError:
                if self.operations <= self.power_until:
                    self._bring(number, 0.5)
                raise
            self._bring(number, 1)

    def _bring(self, number: int, chance: float) -> None:
        for place, piece in self._waiting[number]:
            land(self._data[number], place, piece, chance, self._random)
        self._waiting[number].clear()

    def sync_folder(self, folder: Path) -> None:
        with self._lock:
            self._begin("sync_folder")
            self._settle(self._names, self._steps)
            self._steps.clear()

    def _step(self, old: Path | None, new: Path | None, number: int) -> None:
        self._steps.append((old, new, number))
        self._settle(self._named, self._steps[-1:])

    @staticmethod
    def _settle(names: dict[Path, int], steps: list[tuple[Path | None, Path | None, int]]) -> None:
        for old, new, number in steps:
            if old is not None:
                del names[old]
            if new is not None:
                names[new] = number

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            self._begin("rename")
            super().rename(old, new)
            self._step(old, new, self._named[old])

    def remove(self, path: Path) -> None:
        with self._lock:
            self._begin("remove")
            super().remove(path)
            if path in self._named:
                self._step(path, None, self._named[path])

    def read_directly(self, path: Path, size: int) -> np.ndarray:
        with self._lock:
            self._begin("read")
            number = self._named[path]
            self._bring(number, 1)  # a direct read has the kernel write first what it still holds
            return np.frombuffer(bytes(self._data[number][:size]), np.uint8)

    def close(self, descriptor: int) -> None:
        with self._lock:
            del self._descriptors[descriptor]
            super().close(descriptor)

    def opened(self) -> int:
        """How many descriptors are open."""
        return len(self._descriptors)

    def die(self) -> None:
        """Close what is open, as the kernel does for a process that has died."""
        for descriptor in list(self._descriptors):
            self.close(descriptor)

    def lose_power(self, folder: Path) -> None:
        """Put into an empty folder what the disk has when the power goes now."""
        with self._lock:
            names = dict(self._names)
            self._settle(names, self._steps[: self._random.randint(0, len(self._steps))])
            chance = self._random.choice((0, 0.5, 0.9, 1))
            for path, number in names.items():
                data = bytearray(self._data[number])
                for place, piece in self._waiting[number]:
                    land(data, place, piece, chance, self._random)
                (folder / path.name).write_bytes(data)
