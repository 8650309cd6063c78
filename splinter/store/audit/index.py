"""The audit of the index: its entries, the objects that they name, and the buckets."""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import load64, shift_right
from splinter.store.accounts import account_of
from splinter.store.audit.accounts import audit_body
from splinter.store.audit.marks import Mark, Problem, report, set_mark
from splinter.store.audit.roster import audit_chunk
from splinter.store.classes import class_bytes
from splinter.store.hashing import keys_equal, store_hash
from splinter.store.index import bucket_at, bucket_number, word_class, word_object, word_unit
from splinter.store.journal import participant_at
from splinter.store.layout import (
    CLIENT_KEY_BYTES,
    ENTRY_BYTES,
    ENTRY_TAG_SHIFT,
    O_KEY,
    UNLINKED_BYTES,
)
from splinter.store.objects import (
    is_large,
    object_bytes,
    object_expires,
    object_identity,
    object_key,
    object_key_length,
    object_tenant,
    object_value,
    object_value_length,
)
from splinter.store.parts import are_whole, is_sound
from splinter.store.records import Account, Bucket, Descriptor, Leaving, Object

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
    key_length, value_length, version = object_key_length(found), object_value_length(found), Object(found).version
    sequence = Account(account_of(store, object_tenant(found))).sequence
    if version == 0 or version % 2 != 0 or version > sequence * 2:
        report(problems, Problem.VERSION, unit)
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        report(problems, Problem.LENGTHS, unit)
        return
    expires = object_expires(found)
    if object_bytes(key_length, value_length, expires) > class_bytes(word_class(word)) or expires < 0:
        report(problems, Problem.LENGTHS, unit)
    if is_large(found) and not _has_parts(store, found):
        report(problems, Problem.PARTS, unit)
    hashed = store_hash(store, object_identity(found), found + O_KEY, key_length)
    if shift_right(hashed, ENTRY_TAG_SHIFT) != shift_right(word, ENTRY_TAG_SHIFT):
        report(problems, Problem.TAG, unit)
    if bucket_number(store, hashed) != bucket_index:
        report(problems, Problem.CHAIN, unit)


@njit(cache=True)
def _has_parts(store: int, found: int) -> bool:
    large, tenant = object_value(found), object_tenant(found)
    if not is_sound(object_value_length(found), large):
        return False
    me = participant_at(store, limits.PARTICIPANT_CONTROL)
    key, key_length = object_key(found), object_key_length(found)
    return are_whole(store, me, tenant, Object(found).table, key, key_length, large) == Status.OK


@njit(cache=True)
def audit_index(
    store: int, marks: np.ndarray, overflow: np.ndarray, sums: np.ndarray, problems: np.ndarray
) -> None:  # fmt: skip
    """``overflow``: uses of each bucket; ``sums``: per tenant bytes, objects, clients, staged bytes, chunks of its roster, used
    cells and objects in it, filled here."""
    chain = np.zeros(_CHAIN_BUCKETS_MAX * _BUCKET_ENTRIES, dtype=np.int64)
    descriptor = Descriptor(store)
    for number in range(descriptor.buckets):
        bucket = Bucket(bucket_at(store, number))
        length = 0
        for _ in range(_CHAIN_BUCKETS_MAX):
            for i in range(_BUCKET_ENTRIES):
                word = load64(bucket.entries + i * ENTRY_BYTES)
                if word == 0 or not set_mark(store, marks, problems, word_unit(word), word_class(word), Mark.PUBLISHED):
                    continue
                found = word_object(store, word)
                audit_object(store, problems, number, word)
                for k in range(length):
                    other = chain[k]
                    if object_identity(found) == object_identity(other) and keys_equal(
                        found + O_KEY, other + O_KEY, object_key_length(found)
                    ):
                        report(problems, Problem.DUPLICATE, word_unit(word))
                chain[length] = found
                length += 1
                tenant = Object(found).tenant
                if tenant < _TENANTS_MAX:
                    sums[tenant, 0] += class_bytes(word_class(word))
                    table = Object(found).table
                    if table == limits.TABLE_ROSTER:
                        sums[tenant, 4] += 1
                        sums[tenant, 5] += audit_chunk(store, problems, tenant, found)
                        continue
                    sums[tenant, 1] += 1
                    if table < limits.TABLES_MAX:
                        sums[tenant, 6] += 1
                    if table == _TABLE_CLIENTS:
                        if object_key_length(found) == CLIENT_KEY_BYTES:
                            sums[tenant, 2] += 1
                        else:
                            audit_body(store, problems, tenant, found)
            following = bucket.next
            if following == 0:
                break
            if following < descriptor.buckets or following >= descriptor.buckets_used:
                report(problems, Problem.CHAIN, following)
                break
            overflow[following] += 1
            bucket = Bucket(bucket_at(store, following))
    audit_bucket_pool(store, overflow, problems)
    for number in range(descriptor.buckets, descriptor.buckets_used):
        if overflow[number] != 1:
            report(problems, Problem.CHAIN, number)


@njit(cache=True)
def audit_bucket_pool(store: int, overflow: np.ndarray, problems: np.ndarray) -> None:
    descriptor = Descriptor(store)
    pooled, leaving = descriptor.buckets_pooled, descriptor.buckets_leaving
    number = descriptor.buckets_pool
    while number != 0 and pooled >= 0:
        if number < descriptor.buckets or number >= descriptor.buckets_used:
            report(problems, Problem.BUCKETS, number)
            return
        bucket = Bucket(bucket_at(store, number))
        for i in range(_BUCKET_ENTRIES):
            if load64(bucket.entries + i * ENTRY_BYTES) != 0:
                report(problems, Problem.BUCKETS, number)
        overflow[number] += 1
        pooled -= 1
        number = load64(bucket.at.next)
    for i in range(_LEAVING_MAX):
        number = Leaving(descriptor.unlinked + i * UNLINKED_BYTES).bucket
        if number != 0:
            overflow[number] += 1
            leaving -= 1
    if pooled != 0 or leaving != 0:
        report(problems, Problem.BUCKETS, 0)
