"""The entries of the staging tables: who has which, and which one a new value may take."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native import libc
from splinter.native.atomics import load64, load64_acquire
from splinter.store.journal import participant_at
from splinter.store.layout import A_ACTIVE, P_CLOCK, P_STAGING, S_GENERATION, S_SLOT, S_TENANT, STAGE_BYTES
from splinter.store.publication import account_of

_STAGING_ENTRIES = limits.STAGING_ENTRIES
_NS_PER_SECOND = 1_000_000_000


@njit(cache=True)
def stage_at(store: int, p: int, entry: int) -> int:
    """Address of a participant's STAGE."""
    return participant_at(store, p) + P_STAGING + entry * STAGE_BYTES


@njit(cache=True)
def tenant_generation(store: int, tenant: int) -> int:
    """Of the tenant of this id, 1 … TENANTS_MAX - 1; 0: there is none."""
    return load64_acquire(account_of(store, tenant) + A_ACTIVE)


@njit(cache=True)
def is_ownerless(store: int, stage: int) -> bool:
    """Whether an entry is a tenant's that is gone."""
    return load64(stage + S_SLOT) != 0 and load64(stage + S_GENERATION) != tenant_generation(store, load64(stage + S_TENANT))


@njit(cache=True)
def clock_ns(me: int) -> int:
    """The monotonic clock, in ns."""
    libc.clock_gettime(libc.CLOCK_MONOTONIC, me + P_CLOCK)
    return load64(me + P_CLOCK) * _NS_PER_SECOND + load64(me + P_CLOCK + 8)


@njit(cache=True)
def entries_owned(store: int, p: int, tenant: int) -> int:
    """How many entries a tenant has."""
    owned = 0
    for entry in range(_STAGING_ENTRIES):
        stage = stage_at(store, p, entry)
        if load64(stage + S_SLOT) != 0 and load64(stage + S_TENANT) == tenant:
            owned += 1
    return owned


@njit(cache=True)
def unused_entry(store: int, p: int) -> int:
    """Index of an unused entry, or -BUSY."""
    for entry in range(_STAGING_ENTRIES):
        if load64(stage_at(store, p, entry) + S_SLOT) == 0:
            return entry
    return -Status.BUSY
