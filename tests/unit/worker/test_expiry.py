"""Lifetimes in extensions: the worker's own helpers on its own store do what CPython does, whatever the time is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import CompiledExtension, compile_source
from splinter.store.clock import look_at_store_clock
from splinter.store.journal import participant_at
from splinter.wire import HEADER
from splinter.worker.reply import PENDING
from tests.support.driver import fresh

TENANT, TABLE = 1, 1
HOUR = 3600
NEAR = 60.0  # seconds that a machine may take for a test, and that a moment of one world may be away from the other's
CALLS = {
    "put": ("a: u64, t: f64", "f64", "db.put(1, k, a, ttl=t)\nreturn 1.0"),
    "put_for_ever": ("a: u64", "f64", "db.put(1, k, a)\nreturn 1.0"),
    "put_if": ("t: u64", "f64", "return 1.0 if db.put_if(1, k, 5, db.version(1, k), ttl=t) else 0.0"),
    "put_new": ("t: u64", "f64", "return 1.0 if db.put_if(1, k, 5, 0, ttl=t) else 0.0"),
    "expire": ("t: f64", "f64", "return 1.0 if db.expire(1, k, t) else 0.0"),
    "persist": ("", "f64", "return 1.0 if db.persist(1, k) else 0.0"),
    "ttl": ("", "f64", "return db.ttl(1, k)"),
    "add": ("n: i64", "f64", "return f64(db.add(1, k, n) & 0xFFFFFFFF)"),
    "value": ("", "f64", "v = db.get(1, k)\nreturn -1.0 if v is None else f64(v.u64(0) & 0xFFFFFFFF)"),
    "exists": ("", "f64", "return 1.0 if db.exists(1, k) else 0.0"),
    "delete": ("", "f64", "return 1.0 if db.delete(1, k) else 0.0"),
    "left": ("t: f64", "f64", "db.put(1, k, 1, ttl=t)\na = db.ttl(1, k)\nyield\nreturn a + db.ttl(1, k)"),
    "touch": (
        "t: f64", "f64",
        "v = db.get(1, k)\nif v is None:\n    return -1.0\nn = v.u64(0)\ndb.expire(1, k, t)\nyield\n"
        "w = db.get(1, k)\nassert w is not None and w.u64(0) == n\nreturn db.ttl(1, k)",
    ),
    "twice": ("t: f64", "f64", "db.expire(1, k, t)\ndb.persist(1, k)\nx = db.ttl(1, k)\ndb.expire(1, k, t)\nreturn x"),
    "waits": ("turns: u64", "f64", "a = db.ttl(1, k)\nfor i in range(turns):\n    yield\nreturn a - db.ttl(1, k)"),
    "writes": (
        "turns: u64", "f64",
        "a = db.ttl(1, k)\nfor i in range(turns):\n    yield\ndb.put(1, k + 1, 1, ttl=60)\nreturn a - db.ttl(1, k)",
    ),
    "many": ("turns: u64, t: f64", "f64", "for i in range(turns):\n    db.expire(1, k, t)\nreturn db.ttl(1, k)"),
}  # fmt: skip
ISOLATIONS = ("", "loose_")


def source_of(name: str, isolation: str) -> str:
    parameters, result, text = CALLS[name]
    head = "@extension(isolation='none')" if isolation else "@extension"
    lines = "\n".join("    " + line for line in text.split("\n"))
    comma = ", " if parameters else ""
    return f"{head}\ndef {isolation}{name}(db: Store, k: u64{comma}{parameters}) -> {result}:\n{lines}\n"


SOURCES = {isolation + name: source_of(name, isolation) for name in CALLS for isolation in ISOLATIONS}
COMPILED: dict[str, CompiledExtension] = {name: compile_source(source) for name, source in SOURCES.items()}


@pytest.fixture(scope="module")
def made() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as worker:
        worker.add_tenant(TENANT)
        for compiled in COMPILED.values():
            worker.install(TENANT, compiled)
        yield worker


class Worker:
    """Invokes on the worker's store, and the time that its clock shows."""

    def __init__(self, worker: WorkerInProcess) -> None:
        self.driver = fresh(worker)
        self.driver.accounts[TENANT] = worker.add_tenant(TENANT)
        self.store = worker.store
        for stored in list(self.store.scan(TABLE, tenant=TENANT)):
            self.store.delete(TENANT, TABLE, stored.key)

    def begin(self, name: str, *arguments: Any, sequence: int = 0) -> int:
        """The status, or PENDING."""
        return self.driver.invoke(TENANT, name, COMPILED[name].signature.pack(arguments), sequence)

    def end(self) -> int:
        """Run until no task waits; the status of what was begun last."""
        for _ in range(10_000):
            if not self.driver.slices(1)[TENANT]:
                return int(self.driver.packets[-1][: limits.REQUEST_HEADER_BYTES].view(HEADER)["status"][0])
        raise AssertionError("tasks wait for ever")

    def invoke(self, name: str, *arguments: Any) -> Any:
        """The result, or the name of the error."""
        status = self.begin(name, *arguments)
        return self.told(self.end() if status == PENDING else status)

    def told(self, status: int, number: int = -1) -> Any:
        packet = self.driver.packets[number]
        body = packet[limits.REQUEST_HEADER_BYTES :].tobytes()
        if status == Status.EXTENSION_ERROR:
            return next(error.name for error in ExtensionError if error.text.encode() in body)
        assert status == Status.OK
        return COMPILED["ttl"].signature.unpack(body[:8])

    def advance(self, seconds: float) -> None:
        self.store.descriptor["clock_base"] += round(seconds * 1e9)

    def objects(self) -> dict[bytes, tuple[bytes, float]]:
        """Values, and how many seconds they still live."""
        now = self.store.now_ns
        return {
            stored.key: (stored.value, (stored.expires - now) / 1e9 if stored.expires else math.inf)
            for stored in self.store.scan(TABLE, tenant=TENANT)
        }


