"""Each command and option of the Redis protocol, by cases that are written down; a real Redis passes them, too."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.support.redis_cases import Case, Line, matches, read_cases
from tests.support.redis_server import Door
from tests.support.resp import Connection, Failure, Map, Null, Reply, Set, Status
from tests.support.waiting import wait_for

TABLES = (b"65279", b"1", b"0")  # those of the cases; the last is where each begins
CASES = [
    pytest.param(case, id=f"{file.stem}: {case.title}")
    for file in sorted((Path(__file__).parent / "cases").glob("*.txt"))
    for case in read_cases(file)
]
# What COMMAND INFO tells of some: arity, first key, last key, step.
INFOS = {
    b"get": (2, 1, 1, 1),
    b"set": (-3, 1, 1, 1),
    b"mget": (-2, 1, -1, 1),
    b"mset": (-3, 1, -1, 2),
    b"del": (-2, 1, -1, 1),
    b"rename": (3, 1, 2, 1),
    b"object": (-2, 0, 0, 0),
    b"ping": (-1, 0, 0, 0),
    b"exec": (1, 0, 0, 0),
    b"watch": (-2, 1, -1, 1),
}


@pytest.fixture(params=[pytest.param("redis", marks=pytest.mark.redis), "splinter"])
def door(request: pytest.FixtureRequest) -> Door:
    """Both: what a real Redis fails is wrong in the table."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Door)
    return found


def emptied(door: Door, protocol: int) -> Connection:
    connection = door.connect(protocol=protocol)
    for table in TABLES:
        assert connection.pipeline([[b"SELECT", table], [b"FLUSHDB"]]) == [Status(b"OK")] * 2
    return connection


def check(connection: Connection, line: Line, protocol: int, said: list[str]) -> None:
    """Say a line and compare the reply; ``said`` is what went before."""
    reply: Reply = None

    def is_right() -> bool:
        nonlocal reply
        reply = connection.call(*line.command)
        return matches(line.expected, reply, protocol)

    if line.is_awaited:
        wait_for(is_right, what=line.text)
    else:
        assert is_right(), "\n".join([*said, f"{line.text}   <-- was {reply!r}"])
    said.append(line.text)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_case(door: Door, case: Case, protocol: int) -> None:
    said: list[str] = []
    with emptied(door, protocol) as first, door.connect(protocol=protocol) as second:
        for line in case.lines:
            check((first, second)[line.connection], line, protocol, said)


def test_commands_are_refused_before_authentication(door: Door) -> None:
    with door.connect(is_inside=False) as connection:
        for command in (b"GET k", b"PING", b"HELLO", b"HELLO 3", b"MULTI", b"INFO", b"COMMAND", b"SELECT 0"):
            reply = connection.call(*command.split())
            assert isinstance(reply, Failure), command
            assert reply.code == b"NOAUTH", command
        assert connection.call(b"AUTH", door.user.encode(), b"0" * 16) == Failure(
            b"WRONGPASS invalid username-password pair or user is disabled."
        )
        assert connection.call(b"GET", b"k").code == b"NOAUTH"
        assert connection.call(b"AUTH", door.user.encode(), door.password.encode()) == Status(b"OK")
        assert connection.call(b"PING") == Status(b"PONG")


def fields(reply: Reply) -> dict[bytes, Reply]:
    """A map, or an array that RESP2 has instead."""
    return dict(reply.pairs) if isinstance(reply, Map) else dict(zip(reply[::2], reply[1::2], strict=True))


