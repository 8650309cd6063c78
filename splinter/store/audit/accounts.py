"""The audit of tenants: their accounts, and the records of their clients."""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.native.atomics import load64
from splinter.store.accounts import account_of
from splinter.store.audit.marks import Mark, Problem, report
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import find_entry, word_object
from splinter.store.layout import BODY_KEY_BYTES, CLIENT_AT, CLIENT_BYTES, CLIENT_KEY_BYTES, O_KEY, RESULT_BYTES
from splinter.store.objects import object_identity, object_key_length, object_value_length
from splinter.store.outcomes import Outcome, outcome_kind
from splinter.store.records import Account, Client, Result
from splinter.store.slabs import slot_at

_UNITS_PER_MARK = 2  # every slot begins at a multiple of 32 bytes
_TENANTS_MAX = limits.TENANTS_MAX
_TABLE_CLIENTS = limits.TABLE_CLIENTS
_CLIENT_WINDOW = limits.CLIENT_WINDOW


@njit(cache=True)
def audit_body(store: int, problems: np.ndarray, tenant: int, found: int) -> None:
    identity = identity_of(tenant, _TABLE_CLIENTS, CLIENT_KEY_BYTES)
    hashed = store_hash(store, identity, found + O_KEY, CLIENT_KEY_BYTES)
    word = find_entry(store, hashed, identity, found + O_KEY, CLIENT_KEY_BYTES)[1]
    place = load64(found + O_KEY + CLIENT_KEY_BYTES)
    if word == 0 or object_key_length(found) != BODY_KEY_BYTES or place < 0 or place >= _CLIENT_WINDOW:
        report(problems, Problem.BODY, tenant)
        return
    results = Client(word_object(store, word) + CLIENT_AT).results
    if outcome_kind(Result(results + place * RESULT_BYTES).word) != Outcome.BODY:
        report(problems, Problem.BODY, tenant)


@njit(cache=True)
def audit_ring(store: int, marks: np.ndarray, problems: np.ndarray, tenant: int, clients: int) -> None:
    account = Account(account_of(store, tenant))
    hand = account.clients_hand
    if account.clients != clients or (hand == 0) != (clients == 0):
        report(problems, Problem.CLIENTS, tenant)
        return
    unit = hand
    for seen in range(1, clients + 1):
        if unit // _UNITS_PER_MARK >= len(marks) or marks[unit // _UNITS_PER_MARK] != Mark.PUBLISHED:
            report(problems, Problem.CLIENTS, tenant)
            return
        found = slot_at(store, unit)
        is_record = object_identity(found) == identity_of(tenant, _TABLE_CLIENTS, CLIENT_KEY_BYTES)
        if not is_record or object_value_length(found) != CLIENT_BYTES:
            report(problems, Problem.CLIENTS, tenant)
            return
        before, unit = unit, Client(found + CLIENT_AT).next
        if Client(slot_at(store, unit) + CLIENT_AT).previous != before:
            report(problems, Problem.CLIENTS, tenant)
            return
        if unit == hand and seen != clients:
            report(problems, Problem.CLIENTS, tenant)
            return
    if unit != hand:
        report(problems, Problem.CLIENTS, tenant)


@njit(cache=True)
def audit_accounts(store: int, marks: np.ndarray, sums: np.ndarray, problems: np.ndarray) -> None:
    for tenant in range(_TENANTS_MAX):
        account = Account(account_of(store, tenant))
        if account.lock != 0:
            report(problems, Problem.LOCK, tenant)
        if account.staged_bytes != sums[tenant, 3]:
            report(problems, Problem.STAGED_BYTES, tenant)
        if account.bytes_used != sums[tenant, 0] + account.code_bytes:
            report(problems, Problem.BYTES, tenant)
        if account.objects != sums[tenant, 1]:
            report(problems, Problem.OBJECTS, tenant)
        if account.active != 0:
            audit_ring(store, marks, problems, tenant, sums[tenant, 2])
