"""The log on disk: groups of changes, in files of a fixed size that are filled with zeros before, and used again.

Writing into blocks that a file has already costs the disk one write; a file that grows costs its length as well (measured: half
as many commits). SQLite, which could hold the groups, commits at half the rate, and takes a flipped bit in its own log for the
end of it: what follows would be dropped, and nobody told. So these files are our own.

A segment is *in use* under its number (``00000007.log``) or *spare* (``00000008.spare``). Its groups stand one behind the
other. The log goes on in the next segment where one does not fit, and after a failure. ``confirmed`` is a file of one page,
mapped: the last group that was made durable. It is written after that and never synced: so after the death of all processes it
is exact, and after that of the machine at most too old. A group that is not whole is

* *torn*, if it is later than that and no later group is whole: its writer was cut short. It is cut off, and told;
* *damaged* otherwise: told with its place. Nothing behind it is believed, unless the operator asks to salvage what is whole.

A group that is later than ``confirmed`` may be known to the kernel only: its writer was killed before it was on the disk, or a
flush failed. So such groups are flushed, and read from the disk, before they are believed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from splinter import limits
from splinter.durable.files import Disk, mapped
from splinter.durable.groups import (
    GROUP_ALIGN_BYTES,
    GROUP_BYTES,
    DamageError,
    Group,
    Kind,
    boot_digest,
    framed,
    group_at,
    header_at,
    later_group,
    span,
)
from splinter.errors import ServerError

CONFIRMED = "confirmed"
_ZEROS = memoryview(bytes(1 << 20))
_SPARES = limits.LOG_BYTES_MIN // limits.LOG_SEGMENT_BYTES  # what a small store fills between two snapshots
_NICENESS = 10  # of the thread that makes a spare segment


class LogFailedError(ServerError):
    """The log cannot be written at present: what was not confirmed is not durable."""


class Confirmed:
    """The number of the last group that was made durable; 0: none was."""

    def __init__(self, folder: Path) -> None:
        path = folder / CONFIRMED
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, mmap.PAGESIZE)
            self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)
        finally:
            os.close(descriptor)

    @property
    def number(self) -> int:
        """It."""
        return int(struct.unpack_from("<Q", self._memory)[0])

    @number.setter
    def number(self, number: int) -> None:
        struct.pack_into("<Q", self._memory, 0, number)


def segments_in(folder: Path) -> list[Path]:
    """Segments that are in use, by their names."""
    return _names(folder, ".log")


def _names(folder: Path, suffix: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == suffix and path.stem.isdecimal())


class LogReader:
    """Reads a log from a group on. After that ``number`` is that of the next group, and ``torn`` says what was cut off."""

    def __init__(
        self,
        folder: Path,
        identity: int,
        first: int,
        *,
        salvage: Callable[[DamageError], None] | None = None,
        disk: Disk | None = None,
    ) -> None:
        """``salvage``: told of each damage that is passed over; without it the first one is raised."""
        self._folder, self._identity, self._salvage = folder, identity, salvage
        self._disk = disk or Disk()
        self._confirmed = Confirmed(folder).number
        self.number = first
        self.last = max(self._confirmed, first)  # about
        self.torn = ""
        self._begins: dict[int, Path] = {}  # segments by the number of their first group
        self._sure: set[Path] = set()  # segments whose bytes come from the disk itself
        self._data: dict[Path, np.ndarray] = {}
        for path in _names(folder, ".log"):
            data = self._data[path] = mapped(path)
            header = header_at(data, 0, identity)
            if header is not None:
                self._begins[int(header["number"])] = path

    def __iter__(self) -> Iterator[Group]:
        """The groups in order. Raises :class:`DamageError`, and :class:`LogFailedError` when the disk fails."""
        found = self._start()
        while found is not None:
            path, place = found
            group = group_at(self._data[path], place, self._identity)
            if group is not None and self.number > self._confirmed and path not in self._sure:
                self._make_sure(path)
            elif group is not None and group.number == self.number:
                self.number += 1
                yield group
                found = self._following(path, place + span(len(group.payload)))
            else:
                found = self._broken(path, place)

    def _make_sure(self, path: Path) -> None:
        """Have what the kernel knows of a segment on the disk, and go on with what the disk has."""
        try:
            descriptor = self._disk.open(path)
            try:
                self._disk.sync(descriptor)
            finally:
                self._disk.close(descriptor)
            self._data[path] = self._disk.read_directly(path, len(self._data[path]))
        except OSError as error:
            raise LogFailedError(f"{path} cannot be read from its disk: {error.strerror}") from error
        self._sure.add(path)

    def _start(self) -> tuple[Path, int] | None:
        """Where the first group stands, or should."""
        before = [number for number in self._begins if number <= self.number]
        if not before:
            if self._begins or self._confirmed >= self.number:
                return self._missing(self._folder / "", 0)
            return None
        path, place = self._begins[max(before)], 0
        for _ in range(self.number - max(before)):
            header = header_at(self._data[path], place, self._identity)
            if header is None:
                return path, place
            place += span(int(header["bytes"]))
        return self._following(path, place)

    def _following(self, path: Path, place: int) -> tuple[Path, int]:
        """Where the group ``number`` stands: at the head of a segment, if there is one that begins with it, else here."""
        return (self._begins[self.number], 0) if self.number in self._begins else (path, place)

    def _broken(self, path: Path, place: int) -> tuple[Path, int] | None:
        """There is no whole group ``number`` where it should be: this is the end, or damage. Returns where to go on."""
        data = self._data[path]
        later = later_group(data, place, self._identity, self.number)
        if later is None and (behind := self._behind_unknown()):
            path, later = behind
            place = 0
        elsewhere = [number for number in self._begins if number > self.number]
        if later is None and not elsewhere and self._confirmed < self.number:
            if header_at(data, place, self._identity) is not None or bool(self._unknown()):
                self.torn = f"group {self.number} of the log, of which {path.name} has nothing whole from byte {place} on"
            return None
        self._tell(DamageError(path, place, f"group {self.number} of the log is not what was written there"))
        if later is not None:
            header = header_at(self._data[path], later, self._identity)
            assert header is not None
            self.number = int(header["number"])
            return path, later
        return self._missing(path, place, is_told=True)

    def _unknown(self) -> list[Path]:
        """Segments that begin with something that is no group: a new one begins with zeros."""
        listed = set(self._begins.values())
        return [path for path, data in self._data.items() if path not in listed and np.any(data[:GROUP_BYTES])]

    def _behind_unknown(self) -> tuple[Path, int] | None:
        """The first group that is later, in a segment whose own beginning is damaged; None: there is none."""
        found = [
            (int(header["number"]), path, at)
            for path in self._data.keys() - set(self._begins.values())
            if (at := later_group(self._data[path], 0, self._identity, self.number)) is not None
            and (header := header_at(self._data[path], at, self._identity)) is not None
        ]
        if not found or min(self._begins.keys() - set(range(self.number + 1)), default=1 << 64) < min(found)[0]:
            return None
        return min(found)[1:]

    def _missing(self, path: Path, place: int, *, is_told: bool = False) -> tuple[Path, int] | None:
        if not is_told:
            unknown = self._unknown()
            what = (
                "it does not begin with a group of the log" if unknown else f"the segment with group {self.number} is missing"
            )
            self._tell(DamageError(unknown[0] if unknown else path, place, what))
        later = [number for number in self._begins if number > self.number]
        if not later:
            self.number = max(self.number, self._confirmed + 1)
            return None
        self.number = min(later)
        return self._begins[self.number], 0

    def _tell(self, damage: DamageError) -> None:
        if self._salvage is None:
            raise damage
        self._salvage(damage)


class LogWriter:
    """Appends groups to a log. Used by one thread of one process.

    It begins a segment of its own; so it never writes behind what an earlier one left.
    """

    def __init__(
        self,
        folder: Path,
        identity: int,
        number: int,
        *,
        disk: Disk | None = None,
        segment_bytes: int = limits.LOG_SEGMENT_BYTES,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``number``: of the next group; ``clock``: the store's. Raises :class:`LogFailedError` when there is no room for a
        segment."""
        self._clock = clock
        self._folder, self._identity, self._boot = folder, identity, boot_digest()
        self._disk, self._segment_bytes = disk or Disk(), segment_bytes
        self._confirmed = Confirmed(folder)
        self._confirmed.number = number - 1
        self.number = number
        self._descriptor, self._path, self._place = -1, folder / "", 0
        self._begins: list[tuple[int, Path]] = []
        for path in _names(folder, ".log"):
            header = header_at(mapped(path), 0, identity)
            self._begins.append((int(header["number"]) if header is not None else -1, path))
        self._begins.sort()
        self._helper: threading.Thread | None = None
        self._wrong: OSError | None = None
        self._attempt(self._begin_segment)

    # --- writing -----------------------------------------------------------------------------------------------------

    @property
    def confirmed(self) -> int:
        """The last group that is durable."""
        return self._confirmed.number

    def append(self, pieces: list[memoryview]) -> int:
        """Write a group of changes, and have it on disk when this returns. Returns its number.

        Raises :class:`LogFailedError`: it may be there or not, and nothing more is written before :meth:`recover`.
        """
        self._attempt(lambda: self._append(pieces))
        self._confirmed.number = self.number
        self.number += 1
        return self.number - 1

    def _append(self, pieces: list[memoryview]) -> None:
        group = framed(Kind.CHANGES, self.number, self._identity, self._boot, self._clock(), pieces)
        size = sum(len(piece) for piece in group)
        if self._place + size > self._segment_bytes:
            self._begin_segment()
        self._disk.write(self._descriptor, group, self._place)
        self._disk.sync(self._descriptor)
        self._place += size

    def _attempt(self, what: Callable[[], None]) -> None:
        if self._wrong is None:
            try:
                return what()
            except OSError as error:
                self._wrong = error
        raise LogFailedError(f"the log in {self._folder} cannot be written: {self._wrong.strerror}") from self._wrong

    def recover(self) -> None:
        """After a failure, go on with group ``number`` in a new segment, once there is room.

        What the disk failed to take may be remembered by the kernel as taken. So what was confirmed of the last segment is read
        from the disk first. Raises :class:`LogFailedError`, and :class:`DamageError` when that is not there.
        """
        self._wrong = None
        self._attempt(self._read_back)
        self._disown()
        self._attempt(self._begin_segment)

    def _read_back(self) -> None:
        if not self._begins or self._descriptor < 0:
            return
        first, path = self._begins[-1]
        data, place = self._disk.read_directly(path, self._place), 0
        for number in range(first, self.number):
            group = group_at(data, place, self._identity)
            if group is None or group.number != number:
                raise DamageError(path, place, f"the disk has lost group {number} of the log, which it had confirmed")
            place += span(len(group.payload))

    def _disown(self) -> None:
        """Where the group that failed is whole nevertheless, it must not stand in for the one that gets its number now."""
        if self._descriptor >= 0 and self._place + GROUP_ALIGN_BYTES <= self._segment_bytes:
            with contextlib.suppress(
                OSError
            ):  # a disk that cannot be written there: the reader looks into later segments first
                self._disk.write(self._descriptor, [_ZEROS[:GROUP_ALIGN_BYTES]], self._place)
                self._disk.sync(self._descriptor)

    # --- segments ----------------------------------------------------------------------------------------------------

    def _begin_segment(self) -> None:
        """Go on in a new segment: a spare one, or one that is made now."""
        if self._helper is not None:
            self._helper.join()
        spares = _names(self._folder, ".spare")
        spare = spares[0] if spares else self._make_spare()
        path = self._folder / f"{int(self._last_stem()) + 1:08d}.log"
        descriptor = self._disk.open(spare)
        try:
            self._disk.write(descriptor, [memoryview(bytes(GROUP_ALIGN_BYTES))], 0)  # what it began with is no group of now
            self._disk.sync(descriptor)
            self._disk.rename(spare, path)
            self._disk.sync_folder(self._folder)
        except OSError:
            self._disk.close(descriptor)
            if path.exists():  # else each attempt would leave a segment behind
                with contextlib.suppress(OSError):
                    self._disk.rename(path, spare)
            raise
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
        self._descriptor, self._path, self._place = descriptor, path, 0
        self._begins.append((self.number, path))
        self._helper = threading.Thread(target=self._prepare, name="log-spare", daemon=True)
        self._helper.start()

    def _last_stem(self) -> str:
        used = [*_names(self._folder, ".log"), *_names(self._folder, ".spare")]
        return max((path.stem for path in used), default="0")

    def _prepare(self) -> None:
        """Have a spare segment ready. Where that fails, who needs it is told."""
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
            if not _names(self._folder, ".spare"):
                self._make_spare()
        except OSError:
            pass

    def _make_spare(self) -> Path:
        """A segment full of zeros."""
        path = self._folder / f"{int(self._last_stem()) + 1:08d}.spare"
        made = path.with_suffix(".new")
        self._disk.remove(made)
        descriptor = self._disk.open(made, create=True)
        try:
            for place in range(0, self._segment_bytes, len(_ZEROS)):
                self._disk.write(descriptor, [_ZEROS[: self._segment_bytes - place]], place)
            self._disk.sync(descriptor)
        except OSError:
            self._disk.remove(made)  # it would keep the room that somebody else may need
            raise
        finally:
            self._disk.close(descriptor)
        self._disk.rename(made, path)
        self._disk.sync_folder(self._folder)
        return path

    def forget_before(self, number: int) -> None:
        """Let go of segments that hold earlier groups only. Raises :class:`LogFailedError`."""
        self._attempt(lambda: self._forget_before(number))

    def _forget_before(self, number: int) -> None:
        while len(self._begins) > 1 and self._begins[1][0] <= number:
            _, path = self._begins[0]
            spare = path.with_suffix(".spare")
            is_whole = path.stat().st_size == self._segment_bytes
            if is_whole and len(_names(self._folder, ".spare")) < _SPARES:
                self._disk.rename(path, spare)
            else:
                self._disk.remove(path)
            self._begins.pop(0)

    def close(self) -> None:
        """End."""
        if self._helper is not None:
            self._helper.join()
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
            self._descriptor = -1