def test_hello_changes_the_protocol_and_tells_of_the_server(door: Door) -> None:
    who = (b"AUTH", door.user.encode(), door.password.encode())
    with door.connect(is_inside=False) as connection:
        reply = connection.call(b"HELLO", b"3", *who, b"SETNAME", b"me")
        assert isinstance(reply, Map)
        told = fields(reply)
        assert set(told) == {b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"}
        assert told[b"proto"] == 3
        assert told[b"id"] == connection.call(b"CLIENT", b"ID")
        assert connection.call(b"CLIENT", b"GETNAME") == b"me"
        assert isinstance(connection.call(b"CONFIG", b"GET", b"nothing"), Map)
        reply = connection.call(b"HELLO", b"2")
        assert isinstance(reply, list)
        assert fields(reply)[b"proto"] == 2
        assert connection.call(b"CONFIG", b"GET", b"nothing") == []
        assert fields(connection.call(b"HELLO"))[b"proto"] == 2
        connection.call(b"HELLO", b"3")
        assert connection.call(b"RESET") == Status(b"RESET")
        assert connection.call(b"AUTH", *who[1:]) == Status(b"OK")
        assert connection.call(b"CONFIG", b"GET", b"nothing") == []
        assert fields(connection.call(b"HELLO"))[b"proto"] == 2


def test_reset_returns_to_the_first_table_and_forgets_the_transaction(door: Door) -> None:
    with emptied(door, 2) as connection:
        connection.pipeline([[b"SELECT", b"1"], [b"SET", b"k", b"v"], [b"WATCH", b"k"], [b"MULTI"]])
        assert connection.call(b"SET", b"k", b"w") == Status(b"QUEUED")
        assert connection.call(b"RESET") == Status(b"RESET")
        assert connection.call(b"AUTH", door.user.encode(), door.password.encode()) == Status(b"OK")
        assert connection.call(b"EXEC").code == b"ERR"
        assert connection.call(b"DBSIZE") == 0
        assert connection.call(b"SELECT", b"1") == Status(b"OK")
        assert connection.call(b"GET", b"k") == b"v"


def test_quit_says_ok_and_closes(door: Door) -> None:
    with door.connect() as connection:
        assert connection.call(b"QUIT") == Status(b"OK")
        assert connection.is_at_end()
    with door.connect(is_inside=False) as connection:
        assert connection.call(b"QUIT") == Status(b"OK")
        assert connection.is_at_end()


def test_a_connection_that_ends_forgets_its_transaction(door: Door) -> None:
    with emptied(door, 2) as connection:
        with door.connect() as other:
            other.pipeline([[b"MULTI"], [b"SET", b"k", b"v"]])
        with door.connect() as other:
            other.pipeline([[b"WATCH", b"k"], [b"MULTI"], [b"SET", b"k", b"v"], [b"QUIT"]])
        assert connection.call(b"EXISTS", b"k") == 0


def test_clients_have_numbers_of_their_own(door: Door) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(door.connect()) for _ in range(8)]
        assert len({connection.call(b"CLIENT", b"ID") for connection in connections}) == 8


def test_client_info_tells_of_the_connection(door: Door) -> None:
    with door.connect() as connection:
        connection.pipeline([[b"CLIENT", b"SETNAME", b"me"], [b"SELECT", b"7"]])
        number = connection.call(b"CLIENT", b"ID")
        told = dict(word.split(b"=", 1) for word in connection.call(b"CLIENT", b"INFO").split())
        assert (told[b"id"], told[b"name"], told[b"db"]) == (b"%d" % number, b"me", b"7")
        listed = connection.call(b"CLIENT", b"LIST")
        assert b"id=%d " % number in listed
        assert b"name=me " in listed


@pytest.mark.parametrize("protocol", [2, 3])
def test_command_info_tells_arity_and_keys(door: Door, protocol: int) -> None:
    with door.connect(protocol=protocol) as connection:
        infos = connection.call(b"COMMAND", b"INFO", *INFOS)
        assert {info[0]: (info[1], *info[3:6]) for info in infos} == INFOS
        flags = infos[0][2]
        assert isinstance(flags, Set if protocol == 3 else list)
        assert Status(b"readonly") in (flags.members if isinstance(flags, Set) else flags)
        assert {info[0] for info in connection.call(b"COMMAND")} >= set(INFOS)
        assert connection.call(b"COMMAND", b"COUNT") == len(connection.call(b"COMMAND"))
        assert set(fields(connection.call(b"COMMAND", b"DOCS", b"get", b"nosuch"))) == {b"get"}


def test_info_is_text_in_sections(door: Door) -> None:
    with door.connect() as connection:
        told = connection.call(b"INFO")
        lines = told.split(b"\r\n")
        assert b"# Server" in lines
        assert any(line.startswith(b"redis_version:7.") for line in lines)
        assert b"# Server" in connection.call(b"INFO", b"server")


