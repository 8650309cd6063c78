"""What the control process answers for connections of the Redis protocol, by a channel of messages."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from splinter import limits
from splinter.errors import BusyError, CompileError, ControlError, QuotaExceededError, UnknownTenantError
from splinter.ext.compile import library_name
from splinter.native.clock import read_ticks
from splinter.server.control.redis_functions import RedisFunctions
from splinter.server.control.redis_replies import Fields, Line, encode
from splinter.worker.resp.layout import ANSWER, ANSWER_BYTES, ANSWER_LOST, ASK
from tests.support.waiting import WAIT_SECONDS, wait_for

KNOWN = {"lib": ["one", "two"], "other": ["three"]}
SOURCE = b"#!python name=lib\nfrom splinter.ext import extension\n\n@extension\ndef one(db):\n    pass\n"


def ask(number: int, *words: bytes, tenant: int = 7, protocol: int = 2) -> bytes:
    head = np.zeros(1, ASK)
    head["number"], head["connection"], head["token"], head["tenant"] = number, 99, 5, tenant
    head["protocol"], head["count"], head["peer"] = protocol, len(words), [127, 0, 0, 9]
    return head.tobytes() + b"".join(len(word).to_bytes(4, "little") + word for word in words)


def answer(message: bytes) -> tuple[Any, bytes]:
    return np.frombuffer(message, ANSWER, 1)[0], message[ANSWER_BYTES:]


class Desk:
    """A worker's end of a channel; ``asked`` are the operations that were run."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(WAIT_SECONDS)
        self.theirs.setblocking(False)
        self.asked: list[tuple[dict[str, Any], str]] = []
        self.fails = fails

    async def run(self, request: dict[Any, Any], address: str) -> dict[str, Any]:
        self.asked.append((request, address))
        if self.fails is not None and request["op"] != "tenant.status":
            raise self.fails
        return {"extensions": [{"name": "one"}]}

    def whole(self) -> tuple[Any, bytes]:
        """The next answer, put together."""
        told, text = answer(self.ours.recv(1 << 20))
        while told["has_more"]:
            told, more = answer(self.ours.recv(1 << 20))
            text += more
        return told, text


def served(desk: Desk, talk: Callable[[], None], known: dict[str, list[str]] = KNOWN) -> None:
    """Have ``talk`` run in a thread while the desk is served."""

    async def main() -> None:
        serving = asyncio.create_task(RedisFunctions([desk.theirs], desk.run, lambda tenant: known).serve())
        try:
            await asyncio.to_thread(talk)
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    with desk.ours, desk.theirs:
        asyncio.run(main())


def told(desk: Desk, *words: bytes, protocol: int = 2) -> bytes:
    """The reply to one command."""
    found: list[bytes] = []

    def talk() -> None:
        assert answer(desk.ours.recv(1 << 20))[0]["number"] == ANSWER_LOST
        desk.ours.send(ask(11, *words, protocol=protocol))
        head, text = desk.whole()
        assert (head["number"], head["connection"], head["tenant"], head["is_done"]) == (11, 99, 7, 0)
        found.append(text)

    served(desk, talk)
    return found[0]


def test_what_a_predecessor_had_taken_is_lost_and_what_it_had_not_is_answered() -> None:
    before, desk = read_ticks(), Desk()

    def talk_of_none() -> None:
        head, _ = answer(desk.ours.recv(1 << 20))
        assert head["number"] == ANSWER_LOST and before <= head["connection"] <= read_ticks()

    served(desk, talk_of_none)
    waits = Desk()
    waits.ours.send(ask(500, b"FUNCTION", b"STATS"))
    waits.ours.send(ask(501, b"FUNCTION", b"STATS"))

    def talk() -> None:
        head, _ = answer(waits.ours.recv(1 << 20))
        assert (head["number"], head["connection"]) == (ANSWER_LOST, 500)
        assert {int(waits.whole()[0]["number"]) for _ in range(2)} == {500, 501}

    served(waits, talk)


