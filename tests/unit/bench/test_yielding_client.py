"""Load from a process that gives way: it is there as long as the block, and tells of wrong replies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from splinter_bench.generators.text_client import Script
from splinter_bench.generators.yielding_client import YieldingClient

from splinter.errors import SplinterError
from splinter.interrupts import interruptible
from tests.support.waiting import wait_for

CONNECTIONS = 2
SCRIPT = Script("lines", [b"a\n"] * 8, [b"a\n"] * 8, pipeline=4)


class Echo:
    """Sends back what comes on its connections, with ``other`` in place of each line's letter; counts the lines.

    It answers from :meth:`begin` on: no thread runs while a client forks its process.
    """

    def __init__(self) -> None:
        self.lines, self.other = 0, b"a"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []

    def connect(self) -> socket.socket:
        return socket.create_connection(self._listener.getsockname(), timeout=10)

    def begin(self) -> None:
        for _ in range(CONNECTIONS):
            self._threads.append(threading.Thread(target=self._serve, args=(self._listener.accept()[0],)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                self.lines += part.count(b"\n")
                connection.sendall(part.replace(b"a", self.other))

    def close(self) -> None:
        self._listener.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with contextlib.closing(Echo()) as made:
        yield made


def test_load_is_there_from_before_the_block_until_its_end(echo: Echo) -> None:
    core = max(os.sched_getaffinity(0))
    with YieldingClient(echo.connect, CONNECTIONS, SCRIPT, core=core) as client:
        echo.begin()
        (child,) = multiprocessing.active_children()
        assert child.pid == client.pid
        for _ in range(2):
            before = echo.lines
            with client.running() as load:
                assert os.sched_getscheduler(client.pid) == os.SCHED_IDLE
                assert os.sched_getaffinity(client.pid) == {core}
                begun = echo.lines
                assert begun > before
                wait_for(lambda begun=begun: echo.lines > begun + 100 * len(SCRIPT.requests))  # type: ignore[misc]
            assert load.per_second > 0
    assert not child.is_alive()


def test_wrong_replies_are_told(echo: Echo) -> None:
    with YieldingClient(echo.connect, CONNECTIONS, SCRIPT, core=max(os.sched_getaffinity(0))) as client:
        echo.begin()
        with client.running():
            pass
        echo.other = b"b"
        with pytest.raises(SplinterError, match="wrong"), client.running():
            pass


def test_a_process_that_has_ended_is_told(echo: Echo) -> None:
    with YieldingClient(echo.connect, CONNECTIONS, SCRIPT, core=max(os.sched_getaffinity(0))) as client:
        echo.begin()
        with pytest.raises(SplinterError, match="has ended"), client.running():
            (child,) = multiprocessing.active_children()
            child.kill()
        with pytest.raises(SplinterError, match="has ended"), client.running():
            pass


def test_it_is_ended_whatever_this_process_does_when_told_to_end(echo: Echo) -> None:
    with interruptible(), YieldingClient(echo.connect, CONNECTIONS, SCRIPT, core=max(os.sched_getaffinity(0))) as client:
        echo.begin()
        with client.running():
            (child,) = multiprocessing.active_children()
    assert child.exitcode == -signal.SIGTERM