def test_scan_gives_each_key_while_others_come_and_go(door: Door) -> None:
    stays = {b"stays:%d" % number for number in range(300)}
    with emptied(door, 2) as connection:
        for first in range(0, 300, 100):  # a transaction writes no more than 127 objects
            connection.call(b"MSET", *(word for n in range(first, first + 100) for word in (b"stays:%d" % n, b"v")))
        found: set[bytes] = set()
        cursor, turn = b"0", 0
        while True:
            cursor, keys = connection.call(b"SCAN", cursor, b"COUNT", b"20")
            found.update(keys)
            if cursor == b"0":
                break
            for number in range(10):
                connection.call(b"SET", b"goes:%d:%d" % (turn, number), b"v")
                connection.call(b"DEL", b"goes:%d:%d" % (turn - 1, number))
            turn += 1
            assert turn < 10_000, "SCAN comes to no end"
        assert found >= stays
        assert connection.call(b"DBSIZE") == 300 + (10 if turn else 0)


def test_large_values(door: Door) -> None:
    with emptied(door, 2) as connection:
        for length in (1, 1000, 20_000, 60_000):
            value = bytes(range(256)) * (length // 256) + b"x" * (length % 256)
            assert connection.pipeline([[b"SET", b"k", value], [b"GET", b"k"], [b"STRLEN", b"k"]]) == [
                Status(b"OK"),
                value,
                length,
            ]
            assert connection.call(b"GETRANGE", b"k", b"-3", b"-1") == value[-3:]
        assert connection.call(b"APPEND", b"k", b"y") == 60_001
        assert connection.call(b"SETRANGE", b"k", b"62000", b"z") == 62_001
        assert connection.call(b"GETDEL", b"k")[60_000:] == b"y" + bytes(1999) + b"z"


@pytest.mark.parametrize("count", [2, 255, 256, 257, 1000])
def test_commands_of_many_keys(door: Door, count: int) -> None:
    """More than are looked ahead for, some not there, some of lengths that no key of ours has."""
    keys = [b"" if number % 7 == 3 else b"k" * 300 if number % 7 == 5 else b"key %d" % number for number in range(count)]
    there = [key for key in keys[::2] if 1 <= len(key) <= 255][:100]
    with emptied(door, 2) as connection:
        assert connection.call(b"MSET", *(word for key in there for word in (key, b"of " + key))) == Status(b"OK")
        assert connection.call(b"MGET", *keys) == [b"of " + key if key in there else Null("$") for key in keys]
        assert connection.call(b"EXISTS", *keys) == connection.call(b"TOUCH", *keys) == len(there)
        assert connection.call(b"DEL", *keys[: count // 2]) == len([key for key in keys[: count // 2] if key in there])
        assert connection.call(b"EXISTS", *keys) == len([key for key in keys[count // 2 :] if key in there])


def test_what_splinter_refuses_and_redis_does_not(splinter: Door) -> None:
    with emptied(splinter, 2) as connection:
        for key in (b"", b"k" * 256):
            assert connection.call(b"SET", key, b"v").code == b"ERR"
            assert connection.call(b"GET", key) == Null("$")
            assert connection.call(b"MSET", b"a", b"1", key, b"2").code == b"ERR"
        many = [word for number in range(128) for word in (b"k%d" % number, b"v")]
        assert connection.call(b"MSET", *many).code == b"ERR"
        large = [word for number in range(2) for word in (b"k%d" % number, b"v" * 60_000)]
        assert connection.call(b"MSET", *large).code == b"ERR"
        connection.call(b"MULTI")
        for number in range(128):
            assert connection.call(b"SET", b"k%d" % number, b"v") == Status(b"QUEUED")
        assert isinstance(connection.call(b"EXEC"), Failure)
        assert connection.call(b"DBSIZE") == 0
        assert connection.call(b"MSET", *many[:254]) == Status(b"OK")


def test_a_library_may_tell_its_name(splinter: Door) -> None:
    """As Redis 7.2 lets it, and client libraries do at once."""
    with splinter.connect() as connection:
        assert connection.call(b"CLIENT", b"SETINFO", b"LIB-NAME", b"a library").code == b"ERR"
        assert connection.call(b"CLIENT", b"SETINFO", b"LIB-NAME", b"library") == Status(b"OK")
        assert connection.call(b"CLIENT", b"SETINFO", b"LIB-VER", b"1.2") == Status(b"OK")
        assert connection.call(b"CLIENT", b"SETINFO", b"NOSUCH", b"1.2").code == b"ERR"
        assert connection.call(b"CLIENT", b"NO-TOUCH", b"on") == Status(b"OK")
