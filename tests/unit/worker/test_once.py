"""Requests of all kinds that come twice, where what is recorded of them is kept on a disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import compile_source
from splinter.store.turns import leave_turn, take_turn
from splinter.wire import Header, Opcode
from tests.support.logs import groups, logged, restored, state_of
from tests.support.sender import LOOKS, LOOSE_WRITES, REFUSED, SOURCES, TENANT, WRITES, Kind, Sender, invokes

KINDS = WRITES | LOOSE_WRITES | REFUSED | LOOKS
NOTHING = "invoke of nothing"
UNDECIDED = {name: kind for name, kind in KINDS.items() if name != NOTHING}  # while the disk refuses
NAMES = [line[len("def ") : line.index("(")] for line in SOURCES.splitlines() if line.startswith("def ")]


class World:
    """A worker whose tenant's changes are logged, and a client of that tenant."""

    def __init__(self, worker: WorkerInProcess) -> None:
        self.worker, self.store, self.client, self._keys = worker, worker.store, Sender(worker), 0
        self.block = worker._memory.block
        self.block["cycles_per_millisecond"] = 1 << 40  # a batch is not cut short, however slow the machine is
        self.rings = logged(worker.store, TENANT)
        worker._memory.keep_log(self.rings.address(0), -1)
        self.log: list[bytes] = []  # what the rings held at the end of each test

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
        for name in NAMES:
            made.install(TENANT, compile_source(SOURCES, name))
        yield made


@pytest.fixture(scope="module")
def only(worker: WorkerInProcess) -> World:
    return World(worker)


@pytest.fixture
def world(only: World) -> Iterator[World]:
    """All is on the disk; whatever the test does, the store is sound, and the log makes the same one."""
    yield only
    only.rings.tell_failed(is_failed=False)
    assert only.store.problems() == []
    taken = only.rings.heads()
    only.log.append(groups(only.rings, taken))
    for number, tail in enumerate(taken):
        only.rings.settle(number, tail, tail)
    expected, found = state_of(only.store, TENANT), state_of(restored(only.log, only.store), TENANT)
    expected["objects"] -= len(NAMES)  # of extensions, which the control process installs again
    assert found == expected


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_was_executed_is_not_told_to_be_refused_by_the_disk(world: World, kind: Kind):
    packets = world.request(kind)
    reply = world.client.ask(packets)
    before = world.objects()
    world.rings.tell_failed(is_failed=True)
    assert world.client.ask(packets) == reply != b""
    assert world.objects() == before


@pytest.mark.parametrize("kind", UNDECIDED.values(), ids=UNDECIDED)
def test_while_the_disk_refuses_what_is_new_is_not_executed(world: World, kind: Kind):
    packets, before = world.request(kind), world.objects()
    tails = world.rings.tails()
    world.rings.tell_failed(is_failed=True)
    assert world.client.status(packets) == Status.DISK_FAILED
    assert world.objects() == before and world.rings.tails() == tails
    world.rings.tell_failed(is_failed=False)
    assert world.client.status(packets) != Status.DISK_FAILED  # nothing was decided


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_told_is_in_the_log_and_waits_for_it(world: World, kind: Kind):
    """The fixture compares what the log makes; and no reply, also to a repetition, comes before that is on the disk."""
    packets, account = world.request(kind), world.store.accounts[TENANT]
    tail, sequence = world.rings.tails()[0], account["sequence"]
    reply = world.client.ask(packets)
    assert world.rings.tails()[0] > tail
    if kind is not WRITES["put of a part"]:
        assert account["sequence"] > sequence
    world.block["shown"] = 0
    assert world.client.ask(packets) == reply
    assert world.block["shown"] == account["sequence"]


def test_an_invoke_that_cannot_be_is_told_so_while_the_disk_refuses(world: World):
    packets, tails = world.request(KINDS[NOTHING]), world.rings.tails()
    world.rings.tell_failed(is_failed=True)
    assert world.client.status(packets) == Status.NO_EXTENSION
    assert world.rings.tails() == tails


@pytest.mark.parametrize("name", sorted(LOOKS.keys() - {NOTHING}))
def test_a_task_that_wrote_nothing_shows_its_own_record(world: World, name: str):
    packets = world.request(LOOKS[name])
    world.block["shown"] = 0
    world.client.ask(packets)
    assert world.block["shown"] == world.store.accounts[TENANT]["sequence"]


@pytest.mark.parametrize("name", ["adds_loosely", "deletes_loosely", "lives_loosely"])
@pytest.mark.parametrize("asks", [True, False])
def test_a_task_whose_first_write_the_disk_refuses_ends_with_its_status(world: World, name: str, asks: bool):
    sender = world.client if asks else Sender(world.worker, asks=False)
    key = (1 << 40).to_bytes(8, "little")
    world.store.put(TENANT, 1, key, bytes(8))
    packets, before = sender.request(Opcode.INVOKE, name.encode(), key), world.objects()
    assert sender.status(packets, lambda: world.rings.tell_failed(is_failed=True)) == Status.DISK_FAILED
    assert world.objects() == before
    world.rings.tell_failed(is_failed=False)
    assert sender.status(packets) == Status.OK  # nothing was decided
    assert world.objects() != before


def test_a_task_that_the_disk_refuses_after_its_first_write_ends_with_an_error(world: World):
    packets = world.request(invokes("adds_loosely_twice"))
    reply = world.client.ask(packets, lambda: world.rings.tell_failed(is_failed=True))
    assert Header.unpack(reply).status == Status.EXTENSION_ERROR
    assert reply.decode(errors="replace").endswith(ExtensionError.DISK.text)
    before = world.objects()
    for is_failed in (True, False):
        world.rings.tell_failed(is_failed)
        assert world.client.ask(packets) == reply
    assert world.objects() == before


def test_what_was_executed_is_told_while_another_has_the_turn(world: World):
    packets = world.request(WRITES["put"])
    reply = world.client.ask(packets)
    turn = take_turn(world.store.address, limits.PARTICIPANT_CONTROL, TENANT, 1)
    try:
        assert world.client.ask(packets) == reply
        assert world.client.status(world.client.request(Opcode.PUT, b"key", b"value")) == Status.BUSY
    finally:
        leave_turn(world.store.address, TENANT, turn)
