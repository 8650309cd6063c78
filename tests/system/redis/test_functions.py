"""Extensions by the Redis protocol: loaded, listed, called with texts for arguments, and removed."""

from __future__ import annotations

import math
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splinter import limits
from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import NoSuchExtensionError
from splinter.worker.resp.layout import CALL_BYTES
from tests.support.redis_server import Door, door_of
from tests.support.resp import BigNumber, Boolean, Connection, Double, Failure, Map, Null, Status, encode
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

OK = Status(b"OK")
FIRST = b"#!python name="
HEAD = b"\nfrom splinter.ext import Error, Store, extension, f64, i64, u64\n\n@extension\n"
SUM = b"""def bump(db: Store, key: bytes, by: u64) -> u64:
    old = db.get(7, key)
    total = by
    if old is not None:
        total = old.u64(0) + by
    db.put(7, key, total)
    return total
"""
SPIN = b"""def spin(db: Store, key: bytes, turns: u64) -> u64:
    total: u64 = 0
    for i in range(turns):
        total += i & 3
    db.put(7, key, total)
    return total
"""
AWAIT = b"""def wait(db: Store, key: bytes) -> u64:
    turns: u64 = 0
    while not db.exists(0, key):
        turns += 1
    return turns
"""
GIVE_WAY = b"""def give_way(db: Store, n: u64) -> u64:
    yield
    return n
"""
LOOK = b"""def look(db: Store, key: bytes) -> bytes:
    found = db.get(0, key)
    if found is None:
        raise Error(7)
    return found
"""
LONG_MS = 600_000
SPINS = 3_000_000  # some ms: many slices
U64, I64 = 2**64 - 1, 2**63


def source(body: bytes) -> bytes:
    name = body.removeprefix(b"def ").partition(b"(")[0]
    head = HEAD.replace(b"@extension", b'@extension(isolation="none")') if body is AWAIT else HEAD  # it is to see what comes
    return FIRST + name + head + body


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}xrf", "udp", "--redis-port", "0") as running:
        yield running


@pytest.fixture
def connection(both: tuple[Connection, Client, Door]) -> Connection:
    return both[0]


def patient_tenant(server: RunningServer) -> TenantInfo:
    """One whose tasks may wait, and look meanwhile, as long as a slow machine takes."""
    long = {"task_milliseconds_max": LONG_MS, "task_wall_milliseconds_max": LONG_MS}
    return server.admin().create_tenant(task_yields_max=1 << 31, **long)


def tasks(server: RunningServer) -> int:
    """Invokes that are under way, and wait."""
    return sum(worker["tasks_live"] for worker in server.admin().stats()["workers"])


def load(connection: Connection, body: bytes) -> None:
    name = body.removeprefix(b"def ").partition(b"(")[0]
    assert connection.call(b"FUNCTION", b"LOAD", b"REPLACE", source(body)) == name


def code_of(reply: Any) -> bytes:
    assert isinstance(reply, Failure), reply
    return reply.text


# --- load, list, delete -----------------------------------------------------------------------------------------------------


def test_a_function_is_loaded_called_listed_and_deleted(both: tuple[Connection, Client, Door]) -> None:
    connection, client, door = both
    assert connection.call(b"FUNCTION", b"LOAD", source(SUM)) == b"bump"
    assert [connection.call(b"FCALL", b"bump", b"1", b"k", b"5") for _ in range(3)] == [5, 10, 15]
    assert client.invoke("bump", b"k", 5) == 20  # it is the extension that packets invoke
    client.install((FIRST + b"look" + HEAD + LOOK).decode())
    function = [b"name", b"look", b"description", Null("$"), b"flags", []]
    look = [b"library_name", b"look", b"engine", b"PYTHON", b"functions", [function]]
    assert connection.call(b"FUNCTION", b"LIST", b"LIBRARYNAME", b"l*k") == [look]
    assert connection.call(b"function", b"list", b"withcode", b"libraryname", b"look") == [[*look, b"library_code", Null("$")]]
    assert [each[1] for each in connection.call(b"FUNCTION", b"LIST")] == [b"bump", b"look"]
    with door.connect(protocol=3) as third:
        (told,) = third.call(b"FUNCTION", b"LIST", b"LIBRARYNAME", b"bump")
        assert isinstance(told, Map) and dict(told.pairs[:2]) == {b"library_name": b"bump", b"engine": b"PYTHON"}
        count = Map(((b"libraries_count", 2), (b"functions_count", 2)))
        stats = Map(((b"running_script", Null("_")), (b"engines", Map(((b"PYTHON", count),)))))
        assert third.call(b"FUNCTION", b"STATS") == stats
    assert connection.call(b"FUNCTION", b"DELETE", b"bump") == OK
    assert code_of(connection.call(b"FCALL", b"bump", b"1", b"k", b"5")) == b"ERR Function not found"
    with pytest.raises(NoSuchExtensionError):
        client.invoke("bump", b"k", 5)