def test_it_is_done_as_the_tenant_by_its_token() -> None:
    desk = Desk()
    assert told(desk, b"FUNCTION", b"LOAD", b"REPLACE", SOURCE) == b"$3\r\nlib\r\n"
    own = {"tenant": 7, "token": 5}
    install = {"op": "extension.install", **own, "source": SOURCE.decode(), "every": True}
    removed = {"op": "extension.uninstall", **own, "name": "two"}  # the new library does not have it
    assert desk.asked == [({"op": "tenant.status", **own}, "127.0.0.9"), (install, "127.0.0.9"), (removed, "127.0.0.9")]


def test_a_script_s_extension_is_installed_and_nothing_is_replied() -> None:
    desk = Desk()

    def talk() -> None:
        desk.ours.recv(1 << 20)
        desk.ours.send(ask(12, b"eval", b"redis_release"))
        head, text = desk.whole()
        assert head["is_done"] == 1 and text == b""

    served(desk, talk)
    ((request, _),) = desk.asked
    assert (
        request["op"] == "extension.install" and request["name"] == "redis_release" and "def redis_release" in request["source"]
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BusyError("try\nagain"), b"-BUSY try again\r\n"),
        (QuotaExceededError("too much"), b"-OOM too much\r\n"),
        (ControlError("no room", "no_room"), b"-ERR no room\r\n"),
        (UnknownTenantError("it is gone"), b"-ERR it is gone\r\n"),
        (CompileError([], "refused\r\n+OK"), b"-ERR Error compiling function: refused +OK\r\n"),
        (ZeroDivisionError(), b"-ERR the server failed; its log tells how\r\n"),
    ],
)
def test_an_error_is_one_line(error: Exception, line: bytes) -> None:
    assert told(Desk(error), b"FUNCTION", b"LOAD", b"REPLACE", SOURCE) == line


def test_a_long_reply_comes_in_pieces_and_one_that_is_too_long_is_an_error() -> None:
    many = {f"library_{number}": [f"function_{number}"] for number in range(2_000)}
    found: list[bytes] = []
    desk = Desk()

    def talk() -> None:
        desk.ours.recv(1 << 20)
        desk.ours.send(ask(13, b"FUNCTION", b"LIST"))
        found.append(desk.whole()[1])

    served(desk, talk, many)
    assert len(found[0]) > 10 * limits.RESP_RECEIVE_BYTES and found[0].startswith(b"*2000\r\n")
    assert found[0].count(b"function_1999\r\n") == 1


def test_replies_that_do_not_fit_the_channel_at_once_all_come() -> None:
    """Many of them wait for the worker to read."""
    many = {f"library_{number}": [f"function_{number}"] for number in range(3_000)}
    desk, found = Desk(), dict.fromkeys(range(20, 28), b"")

    def talk() -> None:
        desk.ours.recv(1 << 20)
        for number in found:
            desk.ours.send(ask(number, b"FUNCTION", b"LIST"))
        wait_for(lambda: len(desk.asked) == len(found), what="all questions being answered")
        left = set(found)
        while left:
            head, text = answer(desk.ours.recv(1 << 20))
            found[int(head["number"])] += text
            left -= set() if head["has_more"] else {int(head["number"])}

    served(desk, talk, many)
    assert len(set(found.values())) == 1 and found[20].startswith(b"*3000\r\n") and found[20].count(b"function_2999\r\n") == 1


def test_values_are_written_in_either_protocol() -> None:
    value = Fields({b"a": 1, b"b": None, b"c": [Line("+OK"), b"\r\n"]})
    assert encode(value, 2) == b"*6\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n$-1\r\n$1\r\nc\r\n*2\r\n+OK\r\n$2\r\n\r\n\r\n"
    assert encode(value, 3) == b"%3\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n_\r\n$1\r\nc\r\n*2\r\n+OK\r\n$2\r\n\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("#!python name=lib\n", "lib"), ("#!python  name=a_1 \r\n", "a_1"), ("#!python name=lib", "lib"),
        ("#!python name=a-b\n", ""), ("#!python name=\n", ""), ("\n#!python name=lib\n", ""), ("#!pythonname=lib\n", ""),
        ("#!lua name=lib\n", ""), (f"#!python name={'x' * 65}\n", ""), ("# a comment\n", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_first_line_names_a_library(line: str, name: str) -> None:
    assert library_name(line) == name
