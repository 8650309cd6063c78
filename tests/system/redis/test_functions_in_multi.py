"""Functions within MULTI: a part of its transaction, seen whole or not at all, and each all or nothing by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from splinter import limits
from splinter.client import Client
from tests.support.redis_server import Door, door_of, same_user
from tests.support.resp import Closed, Connection, Failure, Null, ProtocolError, Status
from tests.support.servers import RunningServer, running_server
from tests.support.threads import at_once
from tests.support.waiting import wait_for
from tests.system.redis.test_functions import GIVE_WAY, SPIN, SUM, code_of, load, tasks
from tests.system.redis.test_scripts import RELEASE

OK, QUEUED = Status(b"OK"), Status(b"QUEUED")
CONNECTIONS, ROUNDS = 4, 150
TABLE = [b"SELECT", b"7"]
# It writes over what was written before, writes something new, and fails then if it is told to.
BOTH = b"""def both(db: Store, key: bytes, other: bytes, fails: u64) -> u64:
    db.put(7, key, b"function")
    db.delete(7, other)
    db.put(7, b"new", b"function")
    if fails > 0:
        raise Error(fails)
    return 1
"""
LOOK = b"""def look(db: Store, key: bytes) -> bytes:
    found = db.get(7, key)
    if found is None:
        return b"none"
    return found
"""
GAZE = b"""def gaze(db: Store, key: bytes, turns: u64) -> u64:
    found = db.get(7, key)
    seen: u64 = 0
    if found is not None:
        for i in range(len(found)):
            seen = seen * 10 + found[i] - 48
    spent: u64 = 0
    for i in range(turns):
        spent += i & 3
    return seen if spent + 1 > 0 else 0
"""
MANY = b"""def many(db: Store, first: u64, count: u64) -> u64:
    for i in range(count):
        if db.exists(8, first + i):
            raise Error(1)
    db.put(7, b"key", first)
    return count
"""
LOOSE = b"""def loose(db: Store, key: bytes) -> bool:
    return db.exists(7, key)
