"""The audit of rosters: each object of a tenant's own tables has one cell, and each cell that is no hole such an object."""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.native.atomics import load32_acquire, load64
from splinter.store.accounts import account_of
from splinter.store.audit.marks import Problem, report
from splinter.store.index import word_object, word_unit
from splinter.store.journal import participant_at
from splinter.store.layout import SLAB_UNITS
from splinter.store.objects import object_key_length, object_position, object_value_length
from splinter.store.records import Account, Chunk, Descriptor, Object
from splinter.store.roster import cell_entry, chunk_cells, chunk_number, find_chunk
from splinter.store.roster_layout import CELL_BITS, CELL_BYTES, CELL_HOLE, CHUNK_AT, CHUNK_BYTES, CHUNK_KEY_BYTES

_CONTROL = limits.PARTICIPANT_CONTROL


@njit(cache=True)
def audit_chunk(store: int, problems: np.ndarray, tenant: int, found: int) -> int:
    """Returns how many cells of the chunk in a slot are used."""
    chunk, account = found + CHUNK_AT, Account(account_of(store, tenant))
    number, kept = chunk_number(chunk), Chunk(chunk)
    cells, used = chunk_cells(number), 0
    is_sound = object_key_length(found) == CHUNK_KEY_BYTES and object_value_length(found) == CHUNK_BYTES + cells * CELL_BYTES
    if account.active == 0:
        return 0
    if not is_sound or number >= account.roster_end:
        report(problems, Problem.ROSTER, tenant)
        return 0
    for cell in range(cells):
        entry = cell_entry(store, chunk, cell)
        if entry == 0:
            continue
        used += 1
        word = load64(entry)
        is_it = SLAB_UNITS <= word_unit(word) < Descriptor(store).slabs_used * SLAB_UNITS
        if is_it:
            named = word_object(store, word)
            is_it = Object(named).tenant == tenant and Object(named).table < limits.TABLES_MAX
            is_it = is_it and object_position(named) == (number << CELL_BITS | cell)
        if not is_it:
            report(problems, Problem.ROSTER, tenant)
    hole, holes = kept.hole, 0
    while hole != 0 and holes <= cells:
        word = load32_acquire(chunk + CHUNK_BYTES + (hole - 1) * CELL_BYTES) if hole <= cells else 0
        if word & CELL_HOLE == 0:
            report(problems, Problem.ROSTER, tenant)
            return used
        holes += 1
        hole = word & ~CELL_HOLE
    if kept.used != used or holes != cells - used:
        report(problems, Problem.ROSTER, tenant)
    return used


@njit(cache=True)
def audit_rosters(store: int, sums: np.ndarray, problems: np.ndarray) -> None:
    """``sums``: as of audit_index."""
    for tenant in range(limits.TENANTS_MAX):
        account = Account(account_of(store, tenant))
        if account.roster_chunks != sums[tenant, 4] or (account.active != 0 and sums[tenant, 5] != sums[tenant, 6]):
            report(problems, Problem.ROSTER, tenant)
        if account.active != 0 and account.roster_hand != 0:
            chunk = find_chunk(store, participant_at(store, _CONTROL), tenant, account.roster_hand - 1)
            if chunk == 0 or Chunk(chunk).hole == 0:
                report(problems, Problem.ROSTER, tenant)
