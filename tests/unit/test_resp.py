"""The tests' client of the Redis protocol: it tells each type of reply from each other one."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support import resp
from tests.support.resp import Boolean, Closed, Connection, Double, Failure, Map, Null, ProtocolError, Push, Reply, Set, Status

REPLIES: list[tuple[bytes, Reply]] = [
    (b"+OK\r\n", Status(b"OK")),
    (b"-ERR no such key\r\n", Failure(b"ERR no such key")),
    (b":-12\r\n", -12),
    (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", Null("$")),
    (b"*-1\r\n", Null("*")),
    (b"_\r\n", Null("_")),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n*1\r\n$1\r\na\r\n$-1\r\n", [1, [b"a"], Null("$")]),
    (b"#t\r\n", Boolean(True)),
    (b",1.5\r\n", Double(b"1.5")),
    (b"(12345678901234567890\r\n", resp.BigNumber(b"12345678901234567890")),
    (b"=6\r\ntxt:ab\r\n", resp.Verbatim(b"txt", b"ab")),
    (b"%1\r\n$1\r\na\r\n:1\r\n", Map(((b"a", 1),))),
    (b"~2\r\n+a\r\n+b\r\n", Set((Status(b"a"), Status(b"b")))),
    (b">1\r\n+a\r\n", Push((Status(b"a"),))),
]


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        with Connection(host, port) as connection, listening.accept()[0] as server:
            yield connection, server


def test_replies_are_what_was_sent(ends: tuple[Connection, socket.socket]) -> None:
    connection, server = ends
    server.sendall(b"".join(data for data, _ in REPLIES))
    assert [connection.receive() for _ in REPLIES] == [reply for _, reply in REPLIES]


def test_no_two_types_are_equal() -> None:
    replies = [reply for _, reply in REPLIES]
    assert [(a, b) for place, a in enumerate(replies) for b in replies[place + 1 :] if a == b] == []


@pytest.mark.parametrize("data", [b"?\r\n", b":x\r\n", b"$3\r\nabcd\r\n", b"#x\r\n", b"*1\r\n" * 20, b"=3\r\nabc\r\n"])
def test_what_is_no_reply_is_told(ends: tuple[Connection, socket.socket], data: bytes) -> None:
    connection, server = ends
    server.sendall(data)
    with pytest.raises(ProtocolError):
        connection.receive()


def test_the_end_is_told(ends: tuple[Connection, socket.socket]) -> None:
    connection, server = ends
    server.sendall(b"$10\r\nabc")
    server.shutdown(socket.SHUT_WR)
    with pytest.raises(Closed):
        connection.receive()
