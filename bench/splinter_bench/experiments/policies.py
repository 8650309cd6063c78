"""Which object a full cache gives up: Splinter's policy and Redis's, simulated over the same requests.

**hyperbolic**, after Blankstein, Sen and Freedman (Hyperbolic Caching, ATC 2017): what was used least for the time that it is
there. Objects stand at positions; a new one takes the hole that was made last. A hand goes round them. It looks at LOOKS
objects for each one that is evicted, notes of each whether it was used since the look before (one bit, which a get sets), and
evicts the one of them with the smallest share of looks with use. So each object is told by two counts of 11 bits. A new one
has had two looks, and a 16th of a use: it goes before what is used once in a while, and is not the worst for ever. The hand
has PLACES places at a time, far from each other: what came together is often used together, and is not compared with itself.

**lru** and **lfu** are Redis's ``allkeys-lru`` and ``allkeys-lfu`` with its settings: 5 objects at random go into a pool of the
16 best candidates; the clock of lru has seconds; lfu counts by chance, ever more rarely, from 5 on, one less after each minute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from splinter_bench.seed import SEED
from splinter_bench.workloads.clusters import DELETE, READ, Requests

HYPERBOLIC, LRU, LFU = POLICIES = ("hyperbolic", "lru", "lfu")
_HYPERBOLIC, _LRU, _LFU = range(3)
LOOKS, LOOKS_MAX = 16, 2047  # objects for each one that is evicted; looks that are counted: then both counts are halved
PLACES = 4  # of the hand, a quarter of the positions apart
_SAMPLES, _POOL = 5, 16
_LFU_NEW, _LFU_MAX, _LFU_FACTOR = 5, 255, 10
_MINUTE_SECONDS = 60


@dataclass(frozen=True)
class Found:
    """What a cache did: of ``reads`` ``hits`` found something."""

    reads: int  # that were counted
    hits: int
    evictions: int  # in all

    @property
    def hit_ratio(self) -> float:
        """Hits, as a share of the reads."""
        return self.hits / self.reads


def simulate(requests: Requests, capacity: int, policy: str, *, first: int = 0, per_second: float | None = None) -> Found:
    """A cache that holds ``capacity`` bytes of keys and values. ``first``: from which request on reads count, ``per_second``:
    requests, for Redis's clocks (None: as the cluster gets them)."""
    found = _simulate(
        requests.keys, requests.operations, requests.data_bytes, requests.lifetimes, capacity, POLICIES.index(policy), first,
        per_second or requests.per_second, SEED,
    )  # fmt: skip
    return Found(*found)


@njit(cache=True)
def _simulate(
    keys: np.ndarray, operations: np.ndarray, sizes: np.ndarray, lifetimes: np.ndarray, capacity: int, policy: int,
    first: int, per_second: float, seed: int,
) -> tuple[int, int, int]:  # fmt: skip
    np.random.seed(seed)
    count, known = len(keys), len(sizes)
    cells, places = np.full(known, -1, np.int64), np.full(known, -1, np.int64)  # the key of a position; the position of a key
    holes, state = np.empty(known, np.int64), np.zeros((known, 3), np.int64)
    over, following = np.full(count, -1, np.int64), np.full(count, -1, np.int64)  # writes by the request that they last until
    ends = np.full(known, -1, np.int64)
    pool, worth = np.empty(_POOL, np.int64), np.empty(_POOL, np.int64)
    cursor = np.zeros(4, np.int64)  # hand, positions, holes, in the pool
    held, residents, reads, hits, evictions = 0, 0, 0, 0, 0
    for number in range(count):
        second, write = int(number / per_second), over[number]
        while write >= 0:
            key = keys[write]
            if places[key] >= 0 and ends[key] == number:
                _leave(key, cells, places, holes, cursor)
                held, residents = held - sizes[key], residents - 1
            write = following[write]
        key, operation = keys[number], operations[number]
        is_there = places[key] >= 0
        if operation == DELETE:
            if is_there:
                _leave(key, cells, places, holes, cursor)
                held, residents = held - sizes[key], residents - 1
            continue
        if operation == READ and number >= first:
            reads += 1
            hits += 1 if is_there else 0
        if is_there:
            _use(policy, state[key], second)
        while not is_there and residents > 0 and held + sizes[key] > capacity:
            if policy == _HYPERBOLIC:
                out = _least_used(cells, state, cursor)
            else:
                out = _best_of_pool(policy, cells, places, state, cursor, pool, worth, second)
            _leave(out, cells, places, holes, cursor)
            held, residents, evictions = held - sizes[out], residents - 1, evictions + 1
        if not is_there and sizes[key] <= capacity:
            if cursor[2] > 0:
                cursor[2] -= 1
                place = holes[cursor[2]]
            else:
                place = cursor[1]
                cursor[1] += 1
            cells[place], places[key] = key, place
            held, residents = held + sizes[key], residents + 1
            state[key, 0], state[key, 1], state[key, 2] = 0, 0, 0
            if policy != _HYPERBOLIC:
                state[key, 0], state[key, 1] = second, _LFU_NEW
        if (operation != READ or not is_there) and number + lifetimes[key] < count:
            ends[key] = number + lifetimes[key]
            following[number] = over[ends[key]]
            over[ends[key]] = number
        elif operation != READ or not is_there:
            ends[key] = -1
    return reads, hits, evictions


