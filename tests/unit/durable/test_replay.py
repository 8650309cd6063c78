"""Putting a store back together: from the log alone, and from copied slots with the log behind them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from splinter import limits
from splinter.durable.catalog import TenantRow
from splinter.durable.disk_state import DiskState
from splinter.durable.folder import DataFolder
from splinter.durable.groups import TENANT_PLACE
from splinter.durable.logger import Logger, Paths
from splinter.durable.recovery import recover
from splinter.durable.replay import _LATER_GROUPS, DamagedEntryError, Replay
from splinter.durable.snapshots import copied
from splinter.errors import BusyError, DiskFailedError
from splinter.store.clock import set_clock
from splinter.store.commit_layout import LOGGED
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.layout import DURABILITY_INTERVAL, DURABILITY_NONE, O_IDENTITY
from splinter.store.log import LogRings
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.store.walk import COPY_BYTES_MAX, turns_over, walk_begins, walk_ends
from tests.support.logs import entries, groups, logged, restored, state_of
from tests.support.transactions import Transaction

TENANT, OTHER = 1, 2


@pytest.fixture
def store() -> Iterator[Store]:
    """A store with two tenants; whatever the test does, it leaves the store sound."""
    made = Store.create(limits.STORE_BYTES_MIN, participants=2)
    for tenant in (TENANT, OTHER):
        made.open_tenant(tenant)
    yield made
    assert made.problems() == []


@pytest.fixture
def rings(store: Store) -> LogRings:
    """The log of the first tenant's changes."""
    return logged(store, TENANT)


def walked(store: Store, room: int = 1 << 20) -> bytes:
    """What a walk over all slabs copies, in pieces of at most ``room``."""
    epoch = walk_begins(store.address)
    assert turns_over(store.address, epoch)
    pieces = [bytes(piece) for piece in copied(store, room)]
    walk_ends(store.address)
    return b"".join(pieces)


def test_only_what_a_tenant_wants_to_keep_is_logged(store: Store, rings: LogRings):
    store.put(OTHER, 0, b"key", b"value")
    assert rings.tails() == [0, 0, 0]
    store.put(TENANT, 0, b"key", b"value")
    assert [int(head["number"]) for head in entries(groups(rings, rings.heads()))] == [1]


def test_the_objects_of_a_tenant_that_is_removed_are_not_logged_one_by_one(store: Store, rings: LogRings):
    store.put(TENANT, 0, b"key", b"value")
    store.close_tenant(TENANT)
    list(store.sweep_tenant(TENANT))
    assert len(list(entries(groups(rings, rings.heads())))) == 1


def test_entries_of_several_writers_are_restored_in_the_tenants_order(store: Store, rings: LogRings):
    for number in range(100):
        store.put(TENANT, 0, b"key %d" % (number % 7), b"%d" % number, participant=number % 2)
        if number % 5 == 0:
            store.delete(TENANT, 0, b"key %d" % (number % 7), participant=1 - number % 2)
    assert state_of(restored([groups(rings, rings.heads())], store), TENANT) == state_of(store, TENANT)


def test_an_entry_may_come_a_group_later_than_those_that_follow_it(store: Store, rings: LogRings):
    first, second = 0, 1
    store.put(TENANT, 0, b"key", b"old", participant=first)
    store.put(TENANT, 0, b"key", b"new", participant=second)
    store.delete(TENANT, 0, b"key", participant=first)
    store.put(TENANT, 0, b"key", b"last", participant=second)
    late = groups(rings, [0, *rings.tails()[1:]])
    early = groups(rings, [rings.tails()[0], 0, 0])
    for order in ([early, late], [late, early], [early, late, early]):  # the last: a log process died before it said so
        assert state_of(restored(order, store), TENANT) == state_of(store, TENANT)


def test_what_follows_an_entry_that_is_missing_is_left_out(store: Store, rings: LogRings):
    taken = rings.heads()
    store.put(TENANT, 0, b"first", b"value")
    there = groups(rings, taken)
    store.put(TENANT, 0, b"second", b"value")
    groups(rings, taken)
    store.put(TENANT, 0, b"third", b"value")
    behind = groups(rings, taken)
    again = Store.create(limits.STORE_BYTES_MIN, participants=2)
    again.open_tenant(TENANT)
    replay = Replay(again, _generations(), np.zeros(limits.TENANTS_MAX, np.int64))
    replay.group(there)
    replay.group(behind)
    assert (replay.entries, sum(replay.waiting.values())) == (1, len(list(entries(behind))))
    assert [stored.key for stored in again.scan(0, tenant=TENANT)] == [b"first"]


