"""Operations that lead through every path of a writer, and what the store holds after each of them.

Shared by the tests that kill a process in the middle: at numbered points, and at arbitrary instructions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import store64
from splinter.store.account_layout import EVICTION_HYPERBOLIC, EVICTION_NONE
from splinter.store.accounts import account_of
from splinter.store.clients import claim_begin, clients_sweep
from splinter.store.clock import moment_in
from splinter.store.compaction import compact
from splinter.store.epochs import OLDEST_NONE, epoch_enter
from splinter.store.eviction import evict_for
from splinter.store.expiry import sweep
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import bucket_number
from splinter.store.journal import participant_at, unlock
from splinter.store.layout import HASH_WORDS
from splinter.store.operations import lock_active, store_delete, store_expire, store_put
from splinter.store.outcomes import RECORDED, claim_effect, claim_request
from splinter.store.reclaim import reclaim
from splinter.store.records import Account, Claim
from splinter.store.settling import claim_settle_body
from splinter.store.slabs import retreat
from splinter.store.staging import stage_expire, stage_put
from splinter.store.store import Store
from splinter.store.tenants import UNCHANGED, tenant_set_modes
from splinter.wire import LARGE
from tests.support.large import put_head_in_epoch, put_part_in_epoch
from tests.support.transactions import Transaction

TENANT = 1
VICTIM, OTHER = 0, 1  # participants
FAR_FUTURE_NS = 1 << 62
HOUR_NS = 3600 * 10**9
MANY = 8  # keys that with the others fill the first chunk of the roster
BIG = limits.VALUE_BYTES_MAX  # one slot per slab, one slot per batch: every list is soon full

Contents = dict[bytes, bytes]


@njit
def find_colliding(store: int, key: int, found: np.ndarray) -> None:
    """Fill ``found`` with 8-byte integers that fall, as keys of table 0, into main bucket 0."""
    number = 0
    for i in range(len(found)):
        while True:
            store64(key, number)
            number += 1
            if bucket_number(store, store_hash(store, identity_of(TENANT, 0, 8), key, 8)) == 0:
                break
        found[i] = number - 1


def address_of(data: bytes) -> int:
    """Where the bytes of a bytes object lie, as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


@dataclass(frozen=True)
class Step:
    """One operation of the victim, and what it does to the contents."""

    name: str
    run: Callable[[Store], None]
    effect: Callable[[Contents], None] = lambda contents: None
    is_request: bool = False  # a client's: done again, it changes nothing


def put(key: bytes, value: bytes) -> Step:
    """Put a value in one piece."""

    def run(store: Store) -> None:
        status = store_put(store.address, VICTIM, TENANT, 0, address_of(key), len(key), address_of(value), len(value), 0)
        assert status == Status.OK, status

    return Step(f"put {key!r} {len(value)}", run, lambda contents: contents.__setitem__(key, value))


def put_for_a_while(key: bytes, value: bytes, ttl: int) -> Step:
    """Put a value that lives for ``ttl`` ns: what the others find is there, as nobody's clock shows its end."""

    def run(store: Store) -> None:
        moment = moment_in(store.address, participant_at(store.address, VICTIM), ttl)
        status = store_put(
            store.address, VICTIM, TENANT, 0, address_of(key), len(key), address_of(value), len(value), 0, 0, 0, moment
        )
        assert status == Status.OK, status

    return Step(f"put {key!r} for a while", run, lambda contents: contents.__setitem__(key, value))


def live(key: bytes, ttl: int) -> Step:
    """Say how long an object lives."""

    def run(store: Store) -> None:
        status = store_expire(store.address, VICTIM, TENANT, 0, address_of(key), len(key), ttl, 0, 0, 0)
        assert status == Status.OK, status

    return Step(f"live {key!r}", run)


def sweep_over(key: bytes) -> Step:
    """A turn of the sweep, which finds an object over, by a clock that is far ahead."""

    def run(store: Store) -> None:
        store.participants["now"][VICTIM] = FAR_FUTURE_NS
        store.descriptor["sweep_next"] = 0
        for name in ("sweep_ns", "sweep_slab", "sweep_slot"):
            store.participants[name][VICTIM] = 0
        sweep(store.address, VICTIM, 1 << 20)
        store.participants["now"][VICTIM] = 0

    return Step(f"sweep {key!r}", run, lambda contents: contents.pop(key, None) and None)


