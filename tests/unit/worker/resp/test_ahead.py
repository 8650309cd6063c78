"""Connections that are read before the first of them is served: each is answered what it has asked, and pays for it."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator

import pytest
from numba import njit
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.store.operations import store_key_hash
from splinter.worker.resp.ahead import look_ahead, read_ahead, serve_next
from splinter.worker.resp.connections import accept, end
from splinter.worker.resp.door import open_door, serve_door
from splinter.worker.resp.layout import AHEAD_MAX, RECEIVED
from splinter.worker.resp.memory import Door
from splinter.worker.tasks.pool import take_over_tasks
from splinter.worker.turn import begin_turn
from tests.support.driver import at
from tests.support.requester import address_of
from tests.support.waiting import WAIT_SECONDS

TENANT = 3
DEBT = 1 << 50  # ticks: more than a test takes
_open, _serve = njit(open_door), njit(serve_door)


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Desk:
    """A worker's door with a listening socket, which takes a turn when a test says so. Connections have indices 0, 1, …"""

    def __init__(self, worker: WorkerInProcess, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.listener.setblocking(False)
        self.epoll = stack.enter_context(contextlib.closing(select.epoll()))
        self.memory = worker.new_block()
        self.door = Door(self.epoll.fileno(), self.listener.fileno(), -1, {}, 0)
        self.memory.open_door(self.door)
        self.w, self.d, self.store = self.memory.address, self.door.address, worker.store
        take_over_tasks(self.w)
        _open(self.w, 0)
        self.token = b"%016x" % worker.add_tenant(TENANT).token

    def turn(self) -> int:
        begin_turn(self.w)
        return int(_serve(self.w, 0))

    def turns_until(self, client: socket.socket, length: int) -> bytes:
        """Take turns until a client has as many bytes."""
        deadline, got = time.monotonic() + WAIT_SECONDS, b""
        while len(got) < length:
            assert time.monotonic() < deadline, got
            self.turn()
            with contextlib.suppress(BlockingIOError):
                got += client.recv(length - len(got))
        return got

    def connect(self, *, is_let_in: bool = True) -> socket.socket:
        client = self._stack.enter_context(socket.create_connection(self.listener.getsockname()))
        client.setblocking(False)
        if is_let_in:
            client.sendall(command(b"AUTH", b"%d" % TENANT, self.token))
            assert self.turns_until(client, 5) == b"+OK\r\n"
        return client

    def read(self, *indices: int) -> None:
        """Read connections, each of which has sent something, and look ahead."""
        begin_turn(self.w)
        for number, index in enumerate(indices, 1):
            while int(self.door.block["ahead_count"][0]) < number:
                read_ahead(self.w, self.d, index)
        look_ahead(self.w, self.d)

    @property
    def hashes(self) -> list[int]:
        entries = at(int(self.door.block["ahead"][0]), RECEIVED.itemsize * AHEAD_MAX).view(RECEIVED)
        return [int(each) for each in entries["hashed"]]


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerInProcess]:
    with WorkerInProcess() as made:
        yield made


@pytest.fixture
def desk(worker: WorkerInProcess) -> Iterator[Desk]:
    with contextlib.ExitStack() as stack:
        yield Desk(worker, stack)


def test_each_of_many_gets_its_own_replies_in_order(desk: Desk) -> None:
    clients = [desk.connect() for _ in range(3 * AHEAD_MAX)]
    for number, client in enumerate(clients):
        value = b"%04d" % number
        client.sendall(command(b"SET", b"key-" + value, value) + command(b"GET", b"key-" + value) + command(b"ECHO", value))
    for number, client in enumerate(clients):
        reply = b"$4\r\n%04d\r\n" % number
        assert desk.turns_until(client, 5 + 2 * len(reply)) == b"+OK\r\n" + 2 * reply


