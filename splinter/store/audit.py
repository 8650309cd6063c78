"""The store's invariants, checked by a walk over all of it.

Every slab that was given out is in use, being drained or in the pool. Every slot of the former two is exactly one of:
published (an index entry names it), free, spare, in its slab's list, in limbo, staged, or in a range of never used ones. Slabs
in use that have free slots are in their class's list. Entries stand in the chain of their key's hash, with its tag, name
complete objects of the right class, and no key twice; an overflow bucket is in one chain, in the pool, or on its way there.
Accounts equal the sums over their tenants' objects. The records of an active tenant's clients form one ring, and each body of
a reply belongs to one of them. Nobody is in the middle of a step, and all locks are free.

The walk takes no lock: all participants must be at rest.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit

from splinter import limits
from splinter.native.atomics import load16, load32, load64, shift_right
from splinter.store.classes import class_bytes, class_units, slots_per_slab
from splinter.store.hashing import identity_of, keys_equal, store_hash
from splinter.store.index import bucket_at, bucket_number, find_entry, word_class, word_object, word_unit
from splinter.store.journal import JOURNAL_CLEAR, participant_at
from splinter.store.layout import (
    A_ACTIVE,
    A_BYTES_USED,
    A_CLIENTS,
    A_CLIENTS_HAND,
    A_CODE_BYTES,
    A_LOCK,
    A_OBJECTS,
    A_STAGED_BYTES,
    B_ENTRIES,
    B_NEXT,
    BODY_KEY_BYTES,
    C_NEXT,
    C_PREVIOUS,
    C_RESULTS,
    CLASSES,
    CLIENT_AT,
    CLIENT_BYTES,
    CLIENT_KEY_BYTES,
    D_BUCKETS,
    D_BUCKETS_LEAVING,
    D_BUCKETS_LOCK,
    D_BUCKETS_POOL,
    D_BUCKETS_POOLED,
    D_BUCKETS_TOTAL,
    D_BUCKETS_USED,
    D_COMPACT_LOCK,
    D_DRAINING,
    D_SLABS_LOCK,
    D_SLABS_POOL,
    D_SLABS_POOLED,
    D_SLABS_TOTAL,
    D_SLABS_USED,
    D_UNLINKED,
    D_WORKERS,
    E_WORD,
    ENTRY_BYTES,
    ENTRY_TAG_SHIFT,
    H_FREE_SLOTS,
    H_HEAD,
    H_LOCK,
    L_BUMP,
    L_BUMP_END,
    L_FREE,
    L_FREE_COUNT,
    L_SPARE,
    L_SPARE_COUNT,
    O_IDENTITY,
    O_KEY,
    O_KEY_LENGTH,
    O_LENGTH_AND_LINK,
    O_TABLE,
    O_TENANT,
    O_VALUE_LENGTH,
    O_VERSION,
    OBJECT_BYTES,
    P_INTENT_STATE,
    P_LIMBO_HEAD,
    P_LIMBO_TAIL,
    P_SEALING,
    P_STAGING,
    RESULT_BYTES,
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
    SLAB_STATE_SHIFT,
    SLAB_UNITS,
    STAGE_BYTES,
    UNLINKED_BYTES,
)
from splinter.store.outcomes import Outcome, outcome_kind
from splinter.store.publication import account_of
from splinter.store.slots import class_at, class_list, lists_of, slab_list, slab_record, slot_at

_UNITS_PER_MARK = 2  # every slot begins at a multiple of 32 bytes
_TENANTS_MAX = limits.TENANTS_MAX
_TABLE_CLIENTS = limits.TABLE_CLIENTS
_CLIENT_WINDOW = limits.CLIENT_WINDOW
_KEY_BYTES_MAX = limits.KEY_BYTES_MAX
_CONTROL = limits.PARTICIPANT_CONTROL
_DRAINING_MAX = limits.DRAINING_SLABS_MAX
_LEAVING_MAX = limits.BUCKETS_LEAVING_MAX
_STAGING_ENTRIES = limits.STAGING_ENTRIES
_BUCKET_ENTRIES = limits.BUCKET_ENTRIES
_CHAIN_BUCKETS_MAX = limits.CHAIN_BUCKETS_MAX
_HIGH_HALF = 32
_PROBLEMS_MAX = 32


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
    VERSION = 10  # of a published object 0 or odd, or of a free slot not 0
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
    BUCKETS = 20  # the pool of overflow buckets, or what is on its way there, is wrong; subject: bucket, or 0


@njit(cache=True)
def _report(problems: np.ndarray, problem: int, subject: int) -> None:
    found = problems[0, 0]
    if found < len(problems) - 1:
        problems[found + 1, 0] = problem
        problems[found + 1, 1] = subject
    problems[0, 0] = found + 1


@njit(cache=True)
def _state_of(store: int, slab: int) -> int:
    return shift_right(load64(slab_record(store, slab)), SLAB_STATE_SHIFT)


@njit(cache=True)
def _mark(store: int, marks: np.ndarray, problems: np.ndarray, unit: int, size_class: int, mark: int) -> bool:
    """False when the unit is no slot, or was marked before: do not follow its link."""
    place = unit % SLAB_UNITS
    slab = unit // SLAB_UNITS
    if slab < 1 or slab >= load64(store + D_SLABS_USED) or _state_of(store, slab) not in (SLAB_IN_USE, SLAB_DRAINING):
        _report(problems, Problem.OUTSIDE, unit)
        return False
    actual = class_at(store, unit)
    if size_class != actual:
        _report(problems, Problem.CLASS, unit)
        return False
    if place % class_units(actual) != 0 or place // class_units(actual) >= slots_per_slab(actual):
        _report(problems, Problem.OUTSIDE, unit)
        return False
    if marks[unit // _UNITS_PER_MARK] != Mark.NONE:
        _report(problems, Problem.MARKED_TWICE, unit)
        return False
    marks[unit // _UNITS_PER_MARK] = mark
    return True


@njit(cache=True)
def _mark_list(
    store: int, marks: np.ndarray, problems: np.ndarray, head: int, count: int, size_class: int, mark: int
) -> None:  # fmt: skip
    """A list of ``count`` free slots that ends with link 0, or has ``count`` slots and an end that does not matter."""
    unit = head
    for _ in range(count):
        if unit == 0:
            _report(problems, Problem.COUNT, size_class)
            return
        if not _mark(store, marks, problems, unit, size_class, mark):
            return
        slot = slot_at(store, unit)
        if load64(slot + O_VERSION) != 0:
            _report(problems, Problem.VERSION, unit)
        unit = shift_right(load64(slot + O_LENGTH_AND_LINK), _HIGH_HALF)
    if unit != 0:
        _report(problems, Problem.COUNT, size_class)


@njit(cache=True)
def _audit_participant(store: int, marks: np.ndarray, sums: np.ndarray, problems: np.ndarray, p: int) -> None:
    me = participant_at(store, p)
    if load64(me + P_INTENT_STATE) != JOURNAL_CLEAR or load64(me + P_SEALING) != 0:
        _report(problems, Problem.INTENT, p)
    for size_class in range(CLASSES):
        lists = lists_of(me, size_class)
        _mark_list(store, marks, problems, load64(lists + L_FREE), load64(lists + L_FREE_COUNT), size_class, Mark.FREE)
        _mark_list(store, marks, problems, load64(lists + L_SPARE), load64(lists + L_SPARE_COUNT), size_class, Mark.SPARE)
        for unit in range(load64(lists + L_BUMP), load64(lists + L_BUMP_END), class_units(size_class)):
            _mark(store, marks, problems, unit, size_class, Mark.BUMP)
    unit, last = load64(me + P_LIMBO_HEAD), 0
    while unit != 0 and _mark(store, marks, problems, unit, class_at(store, unit), Mark.LIMBO):
        last = unit
        unit = shift_right(load64(slot_at(store, unit) + O_LENGTH_AND_LINK), _HIGH_HALF)
    if last != load64(me + P_LIMBO_TAIL):
        _report(problems, Problem.LIMBO_TAIL, p)
    for entry in range(_STAGING_ENTRIES):
        unit = load64(me + P_STAGING + entry * STAGE_BYTES + S_SLOT)
        if unit != 0:
            _mark(store, marks, problems, unit, class_at(store, unit), Mark.STAGED)
            tenant = load64(me + P_STAGING + entry * STAGE_BYTES + S_TENANT)
            if tenant < _TENANTS_MAX:
                sums[tenant, 3] += class_bytes(class_at(store, unit))
            if load64(slot_at(store, unit) + O_VERSION) != 0:
                _report(problems, Problem.VERSION, unit)


@njit(cache=True)
def _audit_class_list(store: int, problems: np.ndarray, size_class: int) -> int:
    """Returns how many slabs are in the list."""
    shared = class_list(store, size_class)
    if load64(shared + H_LOCK) != 0:
        _report(problems, Problem.LOCK, size_class)
    slab, before, listed, free = load64(shared + H_HEAD), 0, 0, 0
    while slab != 0:
        own = slab_list(store, slab)
        if slab >= load64(store + D_SLABS_USED) or listed > load64(store + D_SLABS_USED):
            _report(problems, Problem.CLASS_LIST, size_class)
            return listed
        is_wrong = _state_of(store, slab) != SLAB_IN_USE or class_at(store, slab * SLAB_UNITS) != size_class
        if is_wrong or load64(own + SL_PREVIOUS) != before or load64(own + SL_FREE_COUNT) == 0:
            _report(problems, Problem.CLASS_LIST, size_class)
            return listed
        listed += 1
        free += load64(own + SL_FREE_COUNT)
        slab, before = load64(own + SL_NEXT), slab
    if free != load64(shared + H_FREE_SLOTS):
        _report(problems, Problem.CLASS_LIST, size_class)
    return listed


@njit(cache=True)
def _audit_slab_list(store: int, marks: np.ndarray, problems: np.ndarray, slab: int) -> None:
    """The free slots of a slab that are in its own list."""
    own, size_class = slab_list(store, slab), class_at(store, slab * SLAB_UNITS)
    count, bump = load64(own + SL_FREE_COUNT), load64(own + SL_BUMP)
    if bump != 0:
        end = slab * SLAB_UNITS + slots_per_slab(size_class) * class_units(size_class)
        if bump // SLAB_UNITS != slab:
            _report(problems, Problem.SLAB, slab)
            return
        for unit in range(bump, end, class_units(size_class)):
            _mark(store, marks, problems, unit, size_class, Mark.BUMP)
            count -= 1
    head = load64(own + SL_FREE)
    if count < 0 or (head == 0) != (count == 0) or (head != 0 and head // SLAB_UNITS != slab):
        _report(problems, Problem.SLAB, slab)
        return
    _mark_list(store, marks, problems, head, count, size_class, Mark.LISTED)


@njit(cache=True)
def _audit_slabs(store: int, marks: np.ndarray, problems: np.ndarray) -> None:
    """All slabs' states and own lists, the lists of classes, and the pool."""
    used = load64(store + D_SLABS_USED)
    with_free = np.zeros(CLASSES, dtype=np.int64)
    pooled = draining = 0
    for slab in range(1, used):
        own, state = slab_list(store, slab), _state_of(store, slab)
        if state == SLAB_POOLED:
            pooled += 1
            if load64(own + SL_FREE) != 0 or load64(own + SL_BUMP) != 0 or load64(own + SL_FREE_COUNT) != 0:
                _report(problems, Problem.SLAB, slab)
        elif state in (SLAB_IN_USE, SLAB_DRAINING):
            _audit_slab_list(store, marks, problems, slab)
            if state == SLAB_DRAINING:
                draining += 1
            elif load64(own + SL_FREE_COUNT) != 0:
                with_free[class_at(store, slab * SLAB_UNITS)] += 1
        else:
            _report(problems, Problem.SLAB, slab)
    for size_class in range(CLASSES):
        if _audit_class_list(store, problems, size_class) != with_free[size_class]:
            _report(problems, Problem.CLASS_LIST, size_class)
    if load64(store + D_SLABS_POOLED) != pooled:
        _report(problems, Problem.SLAB, 0)
    slab = load64(store + D_SLABS_POOL)
    while slab != 0 and pooled >= 0:
        if slab >= used or _state_of(store, slab) != SLAB_POOLED:
            _report(problems, Problem.SLAB, slab)
            break
        pooled -= 1
        slab = load64(slab_list(store, slab) + SL_NEXT)
    for i in range(_DRAINING_MAX):
        slab = load64(store + D_DRAINING + i * 8)
        if slab != 0 and _state_of(store, slab) == SLAB_DRAINING:
            draining -= 1
    if pooled != 0 or draining != 0:
        _report(problems, Problem.SLAB, 0)
    for lock in (D_SLABS_LOCK, D_BUCKETS_LOCK, D_COMPACT_LOCK):
        if load64(store + lock) != 0:
            _report(problems, Problem.LOCK, 0)


