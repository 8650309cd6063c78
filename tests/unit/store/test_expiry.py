"""Objects that expire: gone at their moment for everybody, swept later, and the same in a store that is restored."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
import pytest

from splinter import limits
from splinter.durable.snapshots import copied
from splinter.errors import RequestError, Status, VersionChangedError
from splinter.store.clock import look_at_store_clock
from splinter.store.compaction import compact
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.expiry import sweep
from splinter.store.journal import participant_at
from splinter.store.layout import OBJECT_BYTES
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.reclaim import reclaim
from splinter.store.staging import stage_put
from splinter.store.store import Store
from splinter.store.transactions import CONFLICT
from splinter.store.walk import COPY_BYTES_MAX, turns_over, walk_begins, walk_ends
from tests.support.logs import groups, logged, restored, state_of
from tests.support.transactions import Transaction, address_of

TENANT, OTHER = 1, 2
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
KEY_LENGTHS, VALUE_LENGTHS = (1, 7, 8, 9, 255), (0, 1, 7, 8, 23, 24, 100, 4096, limits.VALUE_BYTES_MAX)


@pytest.fixture
def store() -> Iterator[Store]:
    """A store with two tenants; whatever the test does, it leaves the store sound."""
    made = Store.create(limits.STORE_BYTES_MIN, participants=2)
    for tenant in (TENANT, OTHER):
        made.open_tenant(tenant)
    yield made
    assert made.problems() == []


def pass_time(store: Store, ns: int) -> None:
    """Let the store's clock show so much more."""
    store.descriptor["clock_base"] += ns


