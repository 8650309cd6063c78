"""The audit finds what is wrong: each invariant is broken on purpose once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from splinter import limits
from splinter.store.index import bucket_at
from splinter.store.journal import participant_at
from splinter.store.layout import (
    BUCKET,
    CLASS_LIST,
    CLASSES,
    CLIENT,
    CLIENT_AT,
    ENTRY_SEALED,
    KEY_LENGTH_BITS,
    OBJECT,
    SLAB_LIST,
    UNIT_BYTES,
)
from splinter.store.operations import store_find
from splinter.store.reclaim import reclaim
from splinter.store.roster import find_chunk
from splinter.store.roster_layout import CELL_HOLE
from splinter.store.slabs import retreat
from splinter.store.store import Store
from tests.support.large import parts_in, put_large
from tests.support.requester import Requester

TENANT, WRITER = 1, 0


@pytest.fixture
def made() -> Store:
    """A store with a few objects and free slots, which the test may spoil."""
    store = Store.create(limits.STORE_BYTES_MIN, participants=2)
    store.open_tenant(TENANT)
    for number in range(20):
        store.put(TENANT, 0, b"key%d" % number, b"value", participant=WRITER)
    for number in range(10, 20):
        store.delete(TENANT, 0, b"key%d" % number, participant=WRITER)
    assert store.problems() == []
    return store


def entry_of(store: Store, key: bytes):
    """(buckets, bucket, place) of a key's entry."""
    found = store_find(store.address, TENANT, 0, ctypes.cast(ctypes.c_char_p(key), ctypes.c_void_p).value, len(key))
    unit = (found - store.slabs_region.address) // UNIT_BYTES
    buckets = store.index_region.array(BUCKET)
    bucket, place = next(zip(*((buckets["entries"] & 0xFFFFFFFF) == unit).nonzero(), strict=True))
    assert bucket_at(store.address, int(bucket)) == store.index_region.address + int(bucket) * BUCKET.itemsize
    return buckets, bucket, place


def header_of(store: Store, key: bytes):
    """The header of a key's object."""
    found = store_find(store.address, TENANT, 0, ctypes.cast(ctypes.c_char_p(key), ctypes.c_void_p).value, len(key))
    return store.slabs_region.array(OBJECT, 1, found - store.slabs_region.address)[0]


def lose_an_object(store: Store) -> None:
    buckets, bucket, place = entry_of(store, b"key1")
    buckets["entries"][bucket, place] = 0


def name_an_object_twice(store: Store) -> None:
    buckets, bucket, _ = entry_of(store, b"key1")
    word = entry_of(store, b"key1")[0]["entries"][bucket].max()
    buckets["entries"][bucket, 6] = word


def move_an_object_to_another_chain(store: Store) -> None:
    buckets, bucket, place = entry_of(store, b"key1")
    other = int(bucket) + 1 if bucket == 0 else int(bucket) - 1
    buckets["entries"][other, 6] = buckets["entries"][bucket, place]
    buckets["entries"][bucket, place] = 0


def change_a_tag(store: Store) -> None:
    buckets, bucket, place = entry_of(store, b"key1")
    buckets["entries"][bucket, place] ^= 1 << 63


def change_a_class(store: Store) -> None:
    buckets, bucket, place = entry_of(store, b"key1")
    buckets["entries"][bucket, place] ^= 1 << 32


def point_outside(store: Store) -> None:
    buckets, bucket, place = entry_of(store, b"key1")
    buckets["entries"][bucket, place] |= 0xFFFFFFFF


def clear_a_version(store: Store) -> None:
    header_of(store, b"key1")["version"] = 0


def lengthen_a_value(store: Store) -> None:
    header_of(store, b"key1")["lengths"] = 4 | 1000 << KEY_LENGTH_BITS


