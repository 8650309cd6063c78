"""Workloads made from the statistics of caches, and the policies that are compared on them, against caches done by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from splinter_bench.experiments.policies import HYPERBOLIC, LFU, LRU, POLICIES, simulate
from splinter_bench.subjects.cache import Item, play
from splinter_bench.workloads.clusters import DELETE, NEVER, READ, WRITE, Requests, clusters, requests_of

from splinter.errors import SplinterError

COUNT = 60_000
CLUSTERS = (14, 19, 27, 44, 45, 48, 52, 53)


def asked(keys: list[int], operations: list[int] | None = None, lifetime: int = NEVER, size: int = 1) -> Requests:
    """Requests of objects of the same size, with keys of no bytes."""
    known = max(keys) + 1
    return Requests(
        "by hand", np.array(keys), np.array(operations or [READ] * len(keys), np.int8), 0, np.full(known, size, np.int64),
        np.full(known, lifetime, np.int64), known, 1000.0,
    )  # fmt: skip


class Fifo:
    """A cache that gives up what was stored first, when there are more than ``limit`` objects."""

    def __init__(self, limit: int) -> None:
        self.limit, self.given_up = limit, 0
        self.objects: dict[bytes, bytes] = {}
        self.limits = [limit]

    def set_limit(self, limit: int) -> None:
        self.limit = limit
        self.limits.append(limit)

    def keys(self) -> list[bytes]:
        return list(self.objects)

    def evictions(self) -> int:
        return self.given_up

    def read(self, keys: Sequence[bytes]) -> list[bool]:
        return [key in self.objects for key in keys]

    def write(self, items: Sequence[Item]) -> None:
        self.objects.update(items)
        while len(self.objects) > self.limit:
            del self.objects[next(iter(self.objects))]
            self.given_up += 1

    def delete(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            self.objects.pop(key, None)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_is_played_is_what_is_simulated(cluster: int) -> None:
    """A cache with room for all: each write, delete and end of a life tells."""
    made = requests_of(cluster, COUNT)
    cache = Fifo(len(made.value_bytes))
    played = play(made, cache, capacity=1)
    wanted = simulate(made, 1 << 60, HYPERBOLIC, first=COUNT // 2)
    assert (cache.given_up, cache.limits) == (0, [cache.limit])
    assert abs(played.reads - wanted.reads) <= 16 and abs(played.hits - wanted.hits) <= 16  # the first batch of the half
    assert played.held_bytes == made.data_bytes[list(map(int, cache.objects))].sum()
    assert all(len(value) == made.value_bytes[int(key)] and len(key) == made.key_bytes for key, value in cache.objects.items())


def test_a_cache_that_evicts_comes_to_hold_its_capacity() -> None:
    made = requests_of(48, COUNT)
    capacity = made.capacity(0.1)

    class Counting(Fifo):
        """Counts bytes, and some more for each object."""

        held = 0

        def write(self, items: Sequence[Item]) -> None:
            self.delete([key for key, _ in items])
            self.objects.update(items)
            self.held += sum(len(key) + len(value) + 50 for key, value in items)
            while self.held > self.limit:
                self.delete([next(iter(self.objects))])
                self.given_up += 1

        def delete(self, keys: Sequence[bytes]) -> None:
            self.held -= sum(len(key) + len(self.objects[key]) + 50 for key in keys if key in self.objects)
            super().delete(keys)

    cache = Counting(2 * capacity)
    played = play(made, cache, capacity)
    assert len(cache.limits) > 2
    assert played.held_bytes == pytest.approx(capacity, rel=0.03)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_workload_has_the_statistics_of_its_cluster(cluster: int) -> None:
    row, made = clusters()[cluster], requests_of(cluster, COUNT)
    counts = np.bincount(made.keys, minlength=len(made.value_bytes))
    seen = len(made.value_bytes)
    assert seen == int(COUNT * float(row["compulsory_percent"]) / 100)
    assert 0.5 * seen < (counts > 0).sum() <= seen  # some of the unpopular are not asked for in so few requests
    once = int(seen * float(row["one_hit_percent"]) / 100)
    assert (counts[seen - once :] == 1).all()
    assert made.value_bytes.mean() == pytest.approx(float(row["value_bytes"]), rel=0.05)
    told = dict(each.split(":") for each in row["operations"].split())
    deletes = float(told.get("delete", 0)) / (sum(map(float, told.values())))
    assert (made.operations == DELETE).mean() == pytest.approx(deletes, abs=0.05)
    assert (made.operations == READ).mean() >= 0.5


def test_a_workload_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, again, other = requests_of(52, COUNT), requests_of(52, COUNT), requests_of(52, COUNT, seed=1)
    assert (first.keys == again.keys).all() and (first.operations == again.operations).all()
    assert (first.value_bytes == again.value_bytes).all() and (first.lifetimes == again.lifetimes).all()
    assert (first.keys != other.keys).any()


@pytest.mark.parametrize("cluster", [1, 5, 55])
def test_a_cluster_without_statistics_is_refused(cluster: int) -> None:
    with pytest.raises(SplinterError, match=f"no statistics of cluster {cluster}"):
        requests_of(cluster, COUNT)


def test_a_cluster_whose_objects_die_changes_what_is_asked_for() -> None:
    made = requests_of(19, COUNT)
    halves = [np.unique(half[half < made.live_keys]) for half in np.array_split(made.keys, 2)]
    assert len(halves[1]) < len(halves[0])  # keys from the beginning have given their places to others


@pytest.mark.parametrize("policy", POLICIES)
def test_a_cache_with_room_for_all_misses_each_key_once(policy: str) -> None:
    keys = np.random.default_rng(1).integers(0, 50, 1000)
    found = simulate(asked(keys.tolist()), 50, policy)
    assert (found.reads, found.hits, found.evictions) == (1000, 1000 - len(np.unique(keys)), 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_cache_holds_no_more_than_its_capacity(policy: str) -> None:
    found = simulate(asked([0, 1, 0, 1, 2, 2], size=10), 19, policy)  # one object at a time
    assert (found.hits, found.evictions) == (1, 4)
    assert simulate(asked([0, 0], size=10), 9, policy).hits == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_deletes_lifetimes_and_writes_are_as_asked(policy: str) -> None:
    assert simulate(asked([0, 0, 0, 0], [WRITE, READ, DELETE, READ]), 9, policy).hits == 1
    assert simulate(asked([0, 0, 1, 0, 0], lifetime=3), 9, policy).hits == 2  # gone at 3, and read again
    renewed = asked([0, 0, 0, 0, 1, 0], [READ, WRITE, WRITE, READ, READ, READ], lifetime=4)
    assert simulate(renewed, 9, policy).hits == 2  # at 3 and at 5: by the last write it lasts until 6
    assert simulate(asked([0, 0, 0, 0]), 9, policy, first=2).reads == 2


def test_lru_gives_up_what_was_used_longest_ago() -> None:
    # Each second another key; five samples of four find all but rarely not.
    keys = [0, 1, 2, 0, 3, 0, 4, 0, 5, 0] * 50
    assert simulate(asked(keys), 3, LRU, per_second=1.0).hits >= 4 * 50 - 5


def test_what_is_used_often_survives_a_scan() -> None:
    random = np.random.default_rng(3)
    popular, scan = random.integers(0, 20, 20_000), np.arange(20, 20_020)
    keys = np.stack([popular, scan], axis=1).reshape(-1).tolist()
    ratios = {policy: simulate(asked(keys), 40, policy, per_second=1000.0).hit_ratio for policy in POLICIES}
    assert ratios[HYPERBOLIC] > 0.49 and ratios[LFU] > 0.49  # all but the first look at each of the popular
    assert ratios[LRU] < 0.49


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_ours_keeps_what_is_used_at_least_as_well_as_both_of_redis(cluster: int) -> None:
    made = requests_of(cluster, 5 * COUNT)
    capacity = made.capacity(0.1)
    found = {policy: simulate(made, capacity, policy, first=COUNT).hit_ratio for policy in POLICIES}
    assert found[HYPERBOLIC] >= max(found[LRU], found[LFU])


def test_what_came_together_and_is_used_together_is_not_given_up_for_what_is_not_used() -> None:
    """They stand side by side: a hand that looked at neighbours alone would have to give up one of them."""
    popular, scan = np.tile(np.arange(50), 200), np.arange(50, 10_050)
    keys = np.concatenate([np.arange(50), np.stack([popular, scan], axis=1).reshape(-1)]).tolist()
    assert simulate(asked(keys), 500, HYPERBOLIC).hits == 10_000
