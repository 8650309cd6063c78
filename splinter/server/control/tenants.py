"""Tenants: their records that the XDP program reads on every packet, and their life from creation to removal.

The array in shared memory is the truth; this process only adds who is being removed. Creation opens the account in the
store, writes the record, and sets ``TENANT_ACTIVE`` last. Removal replaces ``TENANT_ACTIVE`` by ``TENANT_REMOVING``
first, so requests are dropped from then on, then closes the account and sweeps the index in pieces. A control process
that finds ``TENANT_REMOVING`` at its start goes on with what its predecessor did not finish.

An id is free again only when nothing of the old tenant can run any more, on any worker:

* The worker has begun a turn after the account was closed, so whatever it found in packets, look-ahead or staging before is
  forgotten, and every packet it serves from then on is judged by what the record says now. Its ``turn_epoch`` tells:
  the epoch is moved on after the account was closed, and who has read the new one reads the closed account after it. A
  worker that is offline for epochs is between turns; it comes online with a full fence, and reads the account after that.
* It has no task of the tenant, in whatever state: workers end them at their next slice, or when they are looked at in
  their queue (:mod:`splinter.worker.tasks.review`). From the first on none begins.
* It has no put under way of the tenant: workers drop those when they look at them.

A worker that is stopped or dead holds that up until it is replaced: its successor takes the tasks over and ends them. Beyond
that, what names a tenant keeps its generation and is void where it differs: tasks, staged fragments, log entries.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from splinter import limits
from splinter.durable.catalog import TenantRow
from splinter.errors import ControlError, Status, UnknownTenantError, error_for
from splinter.limits import PARTICIPANT_CONTROL
from splinter.net.tenants import TENANT_ACTIVE, TENANT_REMOVING
from splinter.server.control.homes import Homes, home_of
from splinter.server.control.tokens import Tokens, new_token
from splinter.store.account_layout import EVICTION_NONE
from splinter.store.epochs import EPOCH_OFFLINE, OLDEST_NONE, epoch_advance, epoch_enter, epoch_leave, epoch_now
from splinter.store.layout import DURABILITY_NONE, LOG_FAILED
from splinter.store.tenants import first_commit, tenant_close, tenant_sweep
from splinter.wire import DURABILITIES, EVICTIONS

if TYPE_CHECKING:
    from splinter.server.control.registry import Registry
    from splinter.server.shared import Shared
    from splinter.worker.memory import WorkerMemory

_log = logging.getLogger(__name__)
_SECOND_NS = 1_000_000_000
_GENERATION_MASK = 0xFFFFFFFF
_CLOSE_WAIT_SECONDS = 0.05  # between two tries, each of which waits as long as it takes to restart a dead holder
_CLOSE_TRIES_WARN = 20  # of them, until the log says that it takes long
_GRACE_SECONDS = 0.002  # between two looks whether workers are done with a removed tenant
_GRACE_LOOKS_WARN = 2500  # of them, until the log says that it takes long
_SWEEP_BUCKETS = 4096  # in one piece, under the tenant's lock: about a millisecond
# Fields of a tenant's record that say what it may use.
RECORD_LIMITS = ("task_yields_max", "task_milliseconds_max", "task_wall_milliseconds_max", "packets_per_second")


class Tenants:
    """The tenants of one server. ``cores`` is the number of core slots."""

    def __init__(self, shared: Shared, registry: Registry) -> None:
        self._records, self._rates = shared.tenants, shared.rates
        self._store, self._registry = shared.store, registry
        self._workers, self._counters = shared.workers, shared.tenant_counters
        self._kernel_work = shared.kernel_work
        self._catalog = shared.data.folder.catalog if shared.data is not None else None
        self.cores = len(shared.config.cores)
        self._homes = Homes(shared.tenants, self.cores, shared.homes_elsewhere_max, shared.steer)
        self.tokens = Tokens(self._records)
        self._removals: dict[int, asyncio.Task[None]] = {}
        self._void: dict[int, int] = {}  # of ids, what of the log is void; else nothing

    @property
    def count_max(self) -> int:
        """Ids are 1 … ``count_max`` - 1."""
        return len(self._records)

    @property
    def count(self) -> int:
        """Tenants there are."""
        return int(np.count_nonzero(self._records["flags"] & TENANT_ACTIVE))

    def is_active(self, tenant: int) -> bool:
        """Whether there is a tenant of this id."""
        return bool(self._records["flags"][tenant] & TENANT_ACTIVE)

    def generation(self, tenant: int) -> int:
        """Tells a tenant from an earlier one of the same id."""
        return int(self._records["generation"][tenant])

    def active_ids(self, start: int) -> list[int]:
        """Ids of all tenants from ``start`` on, in order."""
        found = np.flatnonzero(self._records["flags"][start:] & TENANT_ACTIVE) + start
        return [int(tenant) for tenant in found]

    def free_ids(self, count: int) -> list[int]:
        """The lowest ``count`` ids that are free. Raises :class:`ControlError` when there are not so many."""
        free = np.flatnonzero(self._records["flags"][1:] == 0)[:count] + 1
        if len(free) < count:
            raise ControlError(f"only {len(free)} tenant ids are free, not {count}: nothing was created", "too_many_tenants")
        return [int(tenant) for tenant in free]

    def create(
        self,
        tenants: list[int],
        quota_bytes: int,
        home: int | None,
        record_limits: dict[str, int],
        durability: int = DURABILITY_NONE,
        eviction: int = EVICTION_NONE,
        token: int | None = None,
    ) -> None:
        """Create tenants with ``token`` or new ones, all of them or none. Raises :class:`ControlError` when an id is in use.

        ``record_limits`` are fields of their records: what one task may use in all (0: the server's limit), packets per
        second (0: no limit). Nobody sees any of them before all are ready: a control process that dies before leaves none, but
        what the catalog has of them.
        """
        for tenant in tenants:
            if self._records["flags"][tenant] != 0:
                state = "exists" if self.is_active(tenant) else "is being removed"
                raise ControlError(f"tenant {tenant} {state}", "tenant_exists")
        self._homes.require(tenants, home)
        rows = [
            TenantRow(
                tenant, (self.generation(tenant) + 1) & _GENERATION_MASK or 1, True, new_token() if token is None else token, 0,
                home, quota_bytes, durability, record_limits, eviction, int(self._store.accounts["number"][tenant]),
            )
            for tenant in tenants
        ]  # fmt: skip
        ready: list[int] = []
        with self._kept(rows):
            try:
                for row in rows:
                    ready.append(row.id)
                    self._fill_record(row)
            except BaseException:
                for tenant in ready:  # closes the accounts again
                    self._records["flags"][tenant] = TENANT_REMOVING
                    self._start_removal(tenant)
                raise
            self._void.update((row.id, row.void_until) for row in rows)
            self._records["flags"][tenants] = TENANT_ACTIVE
        self._homes.publish()

    def _fill_record(self, row: TenantRow) -> None:
        """All of a tenant but that it is active."""
        tenant = row.id
        self._records["generation"][tenant] = row.generation
        first = first_commit(self._store.now_ns)
        self._store.open_tenant(tenant, row.quota_bytes, generation=row.generation, first=first)
        self._store.set_modes(tenant, row.durability, row.void_until, eviction=row.eviction)
        self._records["token"][tenant] = row.token
        self._records["former_token"][tenant] = 0
        self._records["home"][tenant] = home_of(row, self.cores)
        self._homes.choose(row)
        for counters in self._counters:
            counters[tenant] = 0
        self._kernel_work.forget(tenant)
        for name, value in (row.limits or {}).items():
            self._records[name][tenant] = value
        self._rates[tenant] = 0

    def _row(self, tenant: int) -> TenantRow:
        """What the memory has of an id, as the catalog writes it."""
        if not self.is_active(tenant):
            return TenantRow(tenant, self.generation(tenant), False, void_until=self._void.get(tenant, 0))
        record, account = self._records[tenant], self._store.accounts[tenant]
        return TenantRow(
            tenant, self.generation(tenant), True, self.tokens.current(tenant), self.tokens.former(tenant),
            self._homes.chosen(tenant), int(account["quota_bytes"]), int(account["durability"]),
            {name: int(record[name]) for name in RECORD_LIMITS}, int(account["eviction"]), self._void.get(tenant, 0),
        )  # fmt: skip

    def _kept(self, rows: list[TenantRow]) -> contextlib.AbstractContextManager[None]:
        """What the memory is about to become: in the catalog before it is, and not any more if it does not."""
        if self._catalog is None:
            return contextlib.nullcontext()
        return self._catalog.changing(rows, [self._row(row.id) for row in rows])

    def rotate(self, tenant: int, token: int | None, at_once: bool) -> None:
        """Give a tenant a new token, ``token`` or a random one. As :meth:`Tokens.rotate`; raises as
        :meth:`Tokens.require_change`."""
        self.tokens.require_change(tenant, token, at_once)
        new, row = new_token() if token is None else token, self._row(tenant)
        with self._kept([replace(row, token=new, former_token=0 if at_once else row.token)]):
            self.tokens.rotate(tenant, new, at_once)

    def finish_rotation(self, tenant: int) -> None:
        """End a change of a tenant's token."""
        with self._kept([replace(self._row(tenant), former_token=0)]):
            self.tokens.finish(tenant)

    def status(self, tenant: int) -> dict[str, Any]:
        """What a tenant may know of how its packets fare. ``over_limit``: what it sends is dropped for being too much;
        ``disk_refuses``: writes are, and replies wait; ``requests``: of workers, ``kernel_gets``: of the kernel tier."""
        packets_per_second = int(self._records["packets_per_second"][tenant])
        dropped = int(self._rates["dropped"][tenant])
        is_over = False
        if packets_per_second and dropped:
            burst_ns = max(_SECOND_NS // packets_per_second * limits.RATE_BURST_PACKETS, limits.RATE_BURST_NS)
            # Who keeps to its limit is far from having used up the burst; who does not is at its end.
            is_over = int(self._rates["due"][tenant]) > time.monotonic_ns() + burst_ns // 2
        failed, stands = self._store.descriptor["log_state"] == LOG_FAILED, self._store.descriptor["log_stands"]
        return {
            "packets_per_second": packets_per_second,
            "packets_dropped": dropped,
            "over_limit": is_over,
            "disk_refuses": bool(self._store.accounts["durability"][tenant] != DURABILITY_NONE and (failed or stands)),
            "requests": sum(int(row["requests"][tenant]) for row in self._counters),
            "kernel_gets": int(self._kernel_work.gets(np.array([tenant]))[0]),
        }

    def limit(
        self, tenant: int, quota_bytes: int | None, record_limits: dict[str, int], durability: int | None, eviction: int | None
    ) -> None:
        """Change limits of a tenant, its durability and eviction; they hold from its next packet or task on. What is not named
        stays."""
        row = self._row(tenant)
        given = {"quota_bytes": quota_bytes, "durability": durability, "eviction": eviction}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if row.durability == DURABILITY_NONE and durability not in (None, DURABILITY_NONE):
            changed["void_until"] = int(self._store.accounts["number"][tenant]) + 1  # none is written before that is set
        with self._kept([replace(row, **changed, limits={**(row.limits or {}), **record_limits})]):
            modes = {name: value for name, value in changed.items() if name != "quota_bytes"}
            if modes:  # first: it may be refused, and then nothing has changed
                self._store.set_modes(tenant, **modes)
                self._void[tenant] = changed.get("void_until", row.void_until)
            if quota_bytes is not None:
                self._store.open_tenant(tenant, quota_bytes, generation=self.generation(tenant))
            for name, value in record_limits.items():
                self._records[name][tenant] = value
        if "packets_per_second" in record_limits:
            self._rates["due"][tenant] = 0

    def settle(self, tenant: int, home: int) -> None:
        """Let another core serve a tenant also after a restart. As :meth:`move`."""
        self._homes.require([tenant], home)
        row = replace(self._row(tenant), home=home)
        with self._kept([row]):
            self.move(tenant, home)
            self._homes.choose(row)

    def move(self, tenant: int, home: int) -> None:
        """Let another core serve a tenant, from its next packet on. Raises :class:`ControlError` as :meth:`Homes.require`."""
        self._homes.require([tenant], home)
        self._records["home"][tenant] = home  # one aligned word: a packet that races goes to the old core or to the new one
        self._homes.publish()

    def dropped_most(self, count: int) -> dict[int, int]:
        """Packets dropped because of the tenant's limit, of the ``count`` tenants with the most."""
        dropped = self._rates["dropped"]
        ids = np.flatnonzero(dropped)
        ids = ids[np.argsort(dropped[ids])[::-1][:count]]
        return {int(tenant): int(dropped[tenant]) for tenant in ids}

    def describe(self, tenant: int, *, with_token: bool, with_usage: bool) -> dict[str, Any]:
        """A tenant as the protocol tells it."""
        account = self._store.accounts[tenant]
        fields = {
            "tenant": tenant,
            "token": self.tokens.current(tenant) if with_token else 0,
            "former_token": self.tokens.former(tenant) if with_token else 0,
            "home": int(self._records["home"][tenant]),
            "quota_bytes": int(account["quota_bytes"]),
            "task_yields_max": int(self._records["task_yields_max"][tenant]),
            "task_milliseconds_max": int(self._records["task_milliseconds_max"][tenant]),
            "task_wall_milliseconds_max": int(self._records["task_wall_milliseconds_max"][tenant]),
            "packets_per_second": int(self._records["packets_per_second"][tenant]),
            "durability": DURABILITIES[int(account["durability"])],
            "eviction": EVICTIONS[int(account["eviction"])],
        }
        if with_usage:
            fields |= {
                "bytes_used": int(account["bytes_used"]),
                "code_bytes": int(account["code_bytes"]),
                "staged_bytes": int(account["staged_bytes"]),
                "clients": int(account["clients"]),
                "objects": int(account["objects"]) - int(account["clients"]),  # what is kept of clients is no object of theirs
                "packets_dropped": int(self._rates["dropped"][tenant]),
                "evictions": int(account["evictions"]),
            }
        return fields

    async def remove(self, tenant: int) -> None:
        """Remove a tenant with all that it owns. Raises :class:`UnknownTenantError` when there is none of this id."""
        if not self.is_active(tenant):
            raise UnknownTenantError(f"there is no tenant {tenant}")
        with self._kept([TenantRow(tenant, self.generation(tenant), False, void_until=self._void.get(tenant, 0))]):
            self._records["flags"][tenant] = TENANT_REMOVING
        self.tokens.remove(tenant)
        # The removal goes on when the client that asked for it hangs up.
        await asyncio.shield(self._start_removal(tenant))

    def rebuild(self) -> None:
        """Take over after an earlier control process: what is installed, removals and creations it did not finish."""
        self._catch_up()
        self._registry.rebuild()
        self._records["flags"][(self._records["flags"] == 0) & (self._store.accounts["active"] != 0)] = TENANT_REMOVING
        for tenant in np.flatnonzero(self._records["flags"] & TENANT_REMOVING):
            self._start_removal(int(tenant))

    def _catch_up(self) -> None:
        """Do what the catalog has and the memory has not: an act that an earlier control process died in, of which nobody was
        told how it ended. Where tenants live is left alone: balancing moves them, and the catalog does not hear of that."""
        for row in self._catalog.tenants() if self._catalog is not None else []:
            record, self._void[row.id] = self._records[row.id], row.void_until
            if record["flags"] & TENANT_REMOVING:
                continue
            if row.is_there:
                self._homes.choose(row)
            there = self._row(row.id)
            if not row.is_there and there.is_there:
                record["flags"] = TENANT_REMOVING
                self.tokens.remove(row.id)
            elif row.is_there and not there.is_there:
                self._fill_record(row)
                record["flags"] = TENANT_ACTIVE
            elif row.is_there and there != row:
                self._store.open_tenant(row.id, row.quota_bytes, generation=row.generation)
                self._store.set_modes(row.id, row.durability, row.void_until, eviction=row.eviction)
                for name, value in (row.limits or {}).items():
                    record[name] = value
                record["former_token"] = row.former_token  # first: a packet that races finds the old one valid
                record["token"] = row.token
        self._homes.publish()

    def _start_removal(self, tenant: int) -> asyncio.Task[None]:
        task = asyncio.create_task(self._finish_removal(tenant))
        self._removals[tenant] = task
        task.add_done_callback(lambda done: self._removal_ended(tenant, done))
        return task

    def _removal_ended(self, tenant: int, task: asyncio.Task[None]) -> None:
        del self._removals[tenant]
        if not task.cancelled() and task.exception() is not None:
            _log.error("removing tenant %d failed; a restart of the control process tries again", tenant)

    async def _finish_removal(self, tenant: int) -> None:
        await self._close(tenant)
        address = self._store.address
        cursor = 0
        while cursor >= 0:
            epoch_enter(address, PARTICIPANT_CONTROL, OLDEST_NONE)
            following = int(tenant_sweep(address, PARTICIPANT_CONTROL, tenant, cursor, _SWEEP_BUCKETS))
            epoch_leave(address, PARTICIPANT_CONTROL)
            if following >= -1:  # otherwise the tenant's lock was not to be had: the same piece again
                cursor = following
            await asyncio.sleep(0)
        await self._wait_for_workers(tenant)
        self._registry.forget_tenant(tenant)
        self._registry.work_waits.set()  # the swept objects wait for the workers' epochs
        self._records["flags"][tenant] = 0

    async def _close(self, tenant: int) -> None:
        """Close the account. A worker may hold its lock for a moment, longer when it just died, or does not get its core: then
        this lasts as long, since nobody else would finish what has begun."""
        tries = 0
        while (status := tenant_close(self._store.address, PARTICIPANT_CONTROL, tenant)) == Status.BUSY:
            tries += 1
            if tries == _CLOSE_TRIES_WARN:
                _log.warning("tenant %d is not removed yet: a worker keeps its lock", tenant)
            await asyncio.sleep(_CLOSE_WAIT_SECONDS)
        if status != Status.OK:
            raise error_for(status)

    async def _wait_for_workers(self, tenant: int) -> None:
        """Wait until no worker does anything for a tenant whose account is closed."""
        closed_at = int(epoch_now(self._store.address))
        looks = 0
        while not all(self._is_done(worker, tenant, closed_at) for worker in self._workers):
            looks += 1
            if looks == _GRACE_LOOKS_WARN:
                _log.warning("tenant %d is not removed yet: a worker has not come to the end of what it did for it", tenant)
            await asyncio.sleep(_GRACE_SECONDS)

    def _is_done(self, worker: WorkerMemory, tenant: int, closed_at: int) -> bool:
        """Whether a worker has nothing of a tenant, whose account was closed at that epoch or before."""
        if epoch_now(self._store.address) <= closed_at:
            epoch_advance(self._store.address)
        participant = self._store.participants[worker.index]
        if participant["epoch"] != EPOCH_OFFLINE and worker.block["turn_epoch"][0] <= closed_at:
            return False
        if worker.has_task_of(tenant):
            return False
        staging = participant["staging"]
        if ((staging["slot"] != 0) & (staging["tenant"] == tenant)).any():
            worker.wake()  # it may sleep, and does nothing about them then
            return False
        return True
