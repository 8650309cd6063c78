"""The audit of slots and slabs: those of participants, classes and slabs, and those that nobody has."""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.native.atomics import load64, shift_right
from splinter.store.audit.marks import Mark, Problem, mark_list, report, set_mark, state_of
from splinter.store.classes import class_bytes, class_units, slots_per_slab
from splinter.store.journal import JOURNAL_CLEAR, participant_at
from splinter.store.layout import (
    CLASSES,
    D_BUCKETS_LOCK,
    D_COMPACT_LOCK,
    D_DRAINING,
    D_SLABS_LOCK,
    D_SLABS_POOL,
    D_SLABS_POOLED,
    D_SLABS_USED,
    H_FREE_SLOTS,
    H_HEAD,
    H_LOCK,
    L_BUMP,
    L_BUMP_END,
    L_FREE,
    L_FREE_COUNT,
    L_SPARE,
    L_SPARE_COUNT,
    O_LENGTH_AND_LINK,
    O_VERSION,
    P_INTENT_STATE,
    P_LIMBO_HEAD,
    P_LIMBO_TAIL,
    P_SEALING,
    P_STAGING,
    S_SLOT,
    S_TENANT,
    SL_BUMP,
    SL_FREE,
    SL_FREE_COUNT,
    SL_NEXT,
    SL_PREVIOUS,
    SLAB_DRAINING,
    SLAB_IN_USE,
    SLAB_POOLED,
    SLAB_UNITS,
    STAGE_BYTES,
)
from splinter.store.slabs import class_at, class_list, lists_of, slab_list, slot_at

_UNITS_PER_MARK = 2  # every slot begins at a multiple of 32 bytes
_TENANTS_MAX = limits.TENANTS_MAX
_DRAINING_MAX = limits.DRAINING_SLABS_MAX
_STAGING_ENTRIES = limits.STAGING_ENTRIES
_HIGH_HALF = 32


@njit(cache=True)
def audit_participant(store: int, marks: np.ndarray, sums: np.ndarray, problems: np.ndarray, p: int) -> None:
    me = participant_at(store, p)
    if load64(me + P_INTENT_STATE) != JOURNAL_CLEAR or load64(me + P_SEALING) != 0:
        report(problems, Problem.INTENT, p)
    for size_class in range(CLASSES):
        lists = lists_of(me, size_class)
        mark_list(store, marks, problems, load64(lists + L_FREE), load64(lists + L_FREE_COUNT), size_class, Mark.FREE)
        mark_list(store, marks, problems, load64(lists + L_SPARE), load64(lists + L_SPARE_COUNT), size_class, Mark.SPARE)
        for unit in range(load64(lists + L_BUMP), load64(lists + L_BUMP_END), class_units(size_class)):
            set_mark(store, marks, problems, unit, size_class, Mark.BUMP)
    unit, last = load64(me + P_LIMBO_HEAD), 0
    while unit != 0 and set_mark(store, marks, problems, unit, class_at(store, unit), Mark.LIMBO):
        last = unit
        unit = shift_right(load64(slot_at(store, unit) + O_LENGTH_AND_LINK), _HIGH_HALF)
    if last != load64(me + P_LIMBO_TAIL):
        report(problems, Problem.LIMBO_TAIL, p)
    for entry in range(_STAGING_ENTRIES):
        unit = load64(me + P_STAGING + entry * STAGE_BYTES + S_SLOT)
        if unit != 0:
            set_mark(store, marks, problems, unit, class_at(store, unit), Mark.STAGED)
            tenant = load64(me + P_STAGING + entry * STAGE_BYTES + S_TENANT)
            if tenant < _TENANTS_MAX:
                sums[tenant, 3] += class_bytes(class_at(store, unit))
            if load64(slot_at(store, unit) + O_VERSION) != 0:
                report(problems, Problem.VERSION, unit)