"""


def bump(key: bytes, by: int = 1) -> list[bytes]:
    return [b"FCALL", b"bump", b"1", key, b"%d" % by]


def look(key: bytes) -> list[bytes]:
    return [b"FCALL", b"look", b"1", key]


def both_of(key: bytes, other: bytes, fails: int) -> list[bytes]:
    return [b"FCALL", b"both", b"2", key, other, b"%d" % fails]


def atomically(connection: Connection, *commands: list[bytes]) -> Any:
    """What EXEC replies."""
    multi, *queued, replies = connection.pipeline([[b"MULTI"], *commands, [b"EXEC"]])
    assert multi == OK and queued == [QUEUED] * len(commands), queued
    return replies


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}xrm", "udp", "--redis-port", "0", "--cores", "0,1") as running:
        yield running


@pytest.fixture
def connection(both: tuple[Connection, Client, Door]) -> Connection:
    """At table 7, where the functions are at home."""
    found = both[0]
    assert found.call(*TABLE) == OK
    return found


def test_functions_and_commands_see_each_other_and_are_one(connection: Connection) -> None:
    for body in (SUM, LOOK, BOTH, GIVE_WAY):
        load(connection, body)
    assert connection.call(b"SET", b"other", b"x") == OK
    replies = atomically(
        connection,
        [b"SET", b"k", b"command"], look(b"k"), both_of(b"k", b"other", 0), [b"MGET", b"k", b"other", b"new"],
        [b"APPEND", b"k", b"!"], look(b"k"), bump(b"n", 3), bump(b"n", 4), [b"FCALL_RO", b"give_way", b"0", b"9"],
        [b"DEL", b"n"], look(b"n"),
    )  # fmt: skip
    read = [b"function", Null("$"), b"function"]
    assert replies == [OK, b"command", 1, read, 9, b"function!", 3, 7, 9, 1, b"none"]
    assert connection.call(b"MGET", b"k", b"other", b"new", b"n") == [b"function!", Null("$"), b"function", Null("$")]


def test_what_a_failed_function_wrote_is_dropped_and_the_rest_stands(both: tuple[Connection, Client, Door]) -> None:
    connection, client, _ = both
    load(connection, BOTH)
    assert connection.call(*TABLE) == OK
    replies = atomically(
        connection, [b"SET", b"k", b"command"], [b"SET", b"other", b"kept"], both_of(b"k", b"other", 5),
        [b"MGET", b"k", b"other", b"new"], both_of(b"k", b"third", 6), [b"INCR", b"n"],
    )  # fmt: skip
    assert code_of(replies[2]) == b"ERR both, line 10: raised by the extension: 5"
    assert code_of(replies[4]).endswith(b"raised by the extension: 6")
    assert replies[:2] + replies[3:4] + replies[5:] == [OK, OK, [b"command", b"kept", Null("$")], 1]
    assert client.get(b"k", table=7) == b"command" and client.get(b"new", table=7) is None
    (told,) = client.extensions()
    assert (told.invocations, told.errors) == (2, 2)


def test_what_cannot_be_called_is_told_in_its_place(connection: Connection) -> None:
    load(connection, SUM)
    load(connection, BOTH)
    source = b'#!python name=loose\nfrom splinter.ext import Store, extension\n\n@extension(isolation="none")\n' + LOOSE
    assert connection.call(b"FUNCTION", b"LOAD", source) == b"loose"
    replies = atomically(
        connection,
        [b"FCALL", b"nothing", b"0"],
        [b"FCALL", b"bump", b"1", b"k"],
        [b"FCALL", b"bump", b"1", b"k", b"x"],
        [b"FCALL", b"bump", b"5", b"k"],
        [b"FCALL_RO", b"bump", b"1", b"k", b"1"],
        [b"FCALL", b"loose", b"1", b"k"],
        [b"EVALSHA", b"0" * 40, b"0"],
        [b"EVAL", b"return 1", b"0"],
        [b"EVAL", RELEASE, b"1", b"k", b"t"],
        bump(b"k"),
    )
    begins = (
        b"ERR Function not found",
        b"ERR wrong number of keys and arguments for 'bump'",
        b"ERR argument 2 of 'bump' is no u64",
        b"ERR Number of keys can't be greater",
        b"ERR Can not execute a script with write flag",
        b"ERR an extension with isolation='none' is no part of a transaction",
        b"NOSCRIPT ",
        b"ERR this server runs functions in Python",
        b"NOSCRIPT this script is not loaded yet",
    )
    for reply, begin in zip(replies, begins, strict=False):
        assert code_of(reply).startswith(begin)
    assert replies[len(begins) :] == [1]


@pytest.mark.redis
def test_a_script_does_there_what_it_does_in_redis(redis: Door, both: tuple[Connection, Client, Door]) -> None:
    own = both[2]
    with same_user(redis, own).connect() as real, own.connect() as ours:
        told = []
        for each in (real, ours):
            digest = each.call(b"SCRIPT", b"LOAD", RELEASE)
            release = [b"EVALSHA", digest, b"1", b"lock"]
            told.append(
                [
                    atomically(each, [b"SET", b"lock", b"t"], [*release, b"u"], [*release, b"t"], [b"GET", b"lock"]),
                    atomically(each, [*release, b"t"], [b"SET", b"lock", b"x"], [b"EVAL", RELEASE, b"1", b"lock", b"x"]),
                    each.call(b"EXISTS", b"lock"),
                ]
            )
        assert told[0] == told[1]


@pytest.mark.redis
def test_a_pipeline_of_redis_py_calls_functions(both: tuple[Connection, Client, Door]) -> None:
    """Such a pipeline is a MULTI unless it is told not to be."""
    redis = pytest.importorskip("redis", reason="the extra test has redis")
    door = both[2]
    load(both[0], SUM)
    with redis.Redis(door.host, door.port, 7, username=door.user, password=door.password) as client, client.pipeline() as pipe:
        assert pipe.set("a", 1).fcall("bump", 1, "n", 5).get("a").fcall("bump", 1, "n", 5).execute() == [True, 5, b"1", 10]
        script = client.register_script(RELEASE.decode())
        pipe.set("lock", "t")
        script(keys=["lock"], args=["t"], client=pipe)
        assert pipe.execute() == [True, 1]


# --- as a whole, or not at all ----------------------------------------------------------------------------------------------


def test_what_is_watched_and_was_changed_stops_them(both: tuple[Connection, Client, Door]) -> None:
    connection, client, _ = both
    load(connection, SUM)
    assert connection.pipeline([TABLE, [b"WATCH", b"w"]]) == [OK, OK]
    client.put(b"w", b"x", table=7)
    assert atomically(connection, bump(b"n")) == Null("*")
    assert atomically(connection, bump(b"n")) == [1]


def test_what_takes_too_long_is_refused_as_a_whole(connection: Connection) -> None:
    for body in (SPIN, SUM, GIVE_WAY):
        load(connection, body)
    spin = [b"FCALL", b"spin", b"1", b"s", b"%d" % limits.RESP_EXEC_BUDGET]
    few = [b"FCALL", b"spin", b"1", b"s", b"%d" % (limits.RESP_EXEC_BUDGET // 4)]
    yields = [b"FCALL", b"give_way", b"0", b"1"]
    for commands in ([[b"SET", b"k", b"x"], spin, bump(b"n")], [bump(b"n"), *[few] * 4], [yields] * 2100):
        assert code_of(atomically(connection, *commands)).startswith(b"ERR the functions of this MULTI take too long")
        assert connection.call(b"EXISTS", b"k", b"n", b"s") == 0
    assert atomically(connection, [b"SET", b"k", b"x"], few, few, *[yields] * 100)[0] == OK
    assert connection.call(*spin) > 0  # by itself it yields, and others go on


def test_reads_and_writes_count_for_the_whole(connection: Connection) -> None:
    load(connection, MANY)
    load(connection, LOOK)
    writes = [[b"SET", b"w%d" % number, b"x"] for number in range(limits.TRANSACTION_WRITES_MAX - 1)]
    half = limits.TRANSACTION_READS_MAX // 2
    many = [b"FCALL", b"many", b"0", b"0", b"%d" % half]
    reads = [b"MGET", *(b"r%d" % number for number in range(half))]
    refused = b"ERR a transaction reads 1024 objects at most"
    for commands in ([*writes, [b"SET", b"w", b"x"], many], [many, reads, look(b"k")], [reads, reads, many]):
        assert code_of(atomically(connection, *commands)).startswith(refused)
        assert connection.call(b"EXISTS", b"key", b"w", b"w0") == 0
    assert atomically(connection, *writes, many)[-1] == half
    assert connection.call(b"EXISTS", b"key", b"w0") == 2


def test_a_full_quota_refuses_all_of_it(server: RunningServer) -> None:
    tenant = server.admin().create_tenant(quota_bytes=1 << 18)
    with door_of(server, tenant).connect() as connection:
        load(connection, SUM)
        sets = [[b"SET", b"k%d" % number, bytes(20_000)] for number in range(4)]
        connection.pipeline([[b"SET", b"f%d" % number, bytes(60_000)] for number in range(3)])
        assert code_of(atomically(connection, bump(b"n"), *sets)).startswith(b"OOM ")
        assert connection.pipeline([TABLE, [b"EXISTS", b"n"]]) == [OK, 0]


# --- with others ------------------------------------------------------------------------------------------------------------


def test_nobody_sees_a_part_and_nothing_is_lost(both: tuple[Connection, Client, Door]) -> None:
    """Counters that commands add to, and such that a function does: always the same, whoever looks."""
    connection, client, door = both
    for body in (SUM, LOOK):
        load(connection, body)

    def write(slot: int) -> None:
        with door.connect() as mine:
            assert mine.call(*TABLE) == OK
            for _ in range(ROUNDS):
                first, one, two, second = atomically(mine, bump(b"a"), [b"INCR", b"b"], [b"INCR", b"c"], bump(b"d"))
                assert first == one == two == second

    def read(slot: int) -> None:
        with door.connect() as mine:
            assert mine.call(*TABLE) == OK
            for _ in range(ROUNDS):
                one, two, again = atomically(mine, [b"GET", b"b"], look(b"c"), [b"GET", b"b"])
                assert one == again and (one == two or (one == Null("$") and two == b"none"))

    at_once([*(partial(write, slot) for slot in range(CONNECTIONS)), partial(read, 0)])
    total = CONNECTIONS * ROUNDS
    assert connection.pipeline([TABLE, [b"GET", b"b"], bump(b"a", 0), bump(b"d", 0)]) == [OK, b"%d" % total, total, total]
    assert nobody_is_blamed(client)


def nobody_is_blamed(client: Client) -> bool:
    return all(each.kills == 0 and not each.quarantined for each in client.extensions())


def test_what_a_function_has_read_holds_when_others_write(both: tuple[Connection, Client, Door]) -> None:
    """One reads a and adds to b, another reads b and adds to a: there is an order of all of them, so a read that was of before
    cannot be told behind a write."""
    connection, _, door = both
    load(connection, GAZE)
    gaze = [b"FCALL", b"gaze", b"1"]
    long = b"%d" % (limits.RESP_EXEC_BUDGET // 8)  # so that others come in between
    assert connection.pipeline([TABLE, [b"MSET", b"a", b"0", b"b", b"0"]]) == [OK, OK]
    seen: list[list[tuple[int, int]]] = [[], []]  # of each: what it read, and what it made

    def run(slot: int) -> None:
        reads, writes = ((b"a", b"b"), (b"b", b"a"))[slot % 2]
        with door.connect() as mine:
            assert mine.call(*TABLE) == OK
            for _ in range(ROUNDS):
                read, made = atomically(mine, [*gaze, reads, long], [b"INCR", writes])
                seen[slot % 2].append((read, made))

    at_once([partial(run, slot) for slot in range(2 * CONNECTIONS)])  # of both workers
    for read, made in seen[0]:
        # Of the other's transactions, those that had added to a before this one read it are those that came before it; and they
        # read b before this one added to it.
        before = [other for other in seen[1] if other[1] <= read]
        behind = [other for other in seen[1] if other[1] > read]
        assert all(other[0] < made for other in before)
        assert all(other[0] >= made for other in behind)


def test_a_worker_s_death_leaves_all_or_nothing() -> None:
    with running_server(f"t{os.getpid()}xrn", "udp", "--redis-port", "0", "--cores", "0") as own:
        tenant = own.admin().create_tenant()
        door, client = door_of(own, tenant), own.client(tenant)
        with door.connect() as connection:
            load(connection, SUM)
            load(connection, LOOK)
        told = [0]

        def write() -> None:
            deaths = 0
            while deaths < 10:
                try:
                    with door.connect() as mine:
                        assert mine.call(*TABLE) == OK
                        while True:
                            first, one, second = atomically(mine, bump(b"a"), [b"INCR", b"b"], bump(b"c"))
                            assert first == one == second > told[0]
                            told[0] = first
                except (OSError, Closed, ProtocolError):
                    deaths += 1

        def kill() -> None:
            for _ in range(10):
                before = told[0]
                wait_for(lambda before=before: told[0] > before + 20, what="transactions")
                own.kill_worker(0)

        at_once([write, kill])
        with door.connect() as connection:
            assert connection.call(*TABLE) == OK
            one, first, second = atomically(connection, [b"GET", b"b"], bump(b"a", 0), bump(b"c", 0))
        assert int(one) == first == second >= told[0]
        assert tasks(own) == 0 and nobody_is_blamed(client)


def test_a_reply_of_it_waits_for_the_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What EXEC has told of functions is there when everything was killed."""
    options = ["--redis-port", "0", "--data", str(tmp_path_factory.mktemp("data")), "--durability", "always"]
    with running_server(f"t{os.getpid()}xro", "udp", *options) as own:
        tenant = own.admin().create_tenant()
        with door_of(own, tenant).connect() as connection:
            load(connection, SUM)
            told = [atomically(connection, bump(b"a"), bump(b"b", 2)) for _ in range(20)][-1]
        own.process.kill()
        own.process.wait()
        own.start_again(None, *options)
        with door_of(own, tenant).connect() as connection:
            assert atomically(connection, bump(b"a", 0), bump(b"b", 0)) == told == [20, 40]


def test_failures_are_failures_by_both_protocols(both: tuple[Connection, Client, Door]) -> None:
    door = both[2]
    load(both[0], BOTH)
    with door.connect(protocol=3) as third:
        (failed,) = atomically(third, both_of(b"k", b"other", 5))
        assert isinstance(failed, Failure)
