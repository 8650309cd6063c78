"""Calls and questions of the Redis protocol over the deaths of those who run and answer them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from splinter import limits
from tests.support.redis_server import door_of
from tests.support.resp import Closed, Connection, Failure, ProtocolError, Status, encode
from tests.support.servers import RunningServer, running_server
from tests.support.threads import at_once
from tests.support.waiting import WAIT_SECONDS, wait_for
from tests.system.redis.test_functions import AWAIT, SUM, code_of, load, patient_tenant, source, tasks

OK = Status(b"OK")
CALLERS, CONNECTIONS = 4, 200
LATER = b"""def later(db: Store, key: bytes) -> u64:
    yield
    db.put(7, key, 1)
    return 1
"""
ENDLESS = b"""def endless(db: Store) -> u64:
    n: u64 = 0
    while True:
        n = n + 1 if n < 5 else 0
    return n
"""
FCALL_WAIT = encode([b"FCALL", b"wait", b"1", b"end"])


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """One worker."""
    with running_server(f"t{os.getpid()}xry", "udp", "--redis-port", "0", "--cores", "0") as running:
        yield running


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_call_ends_with_its_worker_and_an_invoke_goes_on(server: RunningServer) -> None:
    tenant = patient_tenant(server)
    client, door = server.client(tenant), door_of(server, tenant)
    with door.connect() as connection, ThreadPoolExecutor(1) as pool:
        load(connection, AWAIT)
        invoke = pool.submit(server.client(tenant, timeout=2 * WAIT_SECONDS).invoke, "wait", b"end")
        wait_for(lambda: tasks(server) == 1, what="the invoke")
        called = [door.connect() for _ in range(CALLERS)]
        for each in called:
            each.send(FCALL_WAIT)
        wait_for(lambda: tasks(server) == 1 + CALLERS, what="the calls")
        server.kill_worker(0)
        for each in called:
            assert each.is_at_end()
        client.put(b"end", b"x")
        assert invoke.result() >= 0
    wait_for(lambda: tasks(server) == 0, what="the end of all tasks")
    with door.connect() as again:
        assert again.call(b"FCALL", b"wait", b"1", b"end") == 0
    (told,) = client.extensions()
    assert told.kills == 0 and not told.quarantined


def test_what_kills_workers_is_quarantined_by_this_way_too() -> None:
    """A worker that is stuck in a call is killed for it, and the extension pays."""
    options = ("--no-preempt", "--cores", "0", "--watchdog-ms", "20")
    with running_server(f"t{os.getpid()}xrk", "udp", "--redis-port", "0", *options) as server:
        tenant = server.admin().create_tenant()
        door, client = door_of(server, tenant), server.client(tenant)
        with door.connect() as connection:
            load(connection, ENDLESS)
        for kills in range(1, limits.QUARANTINE_AFTER + 1):
            with door.connect() as connection:
                connection.send(encode([b"FCALL", b"endless", b"0"]))
                assert connection.is_at_end()
            wait_for(lambda kills=kills: client.extensions()[0].kills >= kills, what="the death that is counted")
        with door.connect() as connection:
            assert b"was stopped for having stuck workers" in code_of(connection.call(b"FCALL", b"endless", b"0"))
            assert connection.call(b"PING") == Status(b"PONG")


def test_who_asks_a_control_process_that_dies_is_told(server: RunningServer) -> None:
    tenant = server.admin().create_tenant()
    door = door_of(server, tenant)
    with door.connect() as connection, door.connect() as other:
        load(connection, AWAIT)
        (control,) = server.children("splinter-ctl")
        (compiler,) = children_of(control)
        os.kill(compiler, signal.SIGSTOP)
        connection.send(encode([b"FUNCTION", b"LOAD", source(SUM)]) + encode([b"PING"]))
        assert other.call(b"FUNCTION", b"LIST") != []  # so that one was taken
        os.kill(control, signal.SIGSTOP)
        other.send(encode([b"FUNCTION", b"LIST"]) + encode([b"PING"]))
        with door.connect() as last:  # behind it, so the worker has asked
            assert last.call(b"PING") == Status(b"PONG")
        os.kill(control, signal.SIGKILL)
        assert b"control process was replaced" in code_of(connection.receive())
        assert [each[1] for each in other.receive()] == [b"wait"]
        for each in (connection, other):
            assert each.receive() == Status(b"PONG")
        load(connection, SUM)
        assert connection.call(b"FCALL", b"bump", b"1", b"k", b"5") == 5


def test_an_answer_to_a_dead_worker_s_connection_is_nobody_s(server: RunningServer) -> None:
    tenant = server.admin().create_tenant()
    door = door_of(server, tenant)
    (control,) = server.children("splinter-ctl")
    with door.connect() as connection:
        os.kill(control, signal.SIGSTOP)
        connection.send(encode([b"FUNCTION", b"LOAD", source(SUM)]))
        with door.connect() as other:  # behind it, so the worker has asked
            assert other.call(b"PING") == Status(b"PONG")
        server.kill_worker(0)
        assert connection.is_at_end()
    with door.connect() as again:  # it has the same place at the successor
        again.send(encode([b"FUNCTION", b"LIST"]) + encode([b"PING"]))
        os.kill(control, signal.SIGCONT)
        told = again.receive()
        assert isinstance(told, list)
        assert again.receive() == Status(b"PONG")
        wait_for(lambda: [each[1] for each in again.call(b"FUNCTION", b"LIST")] == [b"bump"], what="the end of the load")


def test_many_calls_that_wait_are_bounded_and_others_go_on(server: RunningServer) -> None:
    tenant = patient_tenant(server)
    door, another = door_of(server, tenant), door_of(server, server.admin().create_tenant())
    connections: list[Connection] = []
    try:
        with door.connect() as connection:
            load(connection, AWAIT)
            for _ in range(CONNECTIONS):
                connections.append(door.connect())
                connections[-1].send(FCALL_WAIT)
            with another.connect() as other:
                for number in range(100):
                    assert other.call(b"SET", b"k", b"%d" % number) == OK
            assert connection.call(b"SET", b"end", b"x") == OK
        replies = [each.receive() for each in connections]
        answered = [reply for reply in replies if isinstance(reply, int)]
        assert len(answered) > 0
        assert all(isinstance(reply, int) or (isinstance(reply, Failure) and reply.code == b"BUSY") for reply in replies)
    finally:
        for each in connections:
            each.close()
    wait_for(lambda: tasks(server) == 0, what="the end of all tasks")


def test_a_call_that_has_waited_tells_nothing_that_is_not_on_the_disk(tmp_path: Path) -> None:
    options = ["--redis-port", "0", "--cores", "0", "--data", str(tmp_path), "--durability", "always"]
    with running_server(f"t{os.getpid()}xrv", "udp", *options) as server:
        tenant, another = server.admin().create_tenant(), server.admin().create_tenant(durability="none")

        def commands() -> int:
            return int(server.admin().stats()["workers"][0]["redis_commands"])

        with door_of(server, tenant).connect() as connection, door_of(server, another).connect() as other:
            load(connection, LATER)
            (logger,) = server.children("splinter-disk")
            os.kill(logger, signal.SIGSTOP)
            before = commands()
            connection.send(encode([b"FCALL", b"later", b"1", b"k"]))
            wait_for(lambda: commands() > before, what="the end of the call")
            assert other.call(b"ECHO", b"x") == b"x"  # behind it, so a reply would have been sent
            connection._socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.receive()
            os.kill(logger, signal.SIGCONT)
            connection._socket.settimeout(WAIT_SECONDS)
            assert connection.receive() == 1


def test_what_a_call_has_told_is_on_the_disk(tmp_path: Path) -> None:
    options = ["--redis-port", "0", "--data", str(tmp_path), "--durability", "always"]
    with running_server(f"t{os.getpid()}xrz", "udp", *options) as server:
        tenant = server.admin().create_tenant()
        told = [0] * CALLERS
        with door_of(server, tenant).connect() as connection:
            load(connection, SUM)

        def call(slot: int) -> None:
            with door_of(server, tenant).connect() as connection:
                try:
                    while True:
                        (_, total) = connection.pipeline([[b"SET", b"s", b"x"], [b"FCALL", b"bump", b"1", b"k%d" % slot, b"1"]])
                        assert isinstance(total, int)
                        told[slot] = total
                except (OSError, ProtocolError, Closed):
                    pass

        def kill() -> None:
            wait_for(lambda: min(told) > 50, what="calls of all connections")
            server.process.send_signal(signal.SIGKILL)

        at_once([*(partial(call, slot) for slot in range(CALLERS)), kill])
        server.process.wait()
        server.start_again(None, *options)
        with door_of(server, tenant).connect() as connection:
            assert [each[1] for each in connection.call(b"FUNCTION", b"LIST")] == [b"bump"]
            for slot, total in enumerate(told):
                found = connection.call(b"FCALL", b"bump", b"1", b"k%d" % slot, b"0")
                assert isinstance(found, int) and found >= total
