"""Publishing where the tenant's quota has no room, but for what has expired, or what may be evicted: within a bound."""

from __future__ import annotations

from numba import njit

from splinter.errors import Status
from splinter.store.classes import class_bytes
from splinter.store.commits import commit_objects
from splinter.store.eviction import evict_for
from splinter.store.expiry import make_room
from splinter.store.hashing import identity_of
from splinter.store.index import find_entry, word_class
from splinter.store.publication import publish
from splinter.store.roster import NO_PLACE, roster_prepare
from splinter.store.roster_layout import CHUNK_CLASS_BYTES_MAX


@njit(cache=True)
def publish_with_room(
    store: int, me: int, tenant: int, table: int, key: int, key_length: int, hashed: int, slot: int, size_class: int,
    stage: int, expected_version: int, claim: int, may_evict: bool,
) -> int:  # fmt: skip
    """As :func:`splinter.store.publication.publish`, which is tried again where room was made; BUSY when that was not enough.
    What is staged also gets a place in the roster; for another one see :func:`splinter.store.operations.publish_filled`."""
    status = publish(
        store, me, tenant, table, key, key_length, hashed, slot, size_class, stage, expected_version, claim
    )  # fmt: skip
    if status == Status.QUOTA_EXCEEDED and make_room(store, me, tenant):
        status = publish(
            store, me, tenant, table, key, key_length, hashed, slot, size_class, stage, expected_version, claim
        )  # fmt: skip
    if status == Status.QUOTA_EXCEEDED and may_evict:
        entry, word = find_entry(store, hashed, identity_of(tenant, table, key_length), key, key_length)
        size = class_bytes(size_class) - (class_bytes(word_class(word)) if entry != 0 else 0)
        if evict_for(store, me, tenant, size, entry):
            status = publish(
                store, me, tenant, table, key, key_length, hashed, slot, size_class, stage, expected_version, claim
            )  # fmt: skip
            status = Status.BUSY if status == Status.QUOTA_EXCEEDED else status
    if status == NO_PLACE and stage != 0:
        status = place_with_room(store, me, tenant, class_bytes(size_class), may_evict)
        if status == Status.OK:
            status = publish(
                store, me, tenant, table, key, key_length, hashed, slot, size_class, stage, expected_version, claim
            )  # fmt: skip
        status = Status.BUSY if status == NO_PLACE else status
    return status


@njit(cache=True)
def place_with_room(store: int, me: int, tenant: int, size: int, may_evict: bool) -> int:
    """As :func:`splinter.store.roster.roster_prepare`, likewise."""
    status = roster_prepare(store, me, tenant, size)
    if status == Status.QUOTA_EXCEEDED and make_room(store, me, tenant):
        status = roster_prepare(store, me, tenant, size)
    if status == Status.QUOTA_EXCEEDED and may_evict and evict_for(store, me, tenant, size + CHUNK_CLASS_BYTES_MAX, 0):
        status = roster_prepare(store, me, tenant, size)
        status = Status.BUSY if status == Status.QUOTA_EXCEEDED else status
    return status


@njit(cache=True)
def commit_with_room(store: int, me: int, tenant: int, writes: int, end: int, claim: int) -> int:
    """As :func:`splinter.store.commits.commit_objects`, likewise."""
    status = commit_objects(store, me, tenant, writes, end, claim)
    if status == Status.QUOTA_EXCEEDED and make_room(store, me, tenant):
        status = commit_objects(store, me, tenant, writes, end, claim)
    return status
