"""Who may ask: an active tenant with its token.

The XDP program asks the same when a packet comes, so that strangers cost nothing. But then the packet waits, and while it
waits its tenant may be removed, and the id another's. So it counts what the record says in the turn in which the packet is
served: within a turn an id is the same tenant's (:mod:`splinter.server.control.tenants`).
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.net.tenants import TENANT, TENANT_ACTIVE
from splinter.worker.records import Header, Tenant, Worker
from splinter.worker.tokens import is_token_of

_TENANT_BYTES = TENANT.itemsize


@njit(cache=True)
def tenant_record(w: int, tenant: int) -> int:
    """Address of a tenant's record, 0 … TENANTS_MAX - 1."""
    return Worker(w).tenants + tenant * _TENANT_BYTES


@njit(cache=True)
def is_authorised(w: int, header: int) -> bool:
    """Whether the tenant of a whole header is there, and the token its own."""
    request = Header(header)
    tenant = request.tenant
    if tenant == 0 or tenant >= limits.TENANTS_MAX:
        return False
    record = tenant_record(w, tenant)
    return Tenant(record).flags & TENANT_ACTIVE != 0 and is_token_of(record, request.token)
