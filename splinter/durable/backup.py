"""A copy of a data folder that a server has meanwhile: made beside the name that it gets when all of it was verified.

The server has the files of log and snapshots stay where they are (``splinter.durable.disk_state``), and has told which group of
the log is the last that the copy is to have. What is copied is first the catalog, which is never behind the log; then the log
up to that group, and compiled code. As long as the copy is not whole it has no catalog under its name, and a file that no data
folder has: so no server starts from it.

A catalog that is ahead of the log is good, but for what it says is void: a tenant of which nothing was kept any more, and then
again, is kept from a snapshot on that the copy does not have. So whoever makes a copy looks at that before it begins
(:func:`kept_tenants`), and gives up when it has changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from splinter import limits
from splinter.durable.catalog import Catalog, TenantRow
from splinter.durable.files import Disk, mapped
from splinter.durable.folder import CATALOG, CODE, LOG, SNAPSHOTS
from splinter.durable.groups import GROUP_BYTES, DamageError, header_at, span
from splinter.durable.log_reader import LogReader
from splinter.durable.segments import CONFIRMED, Confirmed, segments_in
from splinter.durable.snapshots import SnapshotReader, snapshot_name
from splinter.errors import DataFolderError, ServerError
from splinter.store.layout import DURABILITY_NONE

_UNFINISHED = "unfinished"  # no name of a data folder's: a server refuses what has it
_PIECE_BYTES = 1 << 20
_MODE = 0o700
_BUSY_SECONDS = 10.0


@dataclass(frozen=True)
class Held:
    """What a server has said of its folder. ``group``: the log's last one that the copy has; ``snapshot``: the first group of
    the log behind the newest snapshot, None: there is none."""

    folder: Path
    identity: int
    group: int
    snapshot: int | None
    kept: dict[int, tuple[int, int]]  # as kept_tenants() has said before the files began to stay where they are


@dataclass
class Progress:
    """``tell`` is called often, with bytes done and bytes in all. ``confirm`` is called when all has been read: whether it has
    stayed where it was till then. Each may raise, which ends the backup."""

    tell: Callable[[int, int], None]
    confirm: Callable[[], None]
    total: int = 0
    done: int = 0

    def add(self, size: int) -> None:
        """So many bytes more were copied, or verified."""
        self.done += size
        self.tell(min(self.done, self.total), self.total)


@dataclass
class _Piece:
    """A file of the copy: its name there, and how many of the bytes of a file it has."""

    name: str
    source: int  # a descriptor: the file may lose its name
    size: int


@dataclass
class Backup:
    """One being made. Raises :class:`ServerError`, and leaves nothing then."""

    held: Held
    target: Path
    progress: Progress
    disk: Disk = field(default_factory=Disk)

    def make(self) -> int:
        """Copy, verify, and give the copy its name. Returns its bytes."""
        target = self.target.absolute()
        _refuse(self.held.folder, target)
        self._unfinished = target.with_name(target.name + ".new")
        try:
            with _own(self._unfinished):
                size = self._fill(self._unfinished)
                self._name(self._unfinished, target)
                return size
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise ServerError(f"the backup cannot be made: {error.strerror or error}{where}; nothing of it is left") from error
        except sqlite3.Error as error:
            raise ServerError(f"the catalog cannot be copied: {error}; nothing of the backup is left") from error

    def _fill(self, folder: Path) -> int:
        with contextlib.ExitStack() as stack:
            pieces = self._pieces(stack)
            self.progress.total = 2 * sum(piece.size for piece in pieces)
            for name in (LOG, SNAPSHOTS, CODE):
                (folder / name).mkdir(_MODE)
            self._copy_catalog(folder)
            for piece in pieces:
                self._copy(piece, folder)
        confirmed = Confirmed(folder / LOG)
        confirmed.number = self.held.group
        self._sync(folder / LOG / CONFIRMED)
        for path in (folder / LOG, folder / SNAPSHOTS, folder / CODE, folder):
            self.disk.sync_folder(path)
        try:
            self._verify(folder)
        except DataFolderError as error:
            raise ServerError(f"the copy is not what it should be, and nothing of it is left: {error}") from error
        self.progress.add(self.progress.total)
        return sum(piece.size for piece in pieces)

    # --- what is copied ----------------------------------------------------------------------------------------------

    def _pieces(self, stack: contextlib.ExitStack) -> list[_Piece]:
        """All files but the catalog, opened."""
        source, found = self.held.folder, list[_Piece]()
        if self.held.snapshot is not None:
            name = f"{SNAPSHOTS}/{snapshot_name(self.held.snapshot)}"
            found.append(_opened(source, name, stack))
        for path, size in self._segments():
            piece = _opened(source, f"{LOG}/{path.name}", stack)
            found.append(_Piece(piece.name, piece.source, min(size, piece.size)))
        for path in sorted((source / CODE).iterdir()):
            with contextlib.suppress(FileNotFoundError):  # it may be removed at any time
                if path.is_file() and path.suffix != ".new":
                    found.append(_opened(source, f"{CODE}/{path.name}", stack))
        return found

    def _segments(self) -> list[tuple[Path, int]]:
        """Segments with groups that the copy has, and up to where."""
        first, last, begins = self.held.snapshot or 1, self.held.group, list[tuple[int, Path]]()
        for path in segments_in(self.held.folder / LOG):
            header = header_at(mapped(path)[:GROUP_BYTES], 0, self.held.identity)
            if header is not None and int(header["number"]) <= last:
                begins.append((int(header["number"]), path))
        before = max((number for number, _ in begins if number <= first), default=first)
        return [(path, self._end_of(path, number)) for number, path in sorted(begins) if number >= before]

    def _end_of(self, path: Path, number: int) -> int:
        """Where the groups of a segment end, from its first one to the last that the copy has."""
        data, place = mapped(path), 0
        while number <= self.held.group:
            header = header_at(data, place, self.held.identity)
            if header is None or int(header["number"]) != number:
                break
            place += span(int(header["bytes"]))
            number += 1
        return place

    # --- copying -----------------------------------------------------------------------------------------------------

    def _copy(self, piece: _Piece, folder: Path) -> None:
        descriptor = self.disk.open(folder / piece.name, create=True)
        try:
            place = unsynced = 0
            while place < piece.size:
                data = os.pread(piece.source, min(_PIECE_BYTES, piece.size - place), place)
                if not data:
                    raise ServerError(f"{piece.name} of the data folder became shorter: nothing of the backup is left")
                self.disk.write(descriptor, [memoryview(data)], place)
                place, unsynced = place + len(data), unsynced + len(data)
                if unsynced >= limits.SNAPSHOT_SYNC_BYTES:  # so that the server's log does not wait for gigabytes
                    self.disk.sync(descriptor)
                    unsynced = 0
                self.progress.add(len(data))
            self.disk.sync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # what is verified is what the disk has
        finally:
            self.disk.close(descriptor)

    def _sync(self, path: Path) -> None:
        descriptor = self.disk.open(path)
        try:
            self.disk.sync(descriptor)
        finally:
            self.disk.close(descriptor)

    def _copy_catalog(self, folder: Path) -> None:
        """Under another name than the catalog's."""
        path, original = folder / (CATALOG + ".new"), (self.held.folder.absolute() / CATALOG).as_uri()
        self.disk.close(self.disk.open(path, create=True))
        with (
            contextlib.closing(sqlite3.connect(f"{original}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as old,
            contextlib.closing(sqlite3.connect(path)) as new,
        ):
            old.backup(new)
        with contextlib.closing(Catalog(path)) as catalog:
            if catalog.identity != self.held.identity:
                raise ServerError(f"{self.held.folder} is not the folder that the server has: does it run in a container?")
            catalog.store = 0  # a store that was left in the kernel has what came later, and this log has not
        self._sync(path)

    # --- the end -----------------------------------------------------------------------------------------------------

    def _verify(self, folder: Path) -> None:
        """As a recovery reads it. Raises :class:`DataFolderError`."""
        identity, first = self.held.identity, self.held.snapshot or 1
        with contextlib.closing(Catalog(folder / (CATALOG + ".new"))) as catalog:
            catalog.verify()
            self._require_same_is_kept(catalog.tenants())
        if self.held.snapshot is not None:
            for group in SnapshotReader(folder / SNAPSHOTS / snapshot_name(first), identity):
                self.progress.add(len(group.payload))
        log = LogReader(folder / LOG, identity, first, disk=self.disk)
        for group in log:
            self.progress.add(len(group.payload))
        if log.number != self.held.group + 1 or log.torn:
            raise DamageError(folder / LOG, 0, f"it ends with group {log.number - 1} and not with {self.held.group}")

    def _require_same_is_kept(self, rows: list[TenantRow]) -> None:
        """Raise :class:`ServerError` when the log that was copied has not what the catalog's rows say."""
        for row in rows:
            generation, void_until = self.held.kept.get(row.id, (0, 0))
            is_kept = row.durability != DURABILITY_NONE and row.void_until == void_until
            if row.is_there and row.generation == generation and not is_kept:
                raise ServerError(
                    f"the durability of tenant {row.id} was changed meanwhile: nothing of the backup is left, try again"
                )

    def _name(self, folder: Path, target: Path) -> None:
        self.progress.confirm()
        self.disk.rename(folder / (CATALOG + ".new"), folder / CATALOG)
        self.disk.remove(folder / _UNFINISHED)
        self.disk.sync_folder(folder)
        self.disk.rename(folder, target)
        try:
            self.disk.sync_folder(target.parent)
        except OSError:
            self.disk.rename(target, folder)
            raise


def kept_tenants(folder: Path) -> dict[int, tuple[int, int]]:
    """Of each tenant of a folder whose objects are kept its generation, and up to which of its changes all is void. Raises
    :class:`ServerError`."""
    path = folder.absolute() / CATALOG
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as base:
            rows = [TenantRow(**json.loads(text)) for (text,) in base.execute("SELECT row FROM tenants")]
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise ServerError(f"the catalog {path} cannot be read: {error}") from error
    return {row.id: (row.generation, row.void_until) for row in rows if row.is_there and row.durability != DURABILITY_NONE}


def _opened(folder: Path, name: str, stack: contextlib.ExitStack) -> _Piece:
    descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return _Piece(name, descriptor, os.fstat(descriptor).st_size)


def _refuse(source: Path, target: Path) -> None:
    """Raise :class:`DataFolderError` for a target that cannot be one."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DataFolderError(f"{target} is there, and is no folder: name a new one")
    if target.is_dir() and any(target.iterdir()):
        raise DataFolderError(f"{target} is not empty: name a new folder")
    if target.is_mount():
        raise DataFolderError(f"{target} is where a disk is mounted: name a new folder in it")
    if not target.parent.is_dir():
        raise DataFolderError(f"there is no folder {target.parent}")
    if source.resolve() in (target.resolve(), *target.resolve().parents):
        raise DataFolderError(f"{target} is in the data folder itself: name a folder elsewhere")


@contextlib.contextmanager
def _own(folder: Path) -> Iterator[None]:
    """Make the folder, for the block, in place of what a backup left that was killed; whatever ends the block early, it is
    gone then. Raises :class:`DataFolderError` when another backup has it, or it is none of a backup."""
    if folder.exists() and any(folder.iterdir()):
        try:
            descriptor = os.open(folder / _UNFINISHED, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            raise DataFolderError(f"{folder} is there, and no unfinished backup: remove it, or name another folder") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except BlockingIOError:
            raise DataFolderError(f"another backup writes {folder}") from None
        finally:
            os.close(descriptor)
    folder.mkdir(_MODE, exist_ok=True)
    descriptor = -1
    try:
        descriptor = os.open(folder / _UNFINISHED, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
