"""What a client may do to the door: slow, greedy, wrong or gone. It is answered or ended, and nobody else waits."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from splinter import limits
from tests.support.redis_server import Door, door_of
from tests.support.resp import Connection, Failure, ProtocolError, Status, encode
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

OK = Status(b"OK")
GONE = b"NOAUTH the tenant was removed, or its token changed"
MANY = limits.RESP_REPLY_BYTES_MAX // 65_000 + 10  # values of 65,000 bytes that are more than a reply has


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """One worker: who it serves shares it with whoever is hostile."""
    with running_server(f"t{os.getpid()}xrh", "udp", "--redis-port", "0", "--cores", "0") as running:
        yield running


@pytest.fixture
def door(server: RunningServer) -> Door:
    return door_of(server, server.admin().create_tenant())


@pytest.fixture
def other(server: RunningServer) -> Iterator[Connection]:
    """Another tenant, who is to notice nothing."""
    with door_of(server, server.admin().create_tenant()).connect() as connection:
        yield connection


def stranger(server: RunningServer) -> Connection:
    assert server.info.redis_port is not None
    return Connection(server.info.address, server.info.redis_port)


def is_ended(connection: Connection) -> bool:
    """Whether the server ends the connection; what it says before is left out."""
    connection._socket.settimeout(30)
    try:
        while connection._socket.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True


def test_a_stranger_is_told_to_sign_in_and_nothing_else(server: RunningServer) -> None:
    with stranger(server) as connection:
        for command in (
            [b"GET", b"k"],
            [b"KEYS", b"*"],
            [b"INFO"],
            [b"CONFIG", b"GET", b"*"],
            [b"CLIENT", b"LIST"],
            [b"MULTI"],
        ):
            reply = connection.call(*command)
            assert isinstance(reply, Failure) and reply.code == b"NOAUTH"


@pytest.mark.parametrize("tenant", [b"0", b"1x", b"-1", b"16384", b"99999999999999999999", b"", b"default"])
def test_no_other_name_signs_in(server: RunningServer, tenant: bytes) -> None:
    with stranger(server) as connection:
        for token in (b"0" * 16, b"", b"0" * 15, b"x" * 16, b"0" * 17):
            reply = connection.call(b"AUTH", tenant, token)
            assert isinstance(reply, Failure) and reply.code == b"WRONGPASS"


def test_a_tenants_token_is_no_other_tenants(server: RunningServer) -> None:
    one, two = (server.admin().create_tenant() for _ in range(2))
    with stranger(server) as connection:
        reply = connection.call(b"AUTH", b"%d" % one.tenant, b"%016x" % two.token)
        assert isinstance(reply, Failure) and reply.code == b"WRONGPASS"
        assert connection.call(b"AUTH", b"%d" % one.tenant, b"%016x" % one.token) == OK


def test_tenants_do_not_meet(server: RunningServer, door: Door, other: Connection) -> None:
    with door.connect() as connection:
        assert connection.call(b"SET", b"mine", b"1") == OK
        assert other.call(b"EXISTS", b"mine") == 0
        assert other.call(b"KEYS", b"*") == [] and other.call(b"DBSIZE") == 0
        assert other.call(b"FLUSHDB") == OK
        told = other.call(b"CLIENT", b"LIST")
        assert isinstance(told, bytes) and told.count(b"\n") == 1
        assert connection.call(b"GET", b"mine") == b"1"


def test_signing_in_as_another_tenant_takes_nothing_along(server: RunningServer, door: Door) -> None:
    two = server.admin().create_tenant()
    with door.connect() as connection:
        assert connection.call(b"WATCH", b"k") == OK
        assert connection.call(b"AUTH", b"%d" % two.tenant, b"%016x" % two.token) == OK
        with door.connect() as first:
            assert first.call(b"SET", b"k", b"changed") == OK
        assert connection.call(b"MULTI") == OK
        assert connection.call(b"GET", b"k") == Status(b"QUEUED")
        reply = connection.call(b"EXEC")
        assert isinstance(reply, list) and len(reply) == 1 and reply[0] != b"changed"


def test_a_removed_tenants_connection_is_ended(server: RunningServer, other: Connection) -> None:
    admin = server.admin()

    def told() -> bytes:
        tenant = admin.create_tenant()
        with door_of(server, tenant).connect() as connection:
            assert connection.call(b"SET", b"k", b"v") == OK
            admin.remove_tenant(tenant.tenant)
            return connection.last_words(b"GET", b"k")

    assert wait_for(told, what="a request that comes first") == GONE
    assert other.call(b"PING") == Status(b"PONG")


def test_a_connection_ends_when_its_token_is_no_longer_valid(server: RunningServer) -> None:
    admin = server.admin()

    def told() -> bytes:
        tenant = admin.create_tenant()
        with door_of(server, tenant).connect() as connection:
            assert connection.call(b"PING") == Status(b"PONG")
            admin.rotate_token(tenant.tenant, at_once=True)
            return connection.last_words(b"PING")

    assert wait_for(told, what="a request that comes first") == GONE


@pytest.mark.parametrize(
    "data",
    [
        b"*1\r\n$9223372036854775807\r\n",
        b"*2147483647\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
        b"*1\r\n$-5\r\n",
        b"*1\r\n+PING\r\n",
        b'SET "a\r\n',
    ],
)
def test_a_length_that_is_none_ends_the_connection_with_an_error(door: Door, other: Connection, data: bytes) -> None:
    with door.connect() as connection:
        assert connection.call(b"SET", b"k", b"v") == OK
        connection.send(encode([b"SET", b"k", b"w"]) + data + encode([b"SET", b"k", b"x"]))
        assert connection.receive() == OK  # what stands whole in front of it is executed
        reply = connection.receive()
        assert isinstance(reply, Failure) and reply.text.startswith(b"ERR Protocol error: ")
        assert is_ended(connection)
    with door.connect() as connection:
        assert connection.call(b"GET", b"k") == b"w"
    assert other.call(b"PING") == Status(b"PONG")


def test_half_a_command_waits_and_nobody_else_does(door: Door, other: Connection) -> None:
    data = encode([b"SET", b"k", b"v" * 50_000])
    halves = [door.connect() for _ in range(20)]
    try:
        for number, connection in enumerate(halves):
            connection.send(data[: 1 + number * 2500])
            assert other.call(b"PING") == Status(b"PONG")
        for number, connection in enumerate(halves):
            for byte in range(1 + number * 2500, min(len(data), 6 + number * 2500)):
                connection.send(data[byte : byte + 1])
            connection.send(data[6 + number * 2500 :])
            assert connection.receive() == OK
            assert connection.call(b"STRLEN", b"k") == 50_000
    finally:
        for connection in halves:
            connection.close()


def test_commands_half_sent_may_take_so_much_of_a_tenant(server: RunningServer, door: Door, other: Connection) -> None:
    """Each of these commands announces nearly as much as one may have, sends all but a byte of it, and waits."""
    size = limits.RESP_COMMAND_BYTES_MAX - 100
    data = b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % size + b"x" * (size - 1)
    most = limits.RESP_TENANT_BYTES_MAX // size
    greedy: list[Connection] = []
    try:
        for _ in range(most + 4):
            greedy.append(door.connect())
            with contextlib.suppress(ConnectionError):  # it is ended before it has sent all
                greedy[-1].send(data)
            assert other.call(b"PING") == Status(b"PONG")
        refused = 0
        for connection in greedy:
            try:
                connection.send(b"x\r\n")
                reply = connection.receive()
            except (OSError, ProtocolError):  # ended, with or without its last words
                refused += 1
                continue
            if isinstance(reply, Failure):
                assert b"memory" in reply.text
                refused += 1
            else:
                assert reply == b"x" * size
        assert 4 <= refused < len(greedy)
    finally:
        for connection in greedy:
            connection.close()
    with door.connect() as connection:  # what they took is given back
        connection.send(data + b"x\r\n")
        assert connection.receive() == b"x" * size


def test_replies_that_nobody_reads_stop_their_own_connection(door: Door, other: Connection) -> None:
    """It asks for gigabytes and reads nothing: it is not read any more, so its sending stops; then it reads all."""
    with door.connect() as connection:
        assert connection.call(b"SET", b"k", b"v" * 60_000) == OK
        sock = connection._socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        sock.setblocking(False)
        command, sent = encode([b"GET", b"k"]), 0
        data = command * 1000

        def is_stopped() -> bool:
            """Whether nothing more could be sent while another one was served a hundred times."""
            nonlocal sent
            before = sent
            for _ in range(100):
                with contextlib.suppress(BlockingIOError):
                    sent += sock.send(data[sent % len(command) :])
                assert other.call(b"PING") == Status(b"PONG")
            return sent == before

        wait_for(is_stopped, what="an end of its sending")
        sock.settimeout(60)
        for _ in range(sent // len(command)):
            assert connection.receive() == b"v" * 60_000
        if sent % len(command):
            connection.send(command[sent % len(command) :])
            assert connection.receive() == b"v" * 60_000
        assert connection.call(b"PING") == Status(b"PONG")


def test_so_many_connections_of_a_tenant(server: RunningServer, door: Door, other: Connection) -> None:
    most = limits.RESP_CONNECTIONS_PER_TENANT_MAX
    open_ones = [door.connect() for _ in range(most)]
    try:
        with stranger(server) as more:
            reply = more.call(b"AUTH", door.user.encode(), door.password.encode())
            assert isinstance(reply, Failure) and b"max number of clients" in reply.text
        open_ones.pop().close()

        def is_let_in() -> bool:
            """A new one each time: a stranger has ten seconds only."""
            with stranger(server) as another:
                return another.call(b"AUTH", door.user.encode(), door.password.encode()) == OK

        wait_for(is_let_in, what="a place")
        assert other.call(b"PING") == Status(b"PONG")
    finally:
        for connection in open_ones:
            connection.close()


def test_one_stranger_more_ends_the_oldest(server: RunningServer, other: Connection) -> None:
    first = stranger(server)
    rest = [stranger(server) for _ in range(limits.RESP_STRANGERS_MAX)]
    try:
        assert is_ended(first)
        reply = rest[-1].call(b"PING")
        assert isinstance(reply, Failure) and reply.code == b"NOAUTH"
        assert other.call(b"PING") == Status(b"PONG")
    finally:
        for connection in (first, *rest):
            connection.close()


def test_a_tenants_limit_of_requests_holds_here(server: RunningServer) -> None:
    tenant = server.admin().create_tenant(packets_per_second=1)
    with door_of(server, tenant).connect() as connection:
        replies = connection.pipeline([[b"PING"]] * (limits.RATE_BURST_PACKETS + 20))
        refused = [reply for reply in replies if isinstance(reply, Failure)]
        assert refused and all(reply.code == b"BUSY" for reply in refused)
        assert Status(b"PONG") in replies


def test_an_exec_that_is_refused_ends_its_transaction(server: RunningServer) -> None:
    """By the limit of requests, as by whatever else: what follows is executed, and not queued."""
    admin = server.admin()
    tenant = admin.create_tenant(packets_per_second=1)
    with door_of(server, tenant).connect() as connection:
        assert connection.call(b"MULTI") == OK
        last = connection.pipeline([[b"PING"]] * 2 * limits.RATE_BURST_PACKETS + [[b"EXEC"]])[-1]
        assert isinstance(last, Failure)  # BUSY; after a second EXECABORT, as commands before were refused
        admin.limit_tenant(tenant.tenant, packets_per_second=0)
        assert connection.call(b"PING") == Status(b"PONG")


def test_a_tenants_quota_holds_here(server: RunningServer) -> None:
    tenant = server.admin().create_tenant(quota_bytes=64 << 10)
    with door_of(server, tenant).connect() as connection:
        assert connection.call(b"SET", b"k", b"v") == OK
        for command in (
            [b"SET", b"k", b"x" * 65_000],
            [b"APPEND", b"k", b"x" * 65_000],
            [b"MSET", b"k", b"x" * 65_000, b"l", b"m"],
        ):
            reply = connection.call(*command)
            assert isinstance(reply, Failure) and reply.code == b"OOM"
        assert connection.call(b"GET", b"k") == b"v"
        assert connection.call(b"EXISTS", b"l") == 0


def test_a_transaction_is_refused_as_a_whole(door: Door) -> None:
    most = limits.TRANSACTION_WRITES_MAX
    pairs = [word for number in range(most + 1) for word in (b"k%d" % number, b"v")]
    with door.connect() as connection:
        reply = connection.call(b"MSET", *pairs)
        assert isinstance(reply, Failure) and reply.text.startswith(b"ERR a transaction")
        assert connection.call(b"DBSIZE") == 0
        assert connection.call(b"MSET", *pairs[2:]) == OK
        assert connection.call(b"DBSIZE") == most
        replies = connection.pipeline([[b"MULTI"], *([b"SET", b"x%d" % number, b"v"] for number in range(most + 1)), [b"EXEC"]])
        assert isinstance(replies[-1], Failure) and connection.call(b"DBSIZE") == most
        assert connection.call(b"PING") == Status(b"PONG")  # and the transaction is over


def test_a_reply_has_a_limit(door: Door) -> None:
    with door.connect() as connection:
        assert connection.call(b"SET", b"k", b"v" * 65_000) == OK
        reply = connection.call(b"MGET", *[b"k"] * MANY)
        assert isinstance(reply, Failure) and b"reply" in reply.text
        replies = connection.pipeline([[b"MULTI"], [b"SET", b"l", b"1"], *[[b"GET", b"k"]] * MANY, [b"EXEC"]])
        assert isinstance(replies[-1], Failure)
        assert connection.call(b"EXISTS", b"l") == 0  # what cannot be told is not done


def test_a_walk_over_many_keys_goes_on_beside_others(door: Door, other: Connection) -> None:
    """More keys than one turn looks at; it is asked in a pipeline, with what follows behind it."""
    keys = {b"key:%d" % number for number in range(5 * limits.RESP_WALK_POSITIONS)}
    with door.connect() as connection:
        replies = connection.pipeline([[b"SET", key, b"v"] for key in sorted(keys)])
        assert replies == [OK] * len(keys)
        found, size, pong, deleted = connection.pipeline([[b"KEYS", b"*"], [b"DBSIZE"], [b"PING"], [b"FLUSHDB"]])
        assert isinstance(found, list) and set(found) == keys and len(found) == len(keys)
        assert (size, pong, deleted) == (len(keys), Status(b"PONG"), OK)
        assert connection.call(b"DBSIZE") == 0
        assert other.call(b"PING") == Status(b"PONG")


def test_a_removed_tenants_connection_is_ended_though_it_asks_for_nothing(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant()
    with door_of(server, tenant).connect() as connection:
        connection.send(encode([b"SET", b"k", b"v" * 50_000])[:40_000])
        admin.remove_tenant(tenant.tenant)
        assert is_ended(connection)


def test_a_stranger_that_was_a_tenants_is_one_of_so_many(server: RunningServer, door: Door, other: Connection) -> None:
    """RESET makes a connection a stranger's again, as often as it likes."""
    first = door.connect()
    for _ in range(2 * limits.RESP_CONNECTIONS_MAX // 10):
        who = [b"AUTH", door.user.encode(), door.password.encode()]
        assert first.pipeline([[b"RESET"], who] * 10)[-1] == OK
    assert first.call(b"RESET") == Status(b"RESET")
    rest = [stranger(server) for _ in range(limits.RESP_STRANGERS_MAX)]
    try:
        assert is_ended(first)
        assert other.call(b"PING") == Status(b"PONG")
    finally:
        for connection in (first, *rest):
            connection.close()