@njit(cache=True)
def _audit_object(store: int, problems: np.ndarray, bucket_index: int, word: int) -> None:
    unit = word_unit(word)
    found = word_object(store, word)
    key_length, value_length = load16(found + O_KEY_LENGTH), load32(found + O_VALUE_LENGTH)
    version = load64(found + O_VERSION)
    if version == 0 or version % 2 != 0:
        _report(problems, Problem.VERSION, unit)
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        _report(problems, Problem.LENGTHS, unit)
        return
    if OBJECT_BYTES + key_length + value_length > class_bytes(word_class(word)):
        _report(problems, Problem.LENGTHS, unit)
    hashed = store_hash(store, load64(found + O_IDENTITY), found + O_KEY, key_length)
    if shift_right(hashed, ENTRY_TAG_SHIFT) != shift_right(word, ENTRY_TAG_SHIFT):
        _report(problems, Problem.TAG, unit)
    if bucket_number(store, hashed) != bucket_index:
        _report(problems, Problem.CHAIN, unit)


@njit(cache=True)
def _audit_index(
    store: int, marks: np.ndarray, overflow: np.ndarray, sums: np.ndarray, problems: np.ndarray
) -> None:  # fmt: skip
    """``overflow``: uses of each bucket; ``sums``: per tenant bytes, objects, clients and staged bytes, filled here."""
    chain = np.zeros(_CHAIN_BUCKETS_MAX * _BUCKET_ENTRIES, dtype=np.int64)
    for number in range(load64(store + D_BUCKETS)):
        bucket = bucket_at(store, number)
        length = 0
        for _ in range(_CHAIN_BUCKETS_MAX):
            for i in range(_BUCKET_ENTRIES):
                word = load64(bucket + B_ENTRIES + i * ENTRY_BYTES)
                if word == 0 or not _mark(store, marks, problems, word_unit(word), word_class(word), Mark.PUBLISHED):
                    continue
                found = word_object(store, word)
                _audit_object(store, problems, number, word)
                for k in range(length):
                    other = chain[k]
                    if load64(found + O_IDENTITY) == load64(other + O_IDENTITY) and keys_equal(
                        found + O_KEY, other + O_KEY, load16(found + O_KEY_LENGTH)
                    ):
                        _report(problems, Problem.DUPLICATE, word_unit(word))
                chain[length] = found
                length += 1
                tenant = load32(found + O_TENANT)
                if tenant < _TENANTS_MAX:
                    sums[tenant, 0] += class_bytes(word_class(word))
                    sums[tenant, 1] += 1
                    if load16(found + O_TABLE) == _TABLE_CLIENTS:
                        if load16(found + O_KEY_LENGTH) == CLIENT_KEY_BYTES:
                            sums[tenant, 2] += 1
                        else:
                            _audit_body(store, problems, tenant, found)
            following = load32(bucket + B_NEXT)
            if following == 0:
                break
            if following < load64(store + D_BUCKETS) or following >= load64(store + D_BUCKETS_USED):
                _report(problems, Problem.CHAIN, following)
                break
            overflow[following] += 1
            bucket = bucket_at(store, following)
    _audit_bucket_pool(store, overflow, problems)
    for number in range(load64(store + D_BUCKETS), load64(store + D_BUCKETS_USED)):
        if overflow[number] != 1:
            _report(problems, Problem.CHAIN, number)


