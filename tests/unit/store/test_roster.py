"""Each key of a tenant has a place in its roster, which it keeps; places and chunks come and go with keys."""

from __future__ import annotations

import pytest

from splinter import limits
from splinter.errors import OutOfMemoryError, QuotaExceededError, Status
from splinter.store.compaction import compact
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.journal import participant_at
from splinter.store.layout import OBJECT, OBJECT_BYTES
from splinter.store.objects import object_position
from splinter.store.operations import store_find
from splinter.store.reclaim import reclaim
from splinter.store.roster import cell_entry, chunk_cells, find_chunk
from splinter.store.roster_layout import CELL_BITS
from splinter.store.slabs import retreat
from splinter.store.staging import stage_put
from splinter.store.store import Store
from tests.support.rosters import bytes_for, chunks_of, roster_bytes
from tests.support.transactions import Transaction
from tests.unit.store.store_scenario import address_of

TENANT, OTHER = 1, 2
HOUR = 3600 * 10**9
FIRST, SECOND = (int(chunk_cells(number)) for number in range(2))


def position_of(store: Store, key: bytes, table: int = 0) -> int:
    """Where a key is in the roster; -1: nowhere."""
    found = store_find(store.address, TENANT, table, address_of(key), len(key))
    return int(object_position(found)) if found != 0 else -1


def put_many(store: Store, numbers: range, size: int = 0) -> None:
    for number in numbers:
        store.put(TENANT, 0, b"%d" % number, bytes(size))


def test_a_key_keeps_its_position(store: Store) -> None:
    put_many(store, range(5))
    position = position_of(store, b"3")
    assert [position_of(store, b"%d" % number) for number in range(5)] == [0, 1, 2, 3, 4]
    store.put(TENANT, 0, b"3", bytes(5000))
    store.expire(TENANT, 0, b"3", HOUR)
    transaction = Transaction(store, TENANT)
    transaction.put(b"3", b"again")
    transaction.delete(b"4")
    transaction.put(b"new", b"")
    assert transaction.end() == Status.OK
    assert position_of(store, b"3") == position
    assert position_of(store, b"new") == 5  # the other one left its position when all of it had happened
    store.put(TENANT, 0, b"next", b"")
    assert position_of(store, b"next") == 4


def test_a_deleted_keys_position_is_used_again(store: Store) -> None:
    put_many(store, range(FIRST))
    store.delete(TENANT, 0, b"7")
    store.delete(TENANT, 0, b"2")
    put_many(store, range(100, 102))
    assert [position_of(store, b"%d" % number) for number in (100, 101)] == [2, 7]
    assert roster_bytes(store, TENANT) == bytes_for(FIRST)


def test_tables_share_the_roster_and_the_systems_objects_are_not_in_it(store: Store) -> None:
    store.put(TENANT, limits.TABLE_EXTENSIONS, b"extension", b"")
    assert chunks_of(store, TENANT) == []
    store.put(TENANT, 0, b"key", b"")
    store.put(TENANT, limits.TABLES_MAX - 1, b"key", b"")
    assert [position_of(store, b"key", table) for table in (0, limits.TABLES_MAX - 1)] == [0, 1]
    assert int(store.accounts["objects"][TENANT]) == 3  # chunks are not counted


def test_cells_name_the_entries_of_keys(store: Store) -> None:
    put_many(store, range(3))
    store.delete(TENANT, 0, b"1")
    chunk = find_chunk(store.address, participant_at(store.address, 0), TENANT, 0)
    assert [cell_entry(store.address, chunk, cell) != 0 for cell in range(4)] == [True, False, True, False]


def test_chunks_come_and_go_with_keys(store: Store) -> None:
    put_many(store, range(FIRST + SECOND + 1))
    assert chunks_of(store, TENANT) == [0, 1, 2]
    assert roster_bytes(store, TENANT) == bytes_for(FIRST + SECOND + 1)
    for number in range(FIRST, FIRST + SECOND):
        store.delete(TENANT, 0, b"%d" % number)
    assert chunks_of(store, TENANT) == [0, 2]
    assert position_of(store, b"%d" % (FIRST + SECOND)) == 2 << CELL_BITS
    put_many(store, range(1000, 1000 + int(chunk_cells(2))))  # it fills the third, and then the one that is missing
    assert chunks_of(store, TENANT) == [0, 1, 2]
    for number in [*range(FIRST), FIRST + SECOND, *range(1000, 1000 + int(chunk_cells(2)))]:
        store.delete(TENANT, 0, b"%d" % number)
    account = store.accounts[TENANT]
    assert [int(account[name]) for name in ("bytes_used", "objects", "roster_chunks", "roster_end", "roster_hand")] == [0] * 5


