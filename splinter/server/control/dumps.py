"""The control plane's part of ``splinter dump`` and ``splinter restore``: objects by pieces, told and taken.

A dump is a row of requests, each of which names where the one before has ended. Nothing is kept between them, so one that is
slow or died holds nothing. What a request names is checked: the store (the order is that of its index, and another one has
another), the place in it, the tenant's generation. Only the administrator is told: the order shows which keys collide.

A message looks at DUMP_BUCKETS main buckets at a time, each under an epoch of its own, and lets other connections have their
turn between two. A chain that is larger than a message is told in the order of table and key, from behind those that were told.

What a tenant with durability "always" shows is on the disk: as a worker's replies, a message waits for the last commit that it
may tell of. So does the reply to a put of its objects.
"""

from __future__ import annotations

import asyncio
import ctypes
import struct
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from splinter import limits
from splinter.errors import BusyError, ControlError, Status, UnknownTenantError, error_for
from splinter.server.control import fields
from splinter.store.dump import (
    CHAIN_ADDRESSES_BYTES,
    CHAIN_BYTES_MAX,
    ONE_ADDRESSES_BYTES,
    ONE_BYTES_MAX,
    UNSOUND,
    count_dumped,
    dump_chains,
    dump_key,
    put_dumped,
)
from splinter.store.layout import DURABILITY_ALWAYS
from splinter.store.stored import STARTS_BITS
from splinter.wire import DUMPED, DUMPED_BYTES

if TYPE_CHECKING:
    from splinter.server.control.kept import KeptExtensions
    from splinter.server.control.registry import Registry
    from splinter.server.control.tenants import Tenants
    from splinter.server.shared import Shared
    from splinter.store.store import Store

_PIECE_BYTES = limits.DUMP_PIECE_BYTES
_MESSAGE_BYTES_MAX = limits.CONTROL_MESSAGE_BYTES_MAX
_PAUSE_SECONDS = 0.001  # between two looks at what will change soon
_DISK_SECONDS = 0.005
_SOURCES_BYTES = 512 << 10  # of extensions, in one message
_PLACE_BYTES = 4  # tenant and table, in front of a key
_CONTROL = limits.PARTICIPANT_CONTROL
_Handler = Callable[[dict[Any, Any]], Awaitable[dict[str, Any]]]


