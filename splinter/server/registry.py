"""Installed extensions: what is in the store under ``TABLE_EXTENSIONS``, mirrored here, and the code they point to.

The records in the store are the truth, and what workers look up; each is an object of its tenant, so replacing one is
one atomic store. The mirror answers lists and signatures without a scan of the index, and is rebuilt from the records
when the control process starts. Code that no record names any more may still be running: its memory is free only when
every worker has left the epoch in which it was replaced. What waits for that is known to this process alone; so a new
one writes no code at all until every worker has left the epoch in which it started.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from splinter import limits
from splinter.errors import BusyError, ControlError, ServerError, Status, error_for
from splinter.ext import record
from splinter.store.epochs import OLDEST_NONE, epoch_advance, epoch_enter, epoch_leave, epoch_now, epoch_oldest
from splinter.store.slots import reclaim

if TYPE_CHECKING:
    from splinter.ext.code import CodeRegion
    from splinter.ext.compile import CompiledExtension
    from splinter.ext.signature import Signature
    from splinter.store.store import Store

_READY_SECONDS_MAX = 10.0
_READY_POLL_SECONDS = 0.005
_RECLAIM_SLOTS_MAX = 4096  # at a time: under a millisecond


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed extension; sizes in bytes, ``code_offset`` from the start of the code region."""

    name: str
    signature: Signature
    version: int
    code_offset: int
    code_bytes: int
    frame_bytes: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    stamp: int
    code_offset: int
    code_bytes: int


class Registry:
    """The extensions of all tenants. Used from the event loop only."""

    def __init__(self, store: Store, code: CodeRegion) -> None:
        self._store, self._code = store, code
        self._entries: dict[int, dict[str, Entry]] = {}
        self._waiting: deque[_Waiting] = deque()  # by stamp
        self._started_at = _date_now(store)
        self.work_waits = asyncio.Event()  # something for upkeep() to do

    @property
    def count(self) -> int:
        """Extensions installed, of all tenants."""
        return sum(len(entries) for entries in self._entries.values())

    @property
    def bytes_waiting(self) -> int:
        """Bytes of code that nothing names, but that may still be running."""
        return sum(item.code_bytes for item in self._waiting)

    def find(self, tenant: int, name: str) -> Entry | None:
        """A tenant's extension of this name."""
        return self._entries.get(tenant, {}).get(name)

    def entries(self, tenant: int) -> list[Entry]:
        """A tenant's extensions by name."""
        return sorted(self._entries.get(tenant, {}).values(), key=lambda entry: entry.name)

    def rebuild(self) -> None:
        """Read all records from the store, and take the code they name out of what may be written."""
        self.work_waits.set()  # what an earlier control process retired waits in the store
        self._entries.clear()
        for stored in self._store.scan(limits.TABLE_EXTENSIONS):
            found, name = record.parse(stored.value), stored.key.decode()
            self._code.reserve(found.code_offset, found.code_bytes)
            self._entries.setdefault(stored.tenant, {})[name] = Entry(
                name, found.signature, found.version, found.code_offset, found.code_bytes, found.frame_bytes
            )

    async def ready_to_write(self) -> None:
        """Wait until no worker can run code that an earlier control process has replaced. Raises :class:`BusyError`."""
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while not _is_unreachable(self._store, self._started_at):
            if time.monotonic() >= deadline:
                raise BusyError("a worker has not left the epoch in which the control process started: try again later")
            await asyncio.sleep(_READY_POLL_SECONDS)

    def install(self, tenant: int, compiled: CompiledExtension) -> Entry:
        """Publish a compiled extension under its name, in place of the one there was; :meth:`ready_to_write` first.

        Raises :class:`splinter.errors.RequestError` when the store has no room or the tenant is gone,
        :class:`ControlError` when the code region has no room or the tenant has too many extensions.
        """
        entries = self._entries.setdefault(tenant, {})
        old = entries.get(compiled.name)
        if old is None and len(entries) >= limits.EXTENSIONS_PER_TENANT_MAX:
            raise ControlError(
                f"a tenant has at most {limits.EXTENSIONS_PER_TENANT_MAX} extensions", "too_many_extensions"
            )
        try:
            address, offset = self._code.write(compiled.code)
        except ServerError as error:
            raise ControlError(str(error), "code_memory_full") from None
        try:
            version = old.version + 1 if old else 1
            value = record.build(compiled, address, offset, version)
            if len(value) > limits.EXTENSION_METADATA_BYTES_MAX:
                raise ControlError("the signature is too long", "bad_request")
            self._store.put(tenant, limits.TABLE_EXTENSIONS, compiled.name.encode(), value)
        except BaseException:
            self._code.free(offset)  # never published, so nobody runs it
            raise
        entry = Entry(compiled.name, compiled.signature, version, offset, len(compiled.code), compiled.frame_bytes)
        entries[entry.name] = entry
        if old:
            self._release(old)
        return entry

    def uninstall(self, tenant: int, name: str) -> None:
        """Remove an extension; tasks that run it end as if it were there. Raises NoSuchExtensionError."""
        old = self.find(tenant, name)
        if old is None:
            raise error_for(Status.NO_EXTENSION, f"tenant {tenant} has no extension {name!r}")
        self._store.delete(tenant, limits.TABLE_EXTENSIONS, name.encode())
        del self._entries[tenant][name]
        self._release(old)

    def forget_tenant(self, tenant: int) -> None:
        """Release the code of a tenant whose records are gone already."""
        for entry in self._entries.pop(tenant, {}).values():
            self._release(entry)

    def upkeep(self) -> None:
        """Free the code, and the store's objects, that no worker can refer to any more."""
        while self._waiting and _is_unreachable(self._store, self._waiting[0].stamp):
            self._code.free(self._waiting.popleft().code_offset)
        if not self._reclaim_objects() and not self._waiting:
            self.work_waits.clear()

    def _reclaim_objects(self) -> bool:
        """Free objects that this process retired; returns whether more wait."""
        address = self._store.address
        epoch_enter(address, limits.PARTICIPANT_CONTROL, OLDEST_NONE)
        reclaim(address, limits.PARTICIPANT_CONTROL, _RECLAIM_SLOTS_MAX)
        epoch_leave(address, limits.PARTICIPANT_CONTROL)
        return bool(self._store.participants["limbo_head"][limits.PARTICIPANT_CONTROL])

    def _release(self, entry: Entry) -> None:
        self._waiting.append(_Waiting(_date_now(self._store), entry.code_offset, entry.code_bytes))
        self.work_waits.set()


def _date_now(store: Store) -> int:
    """A date for what has just been made unreachable."""
    return int(epoch_now(store.address))


def _is_unreachable(store: Store, date: int) -> bool:
    """Whether nobody holds a reference from that date or before. Asking moves the epochs on."""
    if epoch_now(store.address) <= date:
        epoch_advance(store.address)
    return int(epoch_oldest(store.address)) > date