@njit(cache=True)
def audit_class_list(store: int, problems: np.ndarray, size_class: int) -> int:
    """Returns how many slabs are in the list."""
    shared = class_list(store, size_class)
    if load64(shared + H_LOCK) != 0:
        report(problems, Problem.LOCK, size_class)
    slab, before, listed, free = load64(shared + H_HEAD), 0, 0, 0
    while slab != 0:
        own = slab_list(store, slab)
        if slab >= load64(store + D_SLABS_USED) or listed > load64(store + D_SLABS_USED):
            report(problems, Problem.CLASS_LIST, size_class)
            return listed
        is_wrong = state_of(store, slab) != SLAB_IN_USE or class_at(store, slab * SLAB_UNITS) != size_class
        if is_wrong or load64(own + SL_PREVIOUS) != before or load64(own + SL_FREE_COUNT) == 0:
            report(problems, Problem.CLASS_LIST, size_class)
            return listed
        listed += 1
        free += load64(own + SL_FREE_COUNT)
        slab, before = load64(own + SL_NEXT), slab
    if free != load64(shared + H_FREE_SLOTS):
        report(problems, Problem.CLASS_LIST, size_class)
    return listed


@njit(cache=True)
def audit_slab_list(store: int, marks: np.ndarray, problems: np.ndarray, slab: int) -> None:
    """The free slots of a slab that are in its own list."""
    own, size_class = slab_list(store, slab), class_at(store, slab * SLAB_UNITS)
    count, bump = load64(own + SL_FREE_COUNT), load64(own + SL_BUMP)
    if bump != 0:
        end = slab * SLAB_UNITS + slots_per_slab(size_class) * class_units(size_class)
        if bump // SLAB_UNITS != slab:
            report(problems, Problem.SLAB, slab)
            return
        for unit in range(bump, end, class_units(size_class)):
            set_mark(store, marks, problems, unit, size_class, Mark.BUMP)
            count -= 1
    head = load64(own + SL_FREE)
    if count < 0 or (head == 0) != (count == 0) or (head != 0 and head // SLAB_UNITS != slab):
        report(problems, Problem.SLAB, slab)
        return
    mark_list(store, marks, problems, head, count, size_class, Mark.LISTED)


@njit(cache=True)
def audit_slabs(store: int, marks: np.ndarray, problems: np.ndarray) -> None:
    """All slabs' states and own lists, the lists of classes, and the pool."""
    used = load64(store + D_SLABS_USED)
    with_free = np.zeros(CLASSES, dtype=np.int64)
    pooled = draining = 0
    for slab in range(1, used):
        own, state = slab_list(store, slab), state_of(store, slab)
        if state == SLAB_POOLED:
            pooled += 1
            if load64(own + SL_FREE) != 0 or load64(own + SL_BUMP) != 0 or load64(own + SL_FREE_COUNT) != 0:
                report(problems, Problem.SLAB, slab)
        elif state in (SLAB_IN_USE, SLAB_DRAINING):
            audit_slab_list(store, marks, problems, slab)
            if state == SLAB_DRAINING:
                draining += 1
            elif load64(own + SL_FREE_COUNT) != 0:
                with_free[class_at(store, slab * SLAB_UNITS)] += 1
        else:
            report(problems, Problem.SLAB, slab)
    for size_class in range(CLASSES):
        if audit_class_list(store, problems, size_class) != with_free[size_class]:
            report(problems, Problem.CLASS_LIST, size_class)
    if load64(store + D_SLABS_POOLED) != pooled:
        report(problems, Problem.SLAB, 0)
    slab = load64(store + D_SLABS_POOL)
    while slab != 0 and pooled >= 0:
        if slab >= used or state_of(store, slab) != SLAB_POOLED:
            report(problems, Problem.SLAB, slab)
            break
        pooled -= 1
        slab = load64(slab_list(store, slab) + SL_NEXT)
    for i in range(_DRAINING_MAX):
        slab = load64(store + D_DRAINING + i * 8)
        if slab != 0 and state_of(store, slab) == SLAB_DRAINING:
            draining -= 1
    if pooled != 0 or draining != 0:
        report(problems, Problem.SLAB, 0)
    for lock in (D_SLABS_LOCK, D_BUCKETS_LOCK, D_COMPACT_LOCK):
        if load64(store + lock) != 0:
            report(problems, Problem.LOCK, 0)


@njit(cache=True)
def audit_slots(store: int, marks: np.ndarray, problems: np.ndarray) -> None:
    for slab in range(1, load64(store + D_SLABS_USED)):
        if state_of(store, slab) == SLAB_POOLED:
            continue
        size_class = class_at(store, slab * SLAB_UNITS)
        for slot in range(slots_per_slab(size_class)):
            unit = slab * SLAB_UNITS + slot * class_units(size_class)
            if marks[unit // _UNITS_PER_MARK] == Mark.NONE:
                report(problems, Problem.NOT_MARKED, unit)
