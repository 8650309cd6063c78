"""Requests that come twice are executed once, as far as the store goes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numba import njit

from splinter import limits
from splinter.errors import OutOfMemoryError, Status
from splinter.store.accounts import account_of
from splinter.store.clients import claim_begin
from splinter.store.journal import participant_at, unlock
from splinter.store.operations import lock_active, store_delete, store_put
from splinter.store.outcomes import RECORDED, STALE, Outcome, is_alive
from splinter.store.records import Account
from splinter.store.settling import claim_settle_body
from splinter.store.store import Store
from tests.support.requester import TENANT, Requester, address_of
from tests.support.rosters import bytes_for

WINDOW = limits.CLIENT_WINDOW


@pytest.fixture
def client(store: Store) -> Requester:
    return Requester(store, 0xC0FFEE)


def clients_of(store: Store, tenant: int = TENANT) -> int:
    return int(store.accounts[tenant]["clients"])


def test_a_put_that_comes_twice_is_done_once_and_answered_alike(store: Store, client: Requester):
    assert client.put(1, b"k", b"first") == Status.OK
    version = client.last_version()
    store.put(TENANT, 0, b"k", b"another's")
    assert client.put(1, b"k", b"first") == RECORDED
    assert client.recorded() == (Outcome.STATUS, Status.OK, version)
    assert client.put(1, b"k", b"first", p=2) == RECORDED  # by another worker as well
    assert client.recorded(p=2) == (Outcome.STATUS, Status.OK, version)
    assert store.get(TENANT, 0, b"k") == b"another's"


def test_a_delete_that_comes_twice_leaves_the_next_object(store: Store, client: Requester):
    store.put(TENANT, 0, b"k", b"1")
    assert client.delete(1, b"k") == Status.OK
    store.put(TENANT, 0, b"k", b"2")
    assert client.delete(1, b"k") == RECORDED
    assert client.recorded()[:2] == (Outcome.STATUS, Status.OK)
    assert store.get(TENANT, 0, b"k") == b"2"


def test_what_had_no_effect_has_none_later(store: Store, client: Requester):
    assert client.delete(1, b"k") == Status.NOT_FOUND
    assert client.put(2, b"k", b"1", version=4242) == Status.VERSION_CHANGED
    store.put(TENANT, 0, b"k", b"2")
    assert client.delete(1, b"k") == RECORDED
    assert client.recorded()[:2] == (Outcome.STATUS, Status.NOT_FOUND)
    assert client.put(2, b"k", b"1", version=store.lookup(TENANT, 0, b"k").version) == RECORDED
    assert client.recorded()[:2] == (Outcome.STATUS, Status.VERSION_CHANGED)
    assert store.get(TENANT, 0, b"k") == b"2"


def test_an_old_packet_is_dropped(store: Store, client: Requester):
    assert client.put(1, b"k", b"1") == Status.OK
    client.acknowledged = 2
    assert client.put(2, b"k", b"2") == Status.OK
    client.acknowledged = 1  # as the delayed packet says
    assert client.put(1, b"k", b"1") == STALE
    assert client.delete(1, b"k") == STALE
    assert store.get(TENANT, 0, b"k") == b"2"


def test_a_number_beyond_the_window_is_refused_until_the_window_moves(store: Store, client: Requester):
    assert client.put(WINDOW, b"k", b"1") == Status.OK
    assert client.put(WINDOW + 1, b"k", b"2") == Status.BUSY
    client.acknowledged = 2
    assert client.put(WINDOW + 1, b"k", b"2") == Status.OK
    client.acknowledged = 1
    assert client.put(WINDOW + 1, b"k", b"3") == RECORDED  # it moves on only


def test_a_result_gives_way_to_the_number_one_window_later(store: Store, client: Requester):
    for sequence in range(1, 3 * WINDOW):
        client.acknowledged = sequence
        assert client.put(sequence, b"k", b"%d" % sequence) == Status.OK
        assert client.put(sequence, b"k", b"no") == RECORDED
    assert store.get(TENANT, 0, b"k") == b"%d" % (3 * WINDOW - 1)


@pytest.mark.parametrize("sequence", [-1, -(1 << 63), (1 << 63) - 1, 1 << 40, 0])
def test_absurd_numbers_do_no_harm(client: Requester, sequence: int):
    for acknowledged in (1, sequence, -5, (1 << 63) - 1):
        client.acknowledged = acknowledged
        assert client.put(sequence, b"k", b"1") in (Status.OK, RECORDED, STALE, Status.BUSY)


def test_clients_and_tenants_do_not_meet(store: Store, client: Requester):
    store.open_tenant(TENANT + 1)
    assert client.put(1, b"k", b"1") == Status.OK
    assert Requester(store, client.client + 1).put(1, b"k", b"2") == Status.OK
    assert Requester(store, client.client, TENANT + 1).put(1, b"k", b"3") == Status.OK
    assert store.get(TENANT, 0, b"k") == b"2"


def test_who_does_not_ask_gets_no_record(store: Store, client: Requester):
    client.acknowledged = 0
    assert client.put(1, b"k", b"1") == Status.OK
    assert client.put(1, b"k", b"2") == Status.OK
    assert clients_of(store) == 0


def test_a_fragmented_put_is_done_once_whatever_comes_again(store: Store, client: Requester):
    value = bytes(range(256)) * 12
    assert [client.fragment(1, b"k", value, index)[0] for index in range(3)] == [Status.OK] * 3
    version = client.last_version()
    assert store.get(TENANT, 0, b"k") == value
    store.put(TENANT, 0, b"k", b"another's")
    for index in range(3):
        assert client.fragment(1, b"k", value, index, p=index)[0] == RECORDED
        assert client.recorded(p=index) == (Outcome.STATUS, Status.OK, version)
    assert store.get(TENANT, 0, b"k") == b"another's"


def test_two_workers_may_collect_the_same_put(store: Store, client: Requester):
    value = bytes(range(256)) * 12
    for index in range(2):
        for p in (0, 1):
            assert client.fragment(1, b"k", value, index, p=p) == (Status.OK, 0)
    assert client.fragment(1, b"k", value, 2, p=0)[1] != 0
    store.put(TENANT, 0, b"k", b"another's")
    assert client.fragment(1, b"k", value, 2, p=1)[0] == RECORDED
    assert store.get(TENANT, 0, b"k") == b"another's"


def test_the_record_of_a_client_may_be_as_large_as_the_object(store: Store, client: Requester):
    value = bytes(2000)  # of the same size class: the record is made while the object's slot stands ready
    assert client.put(1, b"k", value) == Status.OK
    assert store.get(TENANT, 0, b"k") == value
    assert client.put(1, b"k", b"") == RECORDED


def test_records_are_charged_and_idle_ones_forgotten(store: Store, client: Requester):
    assert client.put(1, b"k", b"1") == Status.OK
    assert store.accounts[TENANT]["bytes_used"] == 64 + 2048 + bytes_for(1)
    others = [Requester(store, number) for number in range(1, 100)]
    for other in others:
        assert other.put(1, b"k", b"1") == Status.OK
    assert clients_of(store) == 100
    client.now_ns = limits.CLIENT_IDLE_NS_MAX
    assert client.put(1, b"k", b"1") == RECORDED
    for _ in range(100):
        client.sweep(limits.CLIENT_IDLE_NS_MAX)
    assert clients_of(store) == 1
    assert store.accounts[TENANT]["bytes_used"] == 64 + 2048 + bytes_for(1)
    assert client.put(1, b"k", b"1") == RECORDED
    client.sweep(2 * limits.CLIENT_IDLE_NS_MAX)
    assert clients_of(store) == 0
    assert client.put(2, b"k", b"2") == Status.OK


def test_too_many_clients_are_refused_until_some_are_idle(store: Store, monkeypatch: pytest.MonkeyPatch):
    for number in range(1, limits.CLIENTS_PER_TENANT_MAX + 1):
        assert Requester(store, number).put(1, b"k", b"1") == Status.OK
    late = Requester(store, 1 << 40)
    late.now_ns = 5
    assert late.put(1, b"k", b"late") == Status.BUSY
    assert store.get(TENANT, 0, b"k") == b"1"
    late.now_ns = limits.CLIENT_IDLE_NS_MAX
    assert late.put(1, b"k", b"late") == Status.OK
    assert clients_of(store) <= limits.CLIENTS_PER_TENANT_MAX


@njit
def keep_reply(store: int, claim: int, body: int, length: int) -> int:
    """Record a reply with a body, as a task's end does; a status as of claim_begin."""
    me = participant_at(store, 0)
    status = lock_active(store, me, TENANT)
    if status == Status.OK:
        status = claim_begin(store, me, TENANT, claim, Status.OK)
        claim_settle_body(store, me, TENANT, claim, Status.OK, 0, body, length)
        unlock(store, Account(account_of(store, TENANT)).at.lock)
    return status


