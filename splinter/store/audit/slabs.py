"""The audit of slots and slabs: those of participants, classes and slabs, and those that nobody has."""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.native.atomics import load64
from splinter.store.audit.marks import Mark, Problem, mark_list, report, set_mark, state_of
from splinter.store.classes import class_bytes, class_units, slots_per_slab
from splinter.store.commit_layout import COMMIT_NONE
from splinter.store.journal import JOURNAL_CLEAR, participant_at
from splinter.store.layout import CLASSES, SLAB_DRAINING, SLAB_IN_USE, SLAB_POOLED, SLAB_UNITS, STAGE_BYTES
from splinter.store.records import ClassList, Commit, Descriptor, FreeLists, Intent, Object, Participant, SlabList, Stage
from splinter.store.slabs import class_at, class_list, lists_of, slab_list, slot_at

_UNITS_PER_MARK = 2  # every slot begins at a multiple of 32 bytes
_TENANTS_MAX = limits.TENANTS_MAX
_DRAINING_MAX = limits.DRAINING_SLABS_MAX
_STAGING_ENTRIES = limits.STAGING_ENTRIES


@njit(cache=True)
def audit_participant(store: int, marks: np.ndarray, sums: np.ndarray, problems: np.ndarray, p: int) -> None:
    me = participant_at(store, p)
    mine = Participant(me)
    if Intent(mine.intent).state != JOURNAL_CLEAR or mine.sealing != 0 or Commit(mine.commit).state != COMMIT_NONE:
        report(problems, Problem.INTENT, p)
    for size_class in range(CLASSES):
        lists = FreeLists(lists_of(me, size_class))
        mark_list(store, marks, problems, lists.free, lists.free_count, size_class, Mark.FREE)
        mark_list(store, marks, problems, lists.spare, lists.spare_count, size_class, Mark.SPARE)
        for unit in range(lists.bump, lists.bump_end, class_units(size_class)):
            set_mark(store, marks, problems, unit, size_class, Mark.BUMP)
    unit, last = mine.limbo_head, 0
    while unit != 0 and set_mark(store, marks, problems, unit, class_at(store, unit), Mark.LIMBO):
        last = unit
        unit = Object(slot_at(store, unit)).link
    if last != mine.limbo_tail:
        report(problems, Problem.LIMBO_TAIL, p)
    for entry in range(_STAGING_ENTRIES):
        stage = Stage(mine.staging + entry * STAGE_BYTES)
        unit = stage.slot
        if unit != 0:
            set_mark(store, marks, problems, unit, class_at(store, unit), Mark.STAGED)
            tenant = stage.tenant
            if tenant < _TENANTS_MAX:
                sums[tenant, 3] += class_bytes(class_at(store, unit))
            if Object(slot_at(store, unit)).version != 0:
                report(problems, Problem.VERSION, unit)


@njit(cache=True)
def audit_class_list(store: int, problems: np.ndarray, size_class: int) -> int:
    """Returns how many slabs are in the list."""
    shared, slabs_used = ClassList(class_list(store, size_class)), Descriptor(store).slabs_used
    if shared.lock != 0:
        report(problems, Problem.LOCK, size_class)
    slab, before, listed, free = shared.head, 0, 0, 0
    while slab != 0:
        own = SlabList(slab_list(store, slab))
        if slab >= slabs_used or listed > slabs_used:
            report(problems, Problem.CLASS_LIST, size_class)
            return listed
        is_wrong = state_of(store, slab) != SLAB_IN_USE or class_at(store, slab * SLAB_UNITS) != size_class
        if is_wrong or own.previous != before or own.free_count == 0:
            report(problems, Problem.CLASS_LIST, size_class)
            return listed
        listed += 1
        free += own.free_count
        slab, before = own.next, slab
    if free != shared.free_slots:
        report(problems, Problem.CLASS_LIST, size_class)
    return listed


@njit(cache=True)
def audit_slab_list(store: int, marks: np.ndarray, problems: np.ndarray, slab: int) -> None:
    """The free slots of a slab that are in its own list."""
    own, size_class = SlabList(slab_list(store, slab)), class_at(store, slab * SLAB_UNITS)
    count, bump = own.free_count, own.bump
    if bump != 0:
        end = slab * SLAB_UNITS + slots_per_slab(size_class) * class_units(size_class)
        if bump // SLAB_UNITS != slab:
            report(problems, Problem.SLAB, slab)
            return
        for unit in range(bump, end, class_units(size_class)):
            set_mark(store, marks, problems, unit, size_class, Mark.BUMP)
            count -= 1
    head = own.free
    if count < 0 or (head == 0) != (count == 0) or (head != 0 and head // SLAB_UNITS != slab):
        report(problems, Problem.SLAB, slab)
        return
    mark_list(store, marks, problems, head, count, size_class, Mark.LISTED)


@njit(cache=True)
def audit_slabs(store: int, marks: np.ndarray, problems: np.ndarray) -> None:
    """All slabs' states and own lists, the lists of classes, and the pool."""
    descriptor = Descriptor(store)
    used = descriptor.slabs_used
    with_free = np.zeros(CLASSES, dtype=np.int64)
    pooled = draining = 0
    for slab in range(1, used):
        own, state = SlabList(slab_list(store, slab)), state_of(store, slab)
        if state == SLAB_POOLED:
            pooled += 1
            if own.free != 0 or own.bump != 0 or own.free_count != 0:
                report(problems, Problem.SLAB, slab)
        elif state in (SLAB_IN_USE, SLAB_DRAINING):
            audit_slab_list(store, marks, problems, slab)
            if state == SLAB_DRAINING:
                draining += 1
            elif own.free_count != 0:
                with_free[class_at(store, slab * SLAB_UNITS)] += 1
        else:
            report(problems, Problem.SLAB, slab)
    for size_class in range(CLASSES):
        if audit_class_list(store, problems, size_class) != with_free[size_class]:
            report(problems, Problem.CLASS_LIST, size_class)
    if descriptor.slabs_pooled != pooled:
        report(problems, Problem.SLAB, 0)
    slab = descriptor.slabs_pool
    while slab != 0 and pooled >= 0:
        if slab >= used or state_of(store, slab) != SLAB_POOLED:
            report(problems, Problem.SLAB, slab)
            break
        pooled -= 1
        slab = SlabList(slab_list(store, slab)).next
    for i in range(_DRAINING_MAX):
        slab = load64(descriptor.draining + i * 8)
        if slab != 0 and state_of(store, slab) == SLAB_DRAINING:
            draining -= 1
    if pooled != 0 or draining != 0:
        report(problems, Problem.SLAB, 0)
    for lock in (descriptor.slabs_lock, descriptor.buckets_lock, descriptor.compact_lock):
        if lock != 0:
            report(problems, Problem.LOCK, 0)


@njit(cache=True)
def audit_slots(store: int, marks: np.ndarray, problems: np.ndarray) -> None:
    for slab in range(1, Descriptor(store).slabs_used):
        if state_of(store, slab) == SLAB_POOLED:
            continue
        size_class = class_at(store, slab * SLAB_UNITS)
        for slot in range(slots_per_slab(size_class)):
            unit = slab * SLAB_UNITS + slot * class_units(size_class)
            if marks[unit // _UNITS_PER_MARK] == Mark.NONE:
                report(problems, Problem.NOT_MARKED, unit)
