"""The endpoint's HTTP server: formats, and scrapers that are slow, many, dead or hostile."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from splinter import limits
from splinter.server.metrics.endpoint import Endpoint
from splinter.server.metrics.families import ServerCollector
from tests.support.waiting import WAIT_SECONDS, wait_for

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Running:
    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(ServerCollector(lambda: None))
        self.clock = Clock()
        self.endpoint = Endpoint(self.listener, registry, self.clock)
        self.thread = threading.Thread(target=self.endpoint.serve_forever, args=(0.01,))
        self.thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), timeout=WAIT_SECONDS)

    def get(self, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(*self.listener.getsockname(), timeout=WAIT_SECONDS)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers.get("Content-Type", ""), body

    def close(self) -> None:
        self.endpoint.shutdown()
        self.thread.join()
        self.listener.close()


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.close()


def is_ended(connection: socket.socket) -> bool:
    """Whether the other side has ended it; waits for that."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_the_format_is_what_the_scraper_asks_for(running: Running) -> None:
    status, kind, body = running.get(Accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text") and body.endswith(b"# EOF\n")
    status, kind, body = running.get()
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert b"splinter_up 0.0\n" in body and b"# EOF" not in body


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=one", "a=" * 20_000, "\xff;;;=,", "text/plain;version=9"]
)
def test_a_strange_wish_gets_an_answer(running: Running, accept: str) -> None:
    status, _, body = running.get(Accept=accept)
    assert status == 200 and b"splinter_up 0.0\n" in body


def test_other_paths_and_methods(running: Running) -> None:
    assert running.get("/")[0] == 200
    assert running.get("/metrics?name[]=x")[0] == 200
    assert running.get("/../etc/passwd")[0] == 404
    assert running.get(method="POST")[0] == 501
    assert running.get(method="HEAD")[2] == b""


def test_one_more_than_there_may_be_ends_the_oldest(running: Running) -> None:
    silent = [running.connect() for _ in range(limits.METRICS_CONNECTIONS_MAX)]
    wait_for(lambda: len(running.endpoint._open) == len(silent), what="all connections")
    assert running.get()[0] == 200
    assert is_ended(silent[0])
    for connection in silent:
        connection.close()


def test_a_connection_that_lasts_too_long_is_ended(running: Running) -> None:
    slow = running.connect()
    slow.sendall(b"GET /met")
    wait_for(lambda: running.endpoint._open, what="the connection")
    running.clock.now += limits.METRICS_CONNECTION_SECONDS - 1
    slow.sendall(b"rics HTTP/1.0\r\nX: ")  # a byte now and then does not help
    running.clock.now += 1
    assert is_ended(slow)
    slow.close()


def test_who_hangs_up_is_forgotten(running: Running) -> None:
    running.connect().close()
    wait_for(lambda: not running.endpoint._open, what="no connection")
    gone = running.connect()
    gone.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gone.close()
    assert running.get()[0] == 200