def test_what_the_system_keeps_of_a_client_is_no_commit(store: Store, client: Requester):
    before = int(store.accounts[TENANT]["sequence"])
    body = b"a reply"
    assert keep_reply(store.address, client.claim(1), address_of(body), len(body)) == Status.OK
    assert store.accounts[TENANT]["objects"] == 2  # the client's record, and the reply
    client.acknowledged = 2
    assert keep_reply(store.address, client.claim(1 + limits.CLIENT_WINDOW), address_of(body), len(body)) == Status.OK
    assert int(store.accounts[TENANT]["sequence"]) == before


def test_who_says_goodbye_leaves_nothing_behind(store: Store, client: Requester):
    for number in range(1, 10_001):
        other = Requester(store, number)
        assert other.put(1, b"k", b"%d" % number) == Status.OK
        other.acknowledged = 2
        assert other.goodbye(p=number % 3) == Status.OK
    assert clients_of(store) == 0
    assert store.accounts[TENANT]["bytes_used"] == 64 + bytes_for(1)
    assert client.put(1, b"k", b"1") == Status.OK
    assert client.goodbye() == Status.OK
    assert client.goodbye() == Status.OK  # a duplicate
    store.close_tenant(TENANT)
    assert client.goodbye() == Status.UNKNOWN_TENANT