def test_a_library_has_all_functions_of_its_source(both: tuple[Connection, Client, Door]) -> None:
    connection = both[0]
    two = FIRST + b"both" + HEAD + SUM + b"\n\n@extension\n" + LOOK
    assert connection.call(b"FUNCTION", b"LOAD", two) == b"both"
    assert connection.call(b"FCALL", b"bump", b"1", b"k", b"5") == 5
    assert code_of(connection.call(b"FCALL", b"look", b"1", b"k")).startswith(b"ERR look, line ")
    ((_, name, _, _, _, functions),) = connection.call(b"FUNCTION", b"LIST")
    assert name == b"both" and [each[1] for each in functions] == [b"bump", b"look"]
    # A function is of one library; who takes its place says so.
    assert code_of(connection.call(b"FUNCTION", b"LOAD", source(SUM))) == b"ERR Function bump already exists"
    assert connection.call(b"FUNCTION", b"STATS")[3][1] == [b"libraries_count", 1, b"functions_count", 2]
    # What another version of the library does not have any more is gone.
    one = FIRST + b"both" + HEAD + LOOK
    assert connection.call(b"FUNCTION", b"LOAD", b"REPLACE", one) == b"both"
    assert code_of(connection.call(b"FCALL", b"bump", b"1", b"k", b"5")) == b"ERR Function not found"
    assert connection.call(b"FUNCTION", b"DELETE", b"both") == OK
    assert connection.call(b"FUNCTION", b"LIST") == []


