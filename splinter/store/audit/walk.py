"""The store's invariants, checked by a walk over all of it.

Every slab that was given out is in use, being drained or in the pool. Every slot of the former two is exactly one of:
published (an index entry names it), free, spare, in its slab's list, in limbo, staged, or in a range of never used ones. Slabs
in use that have free slots are in their class's list. Entries stand in the chain of their key's hash, with its tag, name
complete objects of the right class, and no key twice; an overflow bucket is in one chain, in the pool, or on its way there.
Accounts equal the sums over their tenants' objects. The records of an active tenant's clients form one ring, and each body of
a reply belongs to one of them. Each object of its own tables has one cell of its roster, and each cell that is no hole names an
object. Nobody is in the middle of a step, and all locks are free.

The walk takes no lock: all participants must be at rest.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.store.audit.accounts import audit_accounts
from splinter.store.audit.index import audit_index
from splinter.store.audit.marks import Problem
from splinter.store.audit.roster import audit_rosters
from splinter.store.audit.slabs import audit_participant, audit_slabs, audit_slots
from splinter.store.layout import SLAB_UNITS
from splinter.store.records import Descriptor

_UNITS_PER_MARK = 2  # every slot begins at a multiple of 32 bytes
_TENANTS_MAX = limits.TENANTS_MAX
_CONTROL = limits.PARTICIPANT_CONTROL
_PROBLEMS_MAX = 32


@njit(cache=True)
def _audit(
    store: int, marks: np.ndarray, overflow: np.ndarray, sums: np.ndarray, problems: np.ndarray
) -> None:  # fmt: skip
    for worker in range(Descriptor(store).workers):
        audit_participant(store, marks, sums, problems, worker)
    audit_participant(store, marks, sums, problems, _CONTROL)
    audit_slabs(store, marks, problems)
    audit_index(store, marks, overflow, sums, problems)
    audit_accounts(store, marks, sums, problems)
    audit_rosters(store, sums, problems)
    audit_slots(store, marks, problems)


@njit(cache=True)
def _totals(store: int) -> tuple[int, int, int]:
    descriptor = Descriptor(store)
    return descriptor.slabs_used, descriptor.slabs_total, descriptor.buckets_total


def check_invariants(store: int) -> list[str]:
    """Walk the store with the descriptor at address ``store``; returns what is wrong, nothing when all is well.

    No participant may run meanwhile. Takes 1 byte for each 32 of the slabs given out, and about 10 ns per slot.
    """
    slabs_used, _, buckets_total = _totals(store)
    marks = np.zeros(slabs_used * SLAB_UNITS // _UNITS_PER_MARK, dtype=np.uint8)
    overflow = np.zeros(buckets_total, dtype=np.uint8)
    sums = np.zeros((_TENANTS_MAX, 7), dtype=np.int64)
    problems = np.zeros((_PROBLEMS_MAX + 1, 2), dtype=np.int64)
    _audit(store, marks, overflow, sums, problems)
    total = int(problems[0, 0])
    found = [f"{Problem(problem).name} {subject}" for problem, subject in problems[1 : min(total, _PROBLEMS_MAX) + 1]]
    return found + ([f"and {total - _PROBLEMS_MAX} more"] if total > _PROBLEMS_MAX else [])
