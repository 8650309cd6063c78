"""Puts in fragments."""

from __future__ import annotations

import ctypes
import itertools
import random
import time
from collections import Counter

import pytest

from splinter import limits
from splinter.errors import Status
from splinter.store.staging import (
    stage_begin,
    stage_drop,
    stage_expire,
    stage_find,
    stage_is_complete,
    stage_publish,
    stage_put,
    stage_write,
)

TENANT, WORKER, CLIENT = 1, 0, 0x1234567890ABCDEF
FRAGMENT = limits.FRAGMENT_BYTES


def address_of(data: bytes) -> int:
    """Where the bytes of a bytes object lie, as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def fragments_of(value: bytes) -> list[bytes]:
    """The pieces that a client sends."""
    return [value[at : at + FRAGMENT] for at in range(0, len(value), FRAGMENT)]


def send(
    store,
    sequence: int,
    key: bytes,
    piece: bytes,
    index: int,
    count: int,
    *,
    tenant=TENANT,
    expected=0,
    acknowledged=0,
    piece_bytes=FRAGMENT,
):
    """One fragment, as the worker hands it over."""
    return stage_put(
        store.address, WORKER, CLIENT, sequence, tenant, 0, address_of(key), len(key), count, index, address_of(piece),
        len(piece), expected, 0, acknowledged, piece_bytes,
    )  # fmt: skip


def begin(store, sequence: int, key: bytes, count: int, tenant: int = TENANT) -> int:
    """Begin a put without writing anything."""
    return int(stage_begin(store.address, WORKER, CLIENT, sequence, tenant, 0, address_of(key), len(key), count))


@pytest.mark.parametrize("size", [1, FRAGMENT, FRAGMENT + 1, 3 * FRAGMENT, 40_000, limits.VALUE_BYTES_MAX])
def test_a_value_in_any_order_of_fragments_is_published_when_whole(store, size):
    rng = random.Random(size)
    value = rng.randbytes(size)
    pieces = fragments_of(value)
    order = list(range(len(pieces)))
    rng.shuffle(order)
    for index in order[:-1]:
        assert send(store, 1, b"key", pieces[index], index, len(pieces)) == (Status.OK, 0)
        assert store.get(TENANT, 0, b"key") is None
    status, version = send(store, 1, b"key", pieces[order[-1]], order[-1], len(pieces))
    assert status == Status.OK
    stored = store.lookup(TENANT, 0, b"key")
    assert (stored.value, stored.version) == (value, version)
    assert stage_find(store.address, WORKER, CLIENT, 1, TENANT) == -Status.NOT_FOUND


@pytest.mark.parametrize("piece_bytes", [limits.FRAGMENT_BYTES_MIN, 232, 1000, 1144, FRAGMENT])
@pytest.mark.parametrize("size", [1, 224, 225, 15_000, 40_000, limits.VALUE_BYTES_MAX])
def test_a_value_may_come_in_smaller_fragments(store, size, piece_bytes):
    rng = random.Random(size * piece_bytes)
    value = rng.randbytes(size)
    pieces = [value[at : at + piece_bytes] for at in range(0, size, piece_bytes)]
    assert len(pieces) <= limits.FRAGMENTS_MAX
    order = list(range(len(pieces)))
    rng.shuffle(order)
    for index in [*order[:-1], *order[: min(2, len(order) - 1)]]:  # some come twice
        assert send(store, 1, b"key", pieces[index], index, len(pieces), piece_bytes=piece_bytes) == (Status.OK, 0)
        assert store.get(TENANT, 0, b"key") is None
    status, version = send(store, 1, b"key", pieces[order[-1]], order[-1], len(pieces), piece_bytes=piece_bytes)
    assert status == Status.OK and version != 0
    assert store.get(TENANT, 0, b"key") == value


def test_all_fragments_of_a_value_have_one_size(store):
    assert send(store, 1, b"key", bytes(FRAGMENT), 0, 3) == (Status.OK, 0)
    assert send(store, 1, b"key", bytes(1144), 1, 3, piece_bytes=1144) == (Status.BAD_FRAGMENT, 0)
    assert send(store, 1, b"key", bytes(FRAGMENT), 1, 3) == (Status.OK, 0)


@pytest.mark.parametrize("piece_bytes", [0, 1, limits.FRAGMENT_BYTES_MIN - 8, FRAGMENT + 8, 2040])
def test_fragments_of_other_sizes_are_refused(store, piece_bytes):
    piece = bytes(max(piece_bytes, 1))
    assert send(store, 1, b"key", piece, 0, 2, piece_bytes=piece_bytes) == (Status.BAD_FRAGMENT, 0)


def test_the_old_value_stays_until_the_new_one_is_whole(store):
    store.put(TENANT, 0, b"key", b"old")
    pieces = fragments_of(bytes(5000))
    for index, piece in enumerate(pieces[:-1]):
        send(store, 1, b"key", piece, index, len(pieces))
        assert store.get(TENANT, 0, b"key") == b"old"
    send(store, 1, b"key", pieces[-1], len(pieces) - 1, len(pieces))
    assert store.get(TENANT, 0, b"key") == bytes(5000)


def test_a_fragment_that_comes_again_changes_nothing(store):
    first, second = b"a" * FRAGMENT, b"b" * 10
    assert send(store, 1, b"key", first, 0, 2) == (Status.OK, 0)
    assert send(store, 1, b"key", b"x" * FRAGMENT, 0, 2) == (Status.OK, 0)
    assert send(store, 1, b"key", second, 1, 2)[0] == Status.OK
    assert store.get(TENANT, 0, b"key") == first + second
    assert send(store, 1, b"key", second, 1, 2) == (Status.OK, 0)  # begins anew, and ages out
    assert store.get(TENANT, 0, b"key") == first + second


@pytest.mark.parametrize(
    ("index", "count", "length", "status"),
    [
        (2, 2, 10, Status.BAD_FRAGMENT),
        (-1, 2, 10, Status.BAD_FRAGMENT),
        (0, 2, FRAGMENT - 1, Status.BAD_FRAGMENT),
        (0, 2, FRAGMENT + 1, Status.BAD_FRAGMENT),
        (1, 2, 0, Status.BAD_FRAGMENT),
        (1, 2, FRAGMENT + 1, Status.BAD_FRAGMENT),
        (0, 0, 10, Status.BAD_FRAGMENT),
        (56, 57, FRAGMENT, Status.VALUE_TOO_LARGE),
        (0, 58, FRAGMENT, Status.VALUE_TOO_LARGE),
    ],
)
def test_wrong_fragments_are_refused_and_hold_no_memory(store, index, count, length, status):
    assert send(store, 1, b"key", bytes(length), index, count) == (status, 0)
    assert (store.participants[WORKER]["staging"]["slot"] == 0).all()


def test_fragments_of_one_put_agree_on_their_count(store):
    entry = begin(store, 1, b"key", 2)
    piece = bytes(FRAGMENT)
    assert stage_write(store.address, WORKER, entry, 0, 3, address_of(piece), FRAGMENT) == Status.BAD_FRAGMENT
    assert stage_write(store.address, WORKER, entry, 0, 2, address_of(piece), FRAGMENT) == Status.OK
    assert not stage_is_complete(store.address, WORKER, entry)


def test_a_put_is_told_by_client_sequence_and_tenant(store):
    entry = begin(store, 5, b"key", 2)
    address = store.address
    assert stage_find(address, WORKER, CLIENT, 5, TENANT) == entry
    for client, sequence, tenant in [(CLIENT + 1, 5, TENANT), (CLIENT, 6, TENANT), (CLIENT, 5, TENANT + 1)]:
        assert stage_find(address, WORKER, client, sequence, tenant) == -Status.NOT_FOUND
    assert stage_find(address, WORKER + 1, CLIENT, 5, TENANT) == -Status.NOT_FOUND


def test_bad_keys_are_refused(store):
    for key in (b"", bytes(limits.KEY_BYTES_MAX + 1)):
        assert begin(store, 1, key, 2) == -Status.BAD_KEY


def owners(store) -> Counter[int]:
    """How many entries each tenant has."""
    staging = store.participants[WORKER]["staging"]
    return Counter(staging["tenant"][staging["slot"] != 0].tolist())


def test_one_tenant_cannot_keep_the_others_from_large_values(store):
    store.open_tenant(2)
    for sequence in range(limits.STAGING_ENTRIES_PER_TENANT):
        assert begin(store, sequence, b"key", 2) >= 0
    assert begin(store, 1000, b"key", 2) == -Status.BUSY
    assert begin(store, 1000, b"key", 2, tenant=2) >= 0
    store.participants[WORKER]["staging"]["since_ns"][7] -= limits.STAGING_AGE_NS_MAX
    assert begin(store, 1000, b"key", 2) == 7


@pytest.mark.parametrize("holders", [4, 5, 16, 32])
def test_however_many_tenants_fill_the_entries_another_one_has_its_share(store, holders):
    for tenant in range(2, 2 + holders + 1):
        store.open_tenant(tenant)
    sequences = itertools.count()
    while owners(store).total() < limits.STAGING_ENTRIES:
        for tenant in range(2, 2 + holders):
            begin(store, next(sequences), b"key", 2, tenant=tenant)
    large = fragments_of(bytes(60_000))
    for _ in range(3):  # the others go on, a packet for each of its own
        sequence = next(sequences)
        for index, piece in enumerate(large):
            status, version = send(store, sequence, b"large", piece, index, len(large))
            assert status == Status.OK
            for tenant in range(2, 2 + holders):
                begin(store, next(sequences), b"key", 2, tenant=tenant)
        assert version != 0
    share = limits.STAGING_ENTRIES // (holders + 1)
    for number in range(share):
        assert begin(store, next(sequences), b"%d" % number, 2) >= 0
    assert owners(store)[TENANT] == share
    assert all(owners(store)[tenant] > 0 for tenant in range(2, 2 + holders))


def test_the_oldest_of_whoever_has_most_gives_way(store):
    for tenant in range(2, 8):
        store.open_tenant(tenant)
    entries = [begin(store, number, b"key", 2, tenant=2 + number % 4) for number in range(limits.STAGING_ENTRIES - 8)]
    entries += [begin(store, number, b"key", 2, tenant=6) for number in range(8)]
    assert begin(store, 1000, b"key", 2, tenant=7) == entries[0]
    assert begin(store, 1001, b"key", 2, tenant=7) == entries[1]
    assert owners(store) == {2: 13, 3: 13, 4: 14, 5: 14, 6: 8, 7: 2}


def test_where_each_entry_is_another_tenants_the_oldest_had_its_turn(store):
    for number in range(limits.STAGING_ENTRIES):
        store.open_tenant(2 + number)
        assert begin(store, number, b"key", 2, tenant=2 + number) >= 0
    staging = store.participants[WORKER]["staging"]
    staging["since_ns"] = time.monotonic_ns() + 10 * limits.STAGING_TURN_NS  # none has had it
    assert begin(store, 1000, b"key", 2) == -Status.BUSY
    staging["since_ns"][11] = time.monotonic_ns() - 2 * limits.STAGING_TURN_NS
    staging["since_ns"][12] = staging["since_ns"][11] + 1
    assert begin(store, 1000, b"key", 2) == 11
    assert begin(store, 1001, b"key", 2) == -Status.BUSY  # it has one now, as everybody


def test_what_is_staged_is_counted_and_must_fit_into_the_quota(store):
    big = -(-limits.VALUE_BYTES_MAX // limits.FRAGMENT_BYTES)
    assert begin(store, 1, b"key", big) >= 0
    assert store.accounts[TENANT]["staged_bytes"] == 98304
    store.open_tenant(TENANT, quota_bytes=300_000)
    assert begin(store, 2, b"key", big) >= 0
    assert begin(store, 3, b"key", big) >= 0
    assert begin(store, 4, b"key", big) == -Status.QUOTA_EXCEEDED
    assert begin(store, 5, b"key", 2) >= 0  # which fits
    assert store.accounts[TENANT]["staged_bytes"] == 3 * 98304 + 3072
    assert store.problems() == []
    stage_expire(store.address, WORKER, time.monotonic_ns(), 0)
    assert store.accounts[TENANT]["staged_bytes"] == 0


def test_a_tenant_near_its_quota_can_replace_a_large_value(store):
    value = bytes(60_000)
    store.put(TENANT, 0, b"key", value)
    store.open_tenant(TENANT, quota_bytes=int(store.accounts[TENANT]["bytes_used"]))
    pieces = fragments_of(value[::-1])
    for index, piece in enumerate(pieces):
        status, version = send(store, 1, b"key", piece, index, len(pieces))
        assert status == Status.OK
    assert version != 0
    assert store.accounts[TENANT]["staged_bytes"] == 0


def test_what_a_sibling_had_whole_first_gives_way_to_the_clients_next_value(store):
    piece = bytes(FRAGMENT)
    store.open_tenant(2)
    others = begin(store, 5000, b"another's", 2, tenant=2)
    for sequence in range(1, limits.STAGING_ENTRIES_PER_TENANT + 1):
        assert send(store, sequence, b"key", piece, 0, 2) == (Status.OK, 0)
    assert send(store, 100, b"key", piece, 0, 2, acknowledged=1)[0] == Status.BUSY
    assert send(store, 100, b"key", piece, 0, 2, acknowledged=limits.STAGING_ENTRIES_PER_TENANT) == (Status.OK, 0)
    left = store.participants[WORKER]["staging"]
    assert sorted(left["sequence"][left["slot"] != 0].tolist()) == [limits.STAGING_ENTRIES_PER_TENANT, 100, 5000]
    assert left["slot"][others] != 0


def test_puts_expire(store):
    for sequence in range(3):
        begin(store, sequence, b"key", 2)
    now = time.monotonic_ns()
    age = 1_000_000_000
    assert stage_expire(store.address, WORKER, now, age) == 0
    assert stage_expire(store.address, WORKER, now + age, age) == 3
    assert stage_expire(store.address, WORKER, now + age, age) == 0
    assert (store.participants[WORKER]["staging"]["slot"] == 0).all()


def test_a_removed_tenants_puts_are_found_by_nobody_and_dropped(store):
    piece = bytes(FRAGMENT)
    for sequence in range(1, 4):
        assert send(store, sequence, b"key", piece, 0, 2) == (Status.OK, 0)
    store.close_tenant(TENANT)
    assert send(store, 9, b"key", piece, 0, 2) == (Status.UNKNOWN_TENANT, 0)
    store.open_tenant(TENANT, generation=2)
    assert stage_find(store.address, WORKER, CLIENT, 1, TENANT) == -Status.NOT_FOUND
    assert send(store, 1, b"key", b"end", 1, 2) == (Status.OK, 0)  # a put of its own, whose first fragment is missing
    assert store.get(TENANT, 0, b"key") is None
    staging = store.participants[WORKER]["staging"]
    for look in range(limits.STAGING_ENTRIES):
        stage_drop(store.address, WORKER, look)
    assert staging["generation"][staging["slot"] != 0].tolist() == [2]


def test_a_removed_tenants_puts_are_dropped_before_a_worker_sleeps(store):
    assert send(store, 1, b"key", bytes(FRAGMENT), 0, 2) == (Status.OK, 0)
    store.close_tenant(TENANT)
    assert stage_expire(store.address, WORKER, time.monotonic_ns(), limits.STAGING_AGE_NS_MAX) == 1


def test_quota_and_version_hold_for_fragmented_puts(store):
    pieces = fragments_of(bytes(3000))
    sequences = itertools.count()

    def put(expected: int = 0, tenant: int = TENANT) -> tuple[int, int]:
        sequence = next(sequences)
        for index, piece in enumerate(pieces):
            outcome = send(store, sequence, b"key", piece, index, len(pieces), tenant=tenant, expected=expected)
        return outcome

    assert put(tenant=3)[0] == Status.UNKNOWN_TENANT
    assert (store.participants[WORKER]["staging"]["slot"] == 0).all()
    assert put(expected=4)[0] == Status.VERSION_CHANGED
    status, version = put()
    assert status == Status.OK
    assert put(expected=version)[0] == Status.OK
    store.open_tenant(TENANT, 100)
    store.delete(TENANT, 0, b"key")
    assert put()[0] == Status.QUOTA_EXCEEDED
    assert (store.participants[WORKER]["staging"]["slot"] == 0).all()


def test_a_busy_tenant_leaves_the_put_for_a_retry(store):
    entry = begin(store, 1, b"key", 1)
    stage_write(store.address, WORKER, entry, 0, 1, address_of(b"value"), 5)
    store.accounts[TENANT]["lock"] = 99  # a holder that does not let go
    assert stage_publish(store.address, WORKER, entry, 0) == Status.BUSY
    store.accounts[TENANT]["lock"] = 0
    assert stage_publish(store.address, WORKER, entry, 0) == Status.OK
    assert store.get(TENANT, 0, b"key") == b"value"
