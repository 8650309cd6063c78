"""Where slots come from and go to, and when their memory is used again."""

from __future__ import annotations

import ctypes

from splinter import limits
from splinter.errors import Status
from splinter.store.classes import class_for, magazine_slots, slots_per_slab
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave, epoch_now, epoch_oldest
from splinter.store.layout import OBJECT_BYTES
from splinter.store.objects import object_value, object_value_length, object_version
from splinter.store.operations import store_find, store_put
from splinter.store.reclaim import reclaim
from tests.support.epochs import is_safe, retire_stamp

TENANT = 1
UNLISTED = limits.TABLE_EXTENSIONS  # a table whose objects are in no roster: they alone take slots
READER, WRITER = 0, 1
MANY = 1 << 20


def find(store, key: bytes) -> int:
    """Address of an object of table 0, or 0."""
    return int(store_find(store.address, TENANT, 0, ctypes.cast(ctypes.c_char_p(key), ctypes.c_void_p).value, len(key)))


def read(found: int) -> bytes:
    """The value of the object at an address."""
    return ctypes.string_at(object_value(found), object_value_length(found))


def settle(store, participant: int = WRITER) -> int:
    """Reclaim all that can be; returns the number of slots."""
    freed = 0
    for _ in range(3):  # one turn to begin a new epoch, one to enter it, one to find all others there
        epoch_enter(store.address, participant, OLDEST_NONE)
        freed += int(reclaim(store.address, participant, MANY))
    epoch_leave(store.address, participant)
    return freed


def test_a_reader_keeps_what_it_found(store):
    store.put(TENANT, 0, b"key", b"old" * 10, participant=WRITER)
    epoch_enter(store.address, READER, OLDEST_NONE)
    found = find(store, b"key")
    version = object_version(found)
    for turn in range(50):
        store.put(TENANT, 0, b"key", bytes([turn]) * 30, participant=WRITER)
    assert settle(store) == 0
    assert (read(found), object_version(found)) == (b"old" * 10, version)
    epoch_leave(store.address, READER)
    assert settle(store) == 50
    assert object_version(found) == 0  # so a reader without an epoch sees that it is gone


def test_a_reader_in_a_later_epoch_keeps_only_what_is_newer(store):
    store.put(TENANT, 0, b"key", b"1", participant=WRITER)
    epoch_enter(store.address, READER, OLDEST_NONE)
    store.put(TENANT, 0, b"key", b"2", participant=WRITER)
    settle(store)
    epoch_enter(store.address, READER, OLDEST_NONE)  # now newer than what was retired
    found = find(store, b"key")
    store.put(TENANT, 0, b"key", b"3", participant=WRITER)
    assert settle(store) <= 1
    assert read(found) == b"2"
    epoch_leave(store.address, READER)
    settle(store)


def test_a_task_holds_the_epoch_it_began_in(store):
    store.put(TENANT, 0, b"key", b"1", participant=WRITER)
    epoch_enter(store.address, READER, OLDEST_NONE)
    began = epoch_now(store.address)
    found = find(store, b"key")
    store.put(TENANT, 0, b"key", b"2", participant=WRITER)
    for _ in range(3):
        epoch_enter(store.address, READER, began)  # the reader's loop goes on, the task sleeps
        assert settle(store) == 0
    assert read(found) == b"1"
    epoch_leave(store.address, READER)
    assert settle(store) == 1


def test_what_waits_does_not_grow_by_what_turns_retire_beyond_their_bound(store):
    """A packet may have many writes, and a turn many packets."""
    most, waiting = 8, []
    at = ctypes.cast(ctypes.c_char_p(b"key"), ctypes.c_void_p).value
    for _ in range(60):
        epoch_enter(store.address, WRITER, OLDEST_NONE)
        for _ in range(5 * most):
            assert store_put(store.address, WRITER, TENANT, 0, at, 3, at, 3, 0, 0, 0) == Status.OK
        reclaim(store.address, WRITER, most)
        waiting.append(int(store.participants["limbo_bytes"][WRITER]))
    assert max(waiting[30:]) <= max(waiting[:10])
    epoch_leave(store.address, WRITER)