class Dumps:
    """Operations by their names. ``require_administrator`` raises for a request of anybody else."""

    def __init__(
        self,
        shared: Shared,
        tenants: Tenants,
        registry: Registry,
        kept: KeptExtensions,
        require_administrator: Callable[[dict[Any, Any]], None],
    ) -> None:
        self._store: Store = shared.store
        self._tenants, self._registry, self._kept = tenants, registry, kept
        self._require_administrator = require_administrator
        self._walk = ChainWalk(shared.store)
        self.handlers: dict[str, _Handler] = {
            "dump.begin": self._dump_begin,
            "dump.extensions": self._dump_extensions,
            "dump.objects": self._dump_objects,
            "dump.object": self._dump_object,
            "restore.begin": self._restore_begin,
            "restore.objects": self._restore_objects,
        }

    async def _dump_begin(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Describe the tenants from ``start`` on, or one, for a dump; ``store`` and ``buckets`` are for ``dump.objects``."""
        self._require_administrator(request)
        with_token = fields.flag(request, "tokens")
        only = fields.optional_integer(request, "tenant", 1, self._tenants.count_max - 1)
        start = fields.integer(request, "start", 0, self._tenants.count_max, default=0)
        if only is not None:
            self._require(only, None)
        ids = [only] if only is not None else self._tenants.active_ids(start)
        page, more = ids[: limits.TENANTS_PER_MESSAGE_MAX], ids[limits.TENANTS_PER_MESSAGE_MAX :]
        return {
            "store": self._identity,
            "buckets": self._walk.buckets,
            "tenants": [self._described(tenant, with_token) for tenant in page],
            "next": more[0] if more else None,
        }

    def _described(self, tenant: int, with_token: bool) -> dict[str, Any]:
        fields_told = self._tenants.describe(tenant, with_token=with_token, with_usage=True)
        generation = self._tenants.generation(tenant)
        return {**fields_told, "generation": generation, "extensions": len(self._names(tenant))}

    def _names(self, tenant: int) -> list[str]:
        generation = self._tenants.generation(tenant)
        lost = (each.row.name for each in self._kept.not_runnable(tenant, generation))
        return sorted({*(entry.name for entry in self._registry.entries(tenant)), *lost})

    async def _dump_extensions(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell a tenant's extensions behind ``name`` with their sources; a server without a data folder has none of these."""
        self._require_administrator(request)
        tenant = fields.integer(request, "tenant", 1, self._tenants.count_max - 1)
        self._require(tenant, fields.integer(request, "generation", 0, (1 << 32) - 1))
        behind = fields.optional_name(request, "name") or ""
        told: list[dict[str, Any]] = []
        size, following = 0, None
        for name in self._names(tenant):
            if name <= behind:
                continue
            row = self._kept.row(tenant, name)
            source = row.source if row is not None else None
            size += len((source or "").encode(errors="surrogatepass"))
            if told and size > _SOURCES_BYTES:
                following = told[-1]["name"]
                break
            told.append({"name": name, "source": source, "together": row is not None and row.is_of_group})
        return {"extensions": told, "next": following}

    async def _dump_objects(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell objects of one tenant or all from main bucket ``bucket`` on, behind table and key ``behind`` of it."""
        self._require_administrator(request)
        tenant = fields.optional_integer(request, "tenant", 1, self._tenants.count_max - 1)
        generation = fields.optional_integer(request, "generation", 0, (1 << 32) - 1)
        if fields.integer(request, "store", 0, (1 << 64) - 1) != self._identity:
            raise ControlError("the server was started anew, with another store: begin the dump again", "dump_refused")
        bucket = fields.integer(request, "bucket", 0, self._walk.buckets)
        behind = fields.optional_binary(request, "behind", _PLACE_BYTES + 1, _PLACE_BYTES + limits.KEY_BYTES_MAX)
        if tenant is not None:
            self._require(tenant, generation)
        pieces: list[bytes] = []
        size, now = 0, asyncio.get_running_loop().time
        enough_at, end_at = now() + limits.DUMP_MESSAGE_SECONDS, now() + limits.DUMP_WAIT_SECONDS
        while bucket < self._walk.buckets and size < _PIECE_BYTES:
            found = self._walk.step(tenant or 0, bucket, behind, _PIECE_BYTES - size)
            if found is None and now() > end_at:
                raise BusyError("a commit that deletes is not finished: try again")
            if found is not None:
                piece, bucket, behind = found
                pieces.append(piece)
                size += len(piece)
            if now() > enough_at and pieces:
                break
            await asyncio.sleep(_PAUSE_SECONDS if found is None else 0)
        if tenant is not None:
            self._require(tenant, generation)  # it may have been removed between two steps
        await self._until_durable(tenant)
        return {"objects": b"".join(pieces), "next": bucket if bucket < self._walk.buckets else None, "behind": behind}

    async def _dump_object(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell the object of a key, as it is now, and all of its value, if that is large; nil where that cannot be read."""
        self._require_administrator(request)
        tenant = fields.integer(request, "tenant", 1, self._tenants.count_max - 1)
        self._require(tenant, fields.integer(request, "generation", 0, (1 << 32) - 1))
        table = fields.integer(request, "table", 0, limits.TABLES_MAX - 1)
        key = fields.binary(request, "key", 1, limits.KEY_BYTES_MAX)
        for _ in range(limits.DUMP_VALUE_TRIES):
            found, value = self._walk.one(tenant, table, key)
            if value is not None:
                break
            await asyncio.sleep(0)  # it was replaced in the midst of it, or has lost a part
        await self._until_durable(tenant)
        return {"object": found, "value": value}

    async def _restore_begin(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell which generation of a tenant ``restore.objects`` is to be for."""
        self._require_administrator(request)
        tenant = fields.integer(request, "tenant", 1, self._tenants.count_max - 1)
        fields.flag(request, "replace")  # for the audit
        self._require(tenant, None)
        return {"generation": self._tenants.generation(tenant)}

    async def _restore_objects(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Put objects of a tenant, or delete their keys; tell how many were done, had expired, and what refused the next."""
        self._require_administrator(request)
        tenant = fields.integer(request, "tenant", 1, self._tenants.count_max - 1)
        generation = fields.integer(request, "generation", 0, (1 << 32) - 1)
        objects = fields.binary(request, "objects", DUMPED_BYTES, _MESSAGE_BYTES_MAX)
        deletes = fields.flag(request, "deletes")
        data = np.frombuffer(objects, np.uint8)
        at = int(data.ctypes.data)
        end = at + len(data)
        if count_dumped(at, end) == UNSOUND:
            raise ControlError("'objects' are not in the form in which a dump tells them", "bad_request")
        done = over = 0
        end_at = asyncio.get_running_loop().time() + limits.DUMP_WAIT_SECONDS
        refused: str | None = None
        while at < end and refused is None:
            self._require(tenant, generation)
            status, at, more, more_over = self._put(tenant, at, end, deletes)
            done, over = done + more, over + more_over
            if status == Status.BUSY and asyncio.get_running_loop().time() < end_at:
                await asyncio.sleep(_DISK_SECONDS)  # its lock, another one's turn, the log of changes
            elif status != Status.OK:
                refused = Status(status).name
            else:
                await asyncio.sleep(0)
        self._registry.work_waits.set()  # what was replaced waits for the workers' epochs
        await self._until_durable(tenant)
        return {"done": done, "over": over, "refused": refused}

    def _put(self, tenant: int, at: int, end: int, deletes: bool) -> tuple[int, int, int, int]:
        store = self._store
        with store.epoch():
            status, at, done, over = put_dumped(
                store.address, _CONTROL, tenant, at, end, limits.RESTORE_OBJECTS, time.time_ns(), deletes
            )
        return int(status), int(at), int(done), int(over)

    @property
    def _identity(self) -> int:
        return int(self._store.descriptor["identity"]) >> STARTS_BITS  # who goes on with a store goes on with its dumps

    def _require(self, tenant: int, generation: int | None) -> None:
        """Raise :class:`UnknownTenantError` when there is no such tenant, or another one by now."""
        if not self._tenants.is_active(tenant):
            raise UnknownTenantError(f"there is no tenant {tenant}")
        if generation is not None and generation != self._tenants.generation(tenant):
            raise UnknownTenantError(f"tenant {tenant} was removed meanwhile, and another one has its id")

    async def _until_durable(self, tenant: int | None) -> None:
        """Wait until all commits up to now are on the disk, of tenants (one, or all) that show nothing else."""
        accounts = self._store.accounts
        ids = np.array([tenant]) if tenant is not None else np.flatnonzero(accounts["durability"] == DURABILITY_ALWAYS)
        wanted = accounts["sequence"][ids].copy()
        end_at = asyncio.get_running_loop().time() + limits.DUMP_WAIT_SECONDS
        while (
            (accounts["durability"][ids] == DURABILITY_ALWAYS)
            & (accounts["durable"][ids] < wanted)
            & (accounts["active"][ids] != 0)
        ).any():  # fmt: skip
            if asyncio.get_running_loop().time() > end_at:
                raise error_for(Status.DISK_FAILED, "the server's disk does not catch up: see 'durability' in 'splinter stats'")
            await asyncio.sleep(_DISK_SECONDS)


class ChainWalk:
    """Reads chains of a store's index into a buffer of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buffer: np.ndarray | None = None  # made when first used: 4 MiB
        self._room = _PIECE_BYTES + CHAIN_BYTES_MAX

    @property
    def buckets(self) -> int:
        """Main buckets: places of a walk."""
        return int(self._store.descriptor["buckets"])

    def step(self, tenant: int, bucket: int, behind: bytes | None, enough: int) -> tuple[bytes, int, bytes | None] | None:
        """Objects of a tenant, or (0) of all, from a main bucket on, behind one of it: what came, and where to go on. None:
        somebody is in the middle of a deletion, come again."""
        if self._buffer is None:
            self._buffer = np.empty(self._room + CHAIN_ADDRESSES_BYTES, np.uint8)
        target, store = int(self._buffer.ctypes.data), self._store
        last = bucket + (1 if behind is not None else limits.DUMP_BUCKETS)
        with store.epoch():
            now = store.now_ns
            written, following = dump_chains(
                store.address, tenant, bucket, last, now, time.time_ns() - now, target, enough, target + self._room
            )  # fmt: skip
        if following == bucket:
            return None
        found = ctypes.string_at(target, int(written))
        if behind is None and len(found) <= _PIECE_BYTES:
            return found, int(following), None
        piece, behind = part_of_chain(found, behind, _PIECE_BYTES)  # it is one chain
        return piece, bucket if behind is not None else int(following), behind

    def one(self, tenant: int, table: int, key: bytes) -> tuple[bytes, bytes | None]:
        """The object of a key, and all of its value, if that is large; b"" for what there is not. None: some of it was not
        there, or not what it should be."""
        store = self._store
        target, raw = np.empty(ONE_BYTES_MAX + ONE_ADDRESSES_BYTES, np.uint8), np.frombuffer(key, np.uint8)
        at = int(target.ctypes.data)
        with store.epoch():
            now = store.now_ns
            size, length = dump_key(
                store.address, tenant, table, int(raw.ctypes.data), len(key), now, time.time_ns() - now, at, at + ONE_BYTES_MAX
            )  # fmt: skip
        return ctypes.string_at(at, int(size)), ctypes.string_at(at + int(size), int(length)) if length >= 0 else None


def part_of_chain(found: bytes, behind: bytes | None, room: int) -> tuple[bytes, bytes | None]:
    """Of the objects of one chain those behind a place (tenant, table, key), in their order, as many as have room, at least
    one; and behind which to go on, or None: these are all."""
    objects: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(found):
        tenant, table, key_length, _, value_length, _, _ = DUMPED.struct.unpack_from(found, at)
        key_at = at + DUMPED_BYTES
        end = key_at + (key_length + value_length + 7 & -8)
        place = struct.pack(">HH", tenant, table) + found[key_at : key_at + key_length]
        objects.append((place, found[at:end]))
        at = end
    objects.sort()
    pieces: list[bytes] = []
    size, last = 0, behind
    for place, one in objects:
        if behind is not None and place <= behind:
            continue
        if pieces and size + len(one) > room:
            return b"".join(pieces), last
        pieces.append(one)
        size, last = size + len(one), place
    return b"".join(pieces), None
