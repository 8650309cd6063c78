"""What the control process answers goes to the connection that has asked, and to nobody else."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from splinter.native.memory import SharedArena
from splinter.worker.layout import WORKER
from splinter.worker.resp.asks import take_answers
from splinter.worker.resp.layout import ANSWER, ANSWER_LOST, CONNECTION, STATE_WAITS
from splinter.worker.resp.memory import Door
from tests.support.waiting import WAIT_SECONDS

PLACE, GENERATION, ASK, TENANT = 3, 8, 500, 7
NAME = PLACE | GENERATION << 32
REPLY = b"+OK\r\n"


class Desk:
    """A door with one connection, which has asked; ``control`` and ``client`` are the other ends."""

    def __init__(self) -> None:
        self.ours, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.served, self.client = socket.socketpair()
        self.client.settimeout(WAIT_SECONDS)
        self.epoll = select.epoll()
        self.epoll.register(self.served, 0)
        self.door = Door(self.epoll.fileno(), -1, self.ours.fileno(), {}, 0)
        self.door.block["out_at"] = self.door.block["output"]
        size = CONNECTION.itemsize * (PLACE + 1)
        buffer = (np.ctypeslib.ctypes.c_char * size).from_address(int(self.door.block["connections"][0]))
        self.connection = np.frombuffer(buffer, CONNECTION)[PLACE : PLACE + 1]
        for field, value in {"fd": self.served.fileno(), "generation": GENERATION, "tenant": TENANT, "ask": ASK}.items():
            self.connection[field] = value
        self.connection["state"] = STATE_WAITS
        self.arena = SharedArena(1 << 20)
        self.worker = self.arena.array(WORKER)
        self.worker["door"] = self.door.address
        self.worker["tenant_counters"] = self.arena.take(1 << 18)

    def answer(self, number: int, name: int, text: bytes, has_more: bool = False) -> None:
        head = np.zeros(1, ANSWER)
        head["number"], head["connection"], head["has_more"], head["tenant"] = number, name, has_more, TENANT
        self.control.send(head.tobytes() + text)
        take_answers(self.worker.ctypes.data, self.door.address)

    @property
    def waits(self) -> bool:
        return bool(self.connection["state"][0] & STATE_WAITS)

    def close(self) -> None:
        for each in (self.ours, self.control, self.served, self.client, self.epoll):
            each.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (ASK + 1, NAME),
        (ASK - 1, NAME),
        (ASK, NAME + 1),
        (ASK, NAME + (1 << 32)),
        (ASK, PLACE),
        (ASK, 0xFFFFFFFF),
        (ASK, (1 << 64) - 1),
    ],
)  # fmt: skip
def test_an_answer_for_another_is_dropped(desk: Desk, number: int, name: int) -> None:
    for has_more in (True, False):
        desk.answer(number, name, b"+another's\r\n", has_more)
    assert desk.waits and desk.connection["output"][0] == 0
    desk.answer(ASK, NAME, REPLY)
    assert desk.client.recv(100) == REPLY
    assert not desk.waits


def test_pieces_go_out_together(desk: Desk) -> None:
    for piece in (b"$6\r\nab", b"cd"):
        desk.answer(ASK, NAME, piece, has_more=True)
    assert desk.waits
    desk.answer(ASK, NAME, b"ef\r\n")
    assert desk.client.recv(100) == b"$6\r\nabcdef\r\n" and not desk.waits
    desk.answer(ASK, NAME, REPLY)  # it asks no more
    assert desk.connection["output"][0] == 0
    desk.client.setblocking(False)
    with pytest.raises(BlockingIOError):
        desk.client.recv(1)


@pytest.mark.parametrize(("first", "is_lost"), [(ASK, False), (ASK + 1, True), (ASK - 1, False)])
def test_what_was_asked_before_a_number_is_lost(desk: Desk, first: int, is_lost: bool) -> None:
    desk.answer(ANSWER_LOST, first, b"")
    assert desk.waits != is_lost
    if is_lost:
        assert b"control process was replaced" in desk.client.recv(200)
    else:
        desk.answer(ASK, NAME, REPLY)
        assert desk.client.recv(100) == REPLY


def test_messages_that_are_none_are_dropped(desk: Desk) -> None:
    desk.control.send(b"x")
    desk.answer(ASK, NAME, REPLY)
    take_answers(desk.worker.ctypes.data, desk.door.address)
    assert desk.client.recv(100) == REPLY
