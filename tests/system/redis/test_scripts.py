"""Scripts of common clients, known by their digests: run as extensions of the library, as a tenant's own."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from splinter.client import Client
from splinter.ext import library
from splinter.worker.resp.scripts import SCRIPTS
from tests.support.redis_server import Door, door_of
from tests.support.resp import Connection, Failure, Null, Status
from tests.support.servers import RunningServer, running_server
from tests.support.threads import at_once
from tests.system.redis.test_functions import code_of

lock = pytest.importorskip("redis.lock", reason="the extra test has redis")

OK = Status(b"OK")
RELEASE = lock.Lock.LUA_RELEASE_SCRIPT.encode()  # in the client's own words
DIGEST = b"c3f8721cbb97f72bc19e972846bd7aaf91901658"
ADD = next(script.digest.encode() for script in SCRIPTS if script.extension == "redis_add")
CONNECTIONS = 20
I64 = 2**63


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}xru", "udp", "--redis-port", "0") as running:
        yield running


@pytest.fixture
def connection(both: tuple[Connection, Client, Door]) -> Connection:
    return both[0]


def test_a_script_is_loaded_and_run_by_its_digest(both: tuple[Connection, Client, Door]) -> None:
    connection, client, _ = both
    assert connection.call(b"SCRIPT", b"EXISTS", DIGEST) == [0]
    assert code_of(connection.call(b"EVALSHA", DIGEST, b"1", b"k", b"t")).startswith(b"NOSCRIPT")
    assert connection.call(b"SCRIPT", b"LOAD", RELEASE) == DIGEST
    assert connection.call(b"SCRIPT", b"EXISTS", DIGEST, b"0" * 40, b"x", DIGEST.upper()) == [1, 0, 0, 1]
    assert connection.call(b"SET", b"k", b"t") == OK
    assert connection.call(b"EVALSHA", DIGEST, b"1", b"k", b"other") == 0
    assert connection.call(b"EVALSHA", DIGEST.upper(), b"1", b"k", b"t") == 1
    assert connection.call(b"EXISTS", b"k") == 0
    assert [each.name for each in client.extensions()] == ["redis_release"]


def test_a_script_is_run_when_it_is_first_sent(connection: Connection) -> None:
    commands = [[b"SELECT", b"9"], [b"SET", b"k", b"t"], [b"EVAL", RELEASE, b"1", b"k", b"t"], [b"EXISTS", b"k"], [b"PING"]]
    assert connection.pipeline(commands) == [OK, OK, 1, 0, Status(b"PONG")]
    assert connection.pipeline([*commands[:2], [b"SELECT", b"8"], *commands[2:4]]) == [OK, OK, OK, 0, 0]  # of its own table


def test_many_connections_send_it_first_at_the_same_time(server: RunningServer) -> None:
    door = door_of(server, server.admin().create_tenant())
    told: list[object] = []

    def run() -> None:
        with door.connect() as connection:
            told.append(connection.call(b"EVAL", RELEASE, b"1", b"k", b"t"))

    at_once([run] * CONNECTIONS)
    assert told == [0] * CONNECTIONS


def test_what_cannot_be_installed_is_told_once(server: RunningServer) -> None:
    tenant = server.admin().create_tenant(quota_bytes=1)
    with door_of(server, tenant).connect() as connection:
        for command in ([b"EVAL", RELEASE, b"1", b"k", b"t"], [b"SCRIPT", b"LOAD", RELEASE]):
            refused, *others = connection.pipeline([command, [b"PING"], [b"ECHO", b"x"]])
            assert code_of(refused).startswith(b"OOM ")
            assert others == [Status(b"PONG"), b"x"]


def test_what_is_not_known_is_refused(connection: Connection) -> None:
    for script in (b"return 1", b"", RELEASE + b" ", b"x" * 100_000):
        assert code_of(connection.call(b"EVAL", script, b"0")).startswith(b"ERR this server runs functions in Python")
        assert code_of(connection.call(b"SCRIPT", b"LOAD", script)).startswith(b"ERR this server runs functions in Python")
    for digest in (b"0" * 40, b"x" * 40, b"", DIGEST[:-1]):
        assert code_of(connection.call(b"EVALSHA", digest, b"0")) == b"NOSCRIPT No matching script. Please use EVAL."
    for command in ([b"EVAL_RO", RELEASE], [b"EVALSHA_RO", DIGEST]):
        told = code_of(connection.call(*command, b"1", b"k", b"t"))
        assert told == b"ERR Can not execute a script with write flag using *_ro command."
    assert code_of(connection.call(b"EVALSHA", DIGEST, b"1", b"k")).startswith(b"ERR wrong number of keys and arguments")
    assert code_of(connection.call(b"SCRIPT", b"KILL")).startswith(b"ERR unknown subcommand")
    assert connection.call(b"MULTI") == OK
    assert code_of(connection.call(b"SCRIPT", b"LOAD", RELEASE)) == b"ERR Command not allowed inside a transaction"


def test_a_counter_is_what_the_command_has(both: tuple[Connection, Client, Door]) -> None:
    """The extension that adds, and INCRBY, on objects of the same value: replies, values and ends."""
    connection, client, _ = both
    client.install(library.entry("redis_scripts").sources["redis_add"])
    dice = random.Random(5)
    numbers = [0, 1, -1, 9, 10, 99, 100, I64 - 1, -I64, -I64 + 1, 10**18, -(10**18), 9_223_372_036_854_775_800]
    values: list[bytes] = [b"%d" % number for number in numbers]
    values += [b"", b"-", b"+1", b"01", b"-0", b" 1", b"1 ", b"1.5", b"x", b"9223372036854775808", b"-9223372036854775809"]
    values += [b"9" * 19, b"1" * 30]
    values += [b"%d" % dice.randrange(-I64, I64) for _ in range(100)]
    steps = [0, 1, -1, 7, I64 - 1, -I64, dice.randrange(I64), -dice.randrange(I64)]
    for value in values:
        for step in steps:
            for key in (b"a", b"b"):
                assert connection.call(b"SET", key, value, b"EX", b"1000") == OK
            wanted = connection.call(b"INCRBY", b"a", b"%d" % step)
            told = connection.call(b"EVALSHA", ADD, b"1", b"b", b"%d" % step)
            assert told == wanted, (value, step)
            one, other = connection.call(b"MGET", b"a", b"b")  # type: ignore[misc]
            assert one == other, (value, step)
            assert 0 < connection.call(b"TTL", b"b") <= 1000  # type: ignore[operator]
    assert connection.call(b"EVALSHA", ADD, b"1", b"none", b"5") == 5
    assert connection.call(b"TTL", b"none") == -1
    assert isinstance(connection.call(b"EVALSHA", ADD, b"1", b"none", b"x"), Failure)
    assert connection.call(b"GET", b"never") == Null("$")
