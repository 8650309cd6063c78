"""Who may ask: an active tenant with its token.

The XDP program asks the same when a packet comes, so that strangers cost nothing. But then the packet waits, and while it
waits its tenant may be removed, and the id another's. So it counts what the record says in the turn in which the packet is
served: within a turn an id is the same tenant's (:mod:`splinter.server.control.tenants`).
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import load32, load64
from splinter.net.tenants import T_FLAGS, TENANT, TENANT_ACTIVE
from splinter.wire import H_TENANT, H_TOKEN
from splinter.worker.layout import W_TENANTS
from splinter.worker.tokens import is_token_of

_TENANT_BYTES = TENANT.itemsize


@njit(cache=True)
def tenant_record(w: int, tenant: int) -> int:
    """Address of a tenant's record, 0 … TENANTS_MAX - 1."""
    return load64(w + W_TENANTS) + tenant * _TENANT_BYTES


@njit(cache=True)
def is_authorised(w: int, header: int) -> bool:
    """Whether the tenant of a whole header is there, and the token its own."""
    tenant = load32(header + H_TENANT)
    if tenant == 0 or tenant >= limits.TENANTS_MAX:
        return False
    record = tenant_record(w, tenant)
    return load32(record + T_FLAGS) & TENANT_ACTIVE != 0 and is_token_of(record, load64(header + H_TOKEN))
