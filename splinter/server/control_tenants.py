"""Tenants: their records that the XDP program reads on every packet, and their life from creation to removal.

The array in shared memory is the truth; this process only adds who is being removed. Creation opens the account in the
store, writes the record, and sets ``TENANT_ACTIVE`` last. Removal replaces ``TENANT_ACTIVE`` by ``TENANT_REMOVING``
first, so requests are dropped from then on, then closes the account and sweeps the index in pieces. A control process
that finds ``TENANT_REMOVING`` at its start goes on with what its predecessor did not finish.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from splinter.errors import ControlError, Status, UnknownTenantError, error_for
from splinter.limits import PARTICIPANT_CONTROL
from splinter.net.tenants import TENANT_ACTIVE, TENANT_REMOVING
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.tenants import tenant_close, tenant_sweep

if TYPE_CHECKING:
    from splinter.server.registry import Registry
    from splinter.store.store import Store

_log = logging.getLogger(__name__)
_TOKEN_BITS = 64
_GENERATION_MASK = 0xFFFFFFFF
_CLOSE_ATTEMPTS_MAX = 20  # each waits for the tenant's lock as long as it takes to restart a dead holder
_CLOSE_WAIT_SECONDS = 0.05
_SWEEP_BUCKETS = 4096  # in one piece, under the tenant's lock: about a millisecond


class Tenants:
    """The tenants of one server. ``records`` is the shared array by tenant id; ``cores`` the number of core slots."""

    def __init__(self, records: np.ndarray, store: Store, registry: Registry, cores: int) -> None:
        self._records, self._store, self._registry = records, store, registry
        self.cores = cores
        self._removals: dict[int, asyncio.Task[None]] = {}

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

    def token(self, tenant: int) -> int:
        """The tenant's secret."""
        return int(self._records["token"][tenant])

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
            raise ControlError(f"only {len(free)} tenant ids are free", "too_many_tenants")
        return [int(tenant) for tenant in free]

    def create(
        self, tenant: int, quota_bytes: int, home: int | None, *, task_yields_max: int = 0, task_milliseconds_max: int = 0
    ) -> int:
        """Create a tenant with a new token; returns its id. Raises :class:`ControlError` when the id is in use.

        The limits are what one of its tasks may use in all; 0: the server's limit.
        """
        if self._records["flags"][tenant] != 0:
            state = "exists" if self.is_active(tenant) else "is being removed"
            raise ControlError(f"tenant {tenant} {state}", "tenant_exists")
        self._store.open_tenant(tenant, quota_bytes)
        self._records["token"][tenant] = secrets.randbits(_TOKEN_BITS) or 1
        self._records["home"][tenant] = tenant % self.cores if home is None else home
        self._records["generation"][tenant] = (self.generation(tenant) + 1) & _GENERATION_MASK
        self._records["task_yields_max"][tenant] = task_yields_max
        self._records["task_milliseconds_max"][tenant] = task_milliseconds_max
        self._records["flags"][tenant] = TENANT_ACTIVE
        return tenant

    def describe(self, tenant: int, *, with_token: bool, with_usage: bool) -> dict[str, Any]:
        """A tenant as the protocol tells it."""
        account = self._store.accounts[tenant]
        fields = {
            "tenant": tenant,
            "token": self.token(tenant) if with_token else 0,
            "home": int(self._records["home"][tenant]),
            "quota_bytes": int(account["quota_bytes"]),
            "task_yields_max": int(self._records["task_yields_max"][tenant]),
            "task_milliseconds_max": int(self._records["task_milliseconds_max"][tenant]),
        }
        if with_usage:
            fields |= {"bytes_used": int(account["bytes_used"]), "objects": int(account["objects"])}
        return fields

    async def remove(self, tenant: int) -> None:
        """Remove a tenant with all that it owns. Raises :class:`UnknownTenantError` when there is none of this id."""
        if not self.is_active(tenant):
            raise UnknownTenantError(f"there is no tenant {tenant}")
        self._records["flags"][tenant] = TENANT_REMOVING
        self._records["token"][tenant] = 0
        # The removal goes on when the client that asked for it hangs up.
        await asyncio.shield(self._start_removal(tenant))

    def rebuild(self) -> None:
        """Take over after an earlier control process: what is installed, and removals it did not finish."""
        self._registry.rebuild()
        for tenant in np.flatnonzero(self._records["flags"] & TENANT_REMOVING):
            self._start_removal(int(tenant))

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
        # A worker may hold the tenant's lock for a moment, longer when it just died.
        address = self._store.address
        for _ in range(_CLOSE_ATTEMPTS_MAX):
            status = tenant_close(address, PARTICIPANT_CONTROL, tenant)
            if status != Status.BUSY:
                break
            await asyncio.sleep(_CLOSE_WAIT_SECONDS)
        if status != Status.OK:
            raise error_for(status)
        cursor = 0
        while cursor >= 0:
            epoch_enter(address, PARTICIPANT_CONTROL, OLDEST_NONE)
            following = int(tenant_sweep(address, PARTICIPANT_CONTROL, tenant, cursor, _SWEEP_BUCKETS))
            epoch_leave(address, PARTICIPANT_CONTROL)
            if following >= -1:  # otherwise the tenant's lock was not to be had: the same piece again
                cursor = following
            await asyncio.sleep(0)
        self._registry.forget_tenant(tenant)
        self._registry.work_waits.set()  # the swept objects wait for the workers' epochs
        self._records["flags"][tenant] = 0
