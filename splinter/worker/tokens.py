"""Whether a packet's token is its tenant's, when a worker serves it: as ``bpf/splinter.c`` judges, over the same records."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load64
from splinter.net.tenants import T_FORMER_TOKEN, T_TOKEN


@njit(cache=True)
def is_token_of(record: int, token: int) -> bool:
    """``record`` is the address of a TENANT. While a token is being changed two are valid; 0 never is."""
    if token == load64(record + T_TOKEN):
        return token != 0
    return token == load64(record + T_FORMER_TOKEN) and token != 0
