"""A client on both sides of a fork: identity, sockets and what is under way are a process's own."""

from __future__ import annotations

import copy
import ctypes
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from splinter.client import Client, process
from splinter.client.admin import Admin
from splinter.client.channel import Channel
from splinter.client.control import ControlConnection
from splinter.client.line import Line
from splinter.client.process import ForkedError
from tests.support import forks
from tests.support.waiting import wait_for

TENANT, TOKEN = 7, 0x1122334455667788
_global: Client | None = None


def numbers_used_twice(responder) -> list[tuple[int, int]]:
    """(client, sequence) of requests that are not one request's repetitions."""
    seen: dict[tuple[int, int], set[bytes]] = {}
    for number, key in zip(responder.requests, responder.keys, strict=True):
        seen.setdefault((number.client, number.sequence), set()).add(key)
    return [number for number, keys in seen.items() if len(keys) > 1]


@pytest.fixture(autouse=True)
def keys(responder) -> None:
    """Have the responder note the key of each request beside its header."""
    responder.keys = []

    def note(header, packet):
        responder.keys.append(packet[64 : 64 + header.key_length])
        return [packet]

    responder.on_request = note


def raw_fork() -> int:
    """As a web server written in C forks: the interpreter is not told."""
    return int(ctypes.PyDLL(None).fork())


@pytest.mark.parametrize("fork", [os.fork, raw_fork])
def test_parent_and_child_do_not_share_numbers(client, responder, fork):
    client.put(b"before", b"parent")

    def work(name: bytes) -> list[bytes | None]:
        for turn in range(50):
            client.put(b"%s %d" % (name, turn), b"%s's %d" % (name, turn))
        return [client.get(b"%s %d" % (name, turn)) for turn in range(50)]

    child = forks.start(lambda: work(b"child"), fork)
    assert work(b"parent") == [b"parent's %d" % turn for turn in range(50)]
    assert child() == [b"child's %d" % turn for turn in range(50)]
    assert numbers_used_twice(responder) == []
    assert len({header.client for header in responder.requests}) == 2


def test_a_child_is_another_process_before_any_of_its_threads_asks():
    """Two threads that asked first at the same moment would each make up a number."""
    before = process._number

    def number_unasked() -> int:
        return process._number

    assert forks.start(number_unasked)() != before
    assert forks.start(process.process_number)() == forks.start(number_unasked)()


def test_a_grandchild_and_siblings_begin_anew_each(client, responder):
    client.ping()

    def ask_below(depth: int) -> None:
        client.put(b"%d" % os.getpid(), b"v")
        if depth:
            below = [forks.start(lambda: ask_below(depth - 1)) for _ in range(2)]
            for wait in below:
                wait()

    ask_below(2)
    assert len({header.client for header in responder.requests}) == 7
    assert numbers_used_twice(responder) == []


def test_a_fork_within_the_items_of_put_many_ends_the_childs_part(client, responder):
    children: list[Callable[[], object]] = []
    end = os.pipe()
    parent = os.getpid()

    def items() -> Iterator[tuple[bytes, bytes]]:
        for number in range(40):
            if number == 20 and (pid := os.fork()):
                children.append(lambda: forks.result(pid, end[0]))
            yield b"%d of %d" % (number, os.getpid()), b"v"

    outcome: list[str] = []
    try:
        assert client.put_many(items(), window=8) == 40
    except ForkedError:
        outcome.append("forked")
    if os.getpid() != parent:
        forks.report(end[1], lambda: (outcome, client.put_many([(b"anew", b"v")]), client.get(b"anew")))
    os.close(end[1])
    assert outcome == []
    assert children[0]() == (["forked"], 1, b"v")
    assert [client.get(b"%d of %d" % (number, parent)) for number in range(40)] == [b"v"] * 40
    assert numbers_used_twice(responder) == []


