"""After a recovery that left out what was damaged: large values of which parts are missing are removed."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import load32_acquire, load64_acquire
from splinter.store.accounts import account_of
from splinter.store.index import bucket_at, word_object, word_unit
from splinter.store.journal import lock_tenant, participant_at, unlock
from splinter.store.layout import ENTRY_BYTES
from splinter.store.objects import is_large, object_key, object_key_length, object_table, object_tenant, object_value
from splinter.store.parts import are_whole
from splinter.store.publication import remove
from splinter.store.records import Account, Bucket, Descriptor


@njit(cache=True)
def remove_cut_values(store: int, p: int) -> int:
    """Remove all large values that lack a part; returns how many. Nobody is served; the caller has entered an epoch."""
    removed = 0
    for number in range(Descriptor(store).buckets):
        bucket = Bucket(bucket_at(store, number))
        for _ in range(limits.CHAIN_BUCKETS_MAX):
            for i in range(limits.BUCKET_ENTRIES):
                entry = bucket.entries + i * ENTRY_BYTES
                word = load64_acquire(entry)
                if word_unit(word) != 0 and is_large(word_object(store, word)):
                    removed += _remove_if_cut(store, participant_at(store, p), entry, word)
            following = load32_acquire(bucket.at.next)
            if following == 0:
                break
            bucket = Bucket(bucket_at(store, following))
    return removed


@njit(cache=True)
def _remove_if_cut(store: int, me: int, entry: int, word: int) -> int:
    found = word_object(store, word)
    tenant, key, key_length = object_tenant(found), object_key(found), object_key_length(found)
    if are_whole(store, me, tenant, object_table(found), key, key_length, object_value(found)) == Status.OK:
        return 0
    lock = Account(account_of(store, tenant)).at.lock
    if not lock_tenant(store, me, lock):
        return 0
    remove(store, me, tenant, entry, word, 0, 0)
    unlock(store, lock)
    return 1
