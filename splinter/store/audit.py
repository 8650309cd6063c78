"""The store's invariants, checked by a walk over all of it.

Every slot of every slab that was given out is exactly one of: published (an index entry names it), free, spare,
shared, in limbo, staged, or in the never used range of its participant's newest slab. Entries stand in the chain of
their key's hash, with its tag, name complete objects of the right class, and no key twice. Accounts equal the sums
over their tenants' objects. The records of an active tenant's clients form one ring, and each body of a reply belongs
to one of them. Nobody is in the middle of a step, and all locks are free.

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
    A_LOCK,
    A_OBJECTS,
    B_ENTRIES,
    B_NEXT,
    BODY_KEY_BYTES,
    C_NEXT,
    C_RESULTS,
    CLASSES,
    CLIENT_AT,
    CLIENT_BYTES,
    CLIENT_KEY_BYTES,
    D_BUCKETS,
    D_BUCKETS_LOCK,
    D_BUCKETS_TOTAL,
    D_BUCKETS_USED,
    D_SHARED_LISTS,
    D_SLABS_LOCK,
    D_SLABS_TOTAL,
    D_SLABS_USED,
    D_WORKERS,
    E_WORD,
    ENTRY_BYTES,
    ENTRY_TAG_SHIFT,
    H_HEAD,
    H_LOCK,
    L_BUMP,
    L_BUMP_END,
    L_FREE,
    L_FREE_COUNT,
    L_SPARE,
    L_SPARE_COUNT,
    O_BATCH,
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
    P_STAGING,
    RESULT_BYTES,
    S_SLOT,
    SHARED_LIST_BYTES,
    SLAB_UNITS,
    STAGE_BYTES,
    UNIT_MASK,
)
from splinter.store.outcomes import Outcome, outcome_kind
from splinter.store.publication import account_of, charged_bytes
from splinter.store.slots import class_at, lists_of, slot_at

_UNITS_PER_MARK = 2  # every slot begins at a multiple of 32 bytes
_TENANTS_MAX = limits.TENANTS_MAX
_TABLE_CLIENTS = limits.TABLE_CLIENTS
_CLIENT_WINDOW = limits.CLIENT_WINDOW
_KEY_BYTES_MAX = limits.KEY_BYTES_MAX
_CONTROL = limits.PARTICIPANT_CONTROL
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
    SHARED = 4
    LIMBO = 5
    STAGED = 6
    BUMP = 7


class Problem(IntEnum):
    """What a finding is about; its subject is a unit unless said otherwise."""

    MARKED_TWICE = 1
    NOT_MARKED = 2
    OUTSIDE = 3  # no slot of a slab that was given out
    COUNT = 4  # a list's counter is wrong; subject: size class
    CLASS = 5  # in a list or entry of another class than its slab's
    LENGTHS = 6
    TAG = 7
    CHAIN = 8  # an entry in another key's chain; an overflow bucket in two chains or in none: its number
    DUPLICATE = 9
    VERSION = 10  # of a published object 0 or odd, or of a free slot not 0
    BYTES = 11  # the account's sum is wrong; subject: tenant
    OBJECTS = 12  # the account's count is wrong; subject: tenant
    LOCK = 13  # held; subject: tenant, or size class, or 0
    INTENT = 14  # in the middle of a step; subject: participant
    LIMBO_TAIL = 15  # does not end the list; subject: participant
    CLIENTS = 16  # the ring is no ring of all of the tenant's clients; subject: tenant
    BODY = 17  # the body of a reply that no client's record knows of


_NONE, _PUBLISHED, _FREE, _SPARE = int(Mark.NONE), int(Mark.PUBLISHED), int(Mark.FREE), int(Mark.SPARE)
_SHARED, _LIMBO, _STAGED, _BUMP = int(Mark.SHARED), int(Mark.LIMBO), int(Mark.STAGED), int(Mark.BUMP)
_MARKED_TWICE, _NOT_MARKED, _OUTSIDE = int(Problem.MARKED_TWICE), int(Problem.NOT_MARKED), int(Problem.OUTSIDE)
_COUNT, _CLASS, _LENGTHS, _TAG = int(Problem.COUNT), int(Problem.CLASS), int(Problem.LENGTHS), int(Problem.TAG)
_CHAIN, _DUPLICATE, _VERSION = int(Problem.CHAIN), int(Problem.DUPLICATE), int(Problem.VERSION)
_BYTES, _OBJECTS, _LOCK = int(Problem.BYTES), int(Problem.OBJECTS), int(Problem.LOCK)
_INTENT, _LIMBO_TAIL = int(Problem.INTENT), int(Problem.LIMBO_TAIL)
_CLIENTS, _BODY, _OUTCOME_BODY = int(Problem.CLIENTS), int(Problem.BODY), int(Outcome.BODY)


@njit(cache=True)
def _report(problems: np.ndarray, problem: int, subject: int) -> None:
    found = problems[0, 0]
    if found < len(problems) - 1:
        problems[found + 1, 0] = problem
        problems[found + 1, 1] = subject
    problems[0, 0] = found + 1


@njit(cache=True)
def _mark(store: int, marks: np.ndarray, problems: np.ndarray, unit: int, size_class: int, mark: int) -> bool:
    """False when the unit is no slot, or was marked before: do not follow its link."""
    place = unit % SLAB_UNITS
    slab = unit // SLAB_UNITS
    if slab < 1 or slab >= load64(store + D_SLABS_USED):
        _report(problems, _OUTSIDE, unit)
        return False
    actual = class_at(store, unit)
    if size_class != actual:
        _report(problems, _CLASS, unit)
        return False
    if place % class_units(actual) != 0 or place // class_units(actual) >= slots_per_slab(actual):
        _report(problems, _OUTSIDE, unit)
        return False
    if marks[unit // _UNITS_PER_MARK] != _NONE:
        _report(problems, _MARKED_TWICE, unit)
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
            _report(problems, _COUNT, size_class)
            return
        if not _mark(store, marks, problems, unit, size_class, mark):
            return
        slot = slot_at(store, unit)
        if load64(slot + O_VERSION) != 0:
            _report(problems, _VERSION, unit)
        unit = shift_right(load64(slot + O_LENGTH_AND_LINK), _HIGH_HALF)
    if unit != 0:
        _report(problems, _COUNT, size_class)


@njit(cache=True)
def _audit_participant(store: int, marks: np.ndarray, problems: np.ndarray, p: int) -> None:
    me = participant_at(store, p)
    if load64(me + P_INTENT_STATE) != JOURNAL_CLEAR:
        _report(problems, _INTENT, p)
    for size_class in range(CLASSES):
        lists = lists_of(me, size_class)
        _mark_list(store, marks, problems, load64(lists + L_FREE), load64(lists + L_FREE_COUNT), size_class, _FREE)
        _mark_list(store, marks, problems, load64(lists + L_SPARE), load64(lists + L_SPARE_COUNT), size_class, _SPARE)
        for unit in range(load64(lists + L_BUMP), load64(lists + L_BUMP_END), class_units(size_class)):
            _mark(store, marks, problems, unit, size_class, _BUMP)
    unit, last = load64(me + P_LIMBO_HEAD), 0
    while unit != 0 and _mark(store, marks, problems, unit, class_at(store, unit), _LIMBO):
        last = unit
        unit = shift_right(load64(slot_at(store, unit) + O_LENGTH_AND_LINK), _HIGH_HALF)
    if last != load64(me + P_LIMBO_TAIL):
        _report(problems, _LIMBO_TAIL, p)
    for entry in range(_STAGING_ENTRIES):
        unit = load64(me + P_STAGING + entry * STAGE_BYTES + S_SLOT)
        if unit != 0:
            _mark(store, marks, problems, unit, class_at(store, unit), _STAGED)
            if load64(slot_at(store, unit) + O_VERSION) != 0:
                _report(problems, _VERSION, unit)


@njit(cache=True)
def _audit_shared(store: int, marks: np.ndarray, problems: np.ndarray) -> None:
    for size_class in range(CLASSES):
        shared = load64(store + D_SHARED_LISTS) + size_class * SHARED_LIST_BYTES
        if load64(shared + H_LOCK) != 0:
            _report(problems, _LOCK, size_class)
        head = load64(shared + H_HEAD)
        while head != 0:
            if head // SLAB_UNITS >= load64(store + D_SLABS_USED):
                _report(problems, _OUTSIDE, head)
                break
            if marks[head // _UNITS_PER_MARK] != _NONE:
                _report(problems, _MARKED_TWICE, head)
                break
            batch = load64(slot_at(store, head) + O_BATCH)
            _mark_list(store, marks, problems, head, shift_right(batch, _HIGH_HALF), size_class, _SHARED)
            head = batch & UNIT_MASK
    if load64(store + D_SLABS_LOCK) != 0 or load64(store + D_BUCKETS_LOCK) != 0:
        _report(problems, _LOCK, 0)


@njit(cache=True)
def _audit_object(store: int, problems: np.ndarray, bucket_index: int, word: int) -> None:
    unit = word_unit(word)
    found = word_object(store, word)
    key_length, value_length = load16(found + O_KEY_LENGTH), load32(found + O_VALUE_LENGTH)
    version = load64(found + O_VERSION)
    if version == 0 or version % 2 != 0:
        _report(problems, _VERSION, unit)
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        _report(problems, _LENGTHS, unit)
        return
    if OBJECT_BYTES + key_length + value_length > class_bytes(word_class(word)):
        _report(problems, _LENGTHS, unit)
    hashed = store_hash(store, load64(found + O_IDENTITY), found + O_KEY, key_length)
    if shift_right(hashed, ENTRY_TAG_SHIFT) != shift_right(word, ENTRY_TAG_SHIFT):
        _report(problems, _TAG, unit)
    if bucket_number(store, hashed) != bucket_index:
        _report(problems, _CHAIN, unit)


@njit(cache=True)
def _audit_index(
    store: int, marks: np.ndarray, overflow: np.ndarray, sums: np.ndarray, problems: np.ndarray
) -> None:  # fmt: skip
    """``overflow``: uses of each bucket; ``sums``: per tenant bytes, objects and clients, filled here."""
    chain = np.zeros(_CHAIN_BUCKETS_MAX * _BUCKET_ENTRIES, dtype=np.int64)
    for number in range(load64(store + D_BUCKETS)):
        bucket = bucket_at(store, number)
        length = 0
        for _ in range(_CHAIN_BUCKETS_MAX):
            for i in range(_BUCKET_ENTRIES):
                word = load64(bucket + B_ENTRIES + i * ENTRY_BYTES)
                if word == 0 or not _mark(store, marks, problems, word_unit(word), word_class(word), _PUBLISHED):
                    continue
                found = word_object(store, word)
                _audit_object(store, problems, number, word)
                for k in range(length):
                    other = chain[k]
                    if load64(found + O_IDENTITY) == load64(other + O_IDENTITY) and keys_equal(
                        found + O_KEY, other + O_KEY, load16(found + O_KEY_LENGTH)
                    ):
                        _report(problems, _DUPLICATE, word_unit(word))
                chain[length] = found
                length += 1
                tenant = load32(found + O_TENANT)
                if tenant < _TENANTS_MAX:
                    sums[tenant, 0] += charged_bytes(load16(found + O_TABLE), word_class(word))
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
                _report(problems, _CHAIN, following)
                break
            overflow[following] += 1
            bucket = bucket_at(store, following)
    for number in range(load64(store + D_BUCKETS), load64(store + D_BUCKETS_USED)):
        if overflow[number] != 1:
            _report(problems, _CHAIN, number)


@njit(cache=True)
def _audit_body(store: int, problems: np.ndarray, tenant: int, found: int) -> None:
    identity = identity_of(tenant, _TABLE_CLIENTS, CLIENT_KEY_BYTES)
    hashed = store_hash(store, identity, found + O_KEY, CLIENT_KEY_BYTES)
    word = find_entry(store, hashed, identity, found + O_KEY, CLIENT_KEY_BYTES)[1]
    place = load64(found + O_KEY + CLIENT_KEY_BYTES)
    if word == 0 or load16(found + O_KEY_LENGTH) != BODY_KEY_BYTES or place < 0 or place >= _CLIENT_WINDOW:
        _report(problems, _BODY, tenant)
        return
    result = word_object(store, word) + CLIENT_AT + C_RESULTS + place * RESULT_BYTES
    if outcome_kind(load64(result + E_WORD)) != _OUTCOME_BODY:
        _report(problems, _BODY, tenant)


@njit(cache=True)
def _audit_ring(store: int, marks: np.ndarray, problems: np.ndarray, tenant: int, clients: int) -> None:
    account = account_of(store, tenant)
    hand = load64(account + A_CLIENTS_HAND)
    if load64(account + A_CLIENTS) != clients or (hand == 0) != (clients == 0):
        _report(problems, _CLIENTS, tenant)
        return
    unit = hand
    for seen in range(1, clients + 1):
        if unit // _UNITS_PER_MARK >= len(marks) or marks[unit // _UNITS_PER_MARK] != _PUBLISHED:
            _report(problems, _CLIENTS, tenant)
            return
        found = slot_at(store, unit)
        is_record = load64(found + O_IDENTITY) == identity_of(tenant, _TABLE_CLIENTS, CLIENT_KEY_BYTES)
        if not is_record or load32(found + O_VALUE_LENGTH) != CLIENT_BYTES:
            _report(problems, _CLIENTS, tenant)
            return
        unit = load64(found + CLIENT_AT + C_NEXT)
        if unit == hand and seen != clients:
            _report(problems, _CLIENTS, tenant)
            return
    if unit != hand:
        _report(problems, _CLIENTS, tenant)


@njit(cache=True)
def _audit_accounts(store: int, marks: np.ndarray, sums: np.ndarray, problems: np.ndarray) -> None:
    for tenant in range(_TENANTS_MAX):
        account = account_of(store, tenant)
        if load64(account + A_LOCK) != 0:
            _report(problems, _LOCK, tenant)
        if load64(account + A_BYTES_USED) != sums[tenant, 0]:
            _report(problems, _BYTES, tenant)
        if load64(account + A_OBJECTS) != sums[tenant, 1]:
            _report(problems, _OBJECTS, tenant)
        if load64(account + A_ACTIVE) != 0:
            _audit_ring(store, marks, problems, tenant, sums[tenant, 2])


@njit(cache=True)
def _audit_slabs(store: int, marks: np.ndarray, problems: np.ndarray) -> None:
    for slab in range(1, load64(store + D_SLABS_USED)):
        size_class = class_at(store, slab * SLAB_UNITS)
        for slot in range(slots_per_slab(size_class)):
            unit = slab * SLAB_UNITS + slot * class_units(size_class)
            if marks[unit // _UNITS_PER_MARK] == _NONE:
                _report(problems, _NOT_MARKED, unit)


@njit(cache=True)
def _audit(
    store: int, marks: np.ndarray, overflow: np.ndarray, sums: np.ndarray, problems: np.ndarray
) -> None:  # fmt: skip
    for worker in range(load64(store + D_WORKERS)):
        _audit_participant(store, marks, problems, worker)
    _audit_participant(store, marks, problems, _CONTROL)
    _audit_shared(store, marks, problems)
    _audit_index(store, marks, overflow, sums, problems)
    _audit_accounts(store, marks, sums, problems)
    _audit_slabs(store, marks, problems)


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
    sums = np.zeros((_TENANTS_MAX, 3), dtype=np.int64)
    problems = np.zeros((_PROBLEMS_MAX + 1, 2), dtype=np.int64)
    _audit(store, marks, overflow, sums, problems)
    total = int(problems[0, 0])
    found = [f"{Problem(problem).name} {subject}" for problem, subject in problems[1 : min(total, _PROBLEMS_MAX) + 1]]
    return found + ([f"and {total - _PROBLEMS_MAX} more"] if total > _PROBLEMS_MAX else [])
