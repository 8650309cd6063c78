"""Replies that are there as soon as a request is sent, as the kernel's are; and how calls in a loop wait for others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from splinter.client import AsyncClient, Client
from splinter.client.asyncio.greenlets import run as run_waiting
from splinter.client.asyncio.lanes import Lane
from splinter.client.line import Line
from splinter.errors import SplinterError
from splinter.wire import FLAG_KERNEL, Header, Opcode
from tests.unit.client.conftest import Responder, Run

GETS = 100
VALUE = b"1"
LONG, SHORT = 50.0, 0.01


def answer_at_once(responder: Responder, line: Line) -> None:
    """Each packet has its reply, by the kernel, in the client's socket before ``send`` returns."""

    def send(packet: bytes) -> None:
        header = Header.unpack(responder._serve(packet))
        header.flags |= FLAG_KERNEL
        responder.socket.sendto(header.pack() + VALUE, line._socket.getsockname())

    line.send = send  # type: ignore[method-assign]


def test_they_are_taken_without_a_wait(responder: Responder, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.put("a", VALUE)
    line = client._lines[0]
    answer_at_once(responder, line)
    assert client.get("a") == VALUE
    monkeypatch.setattr(line, "is_readable", None)  # a call of it fails
    assert [client.get("a") for _ in range(GETS)] == [VALUE] * GETS
    assert client.kernel_replies == GETS + 1


def test_one_that_is_not_there_yet_is_waited_for(responder: Responder, client: Client) -> None:
    client.put("a", VALUE)
    line = client._lines[0]
    line.is_prompt = True
    looked, receive = threading.Event(), line.receive

    def on_reply(header: Header, packet: bytes) -> list[bytes]:
        looked.wait(5.0)
        return [packet]

    def look(*, was_readable: bool) -> bytes | None:
        found = receive(was_readable=was_readable)
        looked.set()
        return found

    responder.on_reply, line.receive = on_reply, look  # type: ignore[method-assign]
    assert client.get("a") == VALUE and not line.is_prompt
    assert len([each for each in responder.requests if each.opcode == Opcode.GET]) == 1


def test_a_task_that_does_nothing_but_get_leaves_others_their_turns(
    run: Run, made: Callable[..., AsyncClient], responder: Responder
) -> None:
    turns = 0

    async def go_round() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        async with made() as client:
            await client.put("a", VALUE)
            answer_at_once(responder, client._calls.lines[0].line)
            assert await client.get("a") == VALUE
            other = asyncio.ensure_future(go_round())
            await asyncio.sleep(0)
            before = turns
            assert [await client.get("a") for _ in range(GETS)] == [VALUE] * GETS
            assert GETS / 20 <= turns - before < GETS / 2
            assert client.kernel_replies == GETS + 1
            other.cancel()

    run(main())


def test_what_a_call_heard_last_is_not_told_to_the_next(
    run: Run, made: Callable[..., AsyncClient], responder: Responder
) -> None:
    lost: list[int] = []

    def lose_first(header: Header, packet: bytes) -> list[bytes]:
        if header.opcode != Opcode.GET or lost:
            return [packet]
        lost.append(header.sequence)
        return []

    async def main() -> None:
        responder.on_request = lose_first
        async with made() as client:
            await client.put("a", VALUE)
            lane = a_lane(client)
            lane.fail(SplinterError("of a call that has ended"))
            lane.close()
            assert await client.get("a") == VALUE and a_lane(client) is lane and lost

    run(main())


def test_what_cannot_pass_is_told_at_once(run: Run, made: Callable[..., AsyncClient], responder: Responder) -> None:
    async def main() -> None:
        async with made() as client:
            await client.ping()
            line, lane = client._calls.lines[0].line, a_lane(client)
            line.is_prompt = True
            lane.next_sequences()

            def fail(*, was_readable: bool) -> bytes | None:
                raise SplinterError("what the network said")

            line.receive = fail  # type: ignore[method-assign]
            with pytest.raises(SplinterError, match="network said"):
                await asyncio.wait_for(run_waiting(lane._hear, LONG), LONG / 2)

    run(main())


def test_who_waits_shorter_is_woken_first_and_who_waits_longer_too(run: Run, made: Callable[..., AsyncClient]) -> None:
    async def main() -> None:
        async with made() as client:
            await client.ping()
            shared = client._calls.lines[0]

            def wait(seconds: float) -> asyncio.Future[object]:
                return asyncio.ensure_future(run_waiting(a_lane(client)._hear, seconds))

            heard = [wait(LONG)]
            while shared._alarm_at < asyncio.get_running_loop().time() + LONG / 2:  # the ping's has not gone off yet
                await asyncio.sleep(SHORT)
            heard += [wait(seconds) for seconds in (SHORT, 3 * SHORT, SHORT)]
            done, pending = await asyncio.wait(heard, timeout=LONG / 2, return_when=asyncio.FIRST_COMPLETED)
            assert done and heard[0] in pending
            assert await asyncio.wait_for(asyncio.gather(*heard[1:]), LONG / 2) == [None] * 3
            heard[0].cancel()
            await asyncio.wait(heard)
            assert not shared._listening

    run(main())


def a_lane(client: AsyncClient) -> Lane:
    return client._calls.lines[0].lane(1.0, lambda obstacle, seconds: None, 1)
