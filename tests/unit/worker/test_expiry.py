"""Lifetimes in extensions: the worker's own helpers on its own store do what CPython does, whatever the time is."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.ext import ExtensionFault, LocalStore
from splinter.worker.reply import PENDING
from tests.support.lifetimes import CALLS, COMPILED, HOUR, ISOLATIONS, NEAR, SOURCES, TABLE, TENANT, Worker, near


@pytest.fixture(scope="module")
def made() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as worker:
        worker.add_tenant(TENANT)
        for compiled in COMPILED.values():
            worker.install(TENANT, compiled)
        yield worker


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


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_transaction_has_one_moment(worker: Worker, isolation: str) -> None:
    """An hour passes while it waits: one that is a transaction is told of its beginning, the other of now."""
    worker.store.put(TENANT, TABLE, (7).to_bytes(8, "little"), bytes(8), ttl=10 * HOUR * 10**9)
    assert worker.begin(isolation + "waits", 7, 5) == PENDING
    worker.advance(HOUR)
    left = worker.told(worker.end_in_a_later_turn())
    assert HOUR <= left < HOUR + NEAR if isolation else left == 0.0


def test_what_it_puts_lives_from_its_moment_on(worker: Worker) -> None:
    worker.store.put(TENANT, TABLE, (7).to_bytes(8, "little"), bytes(8), ttl=10 * HOUR * 10**9)
    assert worker.begin("writes", 7, 5) == PENDING
    worker.advance(HOUR)
    assert worker.told(worker.end_in_a_later_turn()) == 0.0
    assert worker.invoke("exists", 8) == 0.0  # for 60 seconds, an hour ago
    assert worker.begin("loose_writes", 7, 5) == PENDING
    worker.advance(HOUR)
    assert worker.told(worker.end_in_a_later_turn()) >= HOUR
    assert 60 - NEAR < worker.invoke("ttl", 8) <= 60


def test_what_it_read_ends_before_it_does(worker: Worker) -> None:
    """It begins anew, and finds nothing."""
    worker.store.put(TENANT, TABLE, (7).to_bytes(8, "little"), bytes(8), ttl=HOUR * 10**9)
    assert worker.begin("writes", 7, 5) == PENDING
    worker.advance(2 * HOUR)
    assert worker.told(worker.end_in_a_later_turn()) == 0.0
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


def test_a_clock_that_was_looked_at_before_anything_expired_does_not_stand_still() -> None:
    """Who asks how long an object lives looks at it; the first object that expires comes an hour later."""
    with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
        made.add_tenant(TENANT)
        for name in ("loose_ttl", "left", "ttl"):
            made.install(TENANT, COMPILED[name])
        worker = Worker(made)
        assert worker.invoke("loose_ttl", 7) == 0.0
        worker.advance(HOUR)
        assert worker.invoke("left", 7, 120.0) == 240.0
        assert 0 < worker.invoke("ttl", 7) <= 120
