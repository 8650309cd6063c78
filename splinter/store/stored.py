"""What the store tells of itself in Python: copies of objects, and how full it is."""

from __future__ import annotations

from dataclasses import dataclass

STARTS_BITS = 16  # of a store's identity: how often a server has gone on with it. Those above are random


@dataclass(frozen=True)
class Stored:
    """A copy of an object."""

    tenant: int
    table: int
    key: bytes
    value: bytes
    version: int
    expires: int = 0  # when it does, by the store's clock in ns; 0: never


@dataclass(frozen=True)
class Usage:
    """How full the store is."""

    slabs_total: int
    slabs_used: int  # those whose slots are all free are given back, and not used
    slabs_free: int
    slab_bytes: int
    buckets_total: int  # main and overflow
    overflow_used: int
    objects: int  # of all tenants
    bytes_used: int  # what tenants are charged: bytes of the size classes of all objects, and machine code