def test_a_fork_while_other_threads_ask(client, responder):
    stop = threading.Event()
    wrong: list[object] = []

    def ask(name: bytes) -> None:
        turn = 0
        while not stop.is_set():
            client.put(name, b"%d" % turn)
            if client.get(name) != b"%d" % turn:
                wrong.append(name)
            turn += 1

    threads = [threading.Thread(target=ask, args=(b"thread %d" % number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = forks.start(lambda: [client.put(b"child", b"own"), client.get(b"child")][1])
            assert child() == b"own"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert numbers_used_twice(responder) == []


def test_a_signal_handler_that_forks_in_the_midst_of_a_request(client, responder):
    """The child would go on in the parent's request, and take its reply."""
    parent, end = os.getpid(), os.pipe()
    children: list[int] = []

    def fork(*_: object) -> None:
        children.append(os.fork())

    def ask_to_fork(header, packet):
        if not children:
            os.kill(parent, signal.SIGUSR1)
            wait_for(lambda: children, 30, "the fork")
        return [packet]

    before = signal.signal(signal.SIGUSR1, fork)
    responder.on_request = ask_to_fork
    outcome: object = None
    try:
        outcome = client.put(b"key", b"value")
    except ForkedError:
        outcome = "forked"
    if os.getpid() != parent:
        forks.report(end[1], lambda: outcome)
    signal.signal(signal.SIGUSR1, before)
    os.close(end[1])
    assert isinstance(outcome, int) and outcome > 0
    assert forks.result(children[0], end[0]) == "forked"


def get_in_pool(key: bytes) -> bytes | None:
    assert _global is not None
    return _global.get(key)


def test_multiprocessing(client, responder, monkeypatch):
    monkeypatch.setitem(globals(), "_global", client)
    client.put_many((b"%d" % number, b"value %d" % number) for number in range(100))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(get_in_pool, [b"%d" % number for number in range(100)], chunksize=1)
    assert found == [b"value %d" % number for number in range(100)]
    assert numbers_used_twice(responder) == []


def test_a_closed_client_is_closed_in_the_child_and_closing_there_leaves_the_parents(client, responder):
    client.ping()
    forks.start(client.close)()
    assert client.ping() > 0
    client.close()
    with pytest.raises(AssertionError, match="this client is closed"):
        forks.start(client.ping)()


def test_control_connections_are_a_processs_own(control):
    control.answer = lambda request: {"ok": True, "entries": [{"time_ns": request["number"], "text": b""}]}
    connection = ControlConnection("127.0.0.1", control.port)

    def told(number: int) -> int:
        return int(connection.request("extension.log", number=number)["entries"][0]["time_ns"])

    assert told(1) == 1
    children = [forks.start(lambda: [told(number) for number in range(50)]) for _ in range(3)]
    assert [told(number) for number in range(100, 150)] == list(range(100, 150))
    for child in children:
        assert child() == list(range(50))
    assert len(control.connections) == 4
    connection.close()


def test_a_fork_does_not_wait_for_a_threads_control_request(control):
    """What another thread held at the fork is held for ever in the child."""
    held, go_on = threading.Event(), threading.Event()

    def answer(request):
        if request["op"] == "slow":
            held.set()
            go_on.wait()
        return {"ok": True}

    control.answer = answer
    connection = ControlConnection("127.0.0.1", control.port)
    thread = threading.Thread(target=connection.request, args=("slow",))
    thread.start()
    held.wait()
    assert forks.start(lambda: connection.request("quick"))() == {"ok": True}
    assert connection.request("quick") == {"ok": True}  # nor does another thread
    go_on.set()
    thread.join()
    connection.close()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_has_sockets_cannot_be_copied_or_sent(client, responder, how):
    admin = Admin("127.0.0.1", "credential")
    channel = Channel(Line("127.0.0.1", responder.port, TENANT, TOKEN, None, 1.0), 1.0)
    for holder in (client, admin, channel, channel.line, ControlConnection("127.0.0.1", 1)):
        with pytest.raises(TypeError, match="make one in each process"):
            how(holder)
    channel.line.close()