@njit(cache=True)
def _audit_bucket_pool(store: int, overflow: np.ndarray, problems: np.ndarray) -> None:
    pooled, leaving = load64(store + D_BUCKETS_POOLED), load64(store + D_BUCKETS_LEAVING)
    number = load64(store + D_BUCKETS_POOL)
    while number != 0 and pooled >= 0:
        if number < load64(store + D_BUCKETS) or number >= load64(store + D_BUCKETS_USED):
            _report(problems, Problem.BUCKETS, number)
            return
        bucket = bucket_at(store, number)
        for i in range(_BUCKET_ENTRIES):
            if load64(bucket + B_ENTRIES + i * ENTRY_BYTES) != 0:
                _report(problems, Problem.BUCKETS, number)
        overflow[number] += 1
        pooled -= 1
        number = load64(bucket + B_NEXT)
    for i in range(_LEAVING_MAX):
        number = load64(store + D_UNLINKED + i * UNLINKED_BYTES)
        if number != 0:
            overflow[number] += 1
            leaving -= 1
    if pooled != 0 or leaving != 0:
        _report(problems, Problem.BUCKETS, 0)


@njit(cache=True)
def _audit_body(store: int, problems: np.ndarray, tenant: int, found: int) -> None:
    identity = identity_of(tenant, _TABLE_CLIENTS, CLIENT_KEY_BYTES)
    hashed = store_hash(store, identity, found + O_KEY, CLIENT_KEY_BYTES)
    word = find_entry(store, hashed, identity, found + O_KEY, CLIENT_KEY_BYTES)[1]
    place = load64(found + O_KEY + CLIENT_KEY_BYTES)
    if word == 0 or load16(found + O_KEY_LENGTH) != BODY_KEY_BYTES or place < 0 or place >= _CLIENT_WINDOW:
        _report(problems, Problem.BODY, tenant)
        return
    result = word_object(store, word) + CLIENT_AT + C_RESULTS + place * RESULT_BYTES
    if outcome_kind(load64(result + E_WORD)) != Outcome.BODY:
        _report(problems, Problem.BODY, tenant)


