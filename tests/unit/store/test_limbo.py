"""What waits in limbo because of an old epoch, who is to give way, and what others are told meanwhile."""

from __future__ import annotations

import pytest

from splinter import limits
from splinter.errors import BusyError, OutOfMemoryError
from splinter.store.classes import class_bytes, class_for
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave, epoch_now
from splinter.store.layout import OBJECT_BYTES
from splinter.store.limbo import is_held_up, must_give_way
from splinter.store.reclaim import reclaim
from splinter.store.store import Store

TENANT = 1
HOLDER, WRITER, YOUNGER = 0, 1, 2
VALUE = bytes(60_000)
SLOT_BYTES = class_bytes(class_for(OBJECT_BYTES + 3 + len(VALUE)))
SHARE_BYTES = limits.STORE_BYTES_MIN * 7 // 8 // limits.LIMBO_SHARE


def turn(store: Store, participant: int) -> None:
    """A worker's turn in which nothing happens."""
    epoch_enter(store.address, participant, OLDEST_NONE)
    reclaim(store.address, participant, limits.RECLAIM_SLOTS_MAX)
    epoch_leave(store.address, participant)


def overwrite(store: Store, times: int) -> None:
    for _ in range(times):
        store.put(TENANT, 0, b"key", VALUE, participant=WRITER)


def hold(store: Store, participant: int = HOLDER) -> int:
    """Have a participant hold the present epoch, as for a task."""
    epoch = int(epoch_now(store.address))
    epoch_enter(store.address, participant, epoch)
    return epoch


def limbo_bytes(store: Store) -> int:
    return int(store.participants["limbo_bytes"][WRITER])


def test_what_waits_is_counted_in_bytes(store: Store) -> None:
    overwrite(store, 1)
    hold(store)
    overwrite(store, 20)
    assert limbo_bytes(store) == 20 * SLOT_BYTES
    store.put(TENANT, 0, b"another", b"x", participant=WRITER)
    store.delete(TENANT, 0, b"another", participant=WRITER)
    assert limbo_bytes(store) == 20 * SLOT_BYTES + class_bytes(class_for(OBJECT_BYTES + 7 + 1))
    epoch_leave(store.address, HOLDER)
    for _ in range(5):
        turn(store, WRITER)
    assert limbo_bytes(store) == 0


def test_who_holds_the_oldest_epoch_gives_way_when_more_than_a_share_waits(store: Store) -> None:
    overwrite(store, 1)
    held = hold(store)
    overwrite(store, SHARE_BYTES // SLOT_BYTES - 2)
    assert not must_give_way(store.address, held)
    younger = hold(store, YOUNGER)
    assert younger > held
    overwrite(store, 4)
    assert must_give_way(store.address, held)
    assert not must_give_way(store.address, younger)  # its end would free nothing
    epoch_leave(store.address, HOLDER)
    # What waits is not yet known to wait for the younger: perhaps it is being freed.
    assert not must_give_way(store.address, younger)
    epoch_leave(store.address, YOUNGER)


def test_where_nothing_is_held_nobody_gives_way(store: Store) -> None:
    overwrite(store, 500)
    assert not must_give_way(store.address, int(epoch_now(store.address)))
    assert not is_held_up(store.address)


def test_a_store_that_is_full_only_because_of_an_old_epoch_says_busy(store: Store) -> None:
    overwrite(store, 1)
    held = hold(store)
    with pytest.raises(BusyError):
        overwrite(store, 1000)
    assert must_give_way(store.address, held)
    epoch_leave(store.address, HOLDER)  # it gives way
    for _ in range(3):
        turn(store, WRITER)
    overwrite(store, 500)


def test_a_store_that_is_full_of_objects_says_so(store: Store) -> None:
    with pytest.raises(OutOfMemoryError):
        for number in range(1000):
            store.put(TENANT, 0, number.to_bytes(3, "little"), VALUE, participant=WRITER)
    assert not must_give_way(store.address, int(epoch_now(store.address)))


def test_little_waits_and_is_wanted(store: Store) -> None:
    """Nearly full of objects: what waits is far from a share, but it is what somebody needs."""
    count = 0
    with pytest.raises(OutOfMemoryError):
        while True:
            store.put(TENANT, 0, count.to_bytes(3, "little"), VALUE, participant=WRITER)
            count += 1
    store.delete(TENANT, 0, (0).to_bytes(3, "little"), participant=WRITER)
    for _ in range(3):
        turn(store, WRITER)
    held = hold(store)
    store.put(TENANT, 0, (1).to_bytes(3, "little"), VALUE, participant=WRITER)
    for _ in range(limits.BLOCKED_TURNS):
        turn(store, WRITER)
    with pytest.raises(BusyError):
        store.put(TENANT, 0, (1).to_bytes(3, "little"), VALUE, participant=WRITER)
    assert must_give_way(store.address, held)
    epoch_leave(store.address, HOLDER)
    for _ in range(3):
        turn(store, WRITER)
    store.put(TENANT, 0, (1).to_bytes(3, "little"), VALUE, participant=WRITER)