def test_whoever_comes_online_later_is_waited_for(store):
    """With everybody offline all is ripe; that must not be remembered for what is retired afterwards."""
    store.put(TENANT, UNLISTED, b"other", b"", participant=WRITER)
    store.delete(TENANT, UNLISTED, b"other", participant=WRITER)
    assert reclaim(store.address, WRITER, MANY) == 1  # the writer is offline as well
    store.put(TENANT, 0, b"key", b"kept", participant=WRITER)
    epoch_enter(store.address, READER, OLDEST_NONE)
    found = find(store, b"key")
    store.delete(TENANT, 0, b"key", participant=WRITER)
    assert settle(store) == 0
    assert read(found) == b"kept"
    epoch_leave(store.address, READER)


def test_the_oldest_epoch_is_never_newer_than_the_global_one(store):
    assert epoch_oldest(store.address) == epoch_now(store.address)
    epoch_enter(store.address, READER, OLDEST_NONE)
    assert epoch_oldest(store.address) == epoch_now(store.address)
    epoch_leave(store.address, READER)


def test_what_was_dated_is_safe_when_every_participant_has_moved_on(store):
    epoch_enter(store.address, READER, OLDEST_NONE)
    stamp = retire_stamp(store)
    assert not is_safe(store, stamp)
    epoch_enter(store.address, READER, OLDEST_NONE)
    assert is_safe(store, stamp)
    epoch_leave(store.address, READER)


def test_reclaim_keeps_to_its_limit(store):
    for number in range(20):
        store.put(TENANT, UNLISTED, b"%d" % number, b"", participant=WRITER)
    epoch_enter(store.address, READER, OLDEST_NONE)
    for number in range(20):
        store.delete(TENANT, UNLISTED, b"%d" % number, participant=WRITER)
    epoch_leave(store.address, READER)
    assert [reclaim(store.address, WRITER, 8) for _ in range(4)] == [8, 8, 4, 0]


def test_slots_that_one_participant_frees_reach_another(store):
    """If they stayed with the first, the second would need as many slabs again."""
    value = bytes(1000)
    size_class = class_for(OBJECT_BYTES + 8 + len(value))
    count = 10 * magazine_slots(size_class)
    keys = [number.to_bytes(8, "little") for number in range(count)]
    for key in keys:
        store.put(TENANT, UNLISTED, key, value, participant=WRITER)
    before = store.usage().slabs_used
    for key in keys:
        store.delete(TENANT, UNLISTED, key, participant=WRITER)
    settle(store)
    assert store.problems() == []
    assert store.usage().slabs_used < before
    for key in keys[: count - 3 * magazine_slots(size_class)]:
        store.put(TENANT, UNLISTED, key, value, participant=READER)
    assert store.usage().slabs_used <= before


def test_slabs_are_taken_one_at_a_time(store):
    size_class = class_for(OBJECT_BYTES + 8 + 5000)
    for number in range(slots_per_slab(size_class) + 1):
        assert store.usage().slabs_used == (0 if number == 0 else 1)
        store.put(TENANT, UNLISTED, number.to_bytes(8, "little"), bytes(5000))
    assert store.usage().slabs_used == 2


def test_a_put_that_is_refused_takes_no_slot(store):
    store.open_tenant(TENANT, 0)
    key = b"key"
    address = ctypes.cast(ctypes.c_char_p(key), ctypes.c_void_p).value
    for _ in range(10 * limits.MAGAZINE_SLOTS_MAX):
        assert store_put(store.address, WRITER, TENANT, 0, address, 3, address, 0, 0) != 0
    lists = store.participants[WRITER]["lists"][0]
    assert lists["bump_end"] - lists["bump"] == limits.SLAB_BYTES // 16
