"""Memory that was used for one size comes back for every other, and buckets of the index that nobody needs."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import numpy as np
import pytest
from numba import njit

from splinter import limits
from splinter.errors import OutOfMemoryError, Status
from splinter.native.atomics import store64
from splinter.store.classes import class_for, slots_per_slab
from splinter.store.compaction import compact
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.layout import OBJECT_BYTES
from splinter.store.objects import object_value, object_value_length
from splinter.store.operations import store_delete, store_find, store_put
from splinter.store.reclaim import reclaim
from splinter.store.store import Store
from tests.support.requester import Requester

TENANT = 1
WORKERS = 4
IN_TURN = -1
KEY_BYTES = 8
TURN_NS = 2_000_000
MANY = 1 << 20
SIZES = [0, 100, 1000, 5000, 20_000, 60_000]


class Turns:
    """What the workers' loops do between requests, by a clock of its own."""

    def __init__(self, store: Store) -> None:
        self.store, self.now_ns = store, 1

    def take(self, turns: int, workers: int = WORKERS) -> None:
        for _ in range(turns):
            self.now_ns += TURN_NS
            for p in range(workers):
                epoch_enter(self.store.address, p, OLDEST_NONE)
                reclaim(self.store.address, p, limits.RECLAIM_SLOTS_MAX)
                compact(self.store.address, p, self.now_ns, False)
                epoch_leave(self.store.address, p)


@pytest.fixture
def turns(store: Store) -> Turns:
    return Turns(store)


def key_of(number: int) -> bytes:
    return number.to_bytes(8, "little")