@njit(cache=True)
def _audit_ring(store: int, marks: np.ndarray, problems: np.ndarray, tenant: int, clients: int) -> None:
    account = account_of(store, tenant)
    hand = load64(account + A_CLIENTS_HAND)
    if load64(account + A_CLIENTS) != clients or (hand == 0) != (clients == 0):
        _report(problems, Problem.CLIENTS, tenant)
        return
    unit = hand
    for seen in range(1, clients + 1):
        if unit // _UNITS_PER_MARK >= len(marks) or marks[unit // _UNITS_PER_MARK] != Mark.PUBLISHED:
            _report(problems, Problem.CLIENTS, tenant)
            return
        found = slot_at(store, unit)
        is_record = load64(found + O_IDENTITY) == identity_of(tenant, _TABLE_CLIENTS, CLIENT_KEY_BYTES)
        if not is_record or load32(found + O_VALUE_LENGTH) != CLIENT_BYTES:
            _report(problems, Problem.CLIENTS, tenant)
            return
        before, unit = unit, load64(found + CLIENT_AT + C_NEXT)
        if load64(slot_at(store, unit) + CLIENT_AT + C_PREVIOUS) != before:
            _report(problems, Problem.CLIENTS, tenant)
            return
        if unit == hand and seen != clients:
            _report(problems, Problem.CLIENTS, tenant)
            return
    if unit != hand:
        _report(problems, Problem.CLIENTS, tenant)