def test_numbers_of_chunks_are_used_again(store: Store) -> None:
    """Keys that come at one end and go at the other: a queue."""
    length = FIRST + SECOND + int(chunk_cells(2)) + 3 * int(chunk_cells(3))
    put_many(store, range(length))
    ends = []
    for first in range(10 * length):
        store.delete(TENANT, 0, b"%d" % first)
        put_many(store, range(length + first, length + first + 1))
        ends.append(int(store.accounts["roster_end"][TENANT]))
    assert max(ends) <= 8


def test_holes_elsewhere_are_found_within_a_round(store: Store) -> None:
    cells = [int(chunk_cells(number)) for number in range(12)]
    put_many(store, range(sum(cells)))
    in_second = range(FIRST, FIRST + SECOND - 1)
    for number in in_second:
        store.delete(TENANT, 0, b"%d" % number)
    assert int(store.accounts["roster_hand"][TENANT]) == 2
    store.accounts["roster_hand"][TENANT] = 0  # as if another chunk had been filled since
    put_many(store, range(10_000, 10_000 + 2 * cells[-1]))
    assert len(chunks_of(store, TENANT)) <= len(cells) + 2
    assert any(position_of(store, b"%d" % number) >> CELL_BITS == 1 for number in range(10_000, 10_000 + 2 * cells[-1]))


@pytest.mark.parametrize("size", [0, 60, 200, 5000])
def test_the_chunk_does_not_take_the_objects_slot(store: Store, size: int) -> None:
    """With one of these sizes they are of the same class."""
    put_many(store, range(FIRST))
    value = bytes(range(256)) * 20
    store.put(TENANT, 0, b"next", value[:size])
    assert store.get(TENANT, 0, b"next") == value[:size]
    assert chunks_of(store, TENANT) == [0, 1]


def test_a_value_in_fragments_gets_a_place(store: Store) -> None:
    put_many(store, range(FIRST))
    value, size = bytes(range(200)) * 10, limits.FRAGMENT_BYTES
    for index in range(2):
        piece = value[index * size :][:size]
        status = stage_put(store.address, 0, 7, 1, TENANT, 0, address_of(b"k"), 1, 2, index, address_of(piece), len(piece), 0)[
            0
        ]
        assert status == Status.OK
    assert store.get(TENANT, 0, b"k") == value
    assert chunks_of(store, TENANT) == [0, 1]


def test_a_quota_without_room_for_a_chunk_refuses_new_keys_and_nothing_else(store: Store) -> None:
    put_many(store, range(FIRST))
    used = int(store.accounts["bytes_used"][TENANT])
    store.open_tenant(TENANT, used + 64 + bytes_for(FIRST + 1) - bytes_for(FIRST) - 1)
    with pytest.raises(QuotaExceededError):
        store.put(TENANT, 0, b"new", b"")
    transaction = Transaction(store, TENANT)
    transaction.put(b"new", b"")
    transaction.put(b"newer", b"")
    assert transaction.end() == Status.QUOTA_EXCEEDED
    assert (int(store.accounts["bytes_used"][TENANT]), chunks_of(store, TENANT)) == (used, [0])
    store.put(TENANT, 0, b"3", bytes(60))
    store.delete(TENANT, 0, b"4")
    store.put(TENANT, 0, b"new", b"")
    assert position_of(store, b"new") == 4
    store.open_tenant(TENANT, int(store.accounts["bytes_used"][TENANT]) + 64 + bytes_for(FIRST + 1) - bytes_for(FIRST))
    store.put(TENANT, 0, b"newer", b"")


def test_memory_without_room_for_a_chunk_refuses_new_keys_and_nothing_else(store: Store) -> None:
    put_many(store, range(FIRST))
    store.descriptor["slabs_total"] = store.descriptor["slabs_used"] - store.descriptor["slabs_pooled"]
    with pytest.raises(OutOfMemoryError):
        store.put(TENANT, 0, b"new", b"")
    store.put(TENANT, 0, b"3", b"again")
    store.delete(TENANT, 0, b"4")
    store.put(TENANT, 0, b"new", b"")
    store.descriptor["slabs_total"] += 10
    store.put(TENANT, 0, b"newer", b"")
    assert chunks_of(store, TENANT) == [0, 1]


