"""The gate between others' suites for Redis and a server, and the verdicts on their tests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.redis_suites.claims import command_name, is_claimed
from tests.support.redis_suites.gate import Gate, MalformedError, encoded, one_request
from tests.support.redis_suites.verdicts import CLAIMED, Outcome, judged

SECONDS_MAX = 20.0
REQUESTS = (b"", b"PING\r\n", b"*0\r\n", b"*-10\r\n", encoded((b"SET", b"k", b"a\r\nb\x00")))


@contextlib.contextmanager
def collecting() -> Iterator[tuple[int, list[bytes]]]:
    """A server that keeps what comes on each connection until its end, and then says OK; its port."""
    got: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    data = b""
                    while more := connection.recv(4096):
                        data += more
                        if data.startswith(b"*3\r\n$4\r\nAUTH") and data.count(b"\r\n") == 7:
                            connection.sendall(b"+OK\r\n")
                    got.append(data)
                    connection.sendall(b"+ended\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield listening.getsockname()[1], got
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def through(gate: Gate, *pieces: bytes) -> bytes:
    """Send through the gate, and read to the end."""
    with socket.create_connection(("127.0.0.1", gate.port), SECONDS_MAX) as client:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        data = b""
        while more := client.recv(4096):
            data += more
    return data


@pytest.mark.parametrize("request_bytes", REQUESTS[1:])
def test_a_request_is_found_when_it_is_whole_only(request_bytes: bytes) -> None:
    for end in range(len(request_bytes)):
        assert one_request(bytearray(request_bytes[:end]), 0) is None
    found = one_request(bytearray(request_bytes + b"rest"), 0)
    assert found is not None
    assert found[1] == len(request_bytes)


@pytest.mark.parametrize(
    "wrong", [b"*x\r\n", b"*1\r\nfoo\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$2000000000\r\n", b"*\x00" + b"A" * 65536]
)
def test_what_is_no_request_is_told(wrong: bytes) -> None:
    with pytest.raises(MalformedError):
        one_request(bytearray(wrong), 0)


def test_the_server_sees_the_very_bytes_of_what_is_no_request_and_of_all_behind() -> None:
    sent = (REQUESTS[4], b"*1\r\nfoo\r\n" + encoded((b"FLUSHALL",)))
    with collecting() as (port, got), Gate("127.0.0.1", port, refuse=True, replace=True) as gate:
        assert through(gate, *sent) == b"+ended\r\n"
    assert got == [b"".join(sent)]


def test_the_gate_logs_in_refuses_replaces_and_tells_what_came_in_which_test() -> None:
    words = [(b"GET", b"k"), (b"DEBUG", b"LOG", b"### Starting test one"), (b"flushall",), (b"hset", b"h", b"f", b"v")]
    with collecting() as (port, got), Gate("127.0.0.1", port, ("7", "token"), refuse=True, replace=True) as gate:
        assert through(gate, b"".join(encoded(request) for request in words)) == b"+ended\r\n"
    expected = [(b"AUTH", b"7", b"token"), words[0], (b"PING", b"OK"), (b"FLUSHDB",), (b"unclaimed.hset", *words[3][1:])]
    assert got == [b"".join(encoded(request) for request in expected)]
    assert [(seen.test, seen.commands, seen.refused) for seen in gate.seen] == [
        ("", {"GET"}, set()),
        ("one", {"HSET"}, {"HSET"}),
    ]
    assert gate.replaced == {"FLUSHALL": 1}


def test_claims_go_by_the_second_word_where_commands_are_several() -> None:
    claimed = ([b"get", b"k"], [b"CONFIG", b"get", b"*"], [b"command"], [])
    others = ([b"HSET"], [b"CONFIG", b"RESETSTAT"], [b"DEBUG", b"SLEEP"], [b"client", b"reply", b"off"])
    assert [is_claimed(command_name(words)) for words in claimed] == [True] * len(claimed)
    assert [is_claimed(command_name(words)) for words in others] == [False] * len(others)


def test_verdicts_are_of_tests_that_pass_on_redis() -> None:
    plain = [Outcome("u", "a", "passed"), Outcome("u", "b", "passed"), Outcome("u", "c", "passed"), Outcome("u", "d", "failed")]
    refusing = [
        Outcome("u", "a", "passed", refused=("HSET",)),
        Outcome("u", "b", "failed", refused=("HSET", "CONFIG RESETSTAT")),
    ]
    refusing += [Outcome("u", "c", "failed"), Outcome("u", "d", "passed")]
    assert judged(plain, refusing) == {"u": {"a": CLAIMED, "b": "CONFIG-RESETSTAT HSET", "c": "state"}}
