"""A tenant's packets per second, where no XDP program judges: ``bpf/rate.h`` in compiled code, over the same records.

The generic cell rate algorithm (ITU-T I.371). Workers that judge by the same ``due`` let one packet each pass and all their
intervals count, as additions are atomic; only where ``due`` has passed, and the tenant has been slow, may one be lost.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import fetch_add64, load64_acquire, store64_release
from splinter.native.clock import SECOND_NS
from splinter.net.tenants import RATE_BYTES
from splinter.worker.records import Rate


@njit(cache=True)
def is_within_rate(rates: int, tenant: int, packets_per_second: int, now: int) -> bool:
    """Whether a packet of a tenant with a limit may be served at ``now``, in monotonic nanoseconds; counts it if not."""
    rate = Rate(rates + tenant * RATE_BYTES)
    interval = SECOND_NS // packets_per_second
    burst = max(interval * limits.RATE_BURST_PACKETS, limits.RATE_BURST_NS)
    due = load64_acquire(rate.at.due)
    if due > now + burst:
        fetch_add64(rate.at.dropped, 1)
        return False
    if due < now:
        store64_release(rate.at.due, now + interval)
    else:
        fetch_add64(rate.at.due, interval)
    return True