def refused_for_quota(key: bytes) -> Step:
    """A put that the quota refuses, though what is over was swept away for it, by a clock that is far ahead."""

    def run(store: Store) -> None:
        quota = int(store.accounts[TENANT]["quota_bytes"])
        store.open_tenant(TENANT, 1)
        store.participants["now"][VICTIM], store.accounts["room_next"][TENANT] = FAR_FUTURE_NS, 0
        status = store_put(store.address, VICTIM, TENANT, 0, address_of(b"none"), 4, address_of(b"none"), 4, 0)
        store.participants["now"][VICTIM] = 0
        store.open_tenant(TENANT, quota)
        assert status == Status.QUOTA_EXCEEDED, status

    return Step(f"refused, without {key!r}", run, lambda contents: contents.pop(key, None) and None)


def large(key: bytes, identity: int, more: int) -> Step:
    """Put a large value of two parts, the second of ``more`` bytes: of it only what names them is an object."""
    length = limits.PART_BYTES + more

    def run(store: Store) -> None:
        for number, size in enumerate((limits.PART_BYTES, more)):
            status = put_part_in_epoch(store, TENANT, 0, key, identity, number, bytes(size), p=VICTIM)
            assert status in (Status.OK, Status.VERSION_CHANGED), status  # who died may have put it
        status = put_head_in_epoch(store, TENANT, 0, key, identity, length, p=VICTIM)
        assert status == Status.OK, status

    return Step(f"large {key!r}", run, lambda contents: contents.__setitem__(key, LARGE.struct.pack(identity, length)))


@njit
def _evict(store: int) -> int:
    """Have the tenant give up objects for its quota, as a put does."""
    me = participant_at(store, VICTIM)
    status = lock_active(store, me, TENANT)
    if status == Status.OK:
        evict_for(store, me, TENANT, 0, 0)
        unlock(store, Account(account_of(store, TENANT)).at.lock)
    return status


def evict(key: bytes) -> Step:
    """Evict the only object that there is."""

    def run(store: Store) -> None:
        quota = int(store.accounts[TENANT]["quota_bytes"])
        assert tenant_set_modes(store.address, VICTIM, TENANT, UNCHANGED, 0, EVICTION_HYPERBOLIC) == Status.OK
        store.open_tenant(TENANT, 1)
        status = _evict(store.address)
        store.open_tenant(TENANT, quota)
        assert tenant_set_modes(store.address, VICTIM, TENANT, UNCHANGED, 0, EVICTION_NONE) == Status.OK
        assert status == Status.OK, status

    return Step(f"evict {key!r}", run, lambda contents: contents.pop(key, None) and None)


def delete(key: bytes) -> Step:
    """Delete an object that is there."""

    def run(store: Store) -> None:
        status = store_delete(store.address, VICTIM, TENANT, 0, address_of(key), len(key), 0)
        assert status in (Status.OK, int(Status.NOT_FOUND)), status  # a repetition after a death finds it gone

    def effect(contents: Contents) -> None:
        contents.pop(key, None)

    return Step(f"delete {key!r}", run, effect)


def turn() -> Step:
    """What a worker does between batches."""

    def run(store: Store) -> None:
        epoch_enter(store.address, VICTIM, OLDEST_NONE)
        reclaim(store.address, VICTIM, limits.RECLAIM_SLOTS_MAX)

    return Step("turn", run)