@pytest.mark.parametrize("copies", ["from before", "from later", "none"])
def test_nothing_is_restored_that_is_void(store: Store, rings: LogRings, copies: str):
    """Objects were deleted while that was not logged: what log and snapshot have from before is as if it were not there."""
    taken = rings.heads()
    store.put(TENANT, 0, b"old", b"value")
    store.put(TENANT, 0, b"older", b"value")
    snapshot, number = walked(store), int(store.accounts[TENANT]["number"])
    store.set_modes(TENANT, DURABILITY_NONE)
    store.delete(TENANT, 0, b"old")
    store.delete(TENANT, 0, b"older")
    void_until = number + 1
    store.set_modes(TENANT, DURABILITY_INTERVAL, void_until)
    if copies == "from later":
        snapshot, number = walked(store), int(store.accounts[TENANT]["number"])
    store.put(TENANT, 0, b"new", b"value")
    numbers = np.zeros(limits.TENANTS_MAX, np.int64)
    numbers[TENANT] = void_until
    again = Store.create(limits.STORE_BYTES_MIN, participants=2)
    again.open_tenant(TENANT)
    replay = Replay(again, _generations(), numbers)
    if copies != "none":
        places = np.zeros(1, TENANT_PLACE)
        places["tenant"], places["generation"], places["number"] = TENANT, 1, number
        replay.begin(places)
        replay.copies(snapshot)
    replay.group(groups(rings, taken))
    assert not replay.waiting
    replay.end()
    assert state_of(again, TENANT) == state_of(store, TENANT)


def test_where_damage_was_left_out_what_follows_is_restored(store: Store, rings: LogRings):
    """However much follows, no more of it waits than can follow something that comes later."""
    taken, group = rings.heads(), b""
    store.put(TENANT, 0, b"first", b"value")
    replay = _replay()
    replay.group(groups(rings, taken))
    store.put(TENANT, 0, b"lost", b"value")
    store.put(TENANT, 0, b"lost too", b"value")
    groups(rings, taken)
    replay.skips_gaps = True
    for number in range(3 * _LATER_GROUPS):
        store.put(TENANT, 0, b"key %d" % number, b"value")
        group = groups(rings, taken)
        replay.group(group)
        assert sum(replay.waiting.values()) <= _LATER_GROUPS * len(list(entries(group)))
    assert not replay.waiting
    store.put(TENANT, 0, b"lost at the end", b"value")
    groups(rings, taken)
    store.put(TENANT, 0, b"last", b"value")
    replay.group(groups(rings, taken))
    assert replay.waiting
    assert replay.end() == 0
    found = {stored.key for stored in replay._store.scan(0, tenant=TENANT)}
    assert found == {b"first", b"last", *(b"key %d" % number for number in range(3 * _LATER_GROUPS))}
    assert replay._store.problems() == []


@pytest.mark.parametrize("later", range(1, _LATER_GROUPS))
def test_where_damage_was_left_out_nothing_that_may_still_come_is_given_up(store: Store, rings: LogRings, later: int):
    store.put(TENANT, 0, b"key", b"old", participant=0)
    store.put(TENANT, 0, b"key", b"new", participant=1)
    late = groups(rings, [0, *rings.tails()[1:]])
    early = groups(rings, [rings.tails()[0], 0, 0])
    taken = rings.tails()
    replay = _replay()
    replay.skips_gaps = True
    replay.group(early)
    for number in range(later - 1):
        store.put(TENANT, 0, b"key %d" % number, b"value", participant=number % 2)
        replay.group(groups(rings, taken))
    replay.group(late)
    replay.end()
    assert state_of(replay._store, TENANT) == state_of(store, TENANT)


def _replay() -> Replay:
    """Into a store of its own."""
    made = Store.create(limits.STORE_BYTES_MIN, participants=2)
    made.open_tenant(TENANT)
    return Replay(made, _generations(), np.zeros(limits.TENANTS_MAX, np.int64))


def _generations(generation: int = 1) -> np.ndarray:
    generations = np.zeros(limits.TENANTS_MAX, np.int64)
    generations[TENANT] = generation
    return generations


def test_what_an_earlier_tenant_of_the_id_changed_is_passed_over(store: Store, rings: LogRings):
    store.put(TENANT, 0, b"key", b"the former's")
    store.close_tenant(TENANT)
    list(store.sweep_tenant(TENANT))
    store.open_tenant(TENANT, generation=2)
    store.put(TENANT, 0, b"other", b"the present's")
    again = restored([groups(rings, rings.heads())], store)
    assert state_of(again, TENANT) == state_of(store, TENANT)
    assert again.get(TENANT, 0, b"key") is None