def test_much_that_was_sent_is_served_as_what_is_little(desk: Desk) -> None:
    clients = [desk.connect() for _ in range(3)]
    value = b"v" * 4000
    for client in clients:
        client.sendall(command(b"SET", b"long", value) + command(b"GET", b"long"))
    for client in clients:
        assert desk.turns_until(client, 4000 + 14) == b"+OK\r\n$4000\r\n" + value + b"\r\n"


def test_a_connection_that_ends_before_its_turn_leaves_nothing_to_its_successor(desk: Desk) -> None:
    first, second = desk.connect(), desk.connect()
    first.sendall(command(b"SET", b"of-the-first", b"x"))
    second.sendall(command(b"SET", b"of-the-second", b"x"))
    desk.read(0, 1)
    end(desk.w, desk.d, 0)
    third = desk.connect(is_let_in=False)
    while int(desk.door.block["live"][0]) < 2:
        accept(desk.w, desk.d, 0)
    serve_next(desk.w, desk.d)
    serve_next(desk.w, desk.d)
    assert int(desk.door.block["ahead_count"][0]) == 0
    assert desk.turns_until(second, 5) == b"+OK\r\n"
    assert desk.store.get(TENANT, 0, b"of-the-second") == b"x" and desk.store.get(TENANT, 0, b"of-the-first") is None
    third.sendall(command(b"AUTH", b"%d" % TENANT, desk.token))
    assert desk.turns_until(third, 5) == b"+OK\r\n"  # and no reply of the first's


def test_what_was_read_and_has_no_turn_yet_is_served_in_the_next(desk: Desk) -> None:
    clients = [desk.connect() for _ in range(3)]
    for client in clients:
        client.sendall(command(b"PING"))
    desk.read(0, 1, 2)
    serve_next(desk.w, desk.d)
    assert desk.turn() >= 2
    for client in clients:
        assert desk.turns_until(client, 7) == b"+PONG\r\n"


def test_each_pays_its_part_of_the_reading(desk: Desk) -> None:
    clients = [desk.connect() for _ in range(2)]
    for client in clients:
        client.sendall(command(b"PING"))
    desk.read(0, 1)
    before = int(desk.memory.tenant_counters["cycles"][TENANT])
    desk.door.block["ahead_cycles"] = DEBT
    for number in (1, 2):
        serve_next(desk.w, desk.d)
        assert (int(desk.memory.tenant_counters["cycles"][TENANT]) - before) // DEBT == number


KEY = b"a-key"
WHOLE = [command(b"GET", KEY), command(b"set", KEY, b"value"), b"GET a-key\r\n", command(b"GET", KEY) * 2]
WITHOUT = [
    command(b"PING"), command(b"NOSUCH", KEY), command(b"GET"), command(b"GET", b""), b"\r\n", b"*0\r\n", b"*1\r\n",
    command(b"GET", b"k" * (limits.KEY_BYTES_MAX + 1)), command(b"OBJECT", b"FREQ", KEY), b"*-5\r\n", b"*9999999\r\n", b"$$$$",
]  # fmt: skip


@pytest.mark.parametrize("sent", WHOLE + WITHOUT)
def test_the_first_key_of_a_whole_command_is_looked_for(desk: Desk, sent: bytes) -> None:
    clients = [desk.connect() for _ in range(2)]
    for client in clients:
        client.sendall(sent)
    desk.read(0, 1)
    hashed = store_key_hash(desk.store.address, TENANT, 0, address_of(KEY), len(KEY)) & (1 << 64) - 1
    wanted = hashed if sent in WHOLE else 0
    assert desk.hashes[:2] == [wanted] * 2


@pytest.mark.parametrize("length", range(1, len(WHOLE[1])))
def test_a_part_of_a_command_is_kept_until_it_is_whole(desk: Desk, length: int) -> None:
    clients = [desk.connect() for _ in range(2)]
    for client in clients:
        client.sendall(WHOLE[1][:length])
    desk.read(0, 1)
    assert desk.hashes[:2] == [0, 0]
    for client in clients:
        client.sendall(WHOLE[1][length:])
        assert desk.turns_until(client, 5) == b"+OK\r\n"
