"""Whether a packet's token is its tenant's, when a worker serves it: as ``bpf/splinter.c`` judges, over the same records."""

from __future__ import annotations

from numba import njit

from splinter.worker.records import Tenant


@njit(cache=True, forceinline=True)
def is_token_of(record: int, token: int) -> bool:
    """``record`` is the address of a TENANT. While a token is being changed two are valid; 0 never is."""
    its = Tenant(record)
    if token == its.token:
        return token != 0
    return token == its.former_token and token != 0
