"""What the audit notes: a mark for each slot that it met, and the problems that it found."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit

from splinter.native.atomics import load64, shift_right
from splinter.store.classes import class_units, slots_per_slab
from splinter.store.layout import (
    SLAB_DRAINING,
    SLAB_IN_USE,
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
)
from splinter.store.records import Descriptor, Object
from splinter.store.slabs import class_at, slab_record, slot_at

_UNITS_PER_MARK = 2  # every slot begins at a multiple of 32 bytes


class Mark(IntEnum):
    """What a slot was found to be."""

    NONE = 0
    PUBLISHED = 1
    FREE = 2
    SPARE = 3
    LISTED = 4  # in its slab's list
    LIMBO = 5
    STAGED = 6
    BUMP = 7


class Problem(IntEnum):
    """What a finding is about; its subject is a unit unless said otherwise."""

    MARKED_TWICE = 1
    NOT_MARKED = 2
    OUTSIDE = 3  # no slot of a slab in use
    COUNT = 4  # a list's counter is wrong; subject: size class
    CLASS = 5  # in a list or entry of another class than its slab's
    LENGTHS = 6
    TAG = 7
    CHAIN = 8  # an entry in another key's chain; an overflow bucket in two chains or in none: its number
    DUPLICATE = 9
    VERSION = 10  # of a published object 0, odd, or later than its tenant's last commit; of a free slot not 0
    BYTES = 11  # the account's sum is wrong; subject: tenant
    STAGED_BYTES = 21  # likewise, of what is staged; subject: tenant
    OBJECTS = 12  # the account's count is wrong; subject: tenant
    LOCK = 13  # held; subject: tenant, or size class, or 0
    INTENT = 14  # in the middle of a step; subject: participant
    LIMBO_TAIL = 15  # does not end the list; subject: participant
    CLIENTS = 16  # the ring is no ring of all of the tenant's clients; subject: tenant
    BODY = 17  # the body of a reply that no client's record knows of
    SLAB = 18  # its state, its lists or their counters are wrong; subject: slab, or 0
    CLASS_LIST = 19  # is no list of all slabs of the class with free slots; subject: size class
    PARTS = 22  # a large value without all of its parts
    ROSTER = 23  # a chunk's holes or counts are wrong, or a cell and an object do not name each other; subject: tenant
    BUCKETS = 20  # the pool of overflow buckets, or what is on its way there, is wrong; subject: bucket, or 0


@njit(cache=True)
def report(problems: np.ndarray, problem: int, subject: int) -> None:
    found = problems[0, 0]
    if found < len(problems) - 1:
        problems[found + 1, 0] = problem
        problems[found + 1, 1] = subject
    problems[0, 0] = found + 1


@njit(cache=True)
def state_of(store: int, slab: int) -> int:
    return shift_right(load64(slab_record(store, slab)), SLAB_STATE_SHIFT)


@njit(cache=True)
def set_mark(store: int, marks: np.ndarray, problems: np.ndarray, unit: int, size_class: int, mark: int) -> bool:
    """False when the unit is no slot, or was marked before: do not follow its link."""
    place = unit % SLAB_UNITS
    slab = unit // SLAB_UNITS
    if slab < 1 or slab >= Descriptor(store).slabs_used or state_of(store, slab) not in (SLAB_IN_USE, SLAB_DRAINING):
        report(problems, Problem.OUTSIDE, unit)
        return False
    actual = class_at(store, unit)
    if size_class != actual:
        report(problems, Problem.CLASS, unit)
        return False
    if place % class_units(actual) != 0 or place // class_units(actual) >= slots_per_slab(actual):
        report(problems, Problem.OUTSIDE, unit)
        return False
    if marks[unit // _UNITS_PER_MARK] != Mark.NONE:
        report(problems, Problem.MARKED_TWICE, unit)
        return False
    marks[unit // _UNITS_PER_MARK] = mark
    return True


@njit(cache=True)
def mark_list(
    store: int, marks: np.ndarray, problems: np.ndarray, head: int, count: int, size_class: int, mark: int
) -> None:  # fmt: skip
    """A list of ``count`` free slots that ends with link 0, or has ``count`` slots and an end that does not matter."""
    unit = head
    for _ in range(count):
        if unit == 0:
            report(problems, Problem.COUNT, size_class)
            return
        if not set_mark(store, marks, problems, unit, size_class, mark):
            return
        slot = slot_at(store, unit)
        if Object(slot).version != 0:
            report(problems, Problem.VERSION, unit)
        unit = Object(slot).link
    if unit != 0:
        report(problems, Problem.COUNT, size_class)