def fragment(sequence: int, key: bytes, value: bytes, index: int) -> Step:
    """Put one fragment of a value."""
    size = limits.FRAGMENT_BYTES
    count = -(-len(value) // size)
    piece = value[index * size : (index + 1) * size]

    def run(store: Store) -> None:
        status, _ = stage_put(
            store.address, VICTIM, 7, sequence, TENANT, 0, address_of(key), len(key), count, index, address_of(piece),
            len(piece), 0,
        )  # fmt: skip
        assert status == Status.OK, status

    def effect(contents: Contents) -> None:
        if index == count - 1:
            contents[key] = value

    return Step(f"fragment {index} of {key!r}", run, effect)


CLIENT = 42


def request_put(sequence: int, key: bytes, value: bytes, acknowledged: int = 1) -> Step:
    """A client's put: done again after a death, as the client repeats it, it has its effect once."""

    def run(store: Store) -> None:
        claim = claim_request(store.address, VICTIM, CLIENT, sequence, acknowledged, 0)
        status = store_put(store.address, VICTIM, TENANT, 0, address_of(key), len(key), address_of(value), len(value), 0, claim)
        assert status in (Status.OK, RECORDED), status

    return Step(f"client's put {sequence} of {key!r}", run, lambda contents: contents.__setitem__(key, value), True)


def request_delete(sequence: int, key: bytes, acknowledged: int = 1) -> Step:
    """A client's delete."""

    def run(store: Store) -> None:
        claim = claim_request(store.address, VICTIM, CLIENT, sequence, acknowledged, 0)
        status = store_delete(store.address, VICTIM, TENANT, 0, address_of(key), len(key), 0, claim)
        assert status in (Status.OK, RECORDED), status

    return Step(f"client's delete {sequence} of {key!r}", run, lambda contents: contents.pop(key, None) and None, True)


def request_in_vain(sequence: int, key: bytes) -> Step:
    """A client's delete of what is not there, which is recorded."""

    def run(store: Store) -> None:
        claim = claim_request(store.address, VICTIM, CLIENT, sequence, 1, 0)
        status = store_delete(store.address, VICTIM, TENANT, 0, address_of(key), len(key), 0, claim)
        assert status in (Status.NOT_FOUND, RECORDED), status

    return Step(f"client's delete {sequence} of {key!r}, in vain", run, is_request=True)


@njit
def _claim_first(store: int, sequence: int, word: int) -> int:
    claim = claim_effect(store, VICTIM, CLIENT, sequence, 1, 0)
    claimed = Claim(claim)
    claimed.count = word
    claimed.counted = 1
    return claim


def first_write(sequence: int, key: bytes, value: bytes) -> Step:
    """The first write of a task."""
    effect = np.zeros(1, dtype=np.int64)

    def run(store: Store) -> None:
        claim = _claim_first(store.address, sequence, effect.ctypes.data)
        status = store_put(store.address, VICTIM, TENANT, 0, address_of(key), len(key), address_of(value), len(value), 0, claim)
        assert status in (Status.OK, RECORDED), status

    return Step(f"first write of {sequence}, {key!r}", run, lambda contents: contents.__setitem__(key, value), True)


@njit
def _end_task(store: int, sequence: int, body: int, length: int) -> int:
    me = participant_at(store, VICTIM)
    claim = claim_request(store, VICTIM, CLIENT, sequence, 1, 0)
    status = lock_active(store, me, TENANT)
    if status == Status.OK:
        status = claim_begin(store, me, TENANT, claim, Status.OK)
        if status == Status.OK or status == RECORDED:
            claim_settle_body(store, me, TENANT, claim, Status.OK, 0, body, length)
        unlock(store, Account(account_of(store, TENANT)).at.lock)
    return status


def end_task(sequence: int, body: bytes) -> Step:
    """A task's end, with a body to be kept."""

    def run(store: Store) -> None:
        status = _end_task(store.address, sequence, address_of(body), len(body))
        assert status in (Status.OK, RECORDED), status

    return Step(f"end of {sequence}", run)


def together(values: dict[bytes, bytes | None]) -> Step:
    """Put all of these, and delete those without a value, in one commit."""

    def run(store: Store) -> None:
        transaction = Transaction(store, TENANT, participant=VICTIM)
        for key, value in values.items():
            transaction.get(key)
            transaction.delete(key) if value is None else transaction.put(key, value)
        status = transaction.end()
        assert status == Status.OK, status

    def effect(contents: Contents) -> None:
        for key, value in values.items():
            contents.pop(key, None)
            if value is not None:
                contents[key] = value

    return Step(f"together {list(values)}", run, effect)


def too_much_together(keys: list[bytes]) -> Step:
    """A commit that the quota refuses after all of it has been published."""

    def run(store: Store) -> None:
        quota = int(store.accounts[TENANT]["quota_bytes"])
        store.open_tenant(TENANT, int(store.accounts[TENANT]["bytes_used"]))
        transaction = Transaction(store, TENANT, participant=VICTIM)
        for key in keys:
            transaction.put(key, bytes(3000))
        transaction.delete(b"small")
        status = transaction.end()
        store.open_tenant(TENANT, quota)
        assert status == Status.QUOTA_EXCEEDED, status

    return Step(f"too much together {keys}", run)


def forget() -> Step:
    """Forget all clients."""

    def run(store: Store) -> None:
        clients_sweep(store.address, VICTIM, TENANT - 1, 1, FAR_FUTURE_NS)

    return Step("forget", run)


def expire() -> Step:
    """Drop all puts that are not whole."""

    def run(store: Store) -> None:
        stage_expire(store.address, VICTIM, FAR_FUTURE_NS, 0)

    return Step("expire", run)


RECORD_SIZED, CHUNK_SIZED = 1900, 900  # bytes of values of the size class of a client's record, of a chunk of the roster
CHUNKS_KEYS = 250  # so many keys need one of that class


def crowd(size: int, count: int, keep: set[int]) -> Step:
    """Put more objects of a size than a slab holds, and delete all but a few, so that two slabs are sparse; then let memory and
    overflow buckets be short. Nobody dies in it."""
    keys = [b"crowd %d of %d" % (number, size) for number in range(count)]

    def run(store: Store) -> None:
        kill_at, store.descriptor["kill_at"] = int(store.descriptor["kill_at"]), 0
        for key in keys:
            put(key, bytes(size)).run(store)
        for number, key in enumerate(keys):
            if number not in keep:
                delete(key).run(store)
        for _ in range(3):
            epoch_enter(store.address, VICTIM, OLDEST_NONE)
            reclaim(store.address, VICTIM, 2 * len(keys))
        retreat(store.address, VICTIM)
        descriptor = store.descriptor
        descriptor["slabs_total"] = descriptor["slabs_used"] - descriptor["slabs_pooled"] + 1
        descriptor["buckets_total"] = descriptor["buckets_used"]
        store.descriptor["kill_at"] = kill_at

    def effect(contents: Contents) -> None:
        contents.update({key: bytes(size) for number, key in enumerate(keys) if number in keep})

    return Step(f"crowd {size}", run, effect)


def all_at_once(name: str, parts: list[Step]) -> Step:
    """Several operations in which nobody dies."""

    def run(store: Store) -> None:
        kill_at, store.descriptor["kill_at"] = int(store.descriptor["kill_at"]), 0
        for part in parts:
            part.run(store)
        store.descriptor["kill_at"] = kill_at

    def effect(contents: Contents) -> None:
        for part in parts:
            part.effect(contents)

    return Step(name, run, effect)


def compact_turn(number: int) -> Step:
    """A worker's turn before it sleeps, at a time of its own."""

    def run(store: Store) -> None:
        epoch_enter(store.address, VICTIM, OLDEST_NONE)
        reclaim(store.address, VICTIM, limits.RECLAIM_SLOTS_MAX)
        compact(store.address, VICTIM, number * 2 * limits.COMPACT_PAUSE_NS, True)

    return Step(f"turn {number} that compacts", run)


def end_of_shortage() -> Step:
    """Memory is there again."""

    def run(store: Store) -> None:
        assert store.descriptor["drain_number"] > 0
        store.descriptor["slabs_total"] = limits.STORE_BYTES_MIN // limits.SLAB_BYTES // 8 * 7 - 1

    return Step("end of shortage", run)


def set_hash(store: Store) -> None:
    """Have a store, an empty one, place keys as every store of the scenario does."""
    store.descriptor["seed"], store.descriptor["multiplier"] = 0x0123456789ABCDEF, 0x9E3779B97F4A7C15
    store.descriptor["hash_words"] = np.random.default_rng(1).integers(0, 1 << 64, HASH_WORDS, np.uint64)


def new_store() -> Store:
    """A store whose hash is always the same."""
    store = Store.create(limits.STORE_BYTES_MIN, participants=2)
    set_hash(store)
    store.open_tenant(TENANT)
    return store


def steps() -> list[Step]:
    """The whole scenario, for a store of :func:`new_store`."""
    scratch, found = np.zeros(1, dtype=np.int64), np.zeros(limits.BUCKET_ENTRIES + 2, dtype=np.int64)
    store = new_store()
    find_colliding(store.address, scratch.ctypes.data, found)
    colliding = [int(number).to_bytes(8, "little") for number in found]

    def value(number: int, size: int) -> bytes:
        return (number.to_bytes(4, "little") * (size // 4 + 1))[:size]

    many = [b"many %d" % number for number in range(MANY)]

    return [
        turn(),
        put_for_a_while(b"while", value(33, 10), HOUR_NS),
        live(b"while", 2 * HOUR_NS),
        sweep_over(b"while"),
        put_for_a_while(b"room", value(34, 40), HOUR_NS),
        refused_for_quota(b"room"),
        put(b"least", value(35, 12)),
        evict(b"least"),
        put(b"small", value(1, 10)),
        put(b"small", value(2, 20)),  # replaced within the class
        put(b"small", value(3, 100)),  # and by another class
        *(put(key, value(4, 12)) for key in colliding),  # the chain grows
        delete(colliding[0]),
        put(b"big 1", value(5, BIG)),  # each takes a slab
        put(b"big 2", value(6, BIG)),
        put(b"big 3", value(7, BIG)),
        put(b"big 4", value(8, BIG)),
        delete(b"big 1"),
        delete(b"big 2"),
        delete(b"big 3"),
        delete(b"big 4"),
        turn(),
        turn(),
        turn(),  # free, spare and shared lists have one slot each, or more
        put(b"big 5", value(9, BIG)),
        put(b"big 6", value(10, BIG)),
        put(b"big 7", value(11, BIG)),
        put(b"big 5", value(12, BIG)),
        *(fragment(1, b"pieces", value(13, 3000), index) for index in range(3)),
        *(fragment(2, b"small", value(14, 1500), index) for index in range(2)),  # replaces
        fragment(3, b"never whole", value(15, 3000), 0),
        fragment(4, b"never whole either", value(16, BIG), 0),
        expire(),
        turn(),
        turn(),
        delete(b"pieces"),
        put(b"small", value(17, 33)),
        together({b"small": value(30, 12), colliding[1]: None, b"new": value(31, 200), colliding[0]: value(32, 12)}),
        too_much_together([b"new", colliding[0], b"never"]),
        together({b"new": None, colliding[0]: None, colliding[1]: value(4, 12)}),
        all_at_once("fill the roster", [put(key, value(40, 4)) for key in many]),  # its first chunk, to the last cell
        put(b"one more", value(41, 12)),  # makes the second
        delete(b"one more"),  # with which it goes
        together({b"one more": value(42, 12), b"two more": value(43, 12)}),
        together({b"one more": None, b"two more": None}),
        delete(many[0]),  # a hole in the first
        put(b"one more", value(44, 12)),
        delete(b"one more"),
        all_at_once("empty the roster", [delete(key) for key in many[1:]]),
        request_put(1, b"asked", value(18, 20)),  # makes the client's record
        request_put(2, b"asked", value(19, 2000)),  # replaces; of the record's size class
        request_delete(3, b"asked"),
        request_in_vain(60, b"asked"),
        first_write(4, b"task", value(20, 20)),
        end_task(4, value(21, 100)),
        first_write(5, b"task", value(22, 20)),
        request_put(4 + limits.CLIENT_WINDOW, b"asked", value(23, 20), 5 + limits.CLIENT_WINDOW - 1),  # the body goes
        end_task(5 + limits.CLIENT_WINDOW, value(24, 100)),
        *(delete(key) for key in colliding[1:]),
        crowd(RECORD_SIZED, 70, {3, 68}),
        *(compact_turn(number) for number in range(1, 6)),  # slabs are drained, an empty overflow bucket leaves its chain
        end_of_shortage(),
        crowd(CHUNK_SIZED, CHUNKS_KEYS, {3, CHUNKS_KEYS - 5}),
        *(compact_turn(number) for number in range(6, 11)),  # a chunk of the roster is moved
        end_of_shortage(),
        *(put(key, value(26, 12)) for key in colliding),  # the chain grows again, by that bucket
        forget(),
        forget(),
        request_put(6, b"asked", value(25, 20)),  # as any new client
        large(b"large", 1, 2000),
        live(b"large", 2 * HOUR_NS),
        large(b"large", 2, 3000),  # the other parts go
        together({b"large": value(35, 12)}),
        large(b"large", 3, 2000),
        delete(b"large"),
    ]


def contents_after(done: list[Step]) -> Contents:
    """What the store holds after these steps."""
    contents: Contents = {}
    for step in done:
        step.effect(contents)
    return contents


def versions_of(store: Store) -> dict[bytes, int]:
    """The versions of the objects that the store holds: they change whenever one is written."""
    return {stored.key: stored.version for stored in store.scan(0, tenant=TENANT, participant=OTHER)}


def looked_up(store: Store, keys: Iterable[bytes]) -> Contents:
    """What a look-up of each key finds."""
    found = {key: store.get(TENANT, 0, key, participant=OTHER) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def in_snapshot(store: Store, keys: Iterable[bytes]) -> Contents:
    """The same in the present snapshot."""
    reader = Transaction(store, TENANT, participant=OTHER)
    found = {key: reader.get(key) for key in keys}
    reader.end()
    return {key: value for key, value in found.items() if value is not None}


def contents_of(store: Store) -> Contents:
    """What the store does hold."""
    return {stored.key: stored.value for stored in store.scan(0, tenant=TENANT, participant=OTHER)}
