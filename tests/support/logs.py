"""A store whose changes are logged, and another one made from that log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from splinter import limits
from splinter.durable.groups import TENANT_PLACE
from splinter.durable.replay import Replay
from splinter.store.commit_layout import LOGGED
from splinter.store.layout import CLIENT, CLIENT_AT, DURABILITY_ALWAYS, O_KEY
from splinter.store.log import LogRings
from splinter.store.outcomes import Outcome, outcome_kind
from splinter.store.region import Region
from splinter.store.store import Store


def logged(store: Store, tenant: int, durability: int = DURABILITY_ALWAYS) -> LogRings:
    """Have the changes of an empty store logged, and those of a tenant with this durability."""
    workers = int(store.descriptor["workers"])
    rings = LogRings(store, Region.create("splinter-log", LogRings.bytes_for(workers)), workers)
    rings.connect()
    store.set_modes(tenant, durability)
    return rings


def groups(rings: LogRings, taken: list[int]) -> bytes:
    """What the rings hold behind these positions, which move on: a group as the log process takes it."""
    tails = rings.tails()
    pieces = [
        piece
        for number, (first, last) in enumerate(zip(taken, tails, strict=True))
        for piece in (rings.pieces(number, first, last) if last > first else [])
    ]
    taken[:] = tails
    return b"".join(pieces)


def entries(payload: bytes) -> Iterator[np.void]:
    """The heads of the entries of a group."""
    at = 0
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 4], "little")
        head = np.frombuffer(payload[at : at + size].ljust(LOGGED.itemsize, b"\0"), LOGGED, 1)[0]
        if head["tenant"] != 0:
            yield head
        at += size


def restored(
    payloads: list[bytes], store: Store, *, snapshot: bytes = b"", numbers: np.ndarray | None = None, memory: int = 0
) -> Store:
    """A new store, of so much ``memory`` (by default rather more), from what was logged of ``store``: the tenants that are
    active there, with their generations."""
    made = Store.create(memory or len(store.slabs_region.array(np.dtype("u1"))) * 8 // 7 + (1 << 20), participants=2)
    generations = store.accounts["active"].astype(np.int64)
    for tenant in np.flatnonzero(generations):
        made.open_tenant(int(tenant), generation=int(generations[tenant]))
    replay = Replay(made, generations, np.zeros(limits.TENANTS_MAX, np.int64) if numbers is None else numbers.copy())
    if snapshot:
        ids = np.flatnonzero(generations)
        places = np.zeros(len(ids), TENANT_PLACE)
        places["tenant"], places["generation"] = ids, generations[ids]
        places["number"] = 0 if numbers is None else numbers[ids]
        replay.begin(places)
        replay.copies(snapshot)
    for payload in payloads:
        replay.group(payload)
    assert not replay.waiting
    replay.end()
    return made


def _is_there(word: int, body: bytes | None) -> bool:
    """Whether a result is recorded, with its body if it has one: who died after it had removed that leaves the result."""
    return bool(word) and (outcome_kind(int(word)) != Outcome.BODY or body is not None)


def state_of(store: Store, tenant: int) -> dict[str, Any]:
    """All that a tenant's clients can tell of a store: objects with versions, results and bodies, and the numbers that go on.

    (What it is charged may be less in a restored store: a value that came in fragments may lie in a slot that is too large.)
    """
    state: dict[str, Any] = {}
    for table in (0, 1):
        for stored in store.scan(table, tenant=tenant):
            found = state.setdefault(f"table {stored.table}", {})
            found[stored.key] = stored.value, stored.version, stored.expires
    for stored in store.scan(limits.TABLE_CLIENTS, tenant=tenant):
        if len(stored.key) != CLIENT_AT - O_KEY:
            state[f"body {stored.key.hex()}"] = stored.value
            continue
        client = np.frombuffer(stored.value, CLIENT, 1)[0]
        state[f"client {stored.key.hex()}"] = {
            place: (int(result["word"]), int(result["value"]))
            for place, result in enumerate(client["results"])
            if _is_there(result["word"], store.get(tenant, limits.TABLE_CLIENTS, stored.key + place.to_bytes(8, "little")))
        }
    account = store.accounts[tenant]
    return state | {name: int(account[name]) for name in ("sequence", "number", "objects", "clients")}
