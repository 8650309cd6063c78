"""Snapshots on disk: one file each, of groups, named by the first group of the log that is to be replayed behind it.

It is written under another name, and gets its own when all of it is on the disk: so a file that has it is whole, or damaged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from splinter import limits
from splinter.durable.files import Disk, mapped
from splinter.durable.groups import (
    END,
    TENANT_PLACE,
    DamageError,
    Group,
    Kind,
    boot_digest,
    framed,
    group_at,
    later_group,
    span,
)
from splinter.store.store import Store
from splinter.store.walk import SLAB_DONE, copy_slab


def snapshots_in(folder: Path) -> list[Path]:
    """Those that are whole, or damaged, the newest last."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".snap" and path.stem.isdecimal())


def snapshot_name(first: int) -> str:
    """The name of a snapshot behind which group ``first`` of the log is to be replayed."""
    return f"{first:012d}.snap"


def first_group(path: Path) -> int:
    """The first group of the log that a snapshot does not have."""
    return int(path.stem)


class SnapshotWriter:
    """Writes one. Raises :class:`OSError` from each method; :meth:`abandon` then."""

    def __init__(
        self,
        folder: Path,
        identity: int,
        first: int,
        places: np.ndarray,
        *,
        disk: Disk | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``first``: of the log's groups, that is to be replayed; ``places``: TENANT_PLACE records of tenants with changes;
        ``clock``: the store's."""
        self._clock = clock
        self._disk, self._identity, self._boot = disk or Disk(), identity, boot_digest()
        self._path = folder / snapshot_name(first)
        self._unfinished = self._path.with_suffix(".new")
        self._disk.remove(self._unfinished)
        self._descriptor = self._disk.open(self._unfinished, create=True)
        self._number = self._place = self._unsynced = self._objects_bytes = 0
        self._places = places.tobytes()
        self._write(Kind.TENANTS, memoryview(self._places))

    def objects(self, copies: memoryview) -> None:
        """Add copied slots."""
        self._objects_bytes += len(copies)
        self._write(Kind.OBJECTS, copies)

    def _write(self, kind: Kind, payload: memoryview) -> None:
        group = framed(kind, self._number, self._identity, self._boot, self._clock(), [payload])
        self._disk.write(self._descriptor, group, self._place)
        size = span(len(payload))
        self._number, self._place, self._unsynced = self._number + 1, self._place + size, self._unsynced + size
        if self._unsynced >= limits.SNAPSHOT_SYNC_BYTES:  # so that the log's groups do not wait for gigabytes
            self._disk.sync(self._descriptor)
            self._unsynced = 0

    def finish(self) -> Path:
        """Have it on disk under its name. Returns that."""
        self._write(Kind.TENANTS, memoryview(self._places))  # again: without it, no object could be told whose it is
        end = np.zeros(1, END)
        end[0] = (self._number + 1, self._objects_bytes)
        self._write(Kind.END, memoryview(end.tobytes()))
        self._disk.sync(self._descriptor)
        self._disk.close(self._descriptor)
        self._descriptor = -1
        self._disk.rename(self._unfinished, self._path)
        self._disk.sync_folder(self._path.parent)
        return self._path

    def abandon(self) -> None:
        """Leave nothing of it."""
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
            self._descriptor = -1
        self._disk.remove(self._unfinished)


class SnapshotReader:
    """Reads one, and verifies all of it."""

    def __init__(self, path: Path, identity: int, *, salvage: Callable[[DamageError], None] | None = None) -> None:
        """``salvage``: told of each damage that is passed over; without it the first one is raised."""
        self._path, self._identity, self._salvage = path, identity, salvage
        self._data = mapped(path)
        self.bytes = len(self._data)
        self.place = 0  # read so far, in bytes

    def __iter__(self) -> Iterator[Group]:
        """The groups, those of kind END left out. Raises :class:`DamageError`."""
        place, number, objects_bytes, has_end = 0, 0, 0, False
        while place < len(self._data) and not has_end:
            group = group_at(self._data, place, self._identity)
            if group is None or group.number != number:
                self._tell(place, f"group {number} of the snapshot is not what was written there")
                later = later_group(self._data, place, self._identity, number)
                if later is None:
                    return
                place, number = later, int(np.frombuffer(self._data[later + 8 : later + 16], "<u8")[0])
                continue
            place, number = place + span(len(group.payload)), number + 1
            self.place = place
            if group.kind == Kind.END:
                has_end = True
                end = np.frombuffer(group.payload, END)[0]
                if (int(end["groups"]), int(end["objects_bytes"])) != (number, objects_bytes):
                    self._tell(place, "the snapshot's end tells of more, or less, than there is")
                continue
            if group.kind == Kind.OBJECTS:
                objects_bytes += len(group.payload)
            yield group
        if not has_end:
            self._tell(len(self._data), "the snapshot's end is missing")

    def _tell(self, place: int, what: str) -> None:
        damage = DamageError(self._path, place, what)
        if self._salvage is None:
            raise damage
        self._salvage(damage)


def places_in(group: Group) -> np.ndarray:
    """The TENANT_PLACE records of a snapshot's first group, and of the last but one."""
    return np.frombuffer(group.payload, TENANT_PLACE)


def copied(store: Store, room: int) -> Iterator[memoryview]:
    """All objects of tenants with durability, copied slots one behind the other, in pieces of at most ``room`` bytes (at least
    COPY_BYTES_MAX). A piece is good until the next is asked for. Between ``walk_begins`` and ``walk_ends``."""
    buffer = np.empty(room, np.uint8)
    used, slab, slot = 0, 0, 0
    while slab < int(store.descriptor["slabs_used"]):
        written, slot = copy_slab(store.address, slab, slot, int(buffer.ctypes.data) + used, room - used)
        used += int(written)
        if slot != SLAB_DONE:  # the next one does not fit
            yield buffer[:used].data
            used = 0
        else:
            slab, slot = slab + 1, 0
    if used:
        yield buffer[:used].data