def duplicate_a_key(store: Store) -> None:
    """Give a free slot the contents of an object and an entry behind it."""
    buckets, bucket, place = entry_of(store, b"key1")
    lists = store.participants[WRITER]["lists"][0]
    unit = int(lists["bump"])
    memory = store.slabs_region.address
    word = int(buckets["entries"][bucket, place])
    ctypes.memmove(memory + unit * UNIT_BYTES, memory + (word & 0xFFFFFFFF) * UNIT_BYTES, 64)
    lists["bump"] += 64 // UNIT_BYTES
    buckets["entries"][bucket, 6] = (word >> 32 << 32) | unit
    store.accounts[TENANT]["objects"] += 1
    store.accounts[TENANT]["bytes_used"] += 64


def chunk_of(store: Store) -> np.ndarray:
    """The only chunk of the roster, in 4-byte words: used, hole, cells."""
    found = find_chunk(store.address, participant_at(store.address, WRITER), TENANT, 0)
    return store.slabs_region.array(np.dtype("<u4"), 22, found - store.slabs_region.address)


def forget_a_key_in_the_roster(store: Store) -> None:
    chunk_of(store)[2] = CELL_HOLE


def name_another_key_in_the_roster(store: Store) -> None:
    chunk_of(store)[2] = chunk_of(store)[3]


def swap_two_keys_in_the_roster(store: Store) -> None:
    chunk_of(store)[2:4] = chunk_of(store)[3], chunk_of(store)[2]


def lose_a_hole_of_the_roster(store: Store) -> None:
    chunk_of(store)[1] = 0


def miscount_the_used_cells_of_the_roster(store: Store) -> None:
    chunk_of(store)[0] += 1


def miscount_the_chunks_of_the_roster(store: Store) -> None:
    store.accounts[TENANT]["roster_chunks"] += 1


def send_an_insert_to_a_chunk_that_is_not_there(store: Store) -> None:
    store.accounts[TENANT]["roster_hand"] = 2


def end_the_roster_too_early(store: Store) -> None:
    store.accounts[TENANT]["roster_end"] = 0


def miscount_bytes(store: Store) -> None:
    store.accounts[TENANT]["bytes_used"] += 1


def miscount_objects(store: Store) -> None:
    store.accounts[TENANT]["objects"] += 1


def hold_a_tenants_lock(store: Store) -> None:
    store.accounts[TENANT]["lock"] = 1


def hold_the_slabs_lock(store: Store) -> None:
    store.descriptor["slabs_lock"] = 1


def hold_the_lock_of_compaction(store: Store) -> None:
    store.descriptor["compact_lock"] = 1


def class_list_of(store: Store, size_class: int):
    at = int(store.descriptor["class_lists"]) - store.state_region.address
    return store.state_region.array(CLASS_LIST, CLASSES, at)[size_class]


def hold_the_lock_of_a_class(store: Store) -> None:
    class_list_of(store, 0)["lock"] = 1


def lose_a_slab_with_free_slots(store: Store) -> None:
    retreat(store.address, WRITER)
    class_list_of(store, 0)["head"] = 0


def miscount_the_free_slots_of_a_class(store: Store) -> None:
    retreat(store.address, WRITER)
    class_list_of(store, 0)["free_slots"] += 1


def slab_list_of(store: Store, slab: int):
    at = int(store.descriptor["slab_lists"]) - store.state_region.address
    return store.state_region.array(SLAB_LIST, slab + 1, at)[slab]


def miscount_the_free_slots_of_a_slab(store: Store) -> None:
    retreat(store.address, WRITER)
    slab_list_of(store, 1)["free_count"] += 1


def forget_a_slab_of_the_pool(store: Store) -> None:
    store.put(TENANT, 0, b"alone", bytes(10_000), participant=WRITER)
    store.delete(TENANT, 0, b"alone", participant=WRITER)
    reclaim(store.address, WRITER, 100)
    retreat(store.address, WRITER)
    assert store.descriptor["slabs_pooled"] == 1
    store.descriptor["slabs_pool"] = 0


def seal_an_entry(store: Store) -> None:
    buckets, bucket, _ = entry_of(store, b"key1")
    buckets["entries"][bucket, 6] = ENTRY_SEALED


def be_in_the_middle_of_sealing(store: Store) -> None:
    store.participants[WRITER]["sealing"] = 64


def miscount_the_buckets_that_leave(store: Store) -> None:
    store.descriptor["buckets_leaving"] += 1


