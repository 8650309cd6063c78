"""What is acknowledged by the Redis protocol is kept: over a worker's death, and over all with a data folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.redis_server import door_of
from tests.support.resp import Failure, Null, ProtocolError, Status
from tests.support.servers import RunningServer, running_server
from tests.support.threads import at_once
from tests.support.waiting import wait_for

OK = Status(b"OK")
CONNECTIONS, DEATHS = 8, 6


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[RunningServer, list[str]]]:
    """A server that keeps everything, and its options."""
    options = ["--redis-port", "0", "--data", str(tmp_path), "--durability", "always"]
    with running_server(f"t{os.getpid()}xrl", "udp", *options) as running:
        yield running, options


def test_what_is_told_is_on_the_disk(kept: tuple[RunningServer, list[str]]) -> None:
    server, options = kept
    tenant = server.admin().create_tenant()
    acknowledged: list[int] = [0] * CONNECTIONS

    def write(slot: int) -> None:
        """Counters in pipelines, alone and in transactions, until the server dies."""
        with door_of(server, tenant).connect() as connection:
            key = b"counter %d" % slot
            try:
                for number in range(10_000):
                    if number % 3 == 0:
                        told = connection.pipeline([[b"INCR", key]] * 8)[-1]
                    elif number % 3 == 1:
                        told = connection.call(b"INCR", key)
                    else:
                        told = connection.pipeline([[b"MULTI"], [b"INCR", key], [b"SET", key + b" copy", b"x"], [b"EXEC"]])[-1]
                        told = told[0] if isinstance(told, list) else told
                    assert isinstance(told, int), told
                    acknowledged[slot] = told
            except (OSError, ProtocolError):
                pass

    def kill() -> None:
        wait_for(lambda: min(acknowledged) > 50, what="writes of all connections")
        server.process.send_signal(signal.SIGKILL)

    at_once([*(partial(write, slot) for slot in range(CONNECTIONS)), kill])
    server.process.wait()
    server.start_again(None, *options)
    with door_of(server, tenant).connect() as connection:
        for slot, told in enumerate(acknowledged):
            found = connection.call(b"GET", b"counter %d" % slot)
            assert isinstance(found, bytes) and int(found) >= told


def test_a_workers_death_ends_its_connections_and_loses_nothing() -> None:
    with running_server(f"t{os.getpid()}xrw", "udp", "--redis-port", "0") as server:
        tenant = server.admin().create_tenant()
        door, left = door_of(server, tenant), [1]
        told: list[int] = [0] * CONNECTIONS

        def write(slot: int) -> None:
            """Count on, by new connections where one has ended; a count that was not answered may stand, once. Who is told that
            the tenant is busy, as its lock's holder has died, has done nothing."""
            unknown, commands = 0, [[b"INCR", b"k%d" % slot], [b"MSET", b"a", b"%d" % slot, b"b", b"%d" % slot]]
            while left[0] > 0:
                try:
                    with door.connect() as connection:
                        while left[0] > 0:
                            unknown += 1
                            number = connection.pipeline(commands)[0]
                            unknown -= 1
                            if isinstance(number, Failure) and number.code == b"BUSY":
                                continue
                            assert isinstance(number, int) and told[slot] < number <= told[slot] + 1 + unknown, number
                            told[slot], unknown = number, 0
                except (OSError, ProtocolError):
                    continue

        def kill() -> None:
            try:
                for _ in range(DEATHS):
                    before = list(told)
                    wait_for(
                        lambda before=before: all(now > then for now, then in zip(told, before, strict=True)), what="writes"
                    )
                    server.kill_worker(0)
            finally:
                left[0] = 0

        at_once([*(partial(write, slot) for slot in range(CONNECTIONS)), kill])
        with door.connect() as connection:
            one, other = connection.call(b"MGET", b"a", b"b")  # type: ignore[misc]
            assert one == other
            assert connection.call(b"GET", b"never") == Null("$")


def test_a_connection_waits_for_a_worker_that_is_replaced() -> None:
    with running_server(f"t{os.getpid()}xrs", "udp", "--redis-port", "0", "--cores", "0") as server:
        tenant = server.admin().create_tenant()
        door = door_of(server, tenant)
        with door.connect() as connection:
            assert connection.call(b"SET", b"k", b"v") == OK
            server.kill_worker(0)
            with pytest.raises((OSError, ProtocolError)):
                connection.call(b"GET", b"k")
        with door.connect() as connection:
            assert connection.call(b"GET", b"k") == b"v"