def test_in_whatever_order_they_say_goodbye_the_others_are_known(store: Store):
    rng = random.Random(1)
    clients = [Requester(store, number) for number in range(1, 200)]
    for client in clients:
        assert client.put(1, b"k%d" % client.client, b"1") == Status.OK
    rng.shuffle(clients)
    while clients:
        clients.pop().goodbye()
        used = rng.choice(clients) if clients else None
        if used is not None:
            used.now_ns += rng.randrange(2 * limits.CLIENT_ORDER_NS)
            assert used.put(1, b"k%d" % used.client, b"2") == RECORDED
        if len(clients) % 20 == 0:
            assert store.problems() == []
    assert clients_of(store) == 0


@pytest.mark.parametrize("quota", [limits.TENANT_QUOTA_BYTES_DEFAULT, 300_000])
def test_those_that_never_said_goodbye_give_way_the_longest_idle_first(store: Store, quota: int):
    """Ten thousand clients that crashed, one after the other, and one that lives."""
    store.open_tenant(TENANT, quota)
    alive = Requester(store, 1 << 40)
    step = 2 * limits.CLIENT_KEPT_NS_MIN // 100  # so that a hundred are too young to give way
    now = 1
    for number in range(1, 10_001):
        now += step
        late = Requester(store, number)
        late.now_ns = now
        assert late.put(1, b"k", b"%d" % number, p=number % 3) == Status.OK
        if number % 50 == 0:
            alive.now_ns = now
            assert alive.put(1, b"alive", b"1") == (Status.OK if number == 50 else RECORDED)
    assert 100 < clients_of(store) <= limits.CLIENTS_PER_TENANT_MAX
    assert store.accounts[TENANT]["bytes_used"] <= quota
    before = Requester(store, 10_000)
    before.now_ns = now
    assert before.put(1, b"k", b"again") == RECORDED  # the youngest are known


def test_a_client_whose_task_has_written_does_not_give_way(store: Store, client: Requester):
    effect = np.zeros(1, np.int64)
    claim = client.effect(7, effect)
    assert store_put(store.address, 0, TENANT, 0, address_of(b"k"), 1, address_of(b"1"), 1, 0, claim) == Status.OK
    client.goodbye()
    assert clients_of(store) == 1
    for number in range(1, limits.CLIENTS_PER_TENANT_MAX + 100):
        late = Requester(store, number)
        late.now_ns = 2 * number * limits.CLIENT_KEPT_NS_MIN // limits.CLIENTS_PER_TENANT_MAX
        assert late.put(1, b"k2", b"1") == Status.OK
    assert client.put(7, b"k", b"2") == RECORDED
    store.recover(0)
    assert client.goodbye() == Status.OK
    assert client.put(7, b"k", b"2") == Status.OK  # forgotten: nobody waits for it


