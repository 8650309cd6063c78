"""What the rosters of tenants take, and whether they have been through it."""

from __future__ import annotations

from splinter import limits
from splinter.store.classes import class_bytes
from splinter.store.roster import chunk_cells, chunk_class
from splinter.store.store import Store


def chunks_of(store: Store, tenant: int) -> list[int]:
    """The numbers of the chunks that a tenant has, from the lowest on."""
    return sorted(int.from_bytes(chunk.key, "little") for chunk in store.scan(limits.TABLE_ROSTER, tenant=tenant))


def roster_bytes(store: Store, tenant: int) -> int:
    """What a tenant is charged for the chunks that it has."""
    return sum(int(class_bytes(chunk_class(number))) for number in chunks_of(store, tenant))


def bytes_for(keys: int) -> int:
    """What a tenant is charged for its roster that has put so many keys and deleted none."""
    number = charged = 0
    while keys > 0:
        keys -= int(chunk_cells(number))
        charged += int(class_bytes(chunk_class(number)))
        number += 1
    return charged