def sweep_all(store: Store) -> None:
    """Many turns of all workers."""
    for _ in range(limits.STORE_BYTES_MIN // limits.SLAB_BYTES):
        for worker in range(2):
            epoch_enter(store.address, worker, OLDEST_NONE)
            look_at_store_clock(store.address, participant_at(store.address, worker))
            store.participants["sweep_ns"][worker] = 0
            sweep(store.address, worker, 1 << 20)
            reclaim(store.address, worker, 1 << 20)
            epoch_leave(store.address, worker)


@pytest.mark.parametrize("key_length", KEY_LENGTHS)
def test_an_object_is_whole_until_its_moment_and_gone_from_then_on(store: Store, key_length: int) -> None:
    random = Random(key_length)
    for size in VALUE_LENGTHS:
        key, value = random.randbytes(key_length), random.randbytes(size)
        version = store.put(TENANT, 3, key, value, ttl=3 * HOUR)
        found = store.lookup(TENANT, 3, key)
        assert found is not None and (found.value, found.version) == (value, version)
        assert 0 < found.expires - store.now_ns <= 3 * HOUR
        pass_time(store, 2 * HOUR)
        assert store.get(TENANT, 3, key) == value
        pass_time(store, found.expires - store.now_ns)
        assert store.get(TENANT, 3, key) is None
        assert list(store.scan(3, tenant=TENANT)) == []
        assert not store.delete(TENANT, 3, key)
        with pytest.raises(RequestError, match="no such object"):
            store.expire(TENANT, 3, key, HOUR)


def test_what_has_expired_is_absent_for_conditions(store: Store) -> None:
    version = store.put(TENANT, 0, b"key", b"old", ttl=HOUR)
    with pytest.raises(VersionChangedError):
        store.put(TENANT, 0, b"key", b"new", expected_version=EXPECT_ABSENT)
    pass_time(store, HOUR)
    with pytest.raises(VersionChangedError):
        store.put(TENANT, 0, b"key", b"new", expected_version=version)
    with pytest.raises(RequestError, match="no such object"):
        store.expire(TENANT, 0, b"key", HOUR, expected_version=version)
    store.put(TENANT, 0, b"key", b"new", expected_version=EXPECT_ABSENT)
    pass_time(store, 1000 * HOUR)
    assert store.get(TENANT, 0, b"key") == b"new"  # no moment was left over from before


def test_a_moment_can_be_changed_and_taken_away(store: Store) -> None:
    for size in VALUE_LENGTHS:
        value = Random(size).randbytes(size)
        first = store.put(TENANT, 0, b"key", value)
        second = store.expire(TENANT, 0, b"key", HOUR)
        third = store.expire(TENANT, 0, b"key", 3 * HOUR, expected_version=second)
        assert first < second < third
        with pytest.raises(VersionChangedError):
            store.expire(TENANT, 0, b"key", HOUR, expected_version=second)
        pass_time(store, 2 * HOUR)
        assert store.get(TENANT, 0, b"key") == value
        store.expire(TENANT, 0, b"key", 0)
        pass_time(store, 2 * HOUR)
        found = store.lookup(TENANT, 0, b"key")
        assert found is not None and (found.value, found.expires) == (value, 0)


def test_the_sweep_gives_back_what_is_over_and_nothing_else(store: Store) -> None:
    kept = {b"kept %d" % number: bytes(number) for number in range(100)}
    for key, value in kept.items():
        store.put(TENANT, 0, key, value, ttl=0 if len(value) % 2 else 2 * HOUR)
    before = store.accounts[["bytes_used", "objects"]].copy()
    for number in range(500):
        store.put(TENANT + number % 2, number % 3, b"short %d" % number, bytes(number * 7), ttl=HOUR)
    sweep_all(store)
    assert int(store.accounts["objects"][TENANT]) == 350
    pass_time(store, HOUR)
    sweep_all(store)
    assert (store.accounts[["bytes_used", "objects"]] == before).all()
    assert {stored.key: stored.value for stored in store.scan(0, tenant=TENANT)} == kept


def test_a_sweep_is_bounded(store: Store) -> None:
    count = 10 * limits.SWEEP_OBJECTS
    for number in range(count):
        store.put(TENANT, 0, b"%d" % number, b"", ttl=SECOND)
    pass_time(store, HOUR)
    left = count
    for turns in range(1, 200):
        worker = turns % 2
        epoch_enter(store.address, worker, OLDEST_NONE)
        look_at_store_clock(store.address, participant_at(store.address, worker))
        store.participants["sweep_ns"][worker] = 0
        sweep(store.address, worker, limits.SWEEP_SLOTS)
        sweep(store.address, worker, limits.SWEEP_SLOTS)  # within the pause: nothing
        epoch_leave(store.address, worker)
        now = int(store.accounts["objects"][TENANT])
        assert left - limits.SWEEP_OBJECTS <= now <= left
        left = now
        if left == 0:
            break
    assert left == 0 and turns >= 10


def test_a_held_lock_and_a_closed_tenant_do_not_hold_up_a_sweep(store: Store) -> None:
    for tenant in (TENANT, OTHER):
        store.put(tenant, 0, b"key", b"value", ttl=SECOND)
    pass_time(store, HOUR)
    store.accounts["lock"][TENANT] = 65
    sweep_all(store)
    assert [int(store.accounts["objects"][tenant]) for tenant in (TENANT, OTHER)] == [1, 0]
    store.accounts["lock"][TENANT] = 0
    sweep_all(store)
    assert int(store.accounts["objects"][TENANT]) == 0


WAYS = ["put", "replacement", "lifetime", "transaction", "transaction of two", "fragments"]


def put_in_some_way(store: Store, way: str) -> int:
    """A status."""
    value = bytes(200)
    try:
        if way == "put":
            store.put(TENANT, 0, b"new", value, participant=0)
        elif way == "replacement":
            store.put(TENANT, 0, b"old", bytes(3000), participant=0)
        elif way == "lifetime":
            store.expire(TENANT, 0, b"tight", HOUR, participant=0)
        elif way == "fragments":
            return fragments(store, b"new", bytes(limits.FRAGMENT_BYTES + 100))
        else:
            transaction = Transaction(store, TENANT)
            transaction.put(b"new", value)
            if way == "transaction of two":
                transaction.put(b"another", b"")
            return transaction.end()
    except RequestError as refusal:
        return int(refusal.status)
    return int(Status.OK)


def fragments(store: Store, key: bytes, value: bytes) -> int:
    """Put a value in fragments, up to the first that is refused; its status."""
    at, size = address_of(key), limits.FRAGMENT_BYTES
    count = -(-len(value) // size)
    for index in range(count):
        piece = value[index * size :][:size]
        status = stage_put(
            store.address, 0, 7, 1, TENANT, 0, at, len(key), count, index, address_of(piece), len(piece), 0, 0, 0, size
        )[0]  # fmt: skip
        if status != Status.OK:
            return int(status)
    return int(Status.OK)


@pytest.mark.parametrize("way", WAYS)
def test_a_put_over_the_quota_takes_the_room_of_what_is_over(store: Store, way: str) -> None:
    store.put(TENANT, 0, b"old", b"")
    store.put(TENANT, 0, b"tight", bytes(64 - OBJECT_BYTES - 5))  # its slot is full
    for number in range(10):
        for tenant in (TENANT, OTHER):
            store.put(tenant, 0, b"short %d" % number, bytes(500), ttl=HOUR)
    store.open_tenant(TENANT, int(store.accounts["bytes_used"][TENANT]))
    used, objects = (store.accounts[name].copy() for name in ("bytes_used", "objects"))
    assert put_in_some_way(store, way) == Status.QUOTA_EXCEEDED
    assert (store.accounts["bytes_used"] == used).all() and (store.accounts["objects"] == objects).all()
    pass_time(store, HOUR)
    look_at_store_clock(store.address, participant_at(store.address, 0))
    assert put_in_some_way(store, way) == Status.OK
    now_used, now_objects = (int(store.accounts[name][TENANT]) for name in ("bytes_used", "objects"))
    assert now_used <= used[TENANT] and now_objects < objects[TENANT]
    assert int(store.accounts["objects"][OTHER]) == 10  # another's are left to the sweep: nobody holds two locks


def test_a_value_in_fragments_begins_in_the_room_of_what_is_over(store: Store) -> None:
    """Three at once: what is staged beside the quota is two."""

    def begin(sequence: int) -> int:
        piece, size = bytes(limits.FRAGMENT_BYTES), limits.FRAGMENT_BYTES
        return int(
            stage_put(
                store.address, 0, 7, sequence, TENANT, 0, address_of(b"large"), 5, -(-limits.VALUE_BYTES_MAX // size), 0,
                address_of(piece), size, 0, 0, 0, size,
            )[0]
        )  # fmt: skip

    for number in range(30):
        store.put(TENANT, 0, b"short %d" % number, bytes(16_000), ttl=HOUR)
    store.open_tenant(TENANT, int(store.accounts["bytes_used"][TENANT]))
    begun = [begin(sequence) for sequence in range(1, 4)]
    assert begun[0] == Status.OK and begun[-1] == Status.QUOTA_EXCEEDED
    pass_time(store, HOUR)
    look_at_store_clock(store.address, participant_at(store.address, 0))
    assert begin(3) == Status.OK
    assert int(store.accounts["objects"][TENANT]) == 0


def test_the_look_for_room_is_bounded_and_goes_on_where_it_was(store: Store) -> None:
    """Objects that live stand before the one that is over: it takes several puts to come to it."""
    count = 3 * limits.ROOM_POSITIONS
    for number in range(count):
        store.put(TENANT, 0, b"%d" % number, b"", ttl=1000 * HOUR)
    store.put(TENANT, 0, b"over", bytes(2000), ttl=HOUR)
    store.open_tenant(TENANT, int(store.accounts["bytes_used"][TENANT]))
    pass_time(store, HOUR)
    look_at_store_clock(store.address, participant_at(store.address, 0))
    refused, places = 0, [0]
    while put_in_some_way(store, "transaction of two") != Status.OK:
        refused += 1
        places.append(int(store.accounts["room_next"][TENANT]))
    assert 2 <= refused <= count // limits.ROOM_POSITIONS + 2
    assert places == sorted(set(places))


def test_a_put_over_the_quota_deletes_not_more_than_a_sweep_does(store: Store) -> None:
    for number in range(10 * limits.SWEEP_OBJECTS):
        store.put(TENANT, 0, b"%d" % number, b"", ttl=HOUR)
    store.open_tenant(TENANT, int(store.accounts["bytes_used"][TENANT]))
    pass_time(store, HOUR)
    look_at_store_clock(store.address, participant_at(store.address, 0))
    assert put_in_some_way(store, "put") == Status.OK
    assert int(store.accounts["objects"][TENANT]) == 9 * limits.SWEEP_OBJECTS + 1


def test_no_room_is_looked_for_where_nothing_expires(store: Store) -> None:
    store.open_tenant(TENANT, 1)
    assert put_in_some_way(store, "put") == Status.QUOTA_EXCEEDED
    assert int(store.accounts["room_next"][TENANT]) == 0


def test_a_transaction_happens_at_one_instant_of_the_clock(store: Store) -> None:
    store.put(TENANT, 0, b"session", b"mine", ttl=HOUR)
    transaction = Transaction(store, TENANT)
    assert transaction.get(b"session") == b"mine"
    transaction.put(b"order", b"for the session")
    pass_time(store, HOUR)
    look_at_store_clock(store.address, participant_at(store.address, 0))  # as the next turn does
    assert transaction.end() == CONFLICT
    assert store.get(TENANT, 0, b"order") is None


def test_a_snapshot_has_what_expired_or_was_replaced_since(store: Store) -> None:
    """The moment belongs to the object: who looks with an earlier clock, in an older snapshot, still has it."""
    store.put(TENANT, 0, b"key", b"first", ttl=HOUR)
    transaction = Transaction(store, TENANT)
    pass_time(store, HOUR)
    store.put(TENANT, 0, b"key", b"second", participant=1)
    assert transaction.get(b"key") == b"first"
    transaction.end()


def test_a_value_in_fragments_expires(store: Store) -> None:
    value, size = Random(1).randbytes(3 * limits.FRAGMENT_BYTES - 5), limits.FRAGMENT_BYTES
    pieces = [value[at : at + size] for at in range(0, len(value), size)]

    def send(index: int, ttl: int) -> int:
        piece = pieces[index]
        status, _ = stage_put(
            store.address,
            0,
            7,
            1,
            TENANT,
            0,
            address_of(b"key"),
            3,
            3,
            index,
            address_of(piece),
            len(piece),
            0,
            0,
            0,
            size,
            ttl,
        )
        return int(status)

    assert [send(2, HOUR), send(1, 2 * HOUR), send(1, HOUR), send(0, HOUR)] == [
        Status.OK, Status.BAD_FRAGMENT, Status.OK, Status.OK,
    ]  # fmt: skip
    assert store.get(TENANT, 0, b"key") == value
    pass_time(store, HOUR)
    assert store.get(TENANT, 0, b"key") is None


def filled(store: Store) -> None:
    """Objects of all kinds, some of them over, some replaced when they were."""
    random = Random(5)
    for number in range(300):
        ttl = random.choice((0, HOUR // 2, 2 * HOUR, 100 * HOUR))
        key, value = b"key %d" % random.randrange(100), random.randbytes(random.choice((0, 5, 100, 3000)))
        store.put(TENANT, 0, key, value, ttl=ttl, participant=number % 2)
        if number == 200:
            pass_time(store, HOUR)
    for number in range(0, 100, 7):
        if store.get(TENANT, 0, b"key %d" % number) is not None:
            store.expire(TENANT, 0, b"key %d" % number, 50 * HOUR)


def test_a_log_restores_what_expires_and_when(store: Store) -> None:
    rings = logged(store, TENANT)
    filled(store)
    again = restored([groups(rings, rings.heads())], store)
    again.descriptor["clock_base"] = store.descriptor["clock_base"]
    assert state_of(again, TENANT) == state_of(store, TENANT)
    assert any(stored.expires for stored in again.scan(0, tenant=TENANT))
    sweep_all(store)
    swept = restored([groups(rings, [0, 0, 0])], store)
    swept.descriptor["clock_base"] = store.descriptor["clock_base"]
    assert state_of(swept, TENANT) == state_of(store, TENANT)
    assert swept.problems() == []


@pytest.mark.parametrize("room", [COPY_BYTES_MAX, 1 << 20])
def test_a_snapshot_on_disk_restores_what_expires_and_when(store: Store, room: int) -> None:
    rings = logged(store, TENANT)
    filled(store)
    store.put(TENANT, 0, bytes(255), bytes(limits.VALUE_BYTES_MAX), ttl=HOUR)  # the largest copy that there is
    epoch = walk_begins(store.address)
    assert turns_over(store.address, epoch)
    copy = b"".join(bytes(piece) for piece in copied(store, room))
    walk_ends(store.address)
    again = restored([], store, snapshot=copy, numbers=store.accounts["number"].astype(np.int64))
    again.descriptor["clock_base"] = store.descriptor["clock_base"]
    assert rings.tails() != [0, 0, 0]
    assert state_of(again, TENANT) == state_of(store, TENANT)


def test_a_move_keeps_the_moment(store: Store) -> None:
    for number in range(3000):
        store.put(TENANT, 0, b"%d" % number, bytes(900), ttl=HOUR)
    for number in range(3000):
        if number % 40:
            store.delete(TENANT, 0, b"%d" % number)
    before = state_of(store, TENANT)
    total = int(store.descriptor["slabs_total"])
    store.descriptor["slabs_total"] = store.descriptor["slabs_used"] - store.descriptor["slabs_pooled"] + 1
    for turn in range(400):
        epoch_enter(store.address, 0, OLDEST_NONE)
        reclaim(store.address, 0, 1 << 20)
        compact(store.address, 0, turn * 2 * limits.COMPACT_PAUSE_NS, True)
        epoch_leave(store.address, 0)
    store.descriptor["slabs_total"] = total
    assert int(store.descriptor["drain_number"]) > 0
    assert state_of(store, TENANT) == before
    pass_time(store, HOUR)
    assert list(store.scan(0, tenant=TENANT)) == []
