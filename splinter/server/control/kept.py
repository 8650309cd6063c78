"""Extensions as a data folder keeps them: in its catalog before they are in memory, and installed from it at every start.

The catalog is written first, so it may be one act ahead of the memory when the control process dies between the two. Nobody was
told how that act ended, so the next control process does it. What the catalog has and this server cannot run (its compiler
refuses what an earlier one took, or the quota has no room) stays there, is listed with the reason, and does not stop the start.
What it cannot run *yet*, because its disk takes no writes or it is too busy, is listed as well, and tried again until it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from splinter.durable.catalog import Catalog, ExtensionRow
from splinter.errors import (
    BusyError,
    ControlError,
    DiskFailedError,
    NoSuchExtensionError,
    SplinterError,
    UnknownTenantError,
)
from splinter.net.xdp.extensions import NOT_LOADED, Loaded

if TYPE_CHECKING:
    from splinter.ext.compile import CompiledExtension
    from splinter.server.control.installed import Entry
    from splinter.server.control.registry import Registry
    from splinter.server.shared import Shared

_log = logging.getLogger(__name__)
_COUNTS = ("code_bytes", "frame_bytes", "invocations", "in_kernel", "errors", "yields", "kills", "cpu_us")
_TRIES = 3  # of an install that the server was too busy for, before it goes on with the others
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class NotRunnable:
    """An extension that the catalog has and this server cannot run."""

    row: ExtensionRow
    reason: str
    is_waiting: bool = False  # until it can: it is tried again

    def described(self) -> dict[str, Any]:
        """As the protocol tells it, like those that can be run."""
        row = self.row
        return {
            "name": row.name,
            "signature": row.signature or {"name": row.name, "parameters": [], "result": "None"},
            "version": row.version,
            "place": "none",
            "worker_reason": "",
            "quarantined": False,
            "not_runnable": self.reason,
            **dict.fromkeys(_COUNTS, 0),
        }


def described(entry: Entry, registry: Registry, shared: Shared) -> dict[str, Any]:
    """An extension that can be run, as the protocol tells it."""
    counts = registry.counts(entry)
    cycles = counts.pop("cycles")
    kills = registry.kills(entry.slot)
    obstacle = registry.in_kernel.obstacle(entry.slot)
    return {
        "name": entry.name,
        "signature": entry.signature.to_wire(),
        "version": entry.version,
        "code_bytes": entry.code_bytes,
        "frame_bytes": entry.frame_bytes,
        "place": "kernel" if obstacle is None else "worker",
        "worker_reason": obstacle or entry.worker_reason,
        **counts,
        "kills": kills,
        "quarantined": kills >= shared.config.quarantine_after,
        "cpu_us": cycles * 1000 // shared.cycles_per_millisecond,
        "not_runnable": "",
    }


class KeptExtensions:
    """The catalog's extensions beside the registry's. ``catalog`` None: there is no data folder, and nothing is kept."""

    def __init__(self, catalog: Catalog | None, registry: Registry) -> None:
        self._catalog, self._registry = catalog, registry
        # By tenant and generation, then by name
        self._not_runnable: dict[tuple[int, int], dict[str, NotRunnable]] = {}

    def not_runnable(self, tenant: int, generation: int) -> list[NotRunnable]:
        """What a tenant has and this server cannot run, by name."""
        found = self._not_runnable.get((tenant, generation), {})
        return [found[name] for name in sorted(found)]

    def row(self, tenant: int, name: str) -> ExtensionRow | None:
        """A tenant's extension as the catalog has it; None: there is no data folder. Raises :class:`ControlError`."""
        return self._catalog.extension(tenant, name) if self._catalog is not None else None

    def history(self, tenant: int, generation: int) -> list[dict[str, Any]]:
        """What was done with a tenant's extensions, as the protocol tells it, oldest first. Raises :class:`ControlError`."""
        if self._catalog is None:
            raise ControlError("the server keeps no history: it has no data folder", "no_data_folder")
        told = (event for event in self._catalog.history(tenant) if event.generation == generation)
        return [{"name": each.name, "version": each.version, "what": each.what, "at": each.at} for each in told]

    def install(
        self,
        tenant: int,
        generation: int,
        compiled: CompiledExtension,
        program: Loaded = NOT_LOADED,
        *,
        source: str,
        is_of_group: bool,
    ) -> Entry:
        """Publish an extension that somebody installs; as :meth:`Registry.install`. Raises :class:`ControlError` when the
        catalog cannot be written, and has installed nothing."""
        if self._catalog is None:
            return self._registry.install(tenant, compiled, program)
        former = self._not_runnable.get((tenant, generation), {})
        old = self._registry.find(tenant, compiled.name) or (former[compiled.name].row if compiled.name in former else None)
        version = old.version + 1 if old else 1
        row = ExtensionRow(
            tenant, generation, compiled.name, version, source, time.time(), is_of_group, compiled.signature.to_wire()
        )
        with self._catalog.installing(row):
            entry = self._registry.install(tenant, compiled, program, version=version)
        former.pop(compiled.name, None)
        return entry

    def uninstall(self, tenant: int, generation: int, name: str) -> None:
        """Remove an extension, also one that cannot be run; as :meth:`Registry.uninstall`."""
        former = self._not_runnable.get((tenant, generation), {})
        is_known = name in former or self._registry.find(tenant, name) is not None
        with self._catalog.uninstalling(tenant, name) if self._catalog and is_known else contextlib.nullcontext():
            if name not in former:
                self._registry.uninstall(tenant, name)
        former.pop(name, None)

    async def restore(self, is_active: Callable[[int], bool], make: Callable[[ExtensionRow], Awaitable[Entry]]) -> None:
        """Make the memory what the catalog says: ``make`` compiles and installs a row."""
        if self._catalog is None:
            return
        rows = self._catalog.extensions()
        self._uninstall_others({(row.tenant, row.name) for row in rows}, is_active)
        for row in rows:
            there = self._registry.find(row.tenant, row.name)
            if there is None or there.version != row.version:
                await self._make(row, make)

    def _uninstall_others(self, kept: set[tuple[int, str]], is_active: Callable[[int], bool]) -> None:
        for tenant in filter(is_active, self._registry.tenants()):
            for entry in self._registry.entries(tenant):
                if (tenant, entry.name) not in kept:
                    self._registry.uninstall(tenant, entry.name)

    def require(self, row: ExtensionRow) -> None:
        """Raise :class:`NoSuchExtensionError` when the catalog does not have this row any more, and :class:`ControlError`."""
        if self.row(row.tenant, row.name) != row:
            raise NoSuchExtensionError(f"extension {row.name!r} was replaced or uninstalled meanwhile")

    async def retry(
        self,
        lock: Callable[[int], contextlib.AbstractAsyncContextManager[None]],
        make: Callable[[ExtensionRow], Awaitable[Entry]],
    ) -> None:
        """Try again, until nothing waits any more. ``lock``: a tenant's, by which it installs; ``make`` as for
        :meth:`restore`."""
        while waiting := self._waiting():
            await asyncio.sleep(_RETRY_SECONDS)
            for row in waiting:
                async with lock(row.tenant):
                    if not await self._try_again(row, make):
                        break  # nor would the disk take another one

    def _waiting(self) -> list[ExtensionRow]:
        return [one.row for found in self._not_runnable.values() for one in found.values() if one.is_waiting]

    async def _try_again(self, row: ExtensionRow, make: Callable[[ExtensionRow], Awaitable[Entry]]) -> bool:
        """Install a row that has waited. Whether the disk takes writes, as far as is known."""
        if row not in self._waiting():
            return True
        try:
            await make(row)
        except DiskFailedError:
            return False
        except BusyError:
            return True
        except (NoSuchExtensionError, UnknownTenantError):
            pass  # it is not to be installed any more
        except SplinterError as error:
            self._note(row, error)
            return True
        else:
            _log.info("extension %r of tenant %d, which has waited, is installed", row.name, row.tenant)
        self._not_runnable[row.tenant, row.generation].pop(row.name, None)
        return True

    def _note(self, row: ExtensionRow, error: SplinterError) -> None:
        """An extension cannot be run, or not yet."""
        is_waiting, reason = isinstance(error, DiskFailedError | BusyError), str(error)
        found = self._not_runnable.setdefault((row.tenant, row.generation), {})
        found[row.name] = NotRunnable(row, reason, is_waiting)
        if is_waiting:
            _log.warning("extension %r of tenant %d waits until it can be installed: %s", row.name, row.tenant, reason)
        else:
            _log.error("extension %r of tenant %d is kept, and cannot be run: %s", row.name, row.tenant, reason)

    async def _make(self, row: ExtensionRow, make: Callable[[ExtensionRow], Awaitable[Entry]]) -> None:
        for left in reversed(range(_TRIES)):
            try:
                await make(row)
            except SplinterError as error:
                if isinstance(error, BusyError) and left:
                    continue
                self._note(row, error)
            return
