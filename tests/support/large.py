"""Large values, put part by part into a store."""

from __future__ import annotations

from splinter import limits
from splinter.errors import Status, error_for
from splinter.store.clock import moment_in
from splinter.store.journal import participant_at
from splinter.store.large import store_put_large
from splinter.store.objects import object_version
from splinter.store.operations import store_find, store_last_version, store_put
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.store import Store
from splinter.wire import LARGE, PART, PART_KEY_STRUCT
from tests.support.transactions import address_of


def put_part(store: Store, tenant: int, table: int, key: bytes, identity: int, number: int, data: bytes, *, p: int = 0) -> int:
    """Put a part that tells this key; returns a status."""
    with store.epoch(p):
        return put_part_in_epoch(store, tenant, table, key, identity, number, data, p=p)


def put_part_in_epoch(
    store: Store, tenant: int, table: int, key: bytes, identity: int, number: int, data: bytes, *, p: int
) -> int:
    """The same, by a participant that has entered an epoch."""
    part_key = PART_KEY_STRUCT.pack(identity, number)
    value = PART.struct.pack(table, len(key), 0) + key + data
    moment = moment_in(store.address, participant_at(store.address, p), limits.PART_NS)
    return store_put(
        store.address, p, tenant, limits.TABLE_PARTS, address_of(part_key), len(part_key), address_of(value), len(value),
        EXPECT_ABSENT, 0, 0, moment,
    )  # fmt: skip


def put_parts(store: Store, tenant: int, table: int, key: bytes, identity: int, value: bytes, *, p: int = 0) -> None:
    """Put all parts of a value."""
    for number, at in enumerate(range(0, len(value), limits.PART_BYTES)):
        status = put_part(store, tenant, table, key, identity, number, value[at : at + limits.PART_BYTES], p=p)
        if status != Status.OK:
            raise error_for(status)


def put_head(
    store: Store, tenant: int, table: int, key: bytes, identity: int, length: int, expected: int = 0, ttl: int = 0, *,
    p: int = 0,
) -> tuple[int, int]:  # fmt: skip
    """Make a value whose parts are there the object of a key; returns a status, and the version if that is OK."""
    with store.epoch(p):
        status = put_head_in_epoch(store, tenant, table, key, identity, length, expected, ttl, p=p)
    return status, store_last_version(store.address, p) if status == Status.OK else 0


def put_head_in_epoch(
    store: Store, tenant: int, table: int, key: bytes, identity: int, length: int, expected: int = 0, ttl: int = 0, *, p: int
) -> int:
    """The same, by a participant that has entered an epoch; returns a status."""
    large = LARGE.struct.pack(identity, length)
    moment = moment_in(store.address, participant_at(store.address, p), ttl) if ttl else 0
    return store_put_large(
        store.address, p, tenant, table, address_of(key), len(key), address_of(large), expected, 0, 0, moment
    )  # fmt: skip


def put_large(store: Store, tenant: int, table: int, key: bytes, identity: int, value: bytes, *, p: int = 0) -> int:
    """All of it; returns the version."""
    put_parts(store, tenant, table, key, identity, value, p=p)
    status, version = put_head(store, tenant, table, key, identity, len(value), p=p)
    assert status == Status.OK, status
    return version


def large_value(store: Store, tenant: int, table: int, key: bytes) -> bytes | None:
    """The value of a key, put together from its parts; None: it has no large one."""
    head = store.lookup(tenant, table, key)
    if head is None or len(head.value) != LARGE.struct.size:
        return None
    identity, length = LARGE.struct.unpack(head.value)
    parts = {stored.key: stored.value for stored in parts_in(store, tenant)}
    skip = PART.struct.size + len(key)
    pieces = [parts[PART_KEY_STRUCT.pack(identity, number)][skip:] for number in range(-(-length // limits.PART_BYTES))]
    return b"".join(pieces)


def parts_in(store: Store, tenant: int) -> list:
    """All parts of a tenant, named or not, over or not."""
    before = int(store.descriptor["clock_base"])
    store.descriptor["clock_base"] = 0  # nothing is over
    try:
        return list(store.scan(limits.TABLE_PARTS, tenant=tenant))
    finally:
        store.descriptor["clock_base"] = before


def find_head(store: Store, tenant: int, table: int, key: bytes) -> tuple[int, int]:
    """Address and version of the object of a key."""
    with store.epoch():
        found = int(store_find(store.address, tenant, table, address_of(key), len(key), 0))
        return found, int(object_version(found))
