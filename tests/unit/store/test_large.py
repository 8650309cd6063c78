"""Large values: their parts are there as long as an object names them, and not much longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from splinter import limits
from splinter.errors import OutOfMemoryError, Status
from splinter.store.clock import look_at_store_clock
from splinter.store.compaction import compact
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.expiry import sweep
from splinter.store.journal import participant_at
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.reclaim import reclaim
from splinter.store.salvage import remove_cut_values
from splinter.store.store import Store
from splinter.wire import PART_KEY_STRUCT
from tests.support.large import find_head, large_value, parts_in, put_head, put_large, put_part, put_parts
from tests.support.logs import groups, logged, restored, state_of
from tests.support.transactions import Transaction

TENANT, OTHER = 1, 2
SECOND = 1_000_000_000
PART = limits.PART_BYTES
SIZES = [limits.VALUE_BYTES_MAX + 1, 2 * PART, 2 * PART + 1, 1_000_000]
STORE_BYTES = 4 * limits.STORE_BYTES_MIN


@pytest.fixture
def store() -> Iterator[Store]:
    """A store with two tenants; whatever the test does, it leaves the store sound."""
    made = Store.create(STORE_BYTES, participants=2)
    for tenant in (TENANT, OTHER):
        made.open_tenant(tenant)
    yield made
    assert made.problems() == []


def value_of(size: int, seed: int = 0) -> bytes:
    return Random(seed).randbytes(size)


def bytes_used(store: Store) -> int:
    return int(store.accounts[TENANT]["bytes_used"])


def sweep_all(store: Store) -> None:
    for _ in range(STORE_BYTES // limits.SLAB_BYTES):
        epoch_enter(store.address, 0, OLDEST_NONE)
        look_at_store_clock(store.address, participant_at(store.address, 0))
        store.participants["sweep_ns"][0] = 0
        sweep(store.address, 0, 1 << 20)
        reclaim(store.address, 0, 1 << 20)
        epoch_leave(store.address, 0)


def pass_time(store: Store, ns: int) -> None:
    store.descriptor["clock_base"] += ns


@pytest.mark.parametrize("size", SIZES)
def test_parts_stay_while_they_are_named_and_go_with_their_object(store: Store, size: int) -> None:
    value = value_of(size)
    before = int(store.accounts[TENANT]["sequence"])
    version = put_large(store, TENANT, 3, b"key", 5, value)
    assert int(store.accounts[TENANT]["sequence"]) == before + 1  # it is one commit
    assert large_value(store, TENANT, 3, b"key") == value
    pass_time(store, 2 * limits.PART_NS)
    sweep_all(store)
    assert large_value(store, TENANT, 3, b"key") == value
    found = store.lookup(TENANT, 3, b"key")
    assert found is not None and found.version == version
    assert store.delete(TENANT, 3, b"key")
    assert parts_in(store, TENANT) == [] and bytes_used(store) == 0


def test_what_nobody_names_is_swept_when_its_time_is_over(store: Store) -> None:
    put_parts(store, TENANT, 3, b"key", 5, value_of(300_000))
    put_part(store, TENANT, 3, b"key", 6, 1, b"alone")
    sweep_all(store)
    assert len(parts_in(store, TENANT)) == 6
    pass_time(store, limits.PART_NS + SECOND)
    sweep_all(store)
    assert parts_in(store, TENANT) == [] and bytes_used(store) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda store: put_parts(store, TENANT, 3, b"key", 5, value_of(200_000)[: 2 * PART]),  # the last one is missing
        lambda store: put_parts(store, TENANT, 3, b"key", 5, value_of(200_001)),  # one is too long
        lambda store: put_parts(store, TENANT, 3, b"key", 5, value_of(199_999)),
        lambda store: put_parts(store, TENANT, 3, b"other", 5, value_of(200_000)),  # of another key
        lambda store: put_parts(store, TENANT, 3, b"kez", 5, value_of(200_000)),
        lambda store: put_parts(store, TENANT, 2, b"key", 5, value_of(200_000)),  # table
        lambda store: put_parts(store, TENANT, 3, b"key", 6, value_of(200_000)),  # id
        lambda store: put_parts(store, OTHER, 3, b"key", 5, value_of(200_000)),  # tenant
    ],
)
def test_a_value_is_put_only_with_all_its_own_parts(store: Store, spoil: Callable[[Store], None]) -> None:
    store.put(TENANT, 3, b"key", b"before")
    spoil(store)
    for condition in (0, 1):  # no object has version 1: so a client gives parts up
        assert put_head(store, TENANT, 3, b"key", 5, 200_000, expected=condition)[0] == Status.NOT_FOUND
        assert store.get(TENANT, 3, b"key") == b"before"
    assert not [one for one in parts_in(store, TENANT) if one.key.startswith(PART_KEY_STRUCT.pack(5, 0)[:8])]


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (0, Status.BAD_LENGTH),
        (limits.VALUE_BYTES_MAX, Status.BAD_LENGTH),
        (limits.LARGE_BYTES_MAX + 1, Status.VALUE_TOO_LARGE),
        ((1 << 64) - 1, Status.VALUE_TOO_LARGE),
        (1 << 63, Status.VALUE_TOO_LARGE),
    ],
)
def test_lengths_are_checked(store: Store, length: int, status: Status) -> None:
    put_parts(store, TENANT, 3, b"key", 5, value_of(limits.VALUE_BYTES_MAX))
    assert put_head(store, TENANT, 3, b"key", 5, length)[0] == status


def test_what_is_refused_leaves_no_parts_and_takes_none_from_others(store: Store) -> None:
    version = put_large(store, TENANT, 0, b"key", 5, value_of(200_000))
    put_parts(store, TENANT, 0, b"key", 6, value_of(200_000))
    assert put_head(store, TENANT, 0, b"key", 6, 200_000, expected=version + 2)[0] == Status.VERSION_CHANGED
    assert len(parts_in(store, TENANT)) == 4
    # The same value again, by who did not hear that it was put: it is there.
    assert put_head(store, TENANT, 0, b"key", 5, 200_000, expected=EXPECT_ABSENT)[0] == Status.VERSION_CHANGED
    assert large_value(store, TENANT, 0, b"key") == value_of(200_000)
    assert put_head(store, TENANT, 0, b"key", 5, 200_000)[0] == Status.OK
    assert large_value(store, TENANT, 0, b"key") == value_of(200_000)
    # A long key that names a part of another object as its own gets nothing.
    assert put_head(store, TENANT, 0, b"kex", 5, 200_000)[0] == Status.NOT_FOUND
    assert large_value(store, TENANT, 0, b"key") == value_of(200_000)


@pytest.mark.parametrize("age", [0, limits.PART_NS + SECOND])
@pytest.mark.parametrize("number", range(4))
def test_nobody_puts_another_part_in_place_of_one(store: Store, number: int, age: int) -> None:
    value = value_of(200_000)
    put_large(store, TENANT, 0, b"key", 5, value)
    put_part(store, TENANT, 0, b"key", 6, 0, b"of no object")
    pass_time(store, age)
    sizes = (1, len(value[number * PART : (number + 1) * PART]), limits.VALUE_BYTES_MAX - 100)  # the audit sees some of them
    for key in (b"key", b"kex"):
        for size in sizes:
            assert put_part(store, TENANT, 0, key, 5, number, bytes(size)) == Status.VERSION_CHANGED
            assert put_part(store, TENANT, 0, key, 6, 0, bytes(size)) == Status.VERSION_CHANGED
    assert put_head(store, TENANT, 0, b"kex", 5, 200_000)[0] == Status.NOT_FOUND
    sweep_all(store)
    assert large_value(store, TENANT, 0, b"key") == value
    assert store.problems() == []


def test_what_a_dead_writer_was_about_to_remove_is_not_its_successor_s_business(store: Store) -> None:
    put_large(store, TENANT, 0, b"key", 5, value_of(200_000))
    one, _ = find_head(store, TENANT, 0, b"key")
    for gone in (one, int(store.descriptor["slabs"]) + 7 * limits.SLAB_BYTES):  # by now another object's slot, or nobody's
        store.participants["intent"]["gone"][0] = gone
        store.put(TENANT, 0, b"other %d" % gone, b"value", participant=0)
        store.participants["intent"]["gone"][0] = gone
        assert store.delete(TENANT, 0, b"other %d" % gone, participant=0)
        assert large_value(store, TENANT, 0, b"key") == value_of(200_000)


def test_a_put_that_looks_for_room_does_not_take_its_own_parts(store: Store) -> None:
    store.put(TENANT, 1, b"over", bytes(1000), ttl=SECOND)
    put_parts(store, TENANT, 0, b"key", 5, value_of(200_000))
    pass_time(store, limits.PART_NS + SECOND)  # a slow upload, which no sweep has come across
    store.open_tenant(TENANT, bytes_used(store))  # so the head finds room only where something is over
    assert put_head(store, TENANT, 0, b"key", 5, 200_000)[0] == Status.OK
    assert store.get(TENANT, 1, b"over") is None
    assert large_value(store, TENANT, 0, b"key") == value_of(200_000)


def test_hostile_parts_are_swept_as_any(store: Store) -> None:
    put_large(store, TENANT, 0, b"key", 5, value_of(200_000))
    for number, value in enumerate(
        [b"", b"\0", bytes(7), b"\xff" * 8, b"\0\0\xff\0\0\0\0\0", b"\0\0\3\0\0\0\0\0key", bytes(65536)]
    ):
        for key in (bytes([number]), (5).to_bytes(8, "little") + (1 << 63).to_bytes(8, "little"), bytes(255)):
            store.put(TENANT, limits.TABLE_PARTS, key, value, ttl=SECOND)
    pass_time(store, limits.PART_NS)
    sweep_all(store)
    assert len(parts_in(store, TENANT)) == 4
    assert large_value(store, TENANT, 0, b"key") == value_of(200_000)


def test_each_way_to_replace_it_takes_its_parts(store: Store) -> None:
    def transact() -> None:
        transaction = Transaction(store, TENANT)
        transaction.put(b"key", b"new")
        transaction.put(b"more", b"new")
        assert transaction.end() == Status.OK

    ends: list[Callable[[], object]] = [
        lambda: store.put(TENANT, 0, b"key", b"small"),
        lambda: store.delete(TENANT, 0, b"key"),
        lambda: put_large(store, TENANT, 0, b"key", 99, value_of(65_537)) and store.delete(TENANT, 0, b"key"),
        transact,
        lambda: (pass_time(store, 3600 * SECOND), sweep_all(store)),
    ]
    for number, end in enumerate(ends):
        put_parts(store, TENANT, 0, b"key", number, value_of(200_000))
        status, _ = put_head(store, TENANT, 0, b"key", number, 200_000, ttl=1000 * SECOND)
        assert status == Status.OK and len(parts_in(store, TENANT)) == 4
        end()
        assert parts_in(store, TENANT) == [], number


def test_another_moment_and_a_move_keep_the_parts() -> None:
    store = Store.create(limits.STORE_BYTES_MIN, participants=1)
    store.open_tenant(TENANT)
    values: dict[bytes, bytes] = {}
    with pytest.raises(OutOfMemoryError):
        for number in range(1000):
            key, value = b"%d" % number, value_of(70_000 + number * 1000, number)
            put_large(store, TENANT, 0, key, number, value)
            store.expire(TENANT, 0, key, 3600 * SECOND)
            store.expire(TENANT, 0, key, 0)
            values[key] = value
            store.put(TENANT, 1, key, bytes(60_000))  # beside each part one that goes
    for key in list(values):
        store.delete(TENANT, 1, key)
    with pytest.raises(OutOfMemoryError):  # short of slabs, so that sparse ones are emptied
        for number in range(100_000):
            store.put(TENANT, 2, b"%d" % number, bytes(20_000))
    before = {stored.key: stored.version for stored in parts_in(store, TENANT)}
    moved_before = int(store.descriptor["drain_number"])
    for turn in range(2000):
        epoch_enter(store.address, 0, OLDEST_NONE)
        compact(store.address, 0, turn * 2 * limits.COMPACT_PAUSE_NS, True)
        reclaim(store.address, 0, 1 << 20)
        epoch_leave(store.address, 0)
    assert int(store.descriptor["drain_number"]) > moved_before
    assert {stored.key: stored.version for stored in parts_in(store, TENANT)} == before
    assert {key: large_value(store, TENANT, 0, key) for key in values} == values
    assert store.problems() == []


def test_a_log_makes_them_again(store: Store) -> None:
    rings = logged(store, TENANT)
    taken, payloads = rings.heads(), []
    values = {}
    for number in range(40):
        key = b"%d" % (number % 7)
        if number % 5 == 4:
            store.delete(TENANT, 0, key)
            values.pop(key, None)
        elif number % 5 == 3:
            values[key] = b"small"
            store.put(TENANT, 0, key, b"small")
        else:
            values[key] = value_of(70_000 + 7000 * number, number)
            put_large(store, TENANT, 0, key, number, values[key])
        payloads.append(groups(rings, taken))
        ring_says = rings.tails()
        rings.free(ring_says, ring_says)
    again = restored(payloads, store)
    assert state_of(again, TENANT) == state_of(store, TENANT)
    for key, value in values.items():
        assert (large_value(again, TENANT, 0, key) or again.get(TENANT, 0, key)) == value
    assert len(parts_in(again, TENANT)) == len(parts_in(store, TENANT))
    assert again.problems() == []


def test_what_a_damaged_log_lacks_a_part_of_is_left_out(store: Store) -> None:
    rings = logged(store, TENANT)
    put_large(store, TENANT, 0, b"whole", 1, value_of(200_000))
    put_large(store, TENANT, 0, b"cut", 2, value_of(200_000))
    assert store.delete(TENANT, limits.TABLE_PARTS, PART_KEY_STRUCT.pack(2, 1))
    again = restored([groups(rings, rings.heads())], store)
    assert again.problems() != []
    with again.epoch():
        assert remove_cut_values(again.address, limits.PARTICIPANT_CONTROL) == 1
    assert large_value(again, TENANT, 0, b"whole") == value_of(200_000) and again.get(TENANT, 0, b"cut") is None
    assert len(parts_in(again, TENANT)) == 4 and again.problems() == []
    store.delete(TENANT, 0, b"cut")