def test_a_copy_with_the_log_behind_its_beginning_makes_the_same_store(store: Store, rings: LogRings):
    taken = rings.heads()
    for number in range(300):
        store.put(TENANT, number % 3, b"key %d" % number, bytes(number))
    store.put(OTHER, 0, b"not", b"kept")
    groups(rings, taken)  # is in the snapshot
    numbers = store.accounts["number"].astype(np.int64)
    for number in range(0, 300, 2):  # and all of this happens while it is taken
        store.delete(TENANT, number % 3, b"key %d" % number)
    transaction = Transaction(store, TENANT)
    transaction.put(b"key 3", b"in one")
    transaction.put(b"new", b"commit")
    transaction.end()
    copy = walked(store, COPY_BYTES_MAX)
    store.put(TENANT, 0, b"key 9", b"later")
    again = restored([groups(rings, taken)], store, snapshot=copy, numbers=numbers)
    assert state_of(again, TENANT) == state_of(store, TENANT)
    assert again.get(OTHER, 0, b"not") is None
    assert again.problems() == []


@pytest.mark.parametrize("room", [COPY_BYTES_MAX, COPY_BYTES_MAX + 8, 100_000])
def test_a_walk_has_every_object_wherever_its_pieces_end(store: Store, rings: LogRings, room: int):
    """A piece may be full before the first object of a slab: that one, and its slab, come with the next."""
    random = Random(room)
    for number in range(120):
        store.put(TENANT, number % 3, b"key %d" % number, random.randbytes(random.choice((0, 100, 700, 3000, 40_000, 65_536))))
    again = restored([], store, snapshot=walked(store, room), numbers=store.accounts["number"].astype(np.int64))
    assert state_of(again, TENANT) == state_of(store, TENANT)


def test_what_was_deleted_or_replaced_before_a_walk_is_not_copied(store: Store, rings: LogRings):
    epoch_enter(store.address, 0, OLDEST_NONE)  # nothing is freed
    for value in (b"old", b"new"):
        store.put(TENANT, 0, b"key", value, participant=1)
    store.put(TENANT, 0, b"gone", b"value", participant=1)
    store.delete(TENANT, 0, b"gone", participant=1)
    epoch_leave(store.address, 0)
    again = restored([], store, snapshot=walked(store), numbers=store.accounts["number"].astype(np.int64))
    assert {stored.key: stored.value for stored in again.scan(0, tenant=TENANT)} == {b"key": b"new"}


def test_a_walk_waits_for_who_is_in_the_middle_of_a_turn(store: Store):
    epoch_enter(store.address, 0, OLDEST_NONE)
    epoch = walk_begins(store.address)
    assert not turns_over(store.address, epoch)
    epoch_enter(store.address, 0, OLDEST_NONE)
    assert turns_over(store.address, epoch)
    epoch_leave(store.address, 0)
    walk_ends(store.address)
    assert store.descriptor["walks"] % 2 == 0


def test_bytes_that_are_no_entries_are_told_and_not_read_beyond(store: Store, rings: LogRings):
    store.put(TENANT, 0, b"key", b"value")
    sound = groups(rings, rings.heads())
    wrongs = (0, 1 << 20), (0, 8), (0, 81), (6, 2), (6, 0), (74, 0), (74, 300), (76, 1 << 20)
    for place, wrong in wrongs:
        damaged = bytearray(sound)
        damaged[place : place + (4 if place in (0, 76) else 2)] = wrong.to_bytes(4 if place in (0, 76) else 2, "little")
        with pytest.raises(DamagedEntryError):
            restored([bytes(damaged)], store)
    with pytest.raises(DamagedEntryError):
        restored([sound[:-8]], store)


@pytest.mark.parametrize("tenant", [0, limits.TENANTS_MAX, 0xFFFF])
def test_a_tenant_that_cannot_be_is_damage_wherever_it_stands(store: Store, rings: LogRings, tenant: int):
    store.put(TENANT, 0, b"key", b"value")
    places = np.array([(tenant, 1, 1, 1)], TENANT_PLACE)
    entry, copy = bytearray(groups(rings, rings.heads())), bytearray(walked(store))
    entry[4:6] = tenant.to_bytes(2, "little")
    copy[O_IDENTITY : O_IDENTITY + 2] = tenant.to_bytes(2, "little")
    again = Store.create(limits.STORE_BYTES_MIN, participants=2)
    wide = np.ones(0x10000, np.int64)  # what lies behind the arrays of tenants would let it in
    replay = Replay(again, wide[: limits.TENANTS_MAX], np.zeros(0x10000, np.int64)[: limits.TENANTS_MAX])
    replay._wanted = np.ones(0x10000, np.uint8)[: limits.TENANTS_MAX]
    with pytest.raises(DamagedEntryError):
        replay.begin(places)
    with pytest.raises(DamagedEntryError):
        replay.copies(bytes(copy))
    if tenant:  # 0 is what fills a ring's end
        with pytest.raises(DamagedEntryError):
            replay.group(bytes(entry))
    assert again.problems() == []


