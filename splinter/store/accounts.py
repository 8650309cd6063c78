"""A tenant's account."""

from __future__ import annotations

from numba import njit

from splinter.store.layout import ACCOUNT_BYTES
from splinter.store.records import Descriptor


@njit(cache=True)
def account_of(store: int, tenant: int) -> int:
    """Address of a tenant's account, 0 … TENANTS_MAX - 1."""
    return Descriptor(store).accounts + tenant * ACCOUNT_BYTES