@njit
def _fill(store: int, p: int, first: int, size: int, key: int, value: int) -> tuple[int, int]:
    """``Store.put`` in a loop: a store takes more than a hundred thousand objects. Returns a status, and which had it."""
    number = first
    while True:
        store64(key, number)
        for at in range(0, size // 8 * 8, 8):
            store64(value + at, number)
        epoch_enter(store, p, OLDEST_NONE)
        status = store_put(store, p, TENANT, 0, key, KEY_BYTES, value, size, 0)
        reclaim(store, p, limits.RECLAIM_SLOTS_MAX)
        epoch_leave(store, p)
        if status != 0:
            return status, number
        number += 1


def fill(store: Store, size: int, first: int = 0, participant: int = 0) -> int:
    """Put values until the store is full; returns behind the last number."""
    key, value = np.zeros(1, np.uint64), np.zeros(size // 8 + 1, np.uint64)
    status, number = _fill(store.address, participant, first, size, key.ctypes.data, value.ctypes.data)
    assert status == Status.OUT_OF_MEMORY
    return number


@njit
def _delete(store: int, p: int, numbers: np.ndarray, key: int) -> int:
    for number in numbers:
        store64(key, number)
        by = number % WORKERS if p == IN_TURN else p
        epoch_enter(store, by, OLDEST_NONE)
        status = store_delete(store, by, TENANT, 0, key, KEY_BYTES, 0)
        reclaim(store, by, limits.RECLAIM_SLOTS_MAX)
        epoch_leave(store, by)
        if status != 0:
            return status
    return 0


def delete(store: Store, numbers: Iterable[int], participant: int = 0) -> None:
    """Delete what was filled in; ``IN_TURN``: each participant some."""
    key = np.zeros(1, np.uint64)
    assert _delete(store.address, participant, np.array(list(numbers), np.int64), key.ctypes.data) == Status.OK


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", [0, 100, 60_000])
def test_what_one_size_used_is_there_for_every_other(store: Store, turns: Turns, size: int, other: int):
    numbers = fill(store, size)
    delete(store, range(numbers), IN_TURN)
    turns.take(100)
    assert store.problems() == []
    assert fill(store, other, participant=1) > 0
    used = store.usage()
    # The whole store but what idle workers may hold of a size class, or the index, which a store of the smallest objects fills.
    assert used.slabs_free <= 2 or used.overflow_used > 0


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("keep_everything_small", [False, True])
def test_a_live_object_in_every_slab_does_not_keep_it(store: Store, turns: Turns, size: int, keep_everything_small: bool):
    numbers = fill(store, size)
    per_slab = slots_per_slab(class_for(OBJECT_BYTES + 8 + size))
    kept = range(0, numbers, per_slab * (1 if keep_everything_small else 2))
    versions = {number: store.lookup(TENANT, 0, key_of(number)).version for number in kept}
    delete(store, (number for number in range(numbers) if number not in versions))
    turns.take(600)
    assert store.problems() == []
    if per_slab > 1:
        assert store.usage().slabs_free >= 2  # more is not moved than is needed
    for number, version in versions.items():
        found = store.lookup(TENANT, 0, key_of(number))
        assert (found.version, found.value[: 8 if size >= 8 else 0]) == (version, key_of(number)[: 8 if size >= 8 else 0])
    for number in range(200):  # another size gets all that it asks for, while memory is made for it
        store.put(TENANT, 1, key_of(number), bytes(200 if size != 100 else 3000), participant=1)
        turns.take(1)
    for number, version in versions.items():  # a version that a client holds is good for its condition
        store.put(TENANT, 0, key_of(number), b"changed", expected_version=version, participant=2)
    assert store.problems() == []


def test_in_the_end_all_that_is_sparse_is_emptied(store: Store, turns: Turns):
    """Fill with one size, keep one of 20; fill with another, again and again: it always gets nearly everything."""
    numbers = fill(store, 1000)
    delete(store, (number for number in range(numbers) if number % 20), IN_TURN)
    put = refused = 0
    while refused < 100:
        try:
            store.put(TENANT, 1, key_of(put), bytes(5000), participant=1)
            put += 1
            refused = 0
        except OutOfMemoryError:
            refused += 1
            turns.take(5)
    assert store.problems() == []
    assert put * 5000 > 0.7 * store.usage().slabs_total * limits.SLAB_BYTES
    assert all(store.get(TENANT, 0, key_of(number)) is not None for number in range(0, numbers, 20))


def test_a_reader_keeps_what_it_found_across_a_move(store: Store, turns: Turns):
    numbers = fill(store, 1000)
    per_slab = slots_per_slab(class_for(OBJECT_BYTES + 8 + 1000))
    delete(store, (number for number in range(numbers) if number % per_slab))
    for _ in range(3):
        epoch_enter(store.address, 0, OLDEST_NONE)
        reclaim(store.address, 0, MANY)
    key, reader = key_of(5 * per_slab), 3
    epoch_enter(store.address, reader, OLDEST_NONE)
    address = ctypes.cast(ctypes.c_char_p(key), ctypes.c_void_p).value
    found = store_find(store.address, TENANT, 0, address, len(key))
    value = ctypes.string_at(object_value(found), object_value_length(found))
    moved = False
    for _ in range(1000):
        turns.now_ns += TURN_NS
        for p in range(2):
            epoch_enter(store.address, p, OLDEST_NONE)
            reclaim(store.address, p, 64)
            compact(store.address, p, turns.now_ns, False)
        moved = moved or store_find(store.address, TENANT, 0, address, len(key)) != found
        assert ctypes.string_at(object_value(found), object_value_length(found)) == value
    for p in (0, 1, reader):
        epoch_leave(store.address, p)
    assert moved
    turns.take(100)


def test_records_of_clients_are_moved_as_well(store: Store, turns: Turns):
    clients = [Requester(store, number) for number in range(1, 301)]
    for client in clients:
        assert client.put(1, key_of(client.client), b"first") == 0
    fill(store, 60_000, 1 << 20)
    for client in clients:
        if client.client % 32:
            client.goodbye()
    kept = [client for client in clients if client.client % 32 == 0]
    before = int(store.accounts[TENANT]["clients"])
    assert before == len(kept)
    places = {client.client: int(store.accounts[TENANT]["clients_hand"]) for client in kept}
    turns.take(300)
    assert store.problems() == []
    assert places
    for client in kept:
        assert client.put(1, key_of(client.client), b"second") != 0  # it is still known what became of it
        assert store.get(TENANT, 0, key_of(client.client)) == b"first"


def test_what_cannot_be_emptied_is_used_again(store: Store, turns: Turns):
    numbers = fill(store, 1000)
    reader = 3
    epoch_enter(store.address, reader, OLDEST_NONE)  # and stays: nothing that is retired becomes free
    delete(store, (number for number in range(numbers) if number % 2))
    turns.take(50, workers=2)
    assert store.problems() == []
    epoch_leave(store.address, reader)
    turns.take(2 * limits.DRAIN_NS_MAX // TURN_NS)
    assert store.problems() == []
    assert fill(store, 200) > 0


def test_overflow_buckets_come_back(store: Store, turns: Turns):
    numbers = fill(store, 0)  # 64-byte slots: the index is full first
    assert store.usage().overflow_used > 1000
    delete(store, (number for number in range(numbers) if number % 500))
    turns.take(store.usage().buckets_total // limits.BUCKETS_LOOKS // WORKERS * 2)
    assert store.problems() == []
    left = store.usage()
    free = left.buckets_total - int(store.descriptor["buckets"]) - left.overflow_used
    overflow = left.buckets_total - int(store.descriptor["buckets"])
    assert free >= overflow // limits.BUCKETS_RESERVE_SHARE
    assert all(store.get(TENANT, 0, key_of(number)) is not None for number in range(0, numbers, 500))
    assert fill(store, 0, 1 << 30) - (1 << 30) > numbers // 8