def test_a_function_is_replaced_only_where_that_is_said(connection: Connection) -> None:
    load(connection, SUM)
    assert code_of(connection.call(b"FUNCTION", b"LOAD", source(SUM))) == b"ERR Library 'bump' already exists"
    assert (
        connection.call(b"FUNCTION", b"LOAD", b"REPLACE", source(SUM.replace(b"return total", b"return total + 1"))) == b"bump"
    )
    assert connection.call(b"FCALL", b"bump", b"1", b"k", b"5") == 6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([b"LOAD", b"x = 1"], b"ERR Missing library metadata"),
        ([b"LOAD", b""], b"ERR Missing library metadata"),
        ([b"LOAD", b"#!lua name=x\n"], b"ERR Engine 'lua' not found"),
        ([b"LOAD", b"#!python\n"], b"ERR Library name was not given"),
        ([b"LOAD", b"#!python name=a-b\n"], b"ERR Library names can only contain letters, numbers, or underscores"),
        ([b"LOAD", b"#!python name=x more=y\n"], b"ERR Library name was not given"),
        ([b"LOAD", b"#!python name=x\nfrom splinter.ext import extension\n"], b"ERR Error compiling function: line "),
        ([b"LOAD", source(SUM).replace(b"old.u64(0)", b"old.u64(")], b"ERR Error compiling function: line "),
        ([b"LOAD", source(SUM).replace(b"+ by", b"+ bz")], b"ERR Error compiling function: line 9: "),
        ([b"LOAD", b"#!python name=x\n\xff"], b"ERR a function's source is text in UTF-8"),
        ([b"LOAD", b"#!python name=x\n" + b"#" * (64 << 10)], b"ERR a function's source has at most 65536 bytes"),
        ([b"LOAD"], b"ERR wrong number of arguments"),
        ([b"LOAD", b"NEVER", source(SUM)], b"ERR Unknown option given"),
        ([b"DELETE"], b"ERR wrong number of arguments"),
        ([b"DELETE", b"nothing"], b"ERR Library not found"),
        ([b"DELETE", b"\xff\r\n"], b"ERR Library not found"),
        ([b"LIST", b"LIBRARYNAME"], b"ERR Unknown argument"),
        ([b"STATS", b"more"], b"ERR wrong number of arguments"),
        ([b"FLUSH"], b"ERR unknown subcommand 'FLUSH'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told(connection: Connection, arguments: list[bytes], told: bytes) -> None:
    assert code_of(connection.call(b"FUNCTION", *arguments)).startswith(told)
    assert connection.call(b"FUNCTION", b"LIST") == []
    assert connection.call(b"PING") == Status(b"PONG")


def test_it_is_an_act_that_is_told_and_noted(server: RunningServer, both: tuple[Connection, Client, Door]) -> None:
    connection, _, door = both
    load(connection, SUM)
    line = f'audit: tenant {door.user} from 127.0.0.1: "extension.install" tenant={door.user} every=True: ok'
    wait_for(lambda: line in server.log.read_text(), what="the audit line")
    assert f"extension 'bump' of tenant {door.user}: version 1 was installed" in server.log.read_text()


# --- arguments and results --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("u64", {b"0": 0, b"9223372036854775807": I64 - 1, b"18446744073709551615": U64, b"9223372036854775808": I64},
         [b"", b"-1", b"+1", b"01", b"1.0", b"18446744073709551616", b"99999999999999999999", b"1844674407370955161x",
          b"922337203685477580x", b" 1", b"1" * 21]),
        ("i64", {b"-9223372036854775808": -I64, b"-1": -1, b"9223372036854775807": I64 - 1},
         [b"9223372036854775808", b"-9223372036854775809", b"", b"-", b"1e3"]),
        ("bool", {b"0": False, b"1": True}, [b"2", b"", b"true", b"01"]),
        ("f64", {b"1.5": 1.5, b"-0.25": -0.25, b"1e300": 1e300, b"inf": math.inf, b"3": 3.0, b"0.1": 0.1},
         [b"", b"x", b"1.5x", b"nan", b" 1", b"1" * 300]),
    ],
)  # fmt: skip
def test_texts_are_numbers_of_the_parameter_s_kind(
    both: tuple[Connection, Client, Door], kind: str, good: dict[bytes, Any], bad: list[bytes]
) -> None:
    connection, _, door = both
    load(connection, f"def echo(db: Store, x: {kind}) -> {kind}:\n    return x\n".encode())
    with door.connect(protocol=3) as third:
        for text, value in good.items():
            told = third.call(b"FCALL", b"echo", b"0", text)
            if kind == "f64":
                assert isinstance(told, Double) and float(told.text) == value
                assert float(connection.call(b"FCALL", b"echo", b"0", text)) == value
            elif kind == "bool":
                assert told == Boolean(value) and connection.call(b"FCALL", b"echo", b"0", text) == int(value)
            elif value >= I64:
                assert told == BigNumber(text) and connection.call(b"FCALL", b"echo", b"0", text) == text
            else:
                assert told == value == connection.call(b"FCALL", b"echo", b"0", text)
    for text in bad:
        assert code_of(connection.call(b"FCALL", b"echo", b"0", text)).startswith(
            f"ERR argument 1 of 'echo' is no {kind}".encode()
        )


def test_bytes_go_in_and_come_back_as_they_are(connection: Connection) -> None:
    load(connection, b"def echo(db: Store, n: u64, x: bytes, y: bytes) -> bytes:\n    return x if n == 0 else y\n")
    for text in (b"", b"\x00\r\n\xff", b"x" * 32_000):
        assert connection.call(b"FCALL", b"echo", b"1", b"0", text, b"y") == text
        assert connection.call(b"FCALL", b"echo", b"2", b"1", b"x", text) == text
    assert connection.call(b"FCALL", b"echo", b"0", b"0", b"x" * 60_000, b"") == b"x" * 60_000
    assert code_of(connection.call(b"FCALL", b"echo", b"0", b"0", b"x" * 60_000, b"y" * 6_000)).startswith(
        b"ERR keys and arguments"
    )


def test_a_value_comes_back_as_large_as_it_is(connection: Connection) -> None:
    load(connection, LOOK)
    value = os.urandom(65_536)
    assert connection.call(b"SET", b"k", value) == OK
    assert connection.call(b"FCALL", b"look", b"1", b"k") == value
    assert connection.call(b"FCALL_RO", b"look", b"1", b"k") == value


