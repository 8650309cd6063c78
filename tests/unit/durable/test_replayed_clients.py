"""What was recorded of clients comes back for each of them, however many a replay meets, and however long it takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from splinter import limits
from splinter.durable.groups import TENANT_PLACE
from splinter.durable.replay import Replay
from splinter.durable.snapshots import copied
from splinter.errors import OutOfMemoryError, ServerError, Status
from splinter.store.layout import CLIENT, CLIENT_AT
from splinter.store.log import LogRings
from splinter.store.store import Store
from splinter.store.walk import turns_over, walk_begins, walk_ends
from tests.support.logs import groups, logged, restored, state_of
from tests.support.requester import TENANT, Requester

OTHER = 2
CLIENTS = limits.CLIENTS_PER_TENANT_MAX
COPY_BYTES = -(-(CLIENT_AT + CLIENT.itemsize) // 8) * 8


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store.create(2 * limits.STORE_BYTES_MIN, participants=2)
    made.open_tenant(TENANT)
    yield made
    assert made.problems() == []


@pytest.fixture
def rings(store: Store) -> LogRings:
    return logged(store, TENANT)


def _ask(store: Store, *clients: int) -> None:
    """Have something recorded of each of these, and nothing else in the store."""
    for client in clients:
        assert Requester(store, client).delete(1, b"key") == Status.NOT_FOUND


def _walked(store: Store) -> list[bytes]:
    """The copies of clients' records that a walk makes."""
    assert turns_over(store.address, walk_begins(store.address))
    data = b"".join(bytes(piece) for piece in copied(store, 1 << 20))
    walk_ends(store.address)
    return [data[at : at + COPY_BYTES] for at in range(0, len(data), COPY_BYTES)]


def test_a_walk_may_meet_more_clients_than_there_can_be(store: Store, rings: LogRings) -> None:
    """It has passed one that leaves, and comes to the one that takes its place before it comes to others."""
    taken = rings.heads()
    _ask(store, *range(1, CLIENTS + 1))
    groups(rings, taken)
    numbers = np.zeros(limits.TENANTS_MAX, np.int64)
    numbers[TENANT] = store.accounts[TENANT]["number"]
    before = _walked(store)
    assert Requester(store, 1).goodbye() == Status.OK
    _ask(store, CLIENTS + 1)
    new = [copy for copy in _walked(store) if copy not in before]
    met = [new[0], *before]
    assert len(new) == 1 and len(met) == CLIENTS + 1
    made = restored([groups(rings, taken)], store, snapshot=b"".join(met), numbers=numbers, memory=4 * limits.STORE_BYTES_MIN)
    assert state_of(made, TENANT) == state_of(store, TENANT)


def test_no_client_is_forgotten_as_the_replay_takes_long(store: Store, rings: LogRings) -> None:
    taken, made = rings.heads(), Store.create(limits.STORE_BYTES_MIN, participants=2)
    made.open_tenant(TENANT)
    replay = Replay(made, store.accounts["active"].astype(np.int64), np.zeros(limits.TENANTS_MAX, np.int64))
    _ask(store, 1)
    replay.group(groups(rings, taken))
    _make_idle(made)
    _ask(store, 2)
    replay.group(groups(rings, taken))
    replay.end()
    assert state_of(made, TENANT) == state_of(store, TENANT)


def _make_idle(made: Store) -> None:
    """Say of the only record that it was used so long ago that it would be forgotten."""
    (record,) = made.scan(limits.TABLE_CLIENTS, tenant=TENANT)
    slabs = made.slabs_region.array(np.dtype("u1"))
    at = bytes(slabs).index(record.value)
    place = at + CLIENT.fields["used_ns"][1]
    slabs[place : place + 8] = 0


def _full() -> Store:
    """A store with no slab for anything more."""
    made = Store.create(limits.STORE_BYTES_MIN, participants=2)
    for tenant in (TENANT, OTHER):
        made.open_tenant(tenant)
    with pytest.raises(OutOfMemoryError):
        for number in range(limits.STORE_BYTES_MIN):
            made.put(OTHER, 0, b"key %d" % number, bytes(50_000))
    return made


@pytest.mark.parametrize("from_copies", [False, True])
def test_where_there_is_no_memory_for_a_client_the_store_is_too_small(store: Store, rings: LogRings, from_copies: bool) -> None:
    """It is not left out without a word."""
    taken = rings.heads()
    _ask(store, *range(1, CLIENTS + 1))
    log = groups(rings, taken)
    made = _full()
    replay = Replay(made, store.accounts["active"].astype(np.int64), np.zeros(limits.TENANTS_MAX, np.int64))
    if from_copies:
        places = np.zeros(1, TENANT_PLACE)
        places["tenant"], places["generation"] = TENANT, 1
        replay.begin(places)
    with pytest.raises(ServerError, match="too small"):
        if from_copies:
            replay.copies(b"".join(_walked(store)))
        else:
            replay.group(log)
