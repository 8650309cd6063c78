"""A store that is full is put back together in as much memory: what the log replaced is free again before more comes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from splinter import limits
from splinter.errors import OutOfMemoryError
from splinter.store.log import LogRings
from splinter.store.store import Store
from tests.support.logs import groups, logged, restored, state_of
from tests.unit.durable.test_replay import walked

TENANT, MEMORY = 1, limits.STORE_BYTES_MIN
_OVERWRITES, _GROUP = 10_000, 3000


def _any_size(dice: Random, _: int) -> int:
    return dice.randrange(20, 300)


def _growing(dice: Random, number: int) -> int:
    """Each thousand of another size: the slabs of one become those of the next."""
    return dice.randrange(200 * (number // 1000), 200 * (number // 1000 + 1))


@pytest.mark.parametrize("size", [_any_size, _growing])
def test_a_full_store_is_restored_in_as_much_memory(size: Callable[[Random, int], int]) -> None:
    dice, store = Random(3), Store.create(MEMORY, participants=2)
    store.open_tenant(TENANT)
    rings, payloads = logged(store, TENANT), list[bytes]()
    taken, count, refused = rings.heads(), 0, 0

    def put(key: int, value_bytes: int) -> None:
        store.put(TENANT, 0, b"key %d" % key, bytes(value_bytes))
        if int(store.accounts[TENANT]["number"]) % _GROUP == 0:
            payloads.append(_group(rings, taken))

    with pytest.raises(OutOfMemoryError):
        while True:
            put(count, size(dice, 0))
            count += 1
    for number in range(_OVERWRITES):
        try:
            put(dice.randrange(count), size(dice, number))
        except OutOfMemoryError:
            refused += 1
    payloads.append(_group(rings, taken))
    assert refused < _OVERWRITES
    for made in (restored(payloads, store, memory=MEMORY), _from_snapshot(store, payloads[-1])):
        assert state_of(made, TENANT) == state_of(store, TENANT)
        assert made.problems() == []


def _group(rings: LogRings, taken: list[int]) -> bytes:
    """What a turn of the log process takes, and settles."""
    group = groups(rings, taken)
    for number, tail in enumerate(rings.tails()):
        rings.settle(number, tail, tail)
    return group


def _from_snapshot(store: Store, payload: bytes) -> Store:
    """What a snapshot has, and a piece of the log that it has as well."""
    numbers = np.zeros(limits.TENANTS_MAX, np.int64)
    numbers[TENANT] = int(store.accounts[TENANT]["number"])
    return restored([payload], store, snapshot=walked(store), numbers=numbers, memory=MEMORY)
