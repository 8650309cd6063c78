"""The log on disk: groups of changes, in files of a fixed size that are filled with zeros before, and used again.

Writing into blocks that a file has already costs the disk one write; a file that grows costs its length as well (measured: half
as many commits). SQLite, which could hold the groups, commits at half the rate, and takes a flipped bit in its own log for the
end of it: what follows would be dropped, and nobody told. So these files are our own.

A segment is *in use* under its number (``00000007.log``) or *spare* (``00000008.spare``). Its groups stand one behind the
other. The log goes on in the next segment where one does not fit, and after a failure. ``confirmed`` is a file of one page,
mapped: the last group that was made durable, and a checksum. It is written after that and never synced: so after the death of
all processes at most one group is later, and after that of the machine it may be too old. Whoever goes on behind a log reads
from there on what there is (:func:`splinter.durable.log_reader.next_group`). A group that is not whole is

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
from collections.abc import Callable
from pathlib import Path

import crc32c

from splinter import limits
from splinter.durable.files import Disk, mapped
from splinter.durable.groups import (
    GROUP_ALIGN_BYTES,
    DamageError,
    Kind,
    boot_digest,
    framed,
    group_at,
    header_at,
    span,
)
from splinter.errors import ServerError

CONFIRMED = "confirmed"
_CONFIRMED = struct.Struct("<QI4x")  # the number, and its CRC-32C
_ZEROS = memoryview(bytes(1 << 20))
_SPARES = limits.LOG_BYTES_MIN // limits.LOG_SEGMENT_BYTES  # what a small store fills between two snapshots
_NICENESS = 10  # of the thread that makes a spare segment


class LogFailedError(ServerError):
    """The log cannot be written at present: what was not confirmed is not durable."""


class Confirmed:
    """The number of the last group that was made durable; 0: none was, or the number is damaged."""

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
        return 0 if self.is_damaged else int(_CONFIRMED.unpack_from(self._memory)[0])

    @number.setter
    def number(self, number: int) -> None:
        self._memory[: _CONFIRMED.size] = _CONFIRMED.pack(number, _crc_of(number))  # at once: no death leaves half of it

    @property
    def is_damaged(self) -> bool:
        """Whether it is not what was written. One that has no checksum was written by an earlier version, or by nobody."""
        number, crc = _CONFIRMED.unpack_from(self._memory)
        return crc not in (0, _crc_of(number))


def _crc_of(number: int) -> int:
    return int(crc32c.crc32c(number.to_bytes(8, "little")))


def segments_in(folder: Path) -> list[Path]:
    """Segments that are in use, by their names."""
    return names_in(folder, ".log")


def names_in(folder: Path, suffix: str) -> list[Path]:
    """Segments with this suffix to their names, ``.log`` or ``.spare``, by number."""
    return sorted(path for path in folder.iterdir() if path.suffix == suffix and path.stem.isdecimal())


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
        kept_from: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``number``: of the next group; ``kept_from``: of the first one that is still needed; ``clock``: the store's. Raises
        :class:`LogFailedError` when there is no room for a segment."""
        self._clock, self._kept_from = clock, kept_from
        self._folder, self._identity, self._boot = folder, identity, boot_digest()
        self._disk, self._segment_bytes = disk or Disk(), segment_bytes
        self._confirmed = Confirmed(folder)
        self._confirmed.number = number - 1
        self.number = number
        self._descriptor, self._path, self._place = -1, folder / "", 0
        self._begins: list[tuple[int, Path]] = []
        for path in names_in(folder, ".log"):
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

    @property
    def kept_bytes(self) -> int:
        """Bytes of the segments in use that earlier writers have left: nothing will come into them."""
        return sum(path.stat().st_size for _, path in self._begins[:-1])

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
        self._disk.require_name(self._descriptor)
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
        """Go on in a new segment: a spare one, or one that is made now. First what is not needed goes: it may be what has used
        up the room."""
        if self._helper is not None:
            self._helper.join()
        self._forget()
        spares = names_in(self._folder, ".spare")
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
        used = [*names_in(self._folder, ".log"), *names_in(self._folder, ".spare")]
        return max((path.stem for path in used), default="0")

    def _prepare(self) -> None:
        """Have a spare segment ready. Where that fails, who needs it is told."""
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
            if not names_in(self._folder, ".spare"):
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
        """Let go of segments that hold earlier groups only; after a failure when it is recovered from. Raises
        :class:`LogFailedError`."""
        self._kept_from = number
        if self._wrong is None:
            self._attempt(self._forget)

    def _forget(self) -> None:
        while len(self._begins) > 1 and self._begins[1][0] <= self._kept_from:
            _, path = self._begins[0]
            spare = path.with_suffix(".spare")
            is_whole = path.stat().st_size == self._segment_bytes
            if is_whole and len(names_in(self._folder, ".spare")) < _SPARES:
                self._disk.rename(path, spare)
            else:
                self._disk.remove(path)
            self._begins.pop(0)
        self._kept_from = 0  # a later segment does not take it up: a backup may read files by then

    def close(self) -> None:
        """End. A segment in which nothing stands is the next writer's: who begins and ends in vain takes up no room."""
        if self._helper is not None:
            self._helper.join()
        if self._descriptor >= 0:
            self._disk.close(self._descriptor)
            self._descriptor = -1
            if self._place == 0 and self._wrong is None:
                with contextlib.suppress(OSError):
                    self._disk.rename(self._path, self._path.with_suffix(".spare"))
