"""Time-outs are the server's time: they hold, and what the caller takes or sleeps through is not counted."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from splinter.client import Client, channel, line
from splinter.client.admin import Admin
from splinter.errors import (
    ControlConnectionError,
    ControlError,
    ControlTimeoutError,
    RequestTimeoutError,
    SplinterError,
    UnreachableError,
)
from splinter.testing.process import free_port
from tests.support import forks
from tests.support.waiting import wait_for

TENANT, TOKEN = 7, 0x1122334455667788
BRIEF = 0.05
STOP = 0.6


def pass_time(seconds: float) -> None:
    """What a slow caller does; nothing is waited for."""
    time.sleep(seconds)


def slow(count: int, seconds: float) -> Iterator[tuple[bytes, bytes]]:
    for number in range(count):
        yield b"%d" % number, b"v"
        pass_time(seconds)


def test_a_slow_generator_is_not_the_servers_time(responder):
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=BRIEF) as client:
        assert client.put_many(slow(6, 2 * BRIEF)) == 6
        numbers = [request.sequence for request in responder.requests]  # before the client says goodbye
    assert len(set(numbers)) == 6
    assert numbers == sorted(numbers)  # and nothing was sent again that had been answered


def test_answers_are_read_while_a_generator_takes_its_time(responder):
    """Also when many are under way before it becomes slow."""

    def items() -> Iterator[tuple[bytes, bytes]]:
        yield from ((b"%d" % number, b"v") for number in range(60))
        yield from slow(4, 4 * BRIEF)

    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=BRIEF) as client:
        assert client.put_many(items()) == 64
    assert len(set(responder.batches.executed)) == 64 == len(responder.batches.executed)


def test_what_a_slow_generator_lost_is_sent_again(responder):
    lost: list[int] = []

    def lose_first(header, packet):
        lost.append(header.sequence)
        return [] if len(lost) == 1 else [packet]

    responder.on_request = lose_first
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=BRIEF) as client:
        assert client.put_many(slow(5, BRIEF)) == 5
    assert lost.count(1) > 1 and lost.index(1, 1) < len(lost) - 1  # before the end, not behind it


def test_a_repetition_that_might_be_executed_twice_is_not_sent(responder, monkeypatch):
    """The server forgets a client that was silent for long."""
    silence = 1.2 * channel.RESEND_SECONDS_MAX
    monkeypatch.setattr(line, "SILENCE_SECONDS", silence)
    responder.on_request = lambda header, packet: [] if header.sequence == 1 else [packet]
    with (
        Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=5) as client,
        pytest.raises(RequestTimeoutError, match="too late to ask again"),
    ):
        client.put_many(slow(2, 1.5 * silence))
    wait_for(lambda: responder.requests[-1].sequence == 2, 30, "the second request")
    assert [header.sequence for header in responder.requests] == [1, 2]


def test_a_silent_server_is_given_up_by_put_many_too(responder):
    responder.on_request = lambda header, packet: []
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=BRIEF) as client:
        with pytest.raises(RequestTimeoutError):
            client.put_many(slow(1000, 0))
        with pytest.raises(RequestTimeoutError):
            client.get_many([b"1", b"2"])


def stop_and_go_on(
    action: Callable[[], object], is_asked: Callable[[], object], goes_on: Callable[[], object] = lambda: None
) -> object:
    """Run ``action`` in a child, stop it once it has asked, for longer than its time-out, and let it go on."""
    pids: list[int] = []

    def fork() -> int:
        pid = os.fork()
        if pid:
            pids.append(pid)
        return pid

    wait = forks.start(action, fork)
    wait_for(is_asked, 30, "the child's request")
    os.kill(pids[0], signal.SIGSTOP)
    os.waitpid(pids[0], os.WUNTRACED)
    pass_time(2 * STOP)
    os.kill(pids[0], signal.SIGCONT)
    goes_on()
    return wait()


def test_a_stopped_process_does_not_time_out(responder):
    """The first request is lost; when the process goes on, its time-out is over by the clock, but it has hardly waited."""
    responder.on_request = lambda header, packet: [packet] if len(responder.requests) > 1 else []
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=STOP) as client:
        assert stop_and_go_on(lambda: client.put(b"k", b"v"), lambda: responder.requests)


def test_a_process_stopped_within_a_control_request_does_not_time_out(control):
    goes_on = threading.Event()

    def answer(request):
        goes_on.wait()
        return {"ok": True, "entries": []}

    control.answer = answer

    def told() -> list[tuple[int, bytes]]:
        with Client("127.0.0.1", TENANT, TOKEN, port=control.port, timeout=STOP) as client:
            return client.log()

    assert stop_and_go_on(told, lambda: control.requests, goes_on.set) == []


def test_time_holds_whatever_signals_come(responder):
    """A wait that begins anew after each signal has no end."""
    responder.on_request = lambda header, packet: []

    def ask() -> str:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=2 * BRIEF) as client:
            try:
                client.ping()
            except RequestTimeoutError:
                return "timed out"
        return "answered"

    assert forks.start(ask)() == "timed out"


CALLS: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.get(b"k", timeout=BRIEF),
    "get_with_version": lambda client: client.get_with_version(b"k", timeout=BRIEF),
    "put": lambda client: client.put(b"k", b"v", timeout=BRIEF),
    "large put": lambda client: client.put(b"k", bytes(60_000), timeout=BRIEF),
    "delete": lambda client: client.delete(b"k", timeout=BRIEF),
    "multiget": lambda client: client.multiget([b"k"], timeout=BRIEF),
    "get_many": lambda client: client.get_many([b"k"], timeout=BRIEF),
    "put_many": lambda client: client.put_many([(b"k", b"v"), (b"l", bytes(9000))], timeout=BRIEF),
    "ping": lambda client: client.ping(timeout=BRIEF),
    "signature": lambda client: client.signature("f", timeout=BRIEF),
    "install": lambda client: client.install("source", timeout=BRIEF),
    "install_all": lambda client: client.install_all("source", timeout=BRIEF),
    "uninstall": lambda client: client.uninstall("f", timeout=BRIEF),
    "extensions": lambda client: client.extensions(timeout=BRIEF),
    "log": lambda client: client.log(timeout=BRIEF),
    "invoke": lambda client: client.invoke("f", timeout=BRIEF),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_takes_a_time_out(responder, control, call):
    """An hour otherwise: the test's own limit would end it."""
    responder.on_request = lambda header, packet: []
    control.answer = lambda request: None
    options = {"port": responder.port, "control_port": control.port}
    with Client("127.0.0.1", TENANT, TOKEN, timeout=3600, **options) as client, pytest.raises(TimeoutError) as raised:
        CALLS[call](client)
    assert isinstance(raised.value, SplinterError)


