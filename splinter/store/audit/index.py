"""The audit of the index: its entries, the objects that they name, and the buckets."""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.native.atomics import load16, load32, load64, shift_right
from splinter.store.audit.accounts import audit_body
from splinter.store.audit.marks import Mark, Problem, report, set_mark
from splinter.store.classes import class_bytes
from splinter.store.hashing import keys_equal, store_hash
from splinter.store.index import bucket_at, bucket_number, word_class, word_object, word_unit
from splinter.store.layout import (
    B_ENTRIES,
    B_NEXT,
    CLIENT_KEY_BYTES,
    D_BUCKETS,
    D_BUCKETS_LEAVING,
    D_BUCKETS_POOL,
    D_BUCKETS_POOLED,
    D_BUCKETS_USED,
    D_UNLINKED,
    ENTRY_BYTES,
    ENTRY_TAG_SHIFT,
    O_IDENTITY,
    O_KEY,
    O_KEY_LENGTH,
    O_TABLE,
    O_TENANT,
    O_VALUE_LENGTH,
    O_VERSION,
    OBJECT_BYTES,
    UNLINKED_BYTES,
)

_TENANTS_MAX = limits.TENANTS_MAX
_TABLE_CLIENTS = limits.TABLE_CLIENTS
_KEY_BYTES_MAX = limits.KEY_BYTES_MAX
_LEAVING_MAX = limits.BUCKETS_LEAVING_MAX
_BUCKET_ENTRIES = limits.BUCKET_ENTRIES
_CHAIN_BUCKETS_MAX = limits.CHAIN_BUCKETS_MAX


@njit(cache=True)
def audit_object(store: int, problems: np.ndarray, bucket_index: int, word: int) -> None:
    unit = word_unit(word)
    found = word_object(store, word)
    key_length, value_length = load16(found + O_KEY_LENGTH), load32(found + O_VALUE_LENGTH)
    version = load64(found + O_VERSION)
    if version == 0 or version % 2 != 0:
        report(problems, Problem.VERSION, unit)
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        report(problems, Problem.LENGTHS, unit)
        return
    if OBJECT_BYTES + key_length + value_length > class_bytes(word_class(word)):
        report(problems, Problem.LENGTHS, unit)
    hashed = store_hash(store, load64(found + O_IDENTITY), found + O_KEY, key_length)
    if shift_right(hashed, ENTRY_TAG_SHIFT) != shift_right(word, ENTRY_TAG_SHIFT):
        report(problems, Problem.TAG, unit)
    if bucket_number(store, hashed) != bucket_index:
        report(problems, Problem.CHAIN, unit)


@njit(cache=True)
def audit_index(
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
                if word == 0 or not set_mark(store, marks, problems, word_unit(word), word_class(word), Mark.PUBLISHED):
                    continue
                found = word_object(store, word)
                audit_object(store, problems, number, word)
                for k in range(length):
                    other = chain[k]
                    if load64(found + O_IDENTITY) == load64(other + O_IDENTITY) and keys_equal(
                        found + O_KEY, other + O_KEY, load16(found + O_KEY_LENGTH)
                    ):
                        report(problems, Problem.DUPLICATE, word_unit(word))
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
                            audit_body(store, problems, tenant, found)
            following = load32(bucket + B_NEXT)
            if following == 0:
                break
            if following < load64(store + D_BUCKETS) or following >= load64(store + D_BUCKETS_USED):
                report(problems, Problem.CHAIN, following)
                break
            overflow[following] += 1
            bucket = bucket_at(store, following)
    audit_bucket_pool(store, overflow, problems)
    for number in range(load64(store + D_BUCKETS), load64(store + D_BUCKETS_USED)):
        if overflow[number] != 1:
            report(problems, Problem.CHAIN, number)


@njit(cache=True)
def audit_bucket_pool(store: int, overflow: np.ndarray, problems: np.ndarray) -> None:
    pooled, leaving = load64(store + D_BUCKETS_POOLED), load64(store + D_BUCKETS_LEAVING)
    number = load64(store + D_BUCKETS_POOL)
    while number != 0 and pooled >= 0:
        if number < load64(store + D_BUCKETS) or number >= load64(store + D_BUCKETS_USED):
            report(problems, Problem.BUCKETS, number)
            return
        bucket = bucket_at(store, number)
        for i in range(_BUCKET_ENTRIES):
            if load64(bucket + B_ENTRIES + i * ENTRY_BYTES) != 0:
                report(problems, Problem.BUCKETS, number)
        overflow[number] += 1
        pooled -= 1
        number = load64(bucket + B_NEXT)
    for i in range(_LEAVING_MAX):
        number = load64(store + D_UNLINKED + i * UNLINKED_BYTES)
        if number != 0:
            overflow[number] += 1
            leaving -= 1
    if pooled != 0 or leaving != 0:
        report(problems, Problem.BUCKETS, 0)
