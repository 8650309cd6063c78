"""Values of more than 64 KiB: set by a command in pieces over several turns, read whole, gone with their key."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import partial

import pytest

from splinter import limits
from splinter.client import Client
from tests.support.redis_server import Door, door_of
from tests.support.resp import Connection, Failure, Null, Status, encode
from tests.support.servers import RunningServer, running_server
from tests.support.threads import at_once
from tests.support.waiting import wait_for

OK = Status(b"OK")
SIZES = (65_536, 65_537, 128_000, 128_001, 1_000_000, 5_000_000, limits.LARGE_BYTES_MAX)
ROUNDS = 40


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}xrv", "udp", "--redis-port", "0") as running:
        yield running


def value_of(size: int, seed: int = 0) -> bytes:
    return random.Random(size + seed).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_a_value_of_any_size_is_the_same_by_either(both: tuple[Connection, Client, Door], size: int) -> None:
    connection, client, _ = both
    value = value_of(size)
    assert connection.call(b"SET", b"k", value) == OK
    assert client.get(b"k") == value
    assert connection.call(b"GET", b"k") == value
    assert connection.call(b"STRLEN", b"k") == size
    for first, last in ((0, 9), (63_990, 64_010), (size - 10, -1), (-70_000, -1), (0, -1)):
        start, end = max(size + first, 0) if first < 0 else first, size + last + 1 if last < 0 else last + 1
        assert connection.call(b"GETRANGE", b"k", b"%d" % first, b"%d" % last) == value[start:end]
    client.put(b"k", value[::-1])
    assert connection.call(b"GET", b"k") == value[::-1]
    assert connection.call(b"DEL", b"k") == 1
    assert client.get(b"k") is None


def test_one_byte_more_is_refused_and_the_connection_goes_on(both: tuple[Connection, Client, Door]) -> None:
    connection, _, _ = both
    for command in ([b"SET", b"k"], [b"SETNX", b"k"], [b"SETEX", b"k", b"100"]):
        reply = connection.call(*command, b"x" * (limits.LARGE_BYTES_MAX + 1))
        assert isinstance(reply, Failure) and b"exceeds" in reply.text
    assert connection.call(b"EXISTS", b"k") == 0


def test_every_way_to_set_one(both: tuple[Connection, Client, Door]) -> None:
    connection, client, _ = both
    one, two = value_of(200_000), value_of(300_000, 1)
    assert connection.call(b"SETNX", b"k", one) == 1
    assert connection.call(b"SETNX", b"k", two) == 0
    assert connection.call(b"SET", b"k", two, b"NX") == Null("$")
    assert connection.call(b"SET", b"other", two, b"XX") == Null("$")
    assert connection.call(b"SET", b"k", two, b"NX", b"GET") == one
    assert connection.call(b"GET", b"k") == one
    assert connection.call(b"SET", b"k", two, b"XX", b"EX", b"1000") == OK
    told = connection.call(b"TTL", b"k")
    assert isinstance(told, int) and 900 < told <= 1000
    assert connection.call(b"SET", b"k", one, b"KEEPTTL", b"GET") == two
    told = connection.call(b"TTL", b"k")
    assert isinstance(told, int) and 900 < told <= 1000
    assert connection.call(b"GETSET", b"k", two) == one
    assert connection.call(b"TTL", b"k") == -1
    assert connection.call(b"SETEX", b"k", b"2000", one) == OK
    assert connection.call(b"PERSIST", b"k") == 1 and connection.call(b"TTL", b"k") == -1
    assert connection.call(b"PSETEX", b"k", b"2000000", two) == OK
    assert connection.call(b"EXPIRE", b"k", b"5000") == 1
    told = connection.call(b"TTL", b"k")
    assert isinstance(told, int) and 4900 < told <= 5000
    assert connection.call(b"GETEX", b"k", b"PERSIST") == two
    assert connection.call(b"MGET", b"k", b"nothing", b"k") == [two, Null("$"), two]
    assert connection.call(b"SET", b"k", one, b"EXAT", b"1") == OK
    assert connection.call(b"EXISTS", b"k") == 0
    assert connection.call(b"SET", b"k", one) == OK and connection.call(b"GETDEL", b"k") == one
    for bad in ([b"EX", b"0"], [b"EX", b"x"], [b"NX", b"XX"], [b"NOTHING"]):
        assert isinstance(connection.call(b"SET", b"k", one, *bad), Failure)
    assert connection.call(b"EXISTS", b"k") == 0 and client.get(b"k") is None


def test_what_it_cannot_be_in(both: tuple[Connection, Client, Door]) -> None:
    connection, _, _ = both
    value = value_of(100_000)
    assert connection.call(b"SET", b"k", value) == OK
    commands = ([b"APPEND", b"k", b"x"], [b"SETRANGE", b"k", b"0", b"x"], [b"RENAME", b"k", b"l"], [b"MSET", b"k", value])
    for command in (*commands, [b"COPY", b"k", b"l"], [b"INCR", b"k"], [b"APPEND", b"l", value]):
        assert isinstance(connection.call(*command), Failure), command
    replies = connection.pipeline([[b"MULTI"], [b"SET", b"k", value], [b"GET", b"k"], [b"SET", b"l", b"1"], [b"EXEC"]])
    last = replies[-1]
    assert isinstance(last, list) and isinstance(last[0], Failure) and last[1:] == [value, OK]
    assert connection.call(b"GET", b"k") == value


def test_a_quota_refuses_it_as_a_whole(server: RunningServer) -> None:
    tenant = server.admin().create_tenant(quota_bytes=1 << 20)
    door = door_of(server, tenant)
    with door.connect() as connection:
        reply = connection.call(b"SET", b"k", value_of(2_000_000))
        assert isinstance(reply, Failure) and reply.code == b"OOM"
        assert connection.call(b"EXISTS", b"k") == 0
        assert connection.call(b"SET", b"k", value_of(500_000)) == OK  # its parts are gone, and leave room


def test_values_that_are_replaced_all_the_time_are_read_whole(both: tuple[Connection, Client, Door]) -> None:
    _, client, door = both
    values = [value_of(150_000, seed) for seed in range(4)]
    client.put(b"k", values[0])

    def write(slot: int) -> None:
        with door.connect() as connection:
            for number in range(ROUNDS):
                assert connection.call(b"SET", b"k", values[(slot + number) % 4]) == OK

    def read() -> None:
        with door.connect() as connection:
            for _ in range(ROUNDS):
                assert connection.call(b"GET", b"k") in values
                assert connection.call(b"MGET", b"k")[0] in values  # type: ignore[index]

    def write_by_packets() -> None:
        for number in range(ROUNDS // 4):
            client.put(b"k", values[number % 4])

    at_once([partial(write, 0), partial(write, 1), read, read, write_by_packets])


def test_who_goes_away_in_the_midst_leaves_the_value_that_was_there(both: tuple[Connection, Client, Door]) -> None:
    connection, client, door = both
    value = value_of(100_000)
    assert connection.call(b"SET", b"k", value) == OK
    data = encode([b"SET", b"k", value_of(4_000_000)])
    for cut in (20_000, 1_000_000, len(data) - 1):
        with door.connect() as gone:
            gone.send(data[:cut])
    assert connection.call(b"GET", b"k") == value

    def is_served() -> bool:
        return client.get(b"k") == value and connection.call(b"PING") == Status(b"PONG")

    wait_for(is_served, what="the value")
