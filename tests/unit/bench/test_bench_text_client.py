"""The text protocols' load generator, against servers of a few lines on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from splinter_bench.generators import text_client
from splinter_bench.generators.text_client import Script, TextClient

from splinter.errors import SplinterError

TRIES = 20

Answer = Callable[[bytes], bytes]  # to what has come; empty: close the connection


class LineServer:
    """Answers lines over TCP; ``most`` is the largest number of lines that came at once."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self.most = answer, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        rest = b""
        with connection, contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                *lines, rest = (rest + part).split(b"\n")
                self.most = max(self.most, len(lines))
                for line in lines:
                    reply = self._answer(line)
                    if not reply:
                        return
                    connection.sendall(reply)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], LineServer]]:
    servers: list[LineServer] = []

    def start(answer: Answer) -> LineServer:
        servers.append(LineServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def double(line: bytes) -> bytes:
    return line + line + b"\n"


def doubles(count: int, **options: int) -> Script:
    lines = [b"%d" % number for number in range(count)]
    return Script("doubles", [line + b"\n" for line in lines], [double(line) for line in lines], **options)


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("is_spinning", [False, True])
@pytest.mark.parametrize(("pipeline", "steps"), [(1, 1), (4, 1), (1, 4)])
def test_every_request_is_sent_once_and_has_its_reply(
    serve: Callable[[Answer], LineServer], connections: int, is_spinning: bool, pipeline: int, steps: int
) -> None:
    server = serve(double)
    with TextClient(server.connect, connections, is_spinning=is_spinning) as client:
        result = client.run_once(doubles(120, pipeline=pipeline, steps=steps))
    assert (result.requests, result.failed, result.stale) == (120, 0, 0)
    assert result.recorded == result.histogram.count == 120 // steps
    assert result.depth == connections * pipeline
    assert server.most <= pipeline


def test_steps_of_a_chain_wait_for_each_other(serve: Callable[[Answer], LineServer]) -> None:
    seen: list[bytes] = []

    def note(line: bytes) -> bytes:
        seen.append(line)
        return double(line)

    server = serve(note)
    with TextClient(server.connect) as client:
        client.run_once(doubles(12, steps=4))
    assert seen == [b"%d" % number for number in range(12)]
    assert server.most == 1


def test_a_run_ends_in_time_and_leaves_nothing_under_way(serve: Callable[[Answer], LineServer]) -> None:
    with TextClient(serve(double).connect, 2) as client:
        repeated = 0
        for _ in range(TRIES):  # a busy machine may let the server do nothing for as long as a run
            result = client.run(doubles(10), seconds=0.05, warmup_seconds=0.01)
            assert result.failed == 0  # what is left of one would spoil the next
            repeated += result.recorded > 10  # the script, again and again
            if repeated == 2:
                break
        assert repeated == 2


@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("reply", [b"-wrong\n", b"555\n", b"5"])
def test_another_reply_than_the_expected_one_is_counted(
    serve: Callable[[Answer], LineServer], connections: int, reply: bytes
) -> None:
    server = serve(lambda line: reply if line == b"5" else double(line))
    with TextClient(server.connect, connections) as client:
        result = client.run_once(doubles(8))
    assert result.corrupt + result.lost == 1  # half a reply is lost after a second


@pytest.mark.parametrize("connections", [1, 2])
def test_a_reply_is_waited_for_as_long_as_was_said(serve: Callable[[Answer], LineServer], connections: int) -> None:
    server = serve(lambda line: b"5" if line == b"5" else double(line))
    with TextClient(server.connect, connections, reply_seconds_max=2) as client:
        begun = time.monotonic()
        result = client.run_once(doubles(8))
        assert time.monotonic() - begun >= 2
    assert result.lost == 1


@pytest.mark.parametrize("connections", [1, 2])
def test_a_server_that_goes_away_is_an_error(serve: Callable[[Answer], LineServer], connections: int) -> None:
    server = serve(lambda line: b"" if line == b"5" else double(line))
    with TextClient(server.connect, connections) as client, pytest.raises(SplinterError, match="closed"):
        client.run_once(doubles(8))


def test_datagrams_find_their_request() -> None:
    """The server drops one, answers one twice, and one wrongly."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def answer() -> None:
            for number in range(6):
                request, sender = server.recvfrom(2000)
                frame, line = request[:8], request[8:-1]
                assert line == b"%d" % number
                if number != 1:
                    server.sendto(frame + (b"x" if number == 5 else double(line)), sender)
                if number == 3:
                    server.sendto(frame + double(line), sender)

        thread = threading.Thread(target=answer)
        thread.start()

        def connect() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect(server.getsockname())
            return sock

        with TextClient(connect, is_datagram=True) as client:
            result = client.run_once(doubles(6))
        thread.join()
    assert (result.recorded, result.lost, result.corrupt, result.stale) == (4, 1, 1, 1)


def test_what_cannot_be_run_is_refused(serve: Callable[[Answer], LineServer]) -> None:
    with pytest.raises(ValueError, match="script"):
        Script("uneven", [b"a"], [])
    with pytest.raises(ValueError, match="script"):
        Script("short", [b"a"], [b"b"], pipeline=2)
    with pytest.raises(ValueError, match="connections"):
        TextClient(serve(double).connect, text_client.CONNECTIONS_MAX + 1)
    with TextClient(serve(double).connect, is_datagram=True) as client, pytest.raises(ValueError, match="datagram"):
        client.run_once(Script("long", [b"a" * 2000], [b"b"]))
