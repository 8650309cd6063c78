"""The control plane's operations: who may do what, with which fields, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

import splinter
from splinter import limits, wire
from splinter.client.arguments import RANGES
from splinter.durable.catalog import ExtensionRow
from splinter.errors import ControlError, PermissionDeniedError, SplinterError, Status, UnknownTenantError, error_for
from splinter.ext.compile import CompiledExtension, library_name
from splinter.recent import Recent
from splinter.server import statistics
from splinter.server.control import fields, usage
from splinter.server.control.backups import Backups
from splinter.server.control.balancer import Balancer
from splinter.server.control.compile_queue import Source
from splinter.server.control.dumps import Dumps
from splinter.server.control.in_kernel import load_program
from splinter.server.control.installed import Entry
from splinter.server.control.kept import KeptExtensions, described
from splinter.server.control.kept_code import KeptCode
from splinter.server.control.places import Rank
from splinter.server.control.registry import Registry
from splinter.server.control.tenants import RECORD_LIMITS, Tenants
from splinter.server.shared import Shared
from splinter.worker.log import log_read

_CREDENTIAL_BYTES_MAX = 256
_LOG_ENTRIES_TOLD_MAX = 1000
_EVENTS_TOLD_MAX = 256  # in one message
_COMPILED_KEPT = 64  # compiled sources remembered, the most recent ones
# What a tenant asks for and gets at once.
_OF_TENANTS = {
    "extension.history", "extension.list", "extension.log", "extension.signature", "extension.uninstall", "tenant.status",
}  # fmt: skip
# By tenant and generation: what waits for one that was removed holds up nobody who has its id now.
_Locks = WeakValueDictionary[tuple[int, int], asyncio.Lock]
_Compiled = list[CompiledExtension]
_Handler = Callable[[dict[Any, Any]], Awaitable[dict[str, Any]]]


class Operations:
    """Every operation by its name. Each returns the reply's fields, or raises the exception that the reply tells."""

    def __init__(self, shared: Shared, tenants: Tenants, registry: Registry, balancer: Balancer) -> None:
        self._shared, self._tenants, self._registry, self._balancer = shared, tenants, registry, balancer
        self._compiler = KeptCode(
            shared.data.folder.code if shared.data is not None else None
        )  # processes: compiling does not hold up other connections
        self._compiled: Recent[bytes, _Compiled] = Recent(_COMPILED_KEPT)  # by digest of name and source
        self._has_folder = shared.data is not None
        self._kept = KeptExtensions(shared.data.folder.catalog if shared.data is not None else None, registry)
        self._installing: _Locks = WeakValueDictionary()
        self._asking: _Locks = WeakValueDictionary()
        self._counts: dict[str, int] = {}
        self._handlers: dict[str, _Handler] = {
            "hello": self._hello,
            "tenant.create": self._tenant_create,
            "tenant.list": self._tenant_list,
            "tenant.limit": self._tenant_limit,
            "tenant.move": self._tenant_move,
            "tenant.remove": self._tenant_remove,
            "tenant.rotate": self._tenant_rotate,
            "tenant.status": self._tenant_status,
            "extension.install": self._extension_install,
            "extension.uninstall": self._extension_uninstall,
            "extension.list": self._extension_list,
            "extension.history": self._extension_history,
            "extension.log": self._extension_log,
            "extension.release": self._extension_release,
            "extension.signature": self._extension_signature,
            "stats": self._stats,
            "events": self._events,
            **Backups(shared, self._require_administrator).handlers,
            **Dumps(shared, tenants, registry, self._kept, self._require_administrator).handlers,
        }

    async def run(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Do what a request asks for. Raises :class:`splinter.errors.SplinterError` to refuse it."""
        op = request.get("op")
        handler = self._handlers.get(op) if isinstance(op, str) else None
        if handler is None:
            raise ControlError(f"unknown operation; known: {', '.join(self._handlers)}", "unknown_op")
        self._counts[str(op)] = self._counts.get(str(op), 0) + 1
        if op not in _OF_TENANTS or request.get("credential") is not None:
            return await handler(request)
        tenant = self._require_tenant(request)  # first: strangers do not queue with a tenant
        async with self._lock(self._asking, tenant):
            await asyncio.sleep(0)  # others' turn; more of this tenant's wait for the lock
            return await handler(request)

    def close(self) -> None:
        """End the compiler."""
        self._compiler.close()

    def objection(self, proof: dict[Any, Any]) -> SplinterError | None:
        """Why a tenant that once showed this is not let in any more; None: it would be."""
        try:
            self._require_tenant(proof)
        except SplinterError as error:
            return error
        return None

    def who(self, request: dict[Any, Any]) -> tuple[Rank, int] | None:
        """Who shows, by a credential or a token, that a request is theirs: their rank and, of tenants, the id. None: nobody."""
        try:
            if self._is_administrator(request):
                return Rank.ADMINISTRATOR, 0
            return Rank.TENANT, self._require_tenant(request)
        except SplinterError:
            return None

    # --- who asks ---------------------------------------------------------------------------------------------------

    def _is_administrator(self, request: dict[Any, Any]) -> bool:
        if request.get("credential") is None:
            return False
        given = fields.text(request, "credential", _CREDENTIAL_BYTES_MAX).encode(errors="surrogatepass")
        if not hmac.compare_digest(given, self._shared.credential):
            raise PermissionDeniedError("wrong administration credential", "permission_denied")
        return True

    def _require_administrator(self, request: dict[Any, Any]) -> None:
        if not self._is_administrator(request):
            raise PermissionDeniedError("this needs the administration credential", "permission_denied")

    def _require_tenant(self, request: dict[Any, Any]) -> int:
        """The tenant that a request is about, after its token or the administrator's credential has been checked."""
        tenant = fields.integer(request, "tenant", 1, self._tenants.count_max - 1)
        if self._is_administrator(request):
            if not self._tenants.is_active(tenant):
                raise UnknownTenantError(f"there is no tenant {tenant}")
            return tenant
        token = fields.integer(request, "token", 0, (1 << 64) - 1)
        self._tenants.tokens.require(tenant, token, self._tenants.is_active(tenant))
        return tenant

    # --- operations -------------------------------------------------------------------------------------------------

    async def _hello(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell who the server is; a connection that shows a credential or token keeps its place by it."""
        return {
            "server": "splinter",
            "version": splinter.__version__,
            "protocol": wire.VERSION,
            "cores": len(self._shared.config.cores),
            "tenants_max": self._tenants.count_max,
        }

    async def _tenant_create(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Create one tenant, or ``count`` of them: all or none."""
        self._require_administrator(request)
        wanted = fields.optional_integer(request, "tenant", 1, self._tenants.count_max - 1)
        count = fields.integer(request, "count", 1, self._tenants.count_max - 1, default=1)
        quota = fields.integer(request, "quota_bytes", *RANGES["quota_bytes"], default=limits.TENANT_QUOTA_BYTES_DEFAULT)
        home = fields.optional_integer(request, "home", 0, self._tenants.cores - 1)
        record_limits = {name: fields.integer(request, name, *RANGES[name], default=0) for name in RECORD_LIMITS}
        token = fields.optional_integer(request, "token", *RANGES["token"])
        durability = fields.durability(request, self._has_folder, self._shared.config.durability)
        eviction = fields.choice(request, "eviction", wire.EVICTIONS) or 0
        if count != 1 and (wanted is not None or token is not None):
            raise ControlError("'count' excludes 'tenant' and 'token'", "bad_request")
        ids = [wanted] if wanted is not None else self._tenants.free_ids(count)
        self._tenants.create(ids, quota, home, record_limits, durability, eviction, token)
        told = [self._tenants.describe(t, with_token=True, with_usage=False) for t in ids[: limits.TENANTS_PER_MESSAGE_MAX]]
        return {"tenants": told, "ids": ids}

    async def _tenant_list(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Describe the tenants from ``start`` on, or one; ``next`` is where the following message begins."""
        self._require_administrator(request)
        with_token = fields.flag(request, "tokens")
        only = fields.optional_integer(request, "tenant", 1, self._tenants.count_max - 1)
        if only is not None:
            if not self._tenants.is_active(only):
                raise UnknownTenantError(f"there is no tenant {only}")
            return {"tenants": [self._tenants.describe(only, with_token=with_token, with_usage=True)], "next": None}
        start = fields.integer(request, "start", 0, self._tenants.count_max, default=0)
        ids = self._tenants.active_ids(start)
        page, more = ids[: limits.TENANTS_PER_MESSAGE_MAX], ids[limits.TENANTS_PER_MESSAGE_MAX :]
        described = [self._tenants.describe(tenant, with_token=with_token, with_usage=True) for tenant in page]
        return {"tenants": described, "next": more[0] if more else None}

    async def _tenant_limit(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Set a tenant's limits; those that are absent stay."""
        self._require_administrator(request)
        tenant = self._require_tenant(request)
        quota = fields.optional_integer(request, "quota_bytes", *RANGES["quota_bytes"])
        given = {name: fields.optional_integer(request, name, *RANGES[name]) for name in RECORD_LIMITS}
        durability = fields.durability(request, self._has_folder, None) if "durability" in request else None
        eviction = fields.choice(request, "eviction", wire.EVICTIONS)
        changed = {name: value for name, value in given.items() if value is not None}
        self._tenants.limit(tenant, quota, changed, durability, eviction)
        return {"tenants": [self._tenants.describe(tenant, with_token=False, with_usage=True)]}

    async def _tenant_move(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Give a tenant another home core, while it is served."""
        self._require_administrator(request)
        tenant = self._require_tenant(request)
        self._tenants.settle(tenant, fields.integer(request, "home", 0, self._tenants.cores - 1))
        return {}

    async def _tenant_remove(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Remove a tenant, all that it stores and all that it has under way; then its id is free."""
        self._require_administrator(request)
        tenant = fields.integer(request, "tenant", 1, self._tenants.count_max - 1)
        await self._tenants.remove(tenant)
        return {}

    async def _tenant_rotate(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Change a tenant's token; the former one stays valid until ``finish``, or ends ``at_once``."""
        self._require_administrator(request)
        tenant = self._require_tenant(request)
        token = fields.optional_integer(request, "token", *RANGES["token"])
        finish, at_once = fields.flag(request, "finish"), fields.flag(request, "at_once")
        if finish and (at_once or token is not None):
            raise ControlError("'finish' excludes 'token' and 'at_once'", "bad_request")
        if finish:
            self._tenants.finish_rotation(tenant)
        else:
            self._tenants.rotate(tenant, token, at_once)
        return {"tenants": [self._tenants.describe(tenant, with_token=True, with_usage=True)]}

    async def _tenant_status(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell a client whether its tenant is over the packet rate, or has to wait for the disk."""
        return self._tenants.status(self._require_tenant(request))

    async def _extension_install(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Compile a source and publish one extension of it, or ``every`` one; of these only ``names``, where they are told."""
        tenant = self._require_tenant(request)
        source = fields.text(request, "source", limits.SOURCE_BYTES_MAX)
        name = fields.optional_name(request, "name")
        every = fields.flag(request, "every")
        if every and name is not None:
            raise ControlError("'name' and 'every' exclude each other", "bad_request")
        names = fields.optional_names(request, "names", limits.EXTENSIONS_PER_TENANT_MAX)
        if names is not None and not every:
            raise ControlError("'names' are some of 'every' extension of the source", "bad_request")
        generation = self._tenants.generation(tenant)
        entries = []
        async with self._lock(self._installing, tenant):
            self._require_same(tenant, generation)
            compiled = await self._compile(tenant, generation, source, name, every)
            if names is not None:
                compiled = _chosen(compiled, names)
            await self._registry.ready_to_write()
            for one in compiled:
                with contextlib.closing(await load_program(self._shared.kernel, one, source)) as program:
                    self._require_same(tenant, generation)
                    entries.append(self._kept.install(tenant, generation, one, program, source=source, is_of_group=every))
                await asyncio.sleep(0)  # others' turn: there may be hundreds
        return {"extensions": [self._describe(entry) for entry in entries]}

    async def install_kept(self) -> None:
        """Install what the data folder has and the memory has not."""
        await self._kept.restore(self._tenants.is_active, self._install_again)

    async def retry_kept(self) -> None:
        """Install what could not be installed yet, as soon as it can be."""
        await self._kept.retry(lambda tenant: self._lock(self._installing, tenant), self._install_again)

    async def _install_again(self, row: ExtensionRow) -> Entry:
        """Install what an earlier server had installed, in its version; what was compiled together, together again."""
        name = None if row.is_of_group else row.name
        compiled = await self._compile(row.tenant, row.generation, row.source, name, row.is_of_group)
        await self._registry.ready_to_write()
        (one,) = _chosen(compiled, [row.name])
        with contextlib.closing(await load_program(self._shared.kernel, one, row.source)) as program:
            self._require_same(row.tenant, row.generation)
            self._kept.require(row)
            return self._registry.install(row.tenant, one, program, version=row.version)

    def _require_same(self, tenant: int, generation: int) -> None:
        """The id may be another tenant's by now."""
        if not self._tenants.is_active(tenant) or self._tenants.generation(tenant) != generation:
            raise UnknownTenantError(f"tenant {tenant} was removed meanwhile")

    async def _compile(self, tenant: int, generation: int, source: str, name: str | None, every: bool) -> _Compiled:
        """Compile; what many tenants install is compiled once."""
        key = hashlib.sha256(f"{name or ''}\0{every}\0{source}".encode(errors="surrogatepass")).digest()
        compiled = self._compiled.get(key)
        if compiled is None:
            is_tiered = self._shared.kernel is not None
            wanted = Source(tenant, source, name, every, self._shared.config.preempt, is_tiered, generation)
            compiled = await self._compiler.compile(wanted)
        self._compiled.note(key, compiled)
        return compiled

    def _lock(self, locks: _Locks, tenant: int) -> asyncio.Lock:
        """A tenant's lock. By it a tenant with many requests has one at a time, and others theirs in between."""
        who = tenant, self._tenants.generation(tenant)
        lock = locks.get(who)
        if lock is None:
            lock = locks[who] = asyncio.Lock()
        return lock

    async def _extension_uninstall(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Remove an extension; tasks under way end in it."""
        tenant = self._require_tenant(request)
        self._kept.uninstall(tenant, self._tenants.generation(tenant), fields.name(request, "name"))
        return {}

    async def _extension_list(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Describe a tenant's extensions and what each has used."""
        tenant = self._require_tenant(request)
        found = [self._describe(entry) for entry in self._registry.entries(tenant)]
        found += [one.described() for one in self._kept.not_runnable(tenant, self._tenants.generation(tenant))]
        return {"extensions": sorted(found, key=lambda one: str(one["name"]))}

    async def _extension_history(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell what was done with a tenant's extensions, oldest first, where there is a data folder."""
        tenant = self._require_tenant(request)
        return {"events": self._kept.history(tenant, self._tenants.generation(tenant))}

    async def _extension_log(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell the entries that a tenant's extensions wrote by ``db.log``, oldest first."""
        tenant = self._require_tenant(request)
        generation = self._tenants.generation(tenant)
        entries = sorted(entry for log in self._shared.logs for entry in log_read(log, tenant, generation))
        return {"entries": [{"time_ns": time_ns, "text": text} for time_ns, text in entries[-_LOG_ENTRIES_TOLD_MAX:]]}

    async def _extension_release(self, request: dict[Any, Any]) -> dict[str, Any]:
        """End an extension's quarantine."""
        self._require_administrator(request)
        await self._registry.release(self._require_extension(request))
        return {}

    def _require_extension(self, request: dict[Any, Any]) -> Entry:
        """The extension that a request is about; who asks has been, or is now, checked as for its tenant."""
        tenant = self._require_tenant(request)
        name = fields.name(request, "name")
        entry = self._registry.find(tenant, name)
        if entry is None:
            raise error_for(Status.NO_EXTENSION, f"tenant {tenant} has no extension {name!r}")
        return entry

    async def _extension_signature(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell the types of an extension's arguments and result."""
        entry = self._require_extension(request)
        return {"signature": entry.signature.to_wire(), "version": entry.version}

    async def _stats(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell all counters, of workers, store, network and control; of tenants and extensions the busiest or ``every`` one."""
        self._require_administrator(request)
        most = usage.EVERY_MAX if fields.flag(request, "every") else usage.TOLD_MAX
        return {"stats": self.statistics(most)}

    def statistics(self, most: int) -> dict[str, Any]:
        """All counters; of tenants, and of extensions, at most so many, those that used most time."""
        control = usage.of_control(self._registry, self._tenants)
        control |= {"balancer_moves": self._balancer.moves, "operations": dict(self._counts)}
        used = usage.of_all(self._shared, self._registry, self._tenants.active_ids(0), most)
        return statistics.collect({**self._shared.statistics(), **used}, control)

    async def _events(self, request: dict[Any, Any]) -> dict[str, Any]:
        """Tell what happened after number ``after``, or all that is kept: to the administrator all, to a tenant its own."""
        after = fields.optional_integer(request, "after", *RANGES["after"])
        most = fields.integer(request, "count", 1, _EVENTS_TOLD_MAX, default=_EVENTS_TOLD_MAX)
        log = self._shared.events
        if request.get("token") is None:
            self._require_administrator(request)
            found = log.read(after, most)
        else:
            tenant = self._require_tenant(request)
            found = log.read_own(tenant, self._tenants.generation(tenant), after, most)
        told = {name: found[name] for name in ("next", "newest", "missed")}
        return {"events": found["events"], **told, "server": log.started_ns}

    def libraries(self, tenant: int) -> dict[str, list[str]]:
        """A tenant's extensions by the library that they are of: its own name, where its source says none."""
        known = [(entry.library, entry.name) for entry in self._registry.entries(tenant)]
        known += [
            (library_name(one.row.source), one.row.name)
            for one in self._kept.not_runnable(tenant, self._tenants.generation(tenant))
        ]
        found: dict[str, list[str]] = {}
        for library, name in sorted(known):
            found.setdefault(library or name, []).append(name)
        return found

    def _describe(self, entry: Entry) -> dict[str, Any]:
        return described(entry, self._registry, self._shared)


def _chosen(compiled: _Compiled, names: list[str]) -> _Compiled:
    """Those of what was compiled together that have these names. Raises :class:`ControlError` where there is none."""
    by_name = {each.name: each for each in compiled}
    for name in names:
        if name not in by_name:
            raise ControlError(f"its source has no extension {name!r}", "bad_request")
    return [by_name[name] for name in dict.fromkeys(names)]
