"""Requests of all kinds that come twice, where what is recorded of them is kept on a disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.ext.compile import compile_source
from splinter.store.layout import DURABILITY_INTERVAL
from splinter.store.turns import leave_turn, take_turn
from splinter.wire import Opcode
from tests.support.logs import logged, state_of
from tests.support.sender import LOOKS, LOOSE_WRITES, REFUSED, SOURCES, TENANT, WRITES, Kind, Sender

KINDS = WRITES | LOOSE_WRITES | REFUSED | LOOKS


class World:
    """A worker whose tenant's changes are logged, and a client of that tenant."""

    def __init__(self, worker: WorkerInProcess) -> None:
        self.store, self.client, self._keys = worker.store, Sender(worker), 0
        self.rings = logged(worker.store, TENANT, DURABILITY_INTERVAL)

    def request(self, kind: Kind) -> list[bytes]:
        """One request of this kind, about keys of its own: its packets."""
        self._keys += 1
        old = b"old %d" % self._keys
        self.store.put(TENANT, 0, old, b"value")
        return kind(self.client, self._keys.to_bytes(8, "little"), old)

    def objects(self) -> dict[str, object]:
        """What the tenant has."""
        return {name: part for name, part in state_of(self.store, TENANT).items() if name.startswith("table")}


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
        made.add_tenant(TENANT)
        for line in SOURCES.splitlines():
            if line.startswith("def "):
                made.install(TENANT, compile_source(SOURCES, line[len("def ") : line.index("(")]))
        yield made


@pytest.fixture(scope="module")
def only(worker: WorkerInProcess) -> World:
    return World(worker)


@pytest.fixture
def world(only: World) -> Iterator[World]:
    """Nobody waits for the disk; whatever the test does, the store is sound."""
    for number, tail in enumerate(only.rings.tails()):
        only.rings.settle(number, tail, tail)
    yield only
    only.rings.tell_failed(is_failed=False)
    assert only.store.problems() == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_was_executed_is_not_told_to_be_refused_by_the_disk(world: World, kind: Kind):
    packets = world.request(kind)
    reply = world.client.ask(packets)
    before = world.objects()
    world.rings.tell_failed(is_failed=True)
    assert world.client.ask(packets) == reply != b""
    assert world.objects() == before


@pytest.mark.parametrize("kind", (WRITES | REFUSED).values(), ids=WRITES | REFUSED)
def test_while_the_disk_refuses_what_is_new_is_not_executed(world: World, kind: Kind):
    packets, before = world.request(kind), world.objects()
    tails = world.rings.tails()
    world.rings.tell_failed(is_failed=True)
    assert world.client.status(packets) == Status.DISK_FAILED
    assert world.objects() == before and world.rings.tails() == tails
    world.rings.tell_failed(is_failed=False)
    assert world.client.status(packets) != Status.DISK_FAILED  # nothing was decided


def test_what_was_executed_is_told_while_another_has_the_turn(world: World):
    packets = world.request(WRITES["put"])
    reply = world.client.ask(packets)
    turn = take_turn(world.store.address, limits.PARTICIPANT_CONTROL, TENANT, 1)
    try:
        assert world.client.ask(packets) == reply
        assert world.client.status(world.client.request(Opcode.PUT, b"key", b"value")) == Status.BUSY
    finally:
        leave_turn(world.store.address, TENANT, turn)