@pytest.mark.parametrize("place", range(LOGGED.itemsize + 16 + 8))
def test_any_byte_may_be_wrong(store: Store, rings: LogRings, place: int):
    store.put(TENANT, 0, b"key", b"value")
    damaged = bytearray(groups(rings, rings.heads()))
    damaged[place] ^= 0xFF
    again = Store.create(limits.STORE_BYTES_MIN, participants=2)
    again.open_tenant(TENANT)
    replay = Replay(again, _generations(), np.zeros(limits.TENANTS_MAX, np.int64))
    with contextlib.suppress(DamagedEntryError):
        replay.group(bytes(damaged))
    assert again.problems() == []


def test_a_ring_without_room_takes_no_writes_until_the_disk_has_caught_up(store: Store, rings: LogRings):
    value, taken = bytes(60_000), rings.heads()
    with pytest.raises(BusyError):
        for _ in range(limits.LOG_RING_BYTES // len(value)):
            store.put(TENANT, 0, b"key", value)
    assert store.get(TENANT, 0, b"key") == value
    store.put(OTHER, 0, b"key", value)  # who keeps nothing is not concerned
    tails, told = rings.tails(), groups(rings, taken)
    for number, tail in enumerate(tails):
        rings.settle(number, tail, tail)
    assert store.accounts[TENANT]["durable"] == store.accounts[TENANT]["sequence"]
    again = restored([told], store)
    for _ in range(100):  # round the end of the ring
        store.put(TENANT, 0, b"key", value)
    assert rings.gaps == 0
    assert state_of(restored([told, groups(rings, taken)], store), TENANT) == state_of(store, TENANT)
    assert again.problems() == []


def test_a_disk_that_fails_refuses_writes_and_serves_what_is_there(store: Store, rings: LogRings):
    store.put(TENANT, 0, b"key", b"value")
    rings.tell_failed(is_failed=True)
    with pytest.raises(DiskFailedError):
        store.put(TENANT, 0, b"key", b"other")
    with pytest.raises(DiskFailedError):
        store.delete(TENANT, 0, b"key")
    assert store.get(TENANT, 0, b"key") == b"value"
    rings.tell_failed(is_failed=False)
    store.put(TENANT, 0, b"key", b"other")


def test_beginning_to_log_a_tenant_that_has_objects_leaves_a_gap(store: Store, rings: LogRings):
    store.set_modes(OTHER, DURABILITY_INTERVAL)
    assert rings.gaps == 0  # it has none
    store.set_modes(OTHER, DURABILITY_NONE)
    store.put(OTHER, 0, b"key", b"value")
    store.set_modes(OTHER, DURABILITY_INTERVAL)
    assert rings.gaps == 1


@pytest.mark.parametrize("wall", ["set back", "right"])
def test_the_stores_clock_is_not_earlier_than_the_disk_knows(tmp_path: Path, wall: str, monkeypatch: pytest.MonkeyPatch):
    """Who starts where the clock was set back, to 1970 for want of a battery, makes nothing live for decades."""
    folder, hour = DataFolder(tmp_path / "data"), 3600 * 10**9
    store = Store.create(limits.STORE_BYTES_MIN, participants=1)
    store.open_tenant(TENANT)
    rings = LogRings(store, Region.create("splinter-log", LogRings.bytes_for(1)), 1)
    rings.connect()
    store.set_modes(TENANT, DURABILITY_INTERVAL)
    logger = Logger(store, rings, Paths(folder.log, folder.snapshots, folder.catalog.identity), DiskState())
    set_clock(store.descriptor, store.now_ns + hour)  # as if its own start was after one on a host that was ahead
    store.put(TENANT, 0, b"key", b"value", ttl=2 * hour)
    logger.turn()
    before, expires = store.now_ns, store.scan(0, tenant=TENANT).__next__().expires
    logger.close()
    if wall == "set back":
        monkeypatch.setattr("time.time_ns", lambda: 10**9)
    again = Store.create(limits.STORE_BYTES_MIN, participants=1)
    again.open_tenant(TENANT, generation=1)
    recover(
        folder, again, [TenantRow(TENANT, 1, True, quota_bytes=1 << 40, durability=DURABILITY_INTERVAL)], tell=lambda _: None
    )
    folder.close()
    assert before - hour < again.now_ns < before + hour
    found = again.lookup(TENANT, 0, b"key")
    assert found is not None and found.expires == expires
    set_clock(again.descriptor, expires)
    assert again.get(TENANT, 0, b"key") is None