def test_at_its_quota_a_tenant_can_delete(store: Store):
    store.put(TENANT, 0, b"k", bytes(1000))
    store.open_tenant(TENANT, quota_bytes=1024)
    for number in range(1, limits.CLIENTS_OVER_QUOTA_MAX + 1):
        assert Requester(store, number).put(1, b"new", b"1") == Status.QUOTA_EXCEEDED
    assert clients_of(store) == limits.CLIENTS_OVER_QUOTA_MAX
    assert Requester(store, 1).delete(2, b"k") == Status.OK
    assert clients_of(store) == limits.CLIENTS_OVER_QUOTA_MAX


def delete_without_a_record(store: Store, refusal: Status) -> None:
    """A client that cannot get a record is refused what a repetition could do twice, and not what it cannot."""
    first = store.lookup(TENANT, 0, b"k").version
    late = Requester(store, 1 << 40)
    assert late.put(1, b"k", b"1") == refusal
    assert late.delete(2, b"k") == refusal
    effect = np.zeros(1, np.int64)  # of a task, which does more than this
    claim = late.effect(4, effect)
    assert store_delete(store.address, 0, TENANT, 0, address_of(b"k"), 1, first, claim) == refusal
    assert effect[0] == 0
    assert store.lookup(TENANT, 0, b"k").version == first
    assert late.delete(3, b"k", version=first) == Status.OK
    assert store.get(TENANT, 0, b"k") is None


def test_a_delete_that_cannot_be_recorded_is_refused_but_by_version(store: Store):
    store.put(TENANT, 0, b"k", bytes(100))
    store.open_tenant(TENANT, quota_bytes=1024)
    for number in range(1, limits.CLIENTS_OVER_QUOTA_MAX + 1):
        assert Requester(store, number).delete(1, b"none") == Status.NOT_FOUND
    delete_without_a_record(store, Status.QUOTA_EXCEEDED)
    store.open_tenant(TENANT)
    store.put(TENANT, 0, b"k", bytes(100))
    store.open_tenant(TENANT, quota_bytes=1024)
    late = Requester(store, 1 << 40)
    assert late.delete(3, b"k", version=store.lookup(TENANT, 0, b"k").version + 2) == Status.VERSION_CHANGED


def test_in_a_full_store_likewise(store: Store):
    store.put(TENANT, 0, b"k", b"1")
    with pytest.raises(OutOfMemoryError):
        for number in range(limits.STORE_BYTES_MIN):
            store.put(TENANT, 0, number.to_bytes(8, "little"), bytes(2000))
    delete_without_a_record(store, Status.OUT_OF_MEMORY)


def test_a_tenant_that_is_removed_takes_its_clients_along(store: Store, client: Requester):
    assert client.put(1, b"k", b"1") == Status.OK
    store.close_tenant(TENANT)
    list(store.sweep_tenant(TENANT))
    store.open_tenant(TENANT)
    assert clients_of(store) == 0
    client.sweep(10 * limits.CLIENT_IDLE_NS_MAX)
    assert client.put(1, b"k", b"2") == Status.OK
    assert store.get(TENANT, 0, b"k") == b"2"


def test_the_first_write_of_a_task_claims_its_request(store: Store, client: Requester):
    effect = np.zeros(1, np.int64)

    def write(value: bytes, p: int) -> int:
        claim = client.effect(7, effect, p)
        return store_put(store.address, p, TENANT, 0, address_of(b"k"), 1, address_of(value), len(value), 0, claim)

    assert write(b"1", 0) == Status.OK
    assert effect[0] == 1
    assert write(b"2", 1) == RECORDED
    kind, _, owner = client.recorded(p=1)
    assert kind == Outcome.EFFECT
    assert is_alive(store.address, owner)
    store.recover(0)
    assert not is_alive(store.address, owner)
    assert store.get(TENANT, 0, b"k") == b"1"


def test_a_refusal_does_not_end_a_task(store: Store, client: Requester):
    effect = np.zeros(1, np.int64)
    claim = client.effect(7, effect)
    status = store_put(store.address, 0, TENANT, 0, address_of(b"k"), 1, address_of(b"1"), 1, 4242, claim)
    assert (status, effect[0]) == (Status.VERSION_CHANGED, 0)
    claim = client.effect(7, effect)
    assert store_put(store.address, 0, TENANT, 0, address_of(b"k"), 1, address_of(b"1"), 1, 0, claim) == Status.OK
    assert effect[0] == 1
