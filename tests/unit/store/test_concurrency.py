"""Several processes on the same keys: no torn value, no lost object, exact accounts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numba import njit

from splinter.errors import Status
from splinter.native import libc
from splinter.native.atomics import load64, store64
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.objects import object_value, object_value_length, object_version
from splinter.store.operations import store_delete, store_find, store_put
from splinter.store.reclaim import reclaim
from tests.support.rosters import bytes_for

TENANT = 1
KEYS = 8
KEY_BYTES = 8
WORDS_MAX = 200
TURN = 16  # operations between two epochs
MULTIPLIER = 0x9E3779B97F4A7C1
TRIES_MAX = 1_000_000


@njit
def fill_value(value: int, number: int) -> int:
    """Write the value number ``number``, whose length and every word follow from its first word; returns its length."""
    words = 1 + number * 7 % WORDS_MAX
    store64(value, number)
    for i in range(1, words):
        store64(value + 8 * i, number * MULTIPLIER + i)
    return words * 8


@njit
def is_whole(found: int) -> bool:
    """Whether an object's value is one that :func:`fill_value` wrote."""
    value = object_value(found)
    number = load64(value)
    words = 1 + number * 7 % WORDS_MAX
    if object_value_length(found) != words * 8:
        return False
    for i in range(1, words):  # noqa: SIM110 (compiled)
        if load64(value + 8 * i) != number * MULTIPLIER + i:
            return False
    return True


@njit
def write_values(store: int, p: int, first: int, operations: int, scratch: int) -> int:
    """Put numbered values under shared keys, delete one in eight; returns the number of failures."""
    wrong = 0
    for i in range(operations):
        if i % TURN == 0:
            epoch_enter(store, p, OLDEST_NONE)
            reclaim(store, p, 64)
        number = first + i
        store64(scratch, number * MULTIPLIER % KEYS & (KEYS - 1))
        if i % 8 == 7:
            status = store_delete(store, p, TENANT, 0, scratch, KEY_BYTES, 0)
            wrong += status != Status.OK and status != 1
        else:
            length = fill_value(scratch + 8, number)
            status = store_put(store, p, TENANT, 0, scratch, KEY_BYTES, scratch + 8, length, 0)
            tries = 0
            while (
                status in (Status.OUT_OF_MEMORY, Status.BUSY) and tries < TRIES_MAX
            ):  # a reader that is not running holds all that was retired
                libc.sched_yield()
                epoch_enter(store, p, OLDEST_NONE)
                reclaim(store, p, 64)
                status = store_put(store, p, TENANT, 0, scratch, KEY_BYTES, scratch + 8, length, 0)
                tries += 1
            wrong += status != Status.OK
    epoch_leave(store, p)
    return wrong


@njit
def read_values(store: int, p: int, operations: int, scratch: int, held: np.ndarray) -> int:
    """Look the shared keys up; check every value at once and again at the end of the epoch it was found in."""
    wrong = 0
    for i in range(operations):
        if i % TURN == 0:
            for k in range(min(i, TURN)):
                if held[k, 0] != 0 and (not is_whole(held[k, 0]) or object_version(held[k, 0]) != held[k, 1]):
                    wrong += 1
            epoch_enter(store, p, OLDEST_NONE)
        store64(scratch, i % KEYS)
        found = store_find(store, TENANT, 0, scratch, KEY_BYTES)
        held[i % TURN, 0] = found
        if found != 0:
            held[i % TURN, 1] = object_version(found)
            wrong += not is_whole(found)
    epoch_leave(store, p)
    return wrong


@njit
def fill_up(store: int, p: int, first: int, scratch: int) -> int:
    """Put small objects under keys of its own until the quota is used up; returns how many, or -1."""
    count = tries = 0
    while True:
        store64(scratch, first + count)
        status = store_put(store, p, TENANT, 0, scratch, KEY_BYTES, scratch, 0, 0)
        if status == Status.QUOTA_EXCEEDED:
            return count
        if status == Status.OK:
            count += 1
        elif status == Status.BUSY and tries < TRIES_MAX:  # the other one has a lock and is not running
            libc.sched_yield()
            tries += 1
        else:
            return -1


@njit
def count_up(store: int, p: int, times: int, scratch: int) -> int:
    """Read, add one, put if unchanged, ``times`` times over; returns the number of failures."""
    store64(scratch, 0)
    tries = 0
    for _ in range(times):
        while True:
            epoch_enter(store, p, OLDEST_NONE)
            found = store_find(store, TENANT, 0, scratch, KEY_BYTES)
            store64(scratch + 8, load64(object_value(found)) + 1)
            status = store_put(store, p, TENANT, 0, scratch, KEY_BYTES, scratch + 8, 8, object_version(found))
            reclaim(store, p, 64)
            if status == Status.OK:
                break
            if (
                status in (Status.OUT_OF_MEMORY, Status.BUSY) and tries < TRIES_MAX
            ):  # one that is not running holds a lock, or all that was retired
                libc.sched_yield()
                tries += 1
            elif status != Status.VERSION_CHANGED:
                return 1
    epoch_leave(store, p)
    return 0


@pytest.fixture
def scratch() -> Iterator[int]:
    """Address of room for a key and a value; each forked process has its own copy of it."""
    memory = np.zeros(WORDS_MAX + 2, dtype=np.int64)
    yield int(memory.ctypes.data)


def test_readers_see_whole_values_and_keep_them(store, children, scratch):
    held = np.zeros((TURN, 2), dtype=np.int64)
    operations = 60_000  # some 90 MB of values: the store's memory is used over and over
    # Compiled before the fork.
    write_values(store.address, 0, 0, 16, scratch)
    read_values(store.address, 0, 16, scratch, held)
    assert children(
        [
            lambda: min(write_values(store.address, 0, 0, operations, scratch), 200),
            lambda: min(write_values(store.address, 1, 1 << 30, operations, scratch), 200),
            lambda: min(read_values(store.address, 2, 4 * operations, scratch, held), 200),
            lambda: min(read_values(store.address, 3, 4 * operations, scratch, held), 200),
        ]
    ) == [0, 0, 0, 0]


def test_a_quota_is_exact_with_two_writers(store, children, scratch):
    objects = 60_000
    quota = objects * 64 + bytes_for(objects)
    store.open_tenant(TENANT, quota)
    assert fill_up(store.address, 2, 1 << 40, scratch) == objects
    store.close_tenant(TENANT)
    for _ in store.sweep_tenant(TENANT):
        pass
    store.open_tenant(TENANT, quota)
    assert children(
        [
            lambda: int(fill_up(store.address, 0, 0, scratch) < 0),
            lambda: int(fill_up(store.address, 1, 1 << 32, scratch) < 0),
        ]
    ) == [0, 0]
    account = store.accounts[TENANT]
    assert (account["objects"], account["bytes_used"]) == (objects, quota)


def test_read_modify_write_with_versions_loses_nothing(store, children, scratch):
    zero = bytes(8)
    store.put(TENANT, 0, zero, zero)
    count_up(store.address, 0, 1, scratch)
    times = 100_000
    writers = [lambda p=p: count_up(store.address, p, times, scratch) for p in range(3)]
    assert children(writers) == [0, 0, 0]
    assert int.from_bytes(store.get(TENANT, 0, zero), "little") == 3 * times + 1