def test_several_results_are_an_array_and_none_is_null(connection: Connection) -> None:
    load(connection, b"def several(db: Store, x: u64) -> tuple[u64, i64, bool, f64]:\n    return x, -1, True, 0.5\n")
    assert connection.call(b"FCALL", b"several", b"0", b"3") == [3, -1, 1, b"0.5"]
    load(connection, b"def nothing(db: Store, key: bytes) -> None:\n    db.delete(7, key)\n")
    assert connection.call(b"FCALL", b"nothing", b"1", b"k") == Null("$")
    many = ", ".join(["u64"] * 17)
    load(connection, f"def many(db: Store) -> tuple[{many}]:\n    return {', '.join(['1'] * 17)}\n".encode())
    assert code_of(connection.call(b"FCALL", b"many", b"0")).startswith(b"ERR a function with more than 16 results")


def test_what_does_not_fit_is_told(connection: Connection) -> None:
    load(connection, SUM)
    for arguments, told in (
        ([b"bump", b"1", b"k"], b"ERR wrong number of keys and arguments for 'bump': it takes 2"),
        ([b"bump", b"1", b"k", b"1", b"2"], b"ERR wrong number of keys and arguments for 'bump': it takes 2"),
        ([b"bump", b"3", b"k", b"1"], b"ERR Number of keys can't be greater than number of args"),
        ([b"bump", b"-1", b"k", b"1"], b"ERR Number of keys can't be negative"),
        ([b"bump", b"x", b"k", b"1"], b"ERR Bad number of keys provided"),
        ([b"nothing", b"0"], b"ERR Function not found"),
        ([b"", b"0"], b"ERR Function not found"),
        ([b"x" * 300, b"0"], b"ERR Function not found"),
        ([b"bump"], b"ERR wrong number of arguments for 'fcall' command"),
    ):
        assert code_of(connection.call(b"FCALL", *arguments)) == told
    assert code_of(connection.call(b"FCALL_RO", b"bump", b"1", b"k", b"1")).startswith(
        b"ERR Can not execute a script with write"
    )
    assert connection.call(b"MULTI") == OK
    assert code_of(connection.call(b"FUNCTION", b"LIST")) == b"ERR Command not allowed inside a transaction"


def test_an_error_of_the_extension_is_told_with_its_line_and_code(connection: Connection) -> None:
    load(connection, LOOK)
    assert code_of(connection.call(b"FCALL", b"look", b"1", b"none")) == b"ERR look, line 8: raised by the extension: 7"
    load(connection, b"def divide(db: Store, x: u64, y: u64) -> u64:\n    return x // y\n")
    assert code_of(connection.call(b"FCALL", b"divide", b"0", b"1", b"0")) == b"ERR divide, line 6: division by zero"


# --- calls that take long ---------------------------------------------------------------------------------------------------


