"""Several connections at once: each command is whole, each transaction is, and nothing is lost. A real Redis passes, too."""

from __future__ import annotations

from functools import partial

import pytest

from tests.support.redis_server import Door
from tests.support.resp import Connection, Null, Status
from tests.support.threads import at_once

CONNECTIONS, ROUNDS = 6, 200
OK, QUEUED = Status(b"OK"), Status(b"QUEUED")


@pytest.fixture(params=[pytest.param("redis", marks=pytest.mark.redis), "splinter"])
def door(request: pytest.FixtureRequest) -> Door:
    """Both, with an empty table 0."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Door)
    with found.connect() as connection:
        assert connection.call(b"FLUSHDB") == OK
    return found


def ask(door: Door, *command: bytes) -> object:
    with door.connect() as connection:
        return connection.call(*command)


def test_increments_add_up(door: Door) -> None:
    seen: list[list[int]] = [[] for _ in range(CONNECTIONS)]

    def count(slot: int) -> None:
        with door.connect() as connection:
            seen[slot] = [connection.call(b"INCR", b"k") for _ in range(ROUNDS)]

    at_once([partial(count, slot) for slot in range(CONNECTIONS)])
    assert sorted(number for numbers in seen for number in numbers) == list(range(1, CONNECTIONS * ROUNDS + 1))
    assert all(numbers == sorted(numbers) for numbers in seen)


def test_increments_in_pipelines_add_up(door: Door) -> None:
    def count(slot: int) -> None:
        with door.connect() as connection:
            for _ in range(ROUNDS // 20):
                replies = connection.pipeline([[b"INCR", b"k"]] * 20)
                assert replies == sorted(set(replies))

    at_once([partial(count, slot) for slot in range(CONNECTIONS)])
    assert ask(door, b"GET", b"k") == b"%d" % (CONNECTIONS * (ROUNDS // 20) * 20)


def test_transactions_and_reads_of_several_keys_are_whole(door: Door) -> None:
    """Three keys are always equal, whoever looks, by whatever means."""

    def write(slot: int) -> None:
        with door.connect() as connection:
            for _ in range(ROUNDS):
                commands = [
                    [b"MULTI"],
                    [b"INCR", b"a"],
                    [b"INCR", b"b"],
                    [b"INCR", b"c"],
                    [b"MGET", b"a", b"b", b"c"],
                    [b"EXEC"],
                ]
                *_, (one, two, three, read) = connection.pipeline(commands)
                assert one == two == three
                assert read == [b"%d" % one] * 3

    def write_at_once(slot: int) -> None:
        with door.connect() as connection:
            for _ in range(ROUNDS):
                commands = [[b"MULTI"], [b"GET", b"a"], [b"EXEC"]]
                value = connection.pipeline(commands)[-1][0]
                if isinstance(value, bytes):  # anybody may have written meanwhile: it is the same for all three
                    assert connection.call(b"MSET", b"a", value, b"b", value, b"c", value) == OK

    def read(slot: int) -> None:
        with door.connect() as connection:
            for _ in range(ROUNDS):
                read = connection.call(b"MGET", b"a", b"b", b"c")
                assert read[0] == read[1] == read[2]
                *_, (one, two) = connection.pipeline([[b"MULTI"], [b"GET", b"b"], [b"GET", b"c"], [b"EXEC"]])
                assert one == two

    at_once([partial(job, 0) for job in (write, write, write_at_once, read, read)])


def test_watched_increments_add_up(door: Door) -> None:
    def count(slot: int) -> None:
        with door.connect() as connection:
            for _ in range(ROUNDS // 4):
                while not increment(connection):
                    pass

    at_once([partial(count, slot) for slot in range(CONNECTIONS)])
    assert ask(door, b"GET", b"k") == b"%d" % (CONNECTIONS * (ROUNDS // 4))


def increment(connection: Connection) -> bool:
    """Read, add one, write, unless another wrote meanwhile; whether it was written."""
    watched, value = connection.pipeline([[b"WATCH", b"k"], [b"GET", b"k"]])
    assert watched == OK
    more = b"%d" % (int(value if isinstance(value, bytes) else 0) + 1)
    *_, done = connection.pipeline([[b"MULTI"], [b"SET", b"k", more], [b"EXEC"]])
    assert done in ([OK], Null("*"))
    return bool(done == [OK])


def test_one_of_many_gets_what_is_not_there(door: Door) -> None:
    commands = {
        b"set": [b"SET", b"%b", b"v", b"NX"],
        b"setnx": [b"SETNX", b"%b", b"v"],
        b"msetnx": [b"MSETNX", b"%b", b"v", b"other:%b", b"v"],
        b"getdel": [b"GETDEL", b"there:%b"],
        b"del": [b"DEL", b"gone:%b"],
        b"rename": [b"RENAME", b"moved:%b", b"elsewhere:%b"],
    }
    won: list[list[bytes]] = [[] for _ in range(CONNECTIONS)]
    keys = [b"%b:%d" % (name, number) for name in commands for number in range(ROUNDS // 8)]
    with door.connect() as connection:
        for key in keys:
            connection.pipeline([[b"SET", kind + key, b"v"] for kind in (b"there:", b"gone:", b"moved:")])

    def take(slot: int) -> None:
        with door.connect() as connection:
            for key in keys:
                reply = connection.call(*(part.replace(b"%b", key) for part in commands[key.split(b":")[0]]))
                if reply in (OK, 1, b"v"):
                    won[slot].append(key)

    at_once([partial(take, slot) for slot in range(CONNECTIONS)])
    assert sorted(key for taken in won for key in taken) == sorted(keys)


def test_a_transaction_that_is_watched_by_many_runs_once(door: Door) -> None:
    """Money that moves between two accounts: neither lost nor made, at any look."""
    ask(door, b"MSET", b"left", b"1000", b"right", b"1000")

    def move(slot: int) -> None:
        source, target = (b"left", b"right")[:: 1 if slot % 2 else -1]
        with door.connect() as connection:
            for number in range(ROUNDS // 2):
                amount = b"%d" % (number % 7)
                _, (left, right) = connection.pipeline([[b"WATCH", source, target], [b"MGET", b"left", b"right"]])
                commands = [[b"MULTI"], [b"DECRBY", source, amount], [b"INCRBY", target, amount], [b"EXEC"]]
                assert int(left) + int(right) == 2000
                done = connection.pipeline(commands)[-1]
                assert done == Null("*") or sum(done) == 2000

    at_once([partial(move, slot) for slot in range(CONNECTIONS)])
    with door.connect() as connection:
        assert sum(map(int, connection.call(b"MGET", b"left", b"right"))) == 2000