@njit(cache=True)
def _audit_accounts(store: int, marks: np.ndarray, sums: np.ndarray, problems: np.ndarray) -> None:
    for tenant in range(_TENANTS_MAX):
        account = account_of(store, tenant)
        if load64(account + A_LOCK) != 0:
            _report(problems, Problem.LOCK, tenant)
        if load64(account + A_STAGED_BYTES) != sums[tenant, 3]:
            _report(problems, Problem.STAGED_BYTES, tenant)
        if load64(account + A_BYTES_USED) != sums[tenant, 0] + load64(account + A_CODE_BYTES):
            _report(problems, Problem.BYTES, tenant)
        if load64(account + A_OBJECTS) != sums[tenant, 1]:
            _report(problems, Problem.OBJECTS, tenant)
        if load64(account + A_ACTIVE) != 0:
            _audit_ring(store, marks, problems, tenant, sums[tenant, 2])


@njit(cache=True)
def _audit_slots(store: int, marks: np.ndarray, problems: np.ndarray) -> None:
    for slab in range(1, load64(store + D_SLABS_USED)):
        if _state_of(store, slab) == SLAB_POOLED:
            continue
        size_class = class_at(store, slab * SLAB_UNITS)
        for slot in range(slots_per_slab(size_class)):
            unit = slab * SLAB_UNITS + slot * class_units(size_class)
            if marks[unit // _UNITS_PER_MARK] == Mark.NONE:
                _report(problems, Problem.NOT_MARKED, unit)


@njit(cache=True)
def _audit(
    store: int, marks: np.ndarray, overflow: np.ndarray, sums: np.ndarray, problems: np.ndarray
) -> None:  # fmt: skip
    for worker in range(load64(store + D_WORKERS)):
        _audit_participant(store, marks, sums, problems, worker)
    _audit_participant(store, marks, sums, problems, _CONTROL)
    _audit_slabs(store, marks, problems)
    _audit_index(store, marks, overflow, sums, problems)
    _audit_accounts(store, marks, sums, problems)
    _audit_slots(store, marks, problems)


@njit(cache=True)
def _totals(store: int) -> tuple[int, int, int]:
    return load64(store + D_SLABS_USED), load64(store + D_SLABS_TOTAL), load64(store + D_BUCKETS_TOTAL)


def check_invariants(store: int) -> list[str]:
    """Walk the store with the descriptor at address ``store``; returns what is wrong, nothing when all is well.

    No participant may run meanwhile. Takes 1 byte for each 32 of the slabs given out, and about 10 ns per slot.
    """
    slabs_used, _, buckets_total = _totals(store)
    marks = np.zeros(slabs_used * SLAB_UNITS // _UNITS_PER_MARK, dtype=np.uint8)
    overflow = np.zeros(buckets_total, dtype=np.uint8)
    sums = np.zeros((_TENANTS_MAX, 4), dtype=np.int64)
    problems = np.zeros((_PROBLEMS_MAX + 1, 2), dtype=np.int64)
    _audit(store, marks, overflow, sums, problems)
    total = int(problems[0, 0])
    found = [f"{Problem(problem).name} {subject}" for problem, subject in problems[1 : min(total, _PROBLEMS_MAX) + 1]]
    return found + ([f"and {total - _PROBLEMS_MAX} more"] if total > _PROBLEMS_MAX else [])