def test_replies_stay_in_order_over_calls_that_wait(connection: Connection) -> None:
    load(connection, SPIN)
    load(connection, SUM)
    commands: list[list[bytes]] = []
    for number in range(40):
        commands += [[b"FCALL", b"spin", b"1", b"s", b"%d" % (SPINS // 10)], [b"SET", b"n", b"%d" % number], [b"GET", b"n"]]
        commands += [[b"FCALL", b"bump", b"1", b"k", b"1"]]
    wanted: list[Any] = []
    total = sum(each & 3 for each in range(SPINS // 10))
    for number in range(40):
        wanted += [total, OK, b"%d" % number, number + 1]
    assert connection.pipeline(commands) == wanted


def test_others_are_served_while_one_waits(server: RunningServer) -> None:
    tenant = patient_tenant(server)
    client, door = server.client(tenant), door_of(server, tenant)
    with door.connect() as connection, door.connect() as other:
        load(connection, AWAIT)
        connection.send(encode([b"FCALL", b"wait", b"1", b"end"]) + encode([b"SET", b"after", b"x"]))
        wait_for(lambda: tasks(server) == 1, what="the call")
        connection.send(encode([b"SET", b"later", b"x"]))
        for number in range(100):  # on both cores, and on the same one
            assert other.call(b"SET", b"k", b"%d" % number) == OK
            assert client.get(b"k") == b"%d" % number
        assert other.call(b"GET", b"after") == Null("$") == other.call(b"GET", b"later")
        assert other.call(b"SET", b"end", b"x") == OK
        assert connection.receive() >= 0 and [connection.receive() for _ in range(2)] == [OK, OK]


def test_what_calls_hold_while_they_wait_is_given_back(both: tuple[Connection, Client, Door]) -> None:
    """More calls that wait, one after the other, than a tenant has memory for at the same time."""
    connection = both[0]
    load(connection, GIVE_WAY)
    calls = 2 * limits.RESP_TENANT_BYTES_MAX // CALL_BYTES
    assert connection.pipeline([[b"FCALL", b"give_way", b"0", b"%d" % number] for number in range(calls)]) == list(range(calls))


def test_who_is_gone_is_not_kept_until_its_call_ends(server: RunningServer) -> None:
    tenant = patient_tenant(server)
    door = door_of(server, tenant)

    def descriptors() -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.worker_pids())

    with door.connect() as connection:
        load(connection, AWAIT)
        before = descriptors()
        gone = door.connect()
        gone.send(encode([b"FCALL", b"wait", b"1", b"end"]))
        wait_for(lambda: tasks(server) == 1, what="the call")
        gone._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()  # with a reset
        wait_for(lambda: descriptors() <= before, what="the end of the connection")  # others may end, too
        others = [door.connect() for _ in range(8)]  # one of them has its place
        assert connection.call(b"SET", b"end", b"x") == OK
        wait_for(lambda: tasks(server) == 0, what="its end")
        for other in others:  # which is told nothing of it
            assert other.call(b"ECHO", b"x") == b"x"
            other.close()


def test_time_is_charged_once(server: RunningServer) -> None:
    """All of a worker's time is somebody's: no tenant has been charged for more than that."""
    tenant = server.admin().create_tenant()
    with door_of(server, tenant).connect() as connection:
        load(connection, SPIN)
        for _ in range(200):
            connection.pipeline([[b"FCALL", b"spin", b"1", b"s", b"2500"]] * 50)  # less than a slice each
    stats = server.admin().stats()
    busy = sum(worker["busy_ms"] for worker in stats["workers"])
    charged = sum(sum(each["core_ms"]) for each in stats["tenants"])
    assert 0 < charged <= busy + len(stats["workers"])  # each is rounded down


def test_a_connection_that_ends_leaves_its_call_to_end(both: tuple[Connection, Client, Door]) -> None:
    connection, client, door = both
    load(connection, SPIN)
    for number in range(20):
        gone = door.connect()
        gone.send(encode([b"FCALL", b"spin", b"1", b"s%d" % number, b"%d" % SPINS]))
        if number % 2:  # it is reset, not closed
            gone._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
    wait_for(lambda: all(client.get(b"s%d" % number, table=7) is not None for number in range(20)), what="the calls' writes")
    assert connection.call(b"FCALL", b"spin", b"1", b"s", b"5") == 6


def test_a_call_beyond_its_budget_ends_with_an_error(server: RunningServer) -> None:
    tenant = server.admin().create_tenant(task_milliseconds_max=20)
    with door_of(server, tenant).connect() as connection:
        load(connection, SPIN)
        told = code_of(connection.call(b"FCALL", b"spin", b"1", b"s", b"%d" % 10**12))
        assert told.startswith(b"ERR spin") and b"the task used up its total budget" in told
        assert connection.call(b"FCALL", b"spin", b"1", b"s", b"5") == 6


def test_a_tenant_that_is_removed_ends_its_calls(server: RunningServer) -> None:
    def told() -> bytes:
        tenant = patient_tenant(server)
        with door_of(server, tenant).connect() as connection:
            load(connection, SPIN)
            connection.send(encode([b"FCALL", b"spin", b"1", b"s", b"%d" % 10**12]))
            wait_for(
                lambda: any(worker["running_tenant"] == tenant.tenant for worker in server.admin().stats()["workers"]),
                what="the task",
            )
            server.admin().remove_tenant(tenant.tenant)
            return connection.last_words()

    assert wait_for(told, what="an end that is told") == b"NOAUTH the tenant was removed, or its token changed"
    wait_for(lambda: tasks(server) == 0, what="the task's end")
