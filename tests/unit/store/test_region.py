"""Shared memory, and a store in memory that somebody else made."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

from splinter import limits
from splinter.native.addresses import FIXED_ADDRESSES, FIXED_BYTES, Stretch
from splinter.store.region import Region
from splinter.store.store import Store

WORDS = np.dtype("<u8")


def test_a_region_is_shared_with_forked_processes_at_the_same_address(children):
    region = Region.create("test", 8192)
    words = region.array(WORDS)
    assert words.ctypes.data == region.address
    assert not words.any()

    def write() -> int:
        words[1000] = region.address
        return 0

    assert children([write]) == [0]
    assert words[1000] == region.address
    assert region.array(WORDS, 1, 8000)[0] == region.address


def test_a_region_may_be_a_descriptors_memory():
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, 8192)
    region = Region.from_fd(descriptor, 8192)
    region.array(WORDS)[7] = 0x1234
    assert os.pread(descriptor, 8, 56) == (0x1234).to_bytes(8, "little")
    os.close(descriptor)
    assert region.array(WORDS)[7] == 0x1234


def test_a_region_may_have_an_address_of_its_own_which_nothing_else_has():
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, 8192)
    region = Region.from_fd(descriptor, 8192, Stretch.INDEX)
    assert region.address == Stretch.INDEX.address == FIXED_ADDRESSES
    words = region.array(WORDS)
    words[7] = 0x1234
    with pytest.raises(OSError, match="0x200000000000"):
        Region.from_fd(descriptor, 4096, Stretch.INDEX)
    del region
    assert words[7] == 0x1234  # an array keeps the memory
    del words
    assert Region.from_fd(descriptor, 4096, Stretch.INDEX).array(WORDS)[7] == 0x1234
    os.close(descriptor)


def test_stretches_lie_apart_in_what_is_fixed():
    addresses = sorted(stretch.address for stretch in Stretch)
    assert all(after - before >= 2 * limits.STORE_BYTES_MAX for before, after in itertools.pairwise(addresses))
    assert addresses[-1] + limits.STORE_BYTES_MAX <= FIXED_ADDRESSES + FIXED_BYTES


def test_a_store_lives_in_regions_that_it_is_given():
    buckets, slabs = Store.plan(limits.STORE_BYTES_MIN)
    index = Region.create("index", buckets * limits.BUCKET_BYTES)
    memory = Region.create("slabs", slabs * limits.SLAB_BYTES)
    tenants = Region.create("tenants", limits.TENANTS_MAX * 32)
    store = Store.create(
        limits.STORE_BYTES_MIN, index_region=index, slabs_region=memory, tenants_region=tenants, participants=1
    )
    assert store.descriptor["tenants"] == tenants.address
    store.open_tenant(1)
    store.put(1, 0, b"key", b"a value that is easy to find")
    assert b"a value that is easy to find" in memory.array(np.dtype("u1")).tobytes()
    assert index.array(WORDS).any()
    assert store.problems() == []


def test_regions_that_are_too_small_are_refused():
    buckets, _ = Store.plan(limits.STORE_BYTES_MIN)
    with pytest.raises(ValueError, match="smaller"):
        Store.create(limits.STORE_BYTES_MIN, index_region=Region.create("index", (buckets - 1) * limits.BUCKET_BYTES))
    with pytest.raises(ValueError, match="at most"):
        Store.create(limits.STORE_BYTES_MIN, participants=limits.WORKERS_MAX + 1)
