"""A tenant that evicts keeps what is used and its quota; what goes is deleted as by a delete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import numpy as np
import pytest

from splinter import limits
from splinter.errors import BusyError, QuotaExceededError, Status, VersionChangedError
from splinter.store.account_layout import EVICTION_HYPERBOLIC, EVICTION_NONE
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.eviction import is_used_less, look_at
from splinter.store.layout import O_ACCESS, POSITION_BITS
from splinter.store.objects import mark_used, object_position
from splinter.store.operations import store_find, store_find_at
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.store import Store
from splinter.store.transactions import CONFLICT
from tests.support.logs import groups, logged, restored, state_of
from tests.support.requester import Requester
from tests.support.transactions import Transaction, address_of

TENANT, OTHER = 1, 2
QUOTA = 64 * 1024
SECOND = 10**9
LARGE = 20_000  # bytes


def set_eviction(store: Store, policy: int) -> None:
    store.set_modes(TENANT, eviction=policy)


@pytest.fixture
def store() -> Iterator[Store]:
    """A store with a tenant that evicts, and one that does not, with the same quota; it is left sound."""
    made = Store.create(limits.STORE_BYTES_MIN, participants=2)
    for tenant in (TENANT, OTHER):
        made.open_tenant(tenant, QUOTA)
    set_eviction(made, EVICTION_HYPERBOLIC)
    yield made
    assert made.problems() == []


def key_of(number: int) -> bytes:
    return b"key %d" % number


def use(store: Store, key: bytes) -> bool:
    """Look a key up as a worker does; returns whether it is there."""
    found = store_find(store.address, TENANT, 0, address_of(key), len(key))
    if found != 0:
        mark_used(found)
    return bool(found != 0)


def fill(store: Store, numbers: range, size: int = 20, tenant: int = TENANT) -> None:
    for number in numbers:
        store.put(tenant, 0, key_of(number), bytes(size))


def kept(store: Store, tenant: int = TENANT) -> set[bytes]:
    return {stored.key for stored in store.scan(0, tenant=tenant)}


def account(store: Store, name: str, tenant: int = TENANT) -> int:
    return int(store.accounts[name][tenant])


def test_only_who_evicts_puts_more_than_its_quota_has_room_for(store: Store) -> None:
    fill(store, range(5000))
    assert 0 <= QUOTA - account(store, "bytes_used") <= 2048
    assert account(store, "evictions") == 5000 - len(kept(store))
    with pytest.raises(QuotaExceededError):
        fill(store, range(5000), tenant=OTHER)
    assert account(store, "evictions", OTHER) == 0
    count = len(kept(store, OTHER))
    fill(store, range(5000, 6000))
    assert len(kept(store, OTHER)) == count  # nobody gives up others' objects
    set_eviction(store, EVICTION_NONE)
    with pytest.raises(QuotaExceededError):
        fill(store, range(9000, 9100))


def test_the_quota_holds_at_each_moment(store: Store) -> None:
    random = Random(1)
    for number in range(3000):
        store.put(TENANT, number % 3, key_of(random.randrange(400)), bytes(random.choice((0, 30, 100, 700))))
        assert account(store, "bytes_used") <= QUOTA
    assert account(store, "evictions") > 500
    assert store.problems() == []


def test_what_is_used_stays(store: Store) -> None:
    used = [key_of(number) for number in range(50)]
    fill(store, range(50))
    for number in range(1000, 3000):
        fill(store, range(number, number + 1))
        use(store, used[number % 50])
    assert set(used) <= kept(store)
    for number in range(10_000, 30_000):  # nobody asks for them any more: others are as good, after ten times as long
        fill(store, range(number, number + 1))
        use(store, key_of(number))
    assert len(set(used) & kept(store)) < 25


def test_a_zipf_distribution_is_served_nearly_as_well_as_by_who_knows_it(store: Store) -> None:
    shares = 1 / np.arange(1, 10_001)
    shares /= shares.sum()
    asked = np.random.default_rng(4).choice(len(shares), 40_000, p=shares).tolist()
    hits = 0
    for number, key in enumerate(map(key_of, asked)):
        if use(store, key):
            hits += number >= 20_000
        else:
            store.put(TENANT, 0, key, bytes(20))
    best = shares[: len(kept(store))].sum()  # of a cache that has the most popular, and nothing else
    assert hits / 20_000 > 0.93 * best


def test_a_look_counts_uses_and_forgets_slowly() -> None:
    word, use_bit = 7, 1 << 56
    for _ in range(10):
        word = look_at(look_at(word | use_bit))
    assert (word & (1 << POSITION_BITS) - 1, word >> 32 & 2047, word >> 43 & 2047, word >> 54) == (7, 20, 10, 0)
    seldom, often, new = 3, 4, 5
    for number in range(4000):
        seldom, often = look_at(seldom | (use_bit if number % 4 == 0 else 0)), look_at(often | use_bit)
    assert seldom >> 32 & 2047 < 2048 and often >> 43 & 2047 <= often >> 32 & 2047
    assert (seldom >> 43 & 2047) / (seldom >> 32 & 2047) == pytest.approx(0.25, abs=0.01)
    assert is_used_less(seldom, often) and not is_used_less(often, seldom)
    assert is_used_less(look_at(new), seldom) and not is_used_less(seldom, look_at(new))
    assert is_used_less(look_at(look_at(new)), look_at(new))  # of two that nobody used the one that is there for longer
    assert not is_used_less(new, new)


def test_a_put_and_a_late_reader_leave_the_position_alone(store: Store) -> None:
    fill(store, range(3))
    found = store_find(store.address, TENANT, 0, address_of(key_of(1)), len(key_of(1)))
    position = object_position(found)
    store.put(TENANT, 0, key_of(1), b"again")
    mark_used(found)  # by who found it before; it has its date by now
    again = store_find(store.address, TENANT, 0, address_of(key_of(1)), len(key_of(1)))
    assert again != found and object_position(again) == position
    for _ in range(5):
        store.put(TENANT, 0, key_of(1), b"and again")
    assert O_ACCESS == 31


def test_what_has_expired_goes_first(store: Store) -> None:
    for number in range(100):
        store.put(TENANT, 0, b"over %d" % number, bytes(20), ttl=SECOND)
    fill(store, range(200))
    store.descriptor["clock_base"] += 2 * SECOND
    before = kept(store)
    fill(store, range(1000, 1000 + 300))
    assert not any(key.startswith(b"over") for key in kept(store))
    assert {key for key in before if key.startswith(b"key")} <= kept(store)


def test_a_put_evicts_many_small_ones_but_a_bounded_number(store: Store) -> None:
    fill(store, range(2000), size=0)
    before = account(store, "evictions")
    tries = 0
    while True:
        tries += 1
        try:
            store.put(TENANT, 0, b"large", bytes(30_000))
            break
        except BusyError:
            assert account(store, "evictions") == before + tries * limits.EVICTION_OBJECTS
    assert tries == -(-(account(store, "evictions") - before) // limits.EVICTION_OBJECTS) > 1
    assert store.get(TENANT, 0, b"large") == bytes(30_000)


def test_what_cannot_fit_evicts_nothing(store: Store) -> None:
    fill(store, range(2000))
    before = account(store, "evictions")
    with pytest.raises(QuotaExceededError):
        store.put(TENANT, 0, b"too large", bytes(limits.VALUE_BYTES_MAX))
    assert account(store, "evictions") == before


def test_there_is_an_end_where_nothing_is_left(store: Store) -> None:
    fill(store, range(20))
    store.charge_code(TENANT, QUOTA // 2)
    with pytest.raises(QuotaExceededError):
        for _ in range(100):
            try:
                store.put(TENANT, 0, b"too large", bytes(QUOTA // 2))
            except BusyError:
                continue
    assert kept(store) == set()


def test_a_sole_object_that_is_replaced_cannot_go(store: Store) -> None:
    store.put(TENANT, 0, b"sole", bytes(100))
    store.charge_code(TENANT, QUOTA - 4096)
    with pytest.raises(QuotaExceededError):
        store.put(TENANT, 0, b"sole", bytes(4096))
    assert store.get(TENANT, 0, b"sole") == bytes(100)
    assert account(store, "evictions") == 0


def by_put(store: Store) -> Status:
    try:
        store.put(TENANT, 0, b"new", bytes(LARGE))
    except (BusyError, QuotaExceededError) as error:
        return error.status
    return Status.OK


def by_transaction(store: Store) -> Status:
    made = Transaction(store, TENANT)
    made.put(b"new", bytes(LARGE))
    return Status(made.end())


def by_new_client(store: Store) -> Status:
    return Status(Requester(store, limits.CLIENTS_OVER_QUOTA_MAX + 1).put(1, b"new", b"value"))


@pytest.mark.parametrize("way", [by_put, by_transaction, by_new_client])
def test_objects_far_apart_in_the_roster_are_found_at_some_try(store: Store, way: Callable[[Store], Status]) -> None:
    """Most of the roster are holes, more than one look goes over."""
    store.accounts[TENANT]["quota_bytes"] = 1 << 20
    for number in range(limits.CLIENTS_OVER_QUOTA_MAX):
        assert Requester(store, number + 1).put(1, key_of(number), b"") == Status.OK
    fill(store, range(9000), size=0)
    store.put(TENANT, 0, b"last", bytes(LARGE))
    for number in range(1, 9000):
        store.delete(TENANT, 0, key_of(number))
    store.accounts[TENANT]["quota_bytes"] = account(store, "bytes_used")
    tries = 1
    while (status := way(store)) != Status.OK:
        assert status == Status.BUSY
        tries += 1
        assert tries < 100
    assert tries > 1
    assert b"last" not in kept(store) and b"new" in kept(store)


def test_the_object_that_a_put_replaces_is_not_evicted_for_it(store: Store) -> None:
    fill(store, range(3000))
    (key, *_) = sorted(kept(store))
    found = store.lookup(TENANT, 0, key)
    assert found is not None
    version = found.version
    for size in (100, 1000, 5000, 20_000):
        while True:
            try:
                version = store.put(TENANT, 0, key, bytes(size), expected_version=version)
                break
            except BusyError:
                continue
    assert store.get(TENANT, 0, key) == bytes(20_000)


def test_a_condition_that_fails_evicts_nothing(store: Store) -> None:
    fill(store, range(3000))
    (key, *_) = sorted(kept(store))
    before = account(store, "evictions")
    with pytest.raises(VersionChangedError):
        store.put(TENANT, 0, key, bytes(5000), expected_version=EXPECT_ABSENT)
    assert account(store, "evictions") == before


def test_a_transaction_whose_room_takes_what_it_read_is_a_conflict(store: Store) -> None:
    fill(store, range(3000))
    conflicts = 0
    for number in range(20):
        keys = sorted(kept(store))
        read = Transaction(store, TENANT)
        assert read.get(keys[0]) is not None
        for other in range(5):
            read.put(b"new %d %d" % (number, other), bytes(100))
        status = read.end()
        assert status in (Status.OK, CONFLICT)
        conflicts += status == CONFLICT
        assert (keys[0] in kept(store)) or status == CONFLICT
        assert (b"new %d 0" % number in kept(store)) == (status == Status.OK)
    fill(store, range(5000, 5100))  # what conflicts have evicted in vain is full again
    everything = Transaction(store, TENANT)
    for key in kept(store):
        everything.get(key)
    everything.put(b"one more", bytes(100))
    assert everything.end() == CONFLICT
    assert account(store, "bytes_used") <= QUOTA


def test_a_reader_of_an_older_snapshot_finds_what_was_evicted_since(store: Store) -> None:
    fill(store, range(3000))
    keys = kept(store)
    epoch_enter(store.address, 0, OLDEST_NONE)
    snapshot = account(store, "sequence")
    gone: set[bytes] = set()
    number = 10_000
    while not gone:
        fill(store, range(number, number + 20))
        number += 20
        gone = keys - kept(store)
    for key in gone:
        found = store_find_at(store.address, TENANT, 0, address_of(key), len(key), 0, snapshot)
        assert found > 0
    epoch_leave(store.address, 0)


def test_the_log_of_evictions_makes_the_same_store() -> None:
    store = Store.create(limits.STORE_BYTES_MIN, participants=1)
    store.open_tenant(TENANT, QUOTA)
    set_eviction(store, EVICTION_HYPERBOLIC)
    rings = logged(store, TENANT)
    fill(store, range(1200))
    assert account(store, "evictions") > 0
    again = restored([groups(rings, rings.heads())], store)
    assert state_of(again, TENANT) == state_of(store, TENANT)
    assert again.problems() == [] and store.problems() == []


def test_another_tenant_of_the_id_does_not_evict(store: Store) -> None:
    fill(store, range(2000))
    store.close_tenant(TENANT)
    for _ in store.sweep_tenant(TENANT):
        pass
    store.open_tenant(TENANT, QUOTA, generation=2)
    with pytest.raises(QuotaExceededError):
        fill(store, range(5000))
