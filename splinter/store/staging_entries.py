"""The entries of the staging tables: who has which, and which one a new value may take."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native import libc
from splinter.native.atomics import load64, load64_acquire
from splinter.store.accounts import account_of
from splinter.store.journal import participant_at
from splinter.store.layout import STAGE_BYTES
from splinter.store.records import Account, Participant, Stage

_STAGING_ENTRIES = limits.STAGING_ENTRIES
_NS_PER_SECOND = 1_000_000_000


@njit(cache=True)
def stage_at(store: int, p: int, entry: int) -> int:
    """Address of a participant's STAGE."""
    return Participant(participant_at(store, p)).staging + entry * STAGE_BYTES


@njit(cache=True)
def tenant_generation(store: int, tenant: int) -> int:
    """Of the tenant of this id, 1 … TENANTS_MAX - 1; 0: there is none."""
    return load64_acquire(Account(account_of(store, tenant)).at.active)


@njit(cache=True)
def is_ownerless(store: int, address: int) -> bool:
    """Whether an entry is a tenant's that is gone."""
    stage = Stage(address)
    return stage.slot != 0 and stage.generation != tenant_generation(store, stage.tenant)


@njit(cache=True)
def clock_ns(me: int) -> int:
    """The monotonic clock, in ns."""
    clock = Participant(me).clock
    libc.clock_gettime(libc.CLOCK_MONOTONIC, clock)
    return load64(clock) * _NS_PER_SECOND + load64(clock + 8)


@njit(cache=True)
def entries_owned(store: int, p: int, tenant: int) -> int:
    """How many entries a tenant has."""
    owned = 0
    for entry in range(_STAGING_ENTRIES):
        stage = Stage(stage_at(store, p, entry))
        if stage.slot != 0 and stage.tenant == tenant:
            owned += 1
    return owned


@njit(cache=True)
def unused_entry(store: int, p: int) -> int:
    """Index of an unused entry, or -BUSY."""
    for entry in range(_STAGING_ENTRIES):
        if Stage(stage_at(store, p, entry)).slot == 0:
            return entry
    return -Status.BUSY
