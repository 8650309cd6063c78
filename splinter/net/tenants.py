"""The tenants' table: what the XDP program knows of each tenant. One record per tenant id, in shared memory.

The array is the BPF map ``tenants`` (memfd without XDP). The C structure in ``bpf/shared.h`` is generated from this
dtype. Writer of every field: the control plane. Readers: the XDP program on each packet, workers on the UDP transport.

To create a tenant, write all other fields first and ``flags`` last; to remove one, clear ``flags`` first. Each field is
naturally aligned, so that its store is atomic; a packet that races with a change is judged by the old value or by the
new one.
"""

from __future__ import annotations

import numpy as np

from splinter import limits

TENANT_ACTIVE = 1  # flags: the tenant exists
TENANT_REMOVING = 2  # flags: the tenant is gone, but its objects may not be yet; the id is not free

TENANT = np.dtype(
    [
        ("token", "<u8"),  # the tenant's secret, never 0 while active
        ("home", "<u4"),  # core slot that serves the tenant's requests, 0 … cores - 1
        ("flags", "<u4"),  # TENANT_ACTIVE or TENANT_REMOVING; written last on creation
        ("generation", "<u4"),  # counts creations under this id, from 1
        ("task_yields_max", "<u4"),  # yields that one of the tenant's tasks may make; 0: the server's limit
        ("task_milliseconds_max", "<u4"),  # CPU time that one of the tenant's tasks may use; 0: the server's limit
        ("packets_per_second", "<u4"),  # what comes faster is dropped; 0: no limit
        ("former_token", "<u8"),  # valid beside ``token`` while that is being changed; 0: none, whatever a packet says
        ("task_wall_milliseconds_max", "<u4"),  # time since it came that one of its tasks may take; 0: the server's limit
        ("pad", "<u4", (5,)),  # to a cache line
    ]
)
assert TENANT.itemsize == 64

# Where a tenant with a limit stands: one record per tenant id in the BPF map ``rates`` (memfd without XDP). Writers: the XDP
# program, or on the UDP transport the workers; the control plane clears it when it creates a tenant or changes its limit.
# Several CPUs may write at once: splinter.worker.rates says what comes of it.
RATE = np.dtype(
    [
        ("due", "<u8"),  # monotonic ns: when the tenant's next packet conforms (GCRA)
        ("dropped", "<u8"),  # packets over the limit since the tenant was created
    ]
)

RATE_BYTES = RATE.itemsize


def rates_bytes(tenants_max: int = limits.TENANTS_MAX) -> int:
    """Bytes of the rates of the tenant ids 0 … ``tenants_max - 1``."""
    return tenants_max * RATE.itemsize


def tenants_bytes(tenants_max: int = limits.TENANTS_MAX) -> int:
    """Bytes of a table for the tenant ids 0 … ``tenants_max - 1``."""
    return tenants_max * TENANT.itemsize