def test_a_commit_that_is_taken_back_leaves_no_place(store: Store) -> None:
    put_many(store, range(FIRST - 1))
    store.open_tenant(TENANT, int(store.accounts["bytes_used"][TENANT]) + 1000)
    transaction = Transaction(store, TENANT)
    for number in range(100, 103):
        transaction.put(b"%d" % number, bytes(2000))
    transaction.delete(b"1")
    assert transaction.end() == Status.QUOTA_EXCEEDED
    assert store.problems() == [] and chunks_of(store, TENANT) == [0]
    assert position_of(store, b"1") == 1


def test_a_tenant_that_goes_takes_its_roster_along(store: Store) -> None:
    store.open_tenant(OTHER)
    store.put(OTHER, 0, b"kept", b"")
    put_many(store, range(FIRST + SECOND + 5))
    store.close_tenant(TENANT)
    for _ in store.sweep_tenant(TENANT):
        pass
    account = store.accounts[TENANT]
    assert (int(account["bytes_used"]), int(account["roster_chunks"]), chunks_of(store, TENANT)) == (0, 0, [])
    store.open_tenant(TENANT, generation=2)
    put_many(store, range(3))
    assert position_of(store, b"0") == 0 and chunks_of(store, OTHER) == [0]


def test_a_chunk_is_moved_with_what_it_says(store: Store) -> None:
    """It stands among objects of its own size, which go."""
    count = FIRST + SECOND + int(chunk_cells(2)) + 400
    put_many(store, range(count), 1000 - OBJECT_BYTES)
    kept = range(5, count, 64)
    for number in set(range(count)) - set(kept):
        store.delete(TENANT, 0, b"%d" % number)
    positions = [position_of(store, b"%d" % number) for number in kept]
    me = participant_at(store.address, 0)
    before = {number: int(find_chunk(store.address, me, TENANT, number)) for number in chunks_of(store, TENANT)}
    for _ in range(3):
        epoch_enter(store.address, limits.PARTICIPANT_CONTROL, OLDEST_NONE)
        reclaim(store.address, limits.PARTICIPANT_CONTROL, 2 * count)
    epoch_leave(store.address, limits.PARTICIPANT_CONTROL)
    retreat(store.address, limits.PARTICIPANT_CONTROL)
    total = int(store.descriptor["slabs_total"])
    for turn in range(1, 200):
        store.descriptor["slabs_total"] = store.descriptor["slabs_used"] - store.descriptor["slabs_pooled"] + 1
        epoch_enter(store.address, 0, OLDEST_NONE)
        reclaim(store.address, 0, 1000)
        compact(store.address, 0, turn * 2 * limits.COMPACT_PAUSE_NS, True)
    store.descriptor["slabs_total"] = total
    after = {number: int(find_chunk(store.address, me, TENANT, number)) for number in chunks_of(store, TENANT)}
    assert after.keys() == before.keys() and after != before
    assert [position_of(store, b"%d" % number) for number in kept] == positions


def test_readers_may_write_their_byte_late(store: Store) -> None:
    """Also while the word is a date: the slot becomes free all the same, and takes another object."""
    store.put(TENANT, 0, b"key", b"1", participant=0)
    found = store_find(store.address, TENANT, 0, address_of(b"key"), 3)
    store.delete(TENANT, 0, b"key", participant=0)
    store.put(TENANT, 0, b"key", b"1", participant=0)
    found = store_find(store.address, TENANT, 0, address_of(b"key"), 3)
    header = store.slabs_region.array(OBJECT, 1, found - store.slabs_region.address)
    epoch_enter(store.address, 1, OLDEST_NONE)
    store.put(TENANT, 0, b"key", b"2", participant=0)
    header["retired"] |= 0xFF << 56
    for _ in range(4):
        epoch_enter(store.address, 0, OLDEST_NONE)
        epoch_enter(store.address, 1, OLDEST_NONE)
        reclaim(store.address, 0, 100)
    assert int(store.participants["limbo_head"][0]) == 0