@njit(cache=True)
def _leave(key: int, cells: np.ndarray, places: np.ndarray, holes: np.ndarray, cursor: np.ndarray) -> None:
    """The key's position becomes a hole."""
    place = places[key]
    cells[place], places[key], holes[cursor[2]] = -1, -1, place
    cursor[2] += 1


@njit(cache=True)
def _use(policy: int, state: np.ndarray, second: int) -> None:
    """Note that an object was asked for. ``state``: of ours whether it was used, looks, looks with use; of Redis's its last
    second, and lfu's count."""
    if policy == _HYPERBOLIC:
        state[0] = 1
        return
    if policy == _LFU:
        counted = _decayed(state, second)
        if counted < _LFU_MAX and np.random.random() * (max(counted - _LFU_NEW, 0) * _LFU_FACTOR + 1) < 1:
            counted += 1
        state[1] = counted
    state[0] = second


@njit(cache=True)
def _decayed(state: np.ndarray, second: int) -> int:
    """lfu's count, one less for each minute since it was changed."""
    return int(max(state[1] - (second // _MINUTE_SECONDS - state[0] // _MINUTE_SECONDS), 0))


@njit(cache=True)
def _least_used(cells: np.ndarray, state: np.ndarray, cursor: np.ndarray) -> int:
    """The next object to be evicted by the hand."""
    found, least, end, seen = -1, 0.0, cursor[1], 0
    while found < 0 or seen < LOOKS:
        cursor[0] = cursor[0] + 1 if cursor[0] + 1 < end else 0
        for place in range(PLACES):
            seen += 1
            key = cells[(cursor[0] + place * end // PLACES) % end]
            if key < 0:
                continue
            looks, uses = state[key, 1] + 1, state[key, 2] + state[key, 0]
            if looks > LOOKS_MAX:
                looks, uses = looks >> 1, uses >> 1
            state[key, 0], state[key, 1], state[key, 2] = 0, looks, uses
            share = (16 * uses + 1) / (16 * looks + 32)
            if found < 0 or share < least:
                found, least = key, share
    return int(found)


@njit(cache=True)
def _best_of_pool(
    policy: int, cells: np.ndarray, places: np.ndarray, state: np.ndarray, cursor: np.ndarray, pool: np.ndarray,
    worth: np.ndarray, second: int,
) -> int:  # fmt: skip
    """The next object that Redis evicts."""
    while True:
        taken = 0
        while taken < _SAMPLES:
            key = cells[np.random.randint(0, cursor[1])]
            if key < 0:
                continue
            taken += 1
            idle = second - state[key, 0] if policy == _LRU else _LFU_MAX - _decayed(state[key], second)
            _offer(key, idle, cursor, pool, worth)
        while cursor[3] > 0:
            cursor[3] -= 1
            if places[pool[cursor[3]]] >= 0:
                return int(pool[cursor[3]])


@njit(cache=True)
def _offer(key: int, idle: int, cursor: np.ndarray, pool: np.ndarray, worth: np.ndarray) -> None:
    """Put a key into the pool, whose best is last, if it is better than the worst there or there is room."""
    size = cursor[3]
    for place in range(size):
        if pool[place] == key:
            return
    place = 0
    while place < size and worth[place] < idle:
        place += 1
    if size < _POOL:
        for above in range(size, place, -1):
            pool[above], worth[above] = pool[above - 1], worth[above - 1]
        cursor[3] = size + 1
    elif place == 0:
        return
    else:
        place -= 1
        for below in range(place):
            pool[below], worth[below] = pool[below + 1], worth[below + 1]
    pool[place], worth[place] = key, idle
