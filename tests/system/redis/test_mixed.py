"""The same objects by the Redis protocol, by packets and from extensions: one store, and each transaction is seen whole."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import pytest

from splinter.client import Client
from tests.support.redis_server import Door
from tests.support.resp import Connection, Null, Status
from tests.support.servers import RunningServer, running_server
from tests.support.threads import at_once

OK = Status(b"OK")
ROUNDS = 300
SWAP = """
from splinter.ext import Store, extension, u64

@extension
def swap(db: Store, table: u64) -> u64:
    a, b = db.get(table, b"a"), db.get(table, b"b")
    if a is None or b is None:
        return 0
    db.put(table, b"a", b)
    db.put(table, b"b", a)
    return 1
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}xrm", "udp", "--redis-port", "0") as running:
        yield running


def test_an_object_is_the_same_by_either(both: tuple[Connection, Client, Door]) -> None:
    connection, client, _ = both
    assert connection.call(b"SET", b"k", b"by redis") == OK
    assert client.get(b"k") == b"by redis"
    client.put(b"k", b"by packet")
    assert connection.call(b"GET", b"k") == b"by packet"
    assert connection.call(b"SELECT", b"5") == OK
    assert connection.call(b"GET", b"k") == Null("$")
    client.put(b"k", b"of table 5", table=5)
    assert connection.call(b"GET", b"k") == b"of table 5"
    assert connection.call(b"DEL", b"k") == 1
    assert client.get(b"k", table=5) is None


def test_how_long_it_lives_is_the_same_by_either(both: tuple[Connection, Client, Door]) -> None:
    connection, client, _ = both
    client.put(b"k", b"v", ttl=1000)
    told = connection.call(b"TTL", b"k")
    assert isinstance(told, int) and 900 < told <= 1000
    assert connection.call(b"PERSIST", b"k") == 1
    assert client.ttl(b"k") == math.inf
    assert connection.call(b"PEXPIRE", b"k", b"2000000") == 1
    left = client.ttl(b"k")
    assert left is not None and 1900 < left <= 2000


def test_watched_keys_are_told_of_changes_by_packets(both: tuple[Connection, Client, Door]) -> None:
    connection, client, _ = both
    client.put(b"k", b"1")
    assert connection.call(b"WATCH", b"k") == OK
    client.put(b"k", b"1")  # the same value, another version
    assert connection.pipeline([[b"MULTI"], [b"SET", b"k", b"2"], [b"EXEC"]])[-1] == Null("*")
    assert client.get(b"k") == b"1"


def test_transactions_of_all_kinds_are_seen_whole(both: tuple[Connection, Client, Door]) -> None:
    """Two keys always hold two different values: swapped by EXEC and by an extension at once, and looked at by MGET and by
    MULTI."""
    connection, client, door = both
    client.install_all(SWAP)
    assert connection.call(b"MSET", b"a", b"1", b"b", b"2") == OK

    def swap_by_exec() -> None:
        with door.connect() as mine:
            done = 0
            while done < ROUNDS:
                mine.call(b"WATCH", b"a", b"b")
                a, b = mine.call(b"MGET", b"a", b"b")  # type: ignore[misc]
                replies = mine.pipeline([[b"MULTI"], [b"SET", b"a", b], [b"SET", b"b", a], [b"EXEC"]])
                done += replies[-1] == [OK, OK]

    def swap_by_extension() -> None:
        for _ in range(ROUNDS):
            assert client.invoke("swap", 0) == 1

    def look() -> None:
        with door.connect() as mine:
            for _ in range(ROUNDS):
                assert sorted(mine.call(b"MGET", b"a", b"b")) == [b"1", b"2"]  # type: ignore[arg-type]
                replies = mine.pipeline([[b"MULTI"], [b"GET", b"a"], [b"GET", b"b"], [b"EXEC"]])
                assert sorted(replies[-1]) == [b"1", b"2"]  # type: ignore[arg-type]

    at_once([swap_by_exec, swap_by_exec, swap_by_extension, look, look])
    assert sorted([client.get(b"a"), client.get(b"b")]) == [b"1", b"2"]