def test_the_clients_time_out_is_that_of_control_too(control):
    control.answer = lambda request: None
    with Client("127.0.0.1", TENANT, TOKEN, port=control.port, timeout=BRIEF) as client:
        for ask in (client.extensions, client.log, lambda: client.install("source"), lambda: client.uninstall("f")):
            with pytest.raises(ControlTimeoutError, match=f"within {BRIEF:g} s"):
                ask()


def test_a_server_that_drips_does_not_draw_out_a_request(control):
    """Each piece comes in time; the whole does not."""

    def drip(request: dict[str, object]) -> None:
        connection = control.connections[-1]
        connection.sendall((1 << 20).to_bytes(4, "little"))
        while connection.send(b"x"):
            pass_time(BRIEF / 5)

    control.answer = drip
    with Admin("127.0.0.1", "credential", port=control.port, timeout=3600) as admin, pytest.raises(ControlTimeoutError):
        admin.stats(timeout=BRIEF)


def test_an_argument_named_timeout_is_an_argument(responder, control):
    signature = {"name": "f", "parameters": [["timeout", "u64"]], "result": "u64"}
    control.answer = lambda request: {"ok": True, "signature": signature, "version": 1}
    responder.invoke = lambda name, packed, hash: (0, packed)
    options = {"port": responder.port, "control_port": control.port}
    with Client("127.0.0.1", TENANT, TOKEN, **options) as client:
        assert client.invoke("f", timeout=5) == 5


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_an_impossible_time_out_is_refused(client, responder, timeout):
    with pytest.raises(ValueError, match="timeout"):
        Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        client.get(b"k", timeout=timeout)


