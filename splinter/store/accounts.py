"""A tenant's account."""

from __future__ import annotations

from numba import njit

from splinter.store.account_layout import ACCOUNT_BYTES
from splinter.store.records import Account, Descriptor


@njit(cache=True)
def account_of(store: int, tenant: int) -> int:
    """Address of a tenant's account, 0 … TENANTS_MAX - 1."""
    return Descriptor(store).accounts + tenant * ACCOUNT_BYTES


@njit(cache=True)
def system_version(account: int) -> int:
    """The version of an object of the system that no reader of a snapshot looks at: it is published without a commit."""
    return Account(account).sequence * 2