@pytest.fixture
def worker(made: WorkerInProcess) -> Worker:
    return Worker(made)


class Local:
    """The same under CPython."""

    def __init__(self) -> None:
        self.store = LocalStore()

    def invoke(self, name: str, *arguments: Any) -> Any:
        try:
            return self.store.invoke(SOURCES[name], *arguments)
        except ExtensionFault as fault:
            return fault.error.name

    def advance(self, seconds: float) -> None:
        self.store.advance(seconds)

    def objects(self) -> dict[bytes, tuple[bytes, float]]:
        return {key: (value, self.store.ttl(table, key)) for (table, key), value in self.store.objects.items()}


def near(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (abs(one - other) < NEAR and min(one, other) > 0)
    return bool(one == other)


@pytest.mark.parametrize("seed", range(40))
def test_the_worker_does_what_cpython_does(worker: Worker, seed: int) -> None:
    random, local = Random(seed), Local()
    for step in range(60):
        if random.random() < 0.2:
            hours = random.choice((1, 3, 50))
            worker.advance(hours * HOUR + 10 * NEAR)
            local.advance(hours * HOUR + 10 * NEAR)
            continue
        name = random.choice([name for name in CALLS if name not in ("waits", "writes", "many")])
        seconds = random.choice((2 * HOUR, 10 * HOUR, 100 * HOUR, 10**9, 0, 4 * 10**9))
        given = {"k": random.randrange(4), "a": step, "n": random.choice((1, 7)), "t": seconds}
        wanted = COMPILED[name].signature
        arguments = [given["k"]] + [given[part.split(":")[0].strip()] for part in CALLS[name][0].split(",") if part]
        if "t: f64" in CALLS[name][0]:
            arguments[-1] = float(arguments[-1])
        name = random.choice(ISOLATIONS) + name
        assert wanted is not None
        told, expected = worker.invoke(name, *arguments), local.invoke(name, *arguments)
        assert near(told, expected), (step, name, arguments, told, expected)
        there, wanted_there = worker.objects(), local.objects()
        assert there.keys() == wanted_there.keys(), (step, name, arguments)
        for key, (value, left) in there.items():
            assert value == wanted_there[key][0] and near(left, wanted_there[key][1]), (step, name, arguments)


def end_in_a_later_turn(worker: Worker) -> int:
    look_at_store_clock(worker.store.address, participant_at(worker.store.address, 0))
    return worker.end()


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_transaction_has_one_moment(worker: Worker, isolation: str) -> None:
    """An hour passes while it waits: one that is a transaction is told of its beginning, the other of now."""
    worker.store.put(TENANT, TABLE, (7).to_bytes(8, "little"), bytes(8), ttl=10 * HOUR * 10**9)
    assert worker.begin(isolation + "waits", 7, 5) == PENDING
    worker.advance(HOUR)
    left = worker.told(end_in_a_later_turn(worker))
    assert HOUR <= left < HOUR + NEAR if isolation else left == 0.0


def test_what_it_puts_lives_from_its_moment_on(worker: Worker) -> None:
    worker.store.put(TENANT, TABLE, (7).to_bytes(8, "little"), bytes(8), ttl=10 * HOUR * 10**9)
    assert worker.begin("writes", 7, 5) == PENDING
    worker.advance(HOUR)
    assert worker.told(end_in_a_later_turn(worker)) == 0.0
    assert worker.invoke("exists", 8) == 0.0  # for 60 seconds, an hour ago
    assert worker.begin("loose_writes", 7, 5) == PENDING
    worker.advance(HOUR)
    assert worker.told(end_in_a_later_turn(worker)) >= HOUR
    assert 60 - NEAR < worker.invoke("ttl", 8) <= 60


def test_what_it_read_ends_before_it_does(worker: Worker) -> None:
    """It begins anew, and finds nothing."""
    worker.store.put(TENANT, TABLE, (7).to_bytes(8, "little"), bytes(8), ttl=HOUR * 10**9)
    assert worker.begin("writes", 7, 5) == PENDING
    worker.advance(2 * HOUR)
    assert worker.told(end_in_a_later_turn(worker)) == 0.0
    assert int(worker.driver.block["counters"]["conflicts"][0]) == 1
    assert worker.invoke("exists", 8) == 1.0


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_copies_count_as_puts(worker: Worker, isolation: str) -> None:
    worker.store.put(TENANT, TABLE, (7).to_bytes(8, "little"), bytes(60_000))
    times = limits.TASK_PUT_BYTES_MAX // 60_000 + 1 if isolation else limits.TRANSACTION_BYTES_MAX // 60_000 + 1
    assert worker.invoke(isolation + "many", 7, times, 1e6) == ("QUOTA" if isolation else "TRANSACTION")
    assert worker.invoke(isolation + "many", 7, 1, 1e6) == pytest.approx(1e6, abs=NEAR)


def test_the_first_object_of_a_store_that_expires_is_an_extensions() -> None:
    """Nobody has looked at the clock so far."""
    for isolation in ISOLATIONS:
        with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
            made.add_tenant(TENANT)
            for name in ("left", "ttl", "touch"):
                made.install(TENANT, COMPILED[isolation + name])
            worker = Worker(made)
            assert int(made.store.descriptor["expiring"]) == 0
            assert worker.invoke(isolation + "ttl", 7) == 0.0
            assert worker.invoke(isolation + "left", 7, 50.0) == pytest.approx(100, abs=NEAR if isolation else 0)
            assert int(made.store.descriptor["expiring"]) == 1
            assert worker.invoke(isolation + "touch", 7, 1e6) == pytest.approx(1e6, abs=NEAR)
            worker.advance(2e6)
            assert worker.invoke(isolation + "ttl", 7) == 0.0