def test_errors_are_what_python_calls_them():
    assert issubclass(RequestTimeoutError, TimeoutError) and issubclass(ControlTimeoutError, TimeoutError)
    assert issubclass(UnreachableError, ConnectionError) and issubclass(ControlConnectionError, ConnectionError)
    assert issubclass(ControlTimeoutError, ControlError) and issubclass(ControlConnectionError, ControlError)
    for error in (UnreachableError("no way", errno.ENETUNREACH), ControlConnectionError("no way", errno.ENETUNREACH)):
        assert (str(error), error.errno) == ("no way", errno.ENETUNREACH)
    for error in (RequestTimeoutError("late"), ControlTimeoutError("late")):
        assert str(error) == "late"


GEVENT = """
from gevent import monkey
monkey.patch_all()
import socket, sys
import gevent
from splinter.client import Client
from splinter.errors import ControlTimeoutError, RequestTimeoutError

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 0))
listening = socket.create_server(("127.0.0.1", 0))
turns = []

def others():
    while True:
        turns.append(1)
        gevent.sleep(0.005)

gevent.spawn(others)
with Client("127.0.0.1", 7, 1, port=silent.getsockname()[1], control_port=listening.getsockname()[1], timeout=0.3) as client:
    for kind, ask in (
        (RequestTimeoutError, client.ping),
        (RequestTimeoutError, lambda: client.put_many([(b"k", b"v")])),
        (RequestTimeoutError, lambda: client.put(b"k", bytes(9000))),
        (ControlTimeoutError, client.extensions),
        (ControlTimeoutError, lambda: client.install("x")),
    ):
        before = len(turns)
        try:
            ask()
        except kind:
            assert len(turns) > before + 3, "the other greenlets stood still"
        else:
            sys.exit("answered")
    answered = []

    def answer():
        packet, peer = silent.recvfrom(2048)
        while packet[5] != 0:  # what was left of before
            packet, peer = silent.recvfrom(2048)
        reply = bytearray(packet[:64])
        reply[7], reply[16:24] = 1, bytes(8)
        silent.sendto(reply, peer)

    while True:  # repetitions of before
        try:
            silent.settimeout(0.0)
            silent.recvfrom(2048)
        except BlockingIOError:
            break
    silent.settimeout(None)
    gevent.spawn(answer)
    assert client.ping(timeout=20) > 0
print("held")
"""


def test_time_holds_where_gevent_has_patched():
    done = subprocess.run([sys.executable, "-c", GEVENT], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("held\n", 0), done.stderr


def test_a_name_server_that_is_silent_does_not_draw_out_a_request(monkeypatch):
    silence = threading.Event()
    monkeypatch.setattr(socket, "gethostbyname", lambda name: silence.wait())
    try:
        with pytest.raises(RequestTimeoutError, match=r"'store\.example' was not found out within"):
            Client("store.example", TENANT, TOKEN, timeout=BRIEF)
        with (
            Admin("store.example", "credential", timeout=3600) as admin,
            pytest.raises(ControlTimeoutError, match="not found out"),
        ):
            admin.stats(timeout=BRIEF)
    finally:
        silence.set()


def test_a_name_is_looked_up(responder):
    with Client("localhost", TENANT, TOKEN, port=responder.port) as client:
        client.put(b"k", b"v")
    with pytest.raises(SplinterError, match=r"cannot send to no-such-host\.invalid"):
        Client("no-such-host.invalid", TENANT, TOKEN, timeout=STOP)  # or nobody says so in time


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "a\0b", "127.0.0.1 x", "1.2.3.4.5"])
def test_what_is_no_name_has_its_sentence(name):
    with pytest.raises(SplinterError, match="cannot send to"):
        Client(name, TENANT, TOKEN, timeout=STOP)
    with Admin(name, "credential", timeout=STOP) as admin, pytest.raises(ControlError, match="cannot reach the control plane"):
        admin.stats()


def test_a_host_that_refuses_control_is_a_connection_error():
    with (
        Admin("127.0.0.1", "credential", port=free_port()) as admin,
        pytest.raises(ConnectionError, match="nothing listens") as raised,
    ):
        admin.stats()
    assert raised.value.errno == errno.ECONNREFUSED
