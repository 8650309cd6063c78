"""What a data folder keeps beside objects, in SQLite: tenants, their extensions, and what was done with them.

Each change is one transaction that is on the disk when the method returns. It is made *before* the memory is changed that it is
about, and taken back when that fails; so what was acknowledged is here. What was not may be here too, as if its acknowledgement
had been lost on its way.

SQLite tells a damaged structure, and not a flipped bit in a value. So each row carries a checksum over all its columns, which
is compared whenever the row is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from splinter.errors import ControlError, DataFolderError
from splinter.limits import EXTENSION_EVENTS_MAX, TENANTS_MAX

VERSION = 3
"""Of the folder, counted on with each change of its tables (:data:`_MIGRATIONS`), or of what older servers could not read."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE tenants (id INTEGER PRIMARY KEY, row TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT;
CREATE TABLE extensions (tenant INTEGER NOT NULL, name TEXT NOT NULL, row TEXT NOT NULL, checksum INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)) STRICT, WITHOUT ROWID;
CREATE TABLE history (number INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, row TEXT NOT NULL,
  checksum INTEGER NOT NULL) STRICT;
CREATE INDEX history_of_tenant ON history (tenant, number);
"""
# What makes tables of a version those of the next one, by the former.
_MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {
    1: lambda _: None,  # log and snapshots may have large values, which version 1 takes for damage
    2: lambda _: None,  # a home may be None, which version 2 cannot serve
}
# Removes of a tenant what is older than its last so many events: whoever installs without end fills no disk.
_OLD_EVENTS = """
DELETE FROM history WHERE tenant = ? AND number <=
  (SELECT number FROM history WHERE tenant = ? ORDER BY number DESC LIMIT 1 OFFSET ?)
