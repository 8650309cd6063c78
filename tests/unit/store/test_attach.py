"""A store that outlives its processes: in the same memory, at the same addresses, another process goes on with it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from splinter import limits
from splinter.layout import offset
from splinter.native.addresses import Stretch
from splinter.store import kill_points
from splinter.store.epochs import EPOCH_OFFLINE, OLDEST_NONE, epoch_enter, epoch_oldest
from splinter.store.journal import JOURNAL_COMMITTED
from splinter.store.layout import STORE
from splinter.store.limbo import is_held_up, must_give_way
from splinter.store.region import Region
from splinter.store.store import ACCOUNTS_BYTES, Store
from tests.support.epochs import is_safe, retire_stamp

BYTES, TENANT, WORKERS = limits.STORE_BYTES_MIN, 1, 3
_BUCKETS, _SLABS = Store.plan(BYTES)
SIZES = {
    "index": (Stretch.INDEX, _BUCKETS * limits.BUCKET_BYTES),
    "slabs": (Stretch.SLABS, _SLABS * limits.SLAB_BYTES),
    "tenants": (Stretch.TENANTS, limits.TENANTS_MAX * 64),
    "accounts": (Stretch.ACCOUNTS, ACCOUNTS_BYTES),
    "state": (Stretch.STATE, -(-Store.state_bytes(BYTES) // 4096) * 4096),
}


class Memory:
    """What the kernel keeps."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}
        for name, (_, size) in SIZES.items():
            self._descriptors[name] = os.memfd_create(name)
            os.ftruncate(self._descriptors[name], size)

    def regions(self) -> dict[str, Region]:
        return {name: Region.from_fd(self._descriptors[name], size, stretch) for name, (stretch, size) in SIZES.items()}

    def create(self) -> Store:
        return Store.create(
            BYTES, participants=WORKERS, **{f"{name}_region": region for name, region in self.regions().items()}
        )

    def attach(self) -> Store:
        """All that was mapped before is gone."""
        return Store.attach(**self.regions())

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    made.close()


def filled(memory: Memory, count: int = 200) -> Store:
    store = memory.create()
    store.open_tenant(TENANT, generation=7)
    for number in range(count):
        store.put(TENANT, 0, b"key %d" % number, b"value %d" % number * 9, participant=number % WORKERS)
    store.delete(TENANT, 0, b"key 3")
    return store


def test_what_was_put_is_there_and_can_be_changed(memory: Memory) -> None:
    store = filled(memory)
    version = store.lookup(TENANT, 0, b"key 4").version
    account = store.accounts[TENANT].copy()
    seed = int(store.descriptor["seed"])
    del store
    again = memory.attach()
    assert again.problems() == []
    assert again.accounts[TENANT] == account and again.descriptor["seed"] == seed
    assert again.get(TENANT, 0, b"key 3") is None
    assert all(again.get(TENANT, 0, b"key %d" % n) == b"value %d" % n * 9 for n in range(200) if n != 3)
    assert again.put(TENANT, 0, b"key 4", b"new", expected_version=version) > version
    assert again.delete(TENANT, 0, b"key 5")
    assert again.problems() == []


def test_nobody_is_held_up_by_who_is_gone(memory: Memory) -> None:
    store = filled(memory)
    epoch_enter(store.address, 1, OLDEST_NONE)
    incarnations = store.participants["incarnation"].copy()
    stamp = retire_stamp(store)
    assert not is_safe(store, stamp)
    del store
    again = memory.attach()
    assert (again.participants["epoch"] == EPOCH_OFFLINE).all()
    assert (again.participants["incarnation"] == incarnations + 1).all()  # what they claimed is void
    assert is_safe(again, stamp)
    assert epoch_oldest(again.address) > stamp


def test_nobody_gives_way_to_who_is_gone(memory: Memory) -> None:
    """What blocked the dead does so no more: it would end the first tasks of their successors."""
    store = filled(memory)
    epoch = int(store.descriptor["epoch"])
    store.participants["blocked_at"][0] = store.participants["wants"][1] = epoch
    store.participants["blocked_turns"][0] = limits.BLOCKED_TURNS
    store.participants["limbo_bytes"][0] = BYTES
    assert must_give_way(store.address, epoch) and is_held_up(store.address)
    del store
    again = memory.attach()
    assert again.descriptor["epoch"] == epoch
    assert not must_give_way(again.address, epoch) and not is_held_up(again.address)


def test_locks_and_steps_of_all_are_put_right(memory: Memory) -> None:
    store = filled(memory)
    for participant in range(WORKERS):
        intent = store.participants["intent"][participant : participant + 1]
        lock = store.accounts_region.address + (TENANT + participant) * store.accounts.itemsize
        intent["tenant_lock"] = lock
        store.accounts["lock"][TENANT + participant] = participant + 1
        intent["words"]["address"][0, 0] = store.address + offset(STORE, "nowhere")
        intent["words"]["value"][0, 0] = 40 + participant
        intent["count"], intent["state"] = 1, JOURNAL_COMMITTED
    del store, intent
    again = memory.attach()
    assert not again.accounts["lock"].any()
    assert not again.participants["intent"]["state"].any()
    assert again.descriptor["nowhere"] == 40 + WORKERS - 1
    assert again.problems() == []


def test_a_word_of_a_tasks_memory_is_not_stored(memory: Memory) -> None:
    """That memory went with the process: what is at its address now is something else."""
    store = filled(memory)
    other = np.zeros(1, np.uint64)
    intent = store.participants["intent"][0:1]
    words = intent["words"]
    words["address"][0, :2] = (other.ctypes.data, store.accounts_region.address + TENANT * store.accounts.itemsize + 8)
    words["value"][0, :2] = (0xDEAD, 9)
    intent["count"], intent["state"] = 2, JOURNAL_COMMITTED
    del store, intent, words
    again = memory.attach()
    assert other[0] == 0
    assert again.accounts["active"][TENANT] == 9  # the other word of the step
    again.accounts["active"][TENANT] = 7


def test_attaching_may_be_cut_short_and_done_again(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(memory)
    original = Store.recover
    for survived in range(0, limits.PARTICIPANTS_MAX, 16):

        def recover(self: Store, participant: int, survived: int = survived) -> None:
            if participant == survived:
                raise KeyboardInterrupt
            original(self, participant)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Store, "recover", recover)
            memory.attach()
    assert memory.attach().problems() == []


def test_regions_that_are_elsewhere_are_refused(memory: Memory) -> None:
    filled(memory)
    for name in ("index", "slabs", "tenants", "accounts"):
        regions = memory.regions()
        elsewhere = Region.create(name, regions[name].bytes)
        with pytest.raises(ValueError, match=name):
            Store.attach(**{**regions, name: elsewhere})
        del regions
    assert memory.attach().problems() == []


def test_tests_points_of_death_are_not_left(memory: Memory) -> None:
    store = filled(memory)
    store.descriptor["kill_at"], store.descriptor["kill_skip"] = kill_points.KillPoint.COMMITTED, 0
    del store
    assert memory.attach().descriptor["kill_at"] == 0