def leave_a_step_half_done(store: Store) -> None:
    store.participants[WRITER]["intent"]["state"] = 1


def leak_a_free_slot(store: Store) -> None:
    store.participants[WRITER]["lists"][0]["bump"] += 64 // UNIT_BYTES


def miscount_a_free_list(store: Store) -> None:
    store.participants[WRITER]["lists"][0]["free_count"] += 1


def lose_limbos_tail(store: Store) -> None:
    store.delete(TENANT, 0, b"key1", participant=WRITER)
    store.participants[WRITER]["limbo_tail"] = 0


def miscount_clients(store: Store) -> None:
    Requester(store, 5).put(1, b"key1", b"value", p=WRITER)
    store.accounts[TENANT]["clients"] += 1


def break_the_ring_of_clients(store: Store) -> None:
    for client in (5, 6):
        Requester(store, client).put(1, b"key1", b"value", p=WRITER)
    one = store.slabs_region.address + int(store.accounts[TENANT]["clients_hand"]) * UNIT_BYTES + CLIENT_AT
    store.slabs_region.array(CLIENT, 1, one - store.slabs_region.address)[0]["next"] = store.accounts[TENANT]["clients_hand"]


def keep_a_body_of_nobody(store: Store) -> None:
    store.put(TENANT, limits.TABLE_CLIENTS, bytes(16), b"reply", participant=WRITER)


def lose_a_part(store: Store) -> None:
    put_large(store, TENANT, 0, b"large", 5, bytes(limits.VALUE_BYTES_MAX + 1), p=WRITER)
    assert store.delete(TENANT, limits.TABLE_PARTS, parts_in(store, TENANT)[1].key, participant=WRITER)


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (lose_an_object, "NOT_MARKED"),
        (name_an_object_twice, "MARKED_TWICE"),
        (move_an_object_to_another_chain, "CHAIN"),
        (change_a_tag, "TAG"),
        (change_a_class, "CLASS"),
        (point_outside, "OUTSIDE"),
        (clear_a_version, "VERSION"),
        (lengthen_a_value, "LENGTHS"),
        (duplicate_a_key, "DUPLICATE"),
        (miscount_bytes, "BYTES"),
        (miscount_objects, "OBJECTS"),
        (hold_a_tenants_lock, "LOCK"),
        (hold_the_slabs_lock, "LOCK"),
        (hold_the_lock_of_compaction, "LOCK"),
        (hold_the_lock_of_a_class, "LOCK"),
        (lose_a_slab_with_free_slots, "CLASS_LIST"),
        (miscount_the_free_slots_of_a_class, "CLASS_LIST"),
        (miscount_the_free_slots_of_a_slab, "COUNT"),
        (forget_a_slab_of_the_pool, "SLAB"),
        (seal_an_entry, "OUTSIDE"),
        (be_in_the_middle_of_sealing, "INTENT"),
        (miscount_the_buckets_that_leave, "BUCKETS"),
        (leave_a_step_half_done, "INTENT"),
        (leak_a_free_slot, "NOT_MARKED"),
        (miscount_a_free_list, "COUNT"),
        (lose_limbos_tail, "LIMBO_TAIL"),
        (miscount_clients, "CLIENTS"),
        (break_the_ring_of_clients, "CLIENTS"),
        (keep_a_body_of_nobody, "BODY"),
        (lose_a_part, "PARTS"),
        (forget_a_key_in_the_roster, "ROSTER"),
        (name_another_key_in_the_roster, "ROSTER"),
        (swap_two_keys_in_the_roster, "ROSTER"),
        (lose_a_hole_of_the_roster, "ROSTER"),
        (miscount_the_used_cells_of_the_roster, "ROSTER"),
        (miscount_the_chunks_of_the_roster, "ROSTER"),
        (send_an_insert_to_a_chunk_that_is_not_there, "ROSTER"),
        (end_the_roster_too_early, "ROSTER"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_audit_finds(made: Store, spoil: Callable[[Store], None], finding: str):
    spoil(made)
    assert any(problem.startswith(finding) for problem in made.problems())