"""
_FORGET_TENANT = "DELETE FROM tenants WHERE id = ?"
_BUSY_SECONDS = 10.0
_IDENTITY_BITS = 63
_LOST_GENERATION_BITS = 31
Row = TypeVar("Row")


@dataclass(frozen=True)
class TenantRow:
    """A tenant id. Numbers are as in :data:`splinter.net.tenants.TENANT`."""

    id: int
    generation: int  # of the tenant, or of the last one that there was
    is_there: bool
    token: int = 0
    former_token: int = 0
    home: int | None = None  # that somebody chose; None: id modulo cores, however many a server has
    quota_bytes: int = 0
    durability: int = 0
    limits: dict[str, int] | None = None  # further fields of the tenant's record
    eviction: int = 0  # EVICTION_…
    # Entries of the id up to this number, and snapshots that lack that one, are of an earlier tenant, or from before a time in
    # which nothing was logged: nothing of them is restored
    void_until: int = 0


@dataclass(frozen=True)
class ExtensionRow:
    """An installed extension: what it is compiled from."""

    tenant: int
    generation: int  # of the tenant
    name: str
    version: int
    source: str
    installed_at: float  # seconds since 1970
    is_of_group: bool = False  # all extensions of the source were compiled together, into one block of code
    signature: dict[str, Any] | None = None  # as the protocol has it: told when it cannot be compiled any more


@dataclass(frozen=True)
class Event:
    """Something that was done with an extension."""

    tenant: int
    generation: int
    name: str
    version: int
    what: str  # "installed", "uninstalled"
    at: float  # seconds since 1970


class Catalog:
    """An open catalog. One process uses one of these at a time; several processes may have the same file open."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Raises :class:`DataFolderError`: it is damaged, or of a newer version; :class:`OSError`."""
        self._path = path
        try:
            with self._told():
                self._base = self._open()
                self._prepare()
                # Of the folder: random, in the header of every group of its files
                self.identity = int(self._meta("identity") or 0)
            if self.identity == 0:
                raise self._damage("the folder's identity")
        except ControlError as error:
            raise DataFolderError(str(error)) from error.__cause__

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # tokens are nobody else's business
        base = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        base.text_factory = _decoded
        base.execute("PRAGMA journal_mode = DELETE")
        base.execute("PRAGMA synchronous = EXTRA")
        base.execute("PRAGMA cell_size_check = ON")
        return base

    def _prepare(self) -> None:
        found = int(self._base.execute("PRAGMA user_version").fetchone()[0])
        if found == 0:
            with self._change():
                for statement in _TABLES.split(";"):
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA user_version = {VERSION}")
                self._put_meta("identity", str(secrets.randbits(_IDENTITY_BITS) | 1))
            return
        if found > VERSION:
            raise DataFolderError(
                f"the data folder {self._path.parent} is of a newer Splinter (version {found} of the catalog; this one knows "
                f"{VERSION}): start it with that one"
            )
        problems = [row[0] for row in self._base.execute("PRAGMA integrity_check(5)")]
        if problems != ["ok"]:
            raise DataFolderError(f"{self._path} is damaged: {'; '.join(problems)}")
        if found < VERSION:
            self._migrate(found)

    def _migrate(self, found: int) -> None:
        copy = self._copied(f"version-{found}")
        print(f"the data folder is of version {found}; it becomes version {VERSION}, and a copy of its catalog is {copy}")
        with self._change():
            for version in range(found, VERSION):
                _MIGRATIONS[version](self._base)
            self._base.execute(f"PRAGMA user_version = {VERSION}")

    def _copied(self, ending: str) -> Path:
        """A copy of the file as it is, with this ending, on the disk."""
        copy = self._path.with_name(f"{self._path.name}.{ending}")
        shutil.copy2(self._path, copy)
        for path in (copy, copy.parent):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        return copy

    def reopen(self) -> None:
        """In a forked process: have a connection of its own."""
        with self._told():
            self._base = self._open()

    def close(self) -> None:
        """Close it. Again: nothing."""
        self._base.close()

    def leave_out_damage(self, tell: Callable[[str], None]) -> None:
        """Remove every damaged row, after a copy of the catalog, and ``tell`` of each. What is said of the folder is not among
        them: without its identity nothing in the folder is known to be its own. Raises :class:`DataFolderError`.

        A tenant whose row is lost is gone. Ids without a row get one that says so, with a random generation: the tenants that
        they had did not have that, so the next one meets nothing of theirs in the log.
        """
        with self._told(), self._change():
            damaged = self._damaged()
            if not damaged:
                return
            copy = self._copied("damaged")
            tell(f"what is damaged in the catalog is left out; {copy} is a copy of it as it was")
            for what, statement, values in damaged:
                tell(f"left out of the catalog: {what}")
                self._base.execute(statement, values)
            is_tenant_lost = any(statement == _FORGET_TENANT for _, statement, _ in damaged)
            for key in self._lost_ids() if is_tenant_lost else []:
                text = _text(TenantRow(key, secrets.randbits(_LOST_GENERATION_BITS), False))
                self._base.execute("INSERT INTO tenants VALUES (?, ?, ?)", (key, text, _checksum(key, text)))
                self._base.execute("DELETE FROM extensions WHERE tenant = ?", (key,))
                self._base.execute("DELETE FROM history WHERE tenant = ?", (key,))

    def verify(self) -> None:
        """Raise :class:`DataFolderError` when any row is damaged."""
        with self._told():
            damaged = self._damaged()
        if damaged:
            raise self._damage(damaged[0][0])

    def _damaged(self) -> list[tuple[str, str, tuple[Any, ...]]]:
        """Of each damaged row what it is, and the statement that removes it with its values."""
        select = self._base.execute
        found: list[tuple[str, str, tuple[Any, ...]]] = []
        for key, row, checksum in select("SELECT id, row, checksum FROM tenants").fetchall():
            if checksum != _checksum(key, row):
                found.append((f"tenant {key}, with its objects and extensions", _FORGET_TENANT, (key,)))
        columns = "tenant, name, CAST(name AS BLOB), row, checksum"
        for tenant, name, key, row, checksum in select(f"SELECT {columns} FROM extensions").fetchall():
            if checksum != _checksum(f"{tenant}.{name}", row):
                statement = "DELETE FROM extensions WHERE tenant = ? AND CAST(name AS BLOB) = ?"
                found.append((f"extension {name!r} of tenant {tenant}", statement, (tenant, key)))
        for number, tenant, row, checksum in select("SELECT number, tenant, row, checksum FROM history").fetchall():
            if checksum != _checksum(tenant, row):
                found.append((f"an event of tenant {tenant}", "DELETE FROM history WHERE number = ?", (number,)))
        return found

    def _lost_ids(self) -> list[int]:
        """Ids that have no row (a flipped bit of a row's key has taken it from one id, and given it to another)."""
        known = {key for (key,) in self._base.execute("SELECT id FROM tenants")}
        return [key for key in range(1, TENANTS_MAX) if key not in known]

    # --- what is said of the folder ----------------------------------------------------------------------------------

    @property
    def store(self) -> int:
        """Identity of the store whose changes the log has; 0: none was served yet."""
        return int(self._meta("store") or 0)

    @store.setter
    def store(self, identity: int) -> None:
        with self._told(), self._change():
            self._put_meta("store", str(identity))

    def _meta(self, name: str) -> str | None:
        with self._told():
            row = self._base.execute("SELECT value, checksum FROM meta WHERE name = ?", (name,)).fetchone()
            all_rows = self._base.execute("SELECT name, value, checksum FROM meta").fetchall() if row is None else []
        # What is not there may be what has another name by a flipped bit.
        is_damaged = row is not None and row[1] != _checksum(name, row[0])
        if is_damaged or any(checksum != _checksum(key, value) for key, value, checksum in all_rows):
            raise self._damage(f"meta {name!r}")
        return None if row is None else str(row[0])

    def _put_meta(self, name: str, value: str) -> None:
        self._base.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (name, value, _checksum(name, value)))

    # --- tenants -----------------------------------------------------------------------------------------------------

    def tenants(self) -> list[TenantRow]:
        """All ids that there were, by id. Raises :class:`DataFolderError` when a row is damaged."""
        return [
            self._row(TenantRow, f"tenant {key}", text, checksum, key) for key, text, checksum in self._select("tenants", "id")
        ]

    def put_tenants(self, rows: list[TenantRow]) -> None:
        """Write these, in place of what there is of their ids; those that are gone lose their extensions. Raises
        :class:`ControlError`, and has changed nothing."""
        with self._told(), self._change():
            for row in rows:
                text = _text(row)
                self._base.execute("INSERT OR REPLACE INTO tenants VALUES (?, ?, ?)", (row.id, text, _checksum(row.id, text)))
                if not row.is_there:
                    self._base.execute("DELETE FROM extensions WHERE tenant = ?", (row.id,))
                    self._base.execute("DELETE FROM history WHERE tenant = ?", (row.id,))

    @contextlib.contextmanager
    def changing(self, rows: list[TenantRow], before: list[TenantRow]) -> Iterator[None]:
        """Write ``rows``, then have the caller change the memory; if that raises, write what was there ``before``."""
        self.put_tenants(rows)
        try:
            yield
        except BaseException:
            self.put_tenants(before)
            raise

    # --- extensions --------------------------------------------------------------------------------------------------

    def extensions(self) -> list[ExtensionRow]:
        """All that are installed, by tenant and name. Raises :class:`DataFolderError` when a row is damaged."""
        found = self._select("extensions", "tenant || '.' || name")
        return [self._row(ExtensionRow, f"extension {key}", text, checksum, key) for key, text, checksum in found]

    def history(self, tenant: int) -> list[Event]:
        """What was done with a tenant's extensions, in order."""
        with self._told():
            found = self._base.execute(
                "SELECT tenant, row, checksum FROM history WHERE tenant = ? ORDER BY number", (tenant,)
            ).fetchall()
        return [self._row(Event, f"history of tenant {tenant}", text, checksum, key) for key, text, checksum in found]

    @contextlib.contextmanager
    def installing(self, row: ExtensionRow) -> Iterator[None]:
        """Write an extension, then have the caller install it; if that raises, write what was there before."""
        before = self.extension(row.tenant, row.name)
        self._put_extension(row.tenant, row.name, row, _event(row, "installed"))
        try:
            yield
        except BaseException:
            self._put_extension(row.tenant, row.name, before, None)
            raise

    @contextlib.contextmanager
    def uninstalling(self, tenant: int, name: str) -> Iterator[None]:
        """Remove an extension, then have the caller uninstall it; if that raises, write what was there before. Nothing is
        written where there is none."""
        before = self.extension(tenant, name)
        if before is None:
            yield
            return
        self._put_extension(tenant, name, None, _event(before, "uninstalled"))
        try:
            yield
        except BaseException:
            self._put_extension(tenant, name, before, None)
            raise

    def extension(self, tenant: int, name: str) -> ExtensionRow | None:
        """A tenant's extension of a name."""
        with self._told():
            found = self._base.execute(
                "SELECT row, checksum FROM extensions WHERE tenant = ? AND name = ?", (tenant, name)
            ).fetchone()
        key = f"{tenant}.{name}"
        return None if found is None else self._row(ExtensionRow, f"extension {key}", found[0], found[1], key)

    def _put_extension(self, tenant: int, name: str, row: ExtensionRow | None, event: Event | None) -> None:
        """Write a row, or none, and what happened; without an event, take the tenant's last one back."""
        with self._told(), self._change():
            if row is None:
                self._base.execute("DELETE FROM extensions WHERE tenant = ? AND name = ?", (tenant, name))
            else:
                text = _text(row)
                values = (tenant, name, text, _checksum(f"{tenant}.{name}", text))
                self._base.execute("INSERT OR REPLACE INTO extensions VALUES (?, ?, ?, ?)", values)
            if event is not None:
                text = _text(event)
                values_of_event = (tenant, text, _checksum(tenant, text))
                self._base.execute("INSERT INTO history (tenant, row, checksum) VALUES (?, ?, ?)", values_of_event)
                self._base.execute(_OLD_EVENTS, (tenant, tenant, EXTENSION_EVENTS_MAX))
            else:
                self._base.execute(
                    "DELETE FROM history WHERE number = (SELECT max(number) FROM history WHERE tenant = ?)", (tenant,)
                )

    # --- rows --------------------------------------------------------------------------------------------------------

    def _select(self, table: str, key: str) -> list[tuple[Any, str, int]]:
        with self._told():
            return self._base.execute(f"SELECT {key}, row, checksum FROM {table} ORDER BY 1").fetchall()

    def _row(self, kind: type[Row], what: str, text: str, checksum: int, key: Any) -> Row:
        if checksum != _checksum(key, text):
            raise self._damage(what)
        return kind(**json.loads(text))

    def _damage(self, what: str) -> DataFolderError:
        return DataFolderError(f"{self._path} is damaged: {what} is not what was written there")

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._base.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: SQLite's message quotes what is damaged
            raise ControlError(f"the catalog {self._path} cannot be used: {error}", "catalog_failed") from error


def _decoded(text: bytes) -> str:
    """A text of the file: what is no UTF-8 is damaged, which its checksum tells then."""
    return text.decode(errors="replace")


def _event(row: ExtensionRow, what: str) -> Event:
    return Event(row.tenant, row.generation, row.name, row.version, what, time.time())


def _text(row: TenantRow | ExtensionRow | Event) -> str:
    return json.dumps(asdict(row), sort_keys=True)


def _checksum(key: Any, text: str) -> int:
    return zlib.crc32(f"{key}\0{text}".encode())
