"""Pipelines in an event loop: many at a time, on few sockets, cancelled at any moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from splinter import limits
from splinter.client import AsyncClient
from splinter.client.asyncio import lanes
from splinter.client.asyncio.greenlets import run as run_waiting
from splinter.client.pipeline import NotSentError
from splinter.errors import RequestTimeoutError, VersionChangedError
from splinter.wire import Header, Opcode
from tests.unit.client.batch_server import READS
from tests.unit.client.conftest import Responder, Run
from tests.unit.client.test_pipeline import BRIEF, Wire, disturb, lose, writes_of

TIMEOUT = 20.0


def test_it_is_sent_at_the_end_of_its_block(run: Run, made: Callable[..., AsyncClient], responder: Responder) -> None:
    async def main() -> None:
        async with made() as client:
            async with client.pipeline() as p:
                p.put("a", b"1")
                p.get("a")
                p.put("big", bytes(5000))
                p.get("big")
                p.get("a")
                assert not responder.requests
            assert p.results == [2, b"1", 4, bytes(5000), b"1"]
            p.delete("a")
            assert await p.execute() == [True]
            with pytest.raises(ZeroDivisionError):
                async with client.pipeline() as p:
                    p.put("a", b"2")
                    raise ZeroDivisionError
            assert await client.get("a") is None and len(p) == 0
            with pytest.raises(VersionChangedError):
                async with client.pipeline() as p:
                    p.put("a", b"2", if_version=9)
                    p.put("b", b"3")
            assert p.results[1] == 6

    run(main())


@pytest.mark.parametrize("is_disturbed", [False, True], ids=["well", "disturbed"])
def test_many_at_a_time_share_sockets(
    run: Run, made: Callable[..., AsyncClient], responder: Responder, is_disturbed: bool
) -> None:
    if is_disturbed:
        disturb(responder, 4)
    wire = Wire(responder)
    apart: dict[int, int] = {}

    def look(header: Header, packet: bytes) -> list[bytes]:
        apart[header.client] = max(apart.get(header.client, 0), header.sequence - header.acknowledged)
        return inner(header, packet)

    inner, responder.on_request = responder.on_request, look
    count = 30 if is_disturbed else 150

    async def main() -> None:
        async def work(number: int) -> None:
            p = client.pipeline()
            each = 1 + number % 9 * (10 if number % 30 == 0 else 1)
            for key in range(each):
                p.put(f"{number} {key}", b"%d" % key)
            for key in range(each):
                p.get(f"{number} {key}")
            assert (await p.execute())[each:] == [b"%d" % key for key in range(each)]
            await client.put(f"{number}", b"v")

        async with made() as client:
            await asyncio.gather(*(work(number) for number in range(count)))
            assert len(client._calls.lines) < count / 3
            assert all(not shared.lanes and not shared.promised and not shared.open for shared in client._calls.lines)

    run(main())
    assert not wire.wrong
    assert max(apart.values()) < limits.CLIENT_WINDOW
    assert len(writes_of(responder)) == len(set(writes_of(responder)))


def test_calls_of_a_line_that_wait_for_numbers_have_them_in_turn(run: Run, made: Callable[..., AsyncClient]) -> None:
    """Many numbers are not kept waiting by few, and one that is cancelled keeps nobody waiting."""

    async def main() -> None:
        async with made() as client:
            await client.ping()
            shared = client._calls.lines[0]
            order: list[str] = []

            async def take(name: str, count: int) -> lanes.Lane:
                lane = shared.lane(1.0, lambda obstacle, seconds: None, count)
                try:
                    await run_waiting(lane.next_sequences, count)
                except asyncio.CancelledError:
                    lane.close()
                    raise
                order.append(name)
                return lane

            first = [await take(f"first {number}", 40) for number in range(2)]
            many = asyncio.ensure_future(take("many", 100))
            gone = asyncio.ensure_future(take("gone", 100))
            few = asyncio.ensure_future(take("few", 10))
            await asyncio.sleep(0)
            last = asyncio.ensure_future(take("last", 30))  # though there would be room
            await asyncio.sleep(0)
            assert order == ["first 0", "first 1"]
            first[0].close()
            await asyncio.sleep(0)
            assert order == ["first 0", "first 1"]
            first[1].close()
            taken = await many
            assert not few.done()
            gone.cancel()
            taken.close()
            (await few).close()
            (await last).close()
            assert order == ["first 0", "first 1", "many", "few", "last"]
            assert not shared.open and not shared.promised
            with pytest.raises(asyncio.CancelledError):
                await gone

            # All that were called are cancelled before they go on: the next are called in their place.
            held = await take("held", limits.CLIENT_WINDOW)
            called = [asyncio.ensure_future(take("called", limits.CLIENT_WINDOW)) for _ in range(2)]
            await asyncio.sleep(0)
            held.close()
            called[0].cancel()
            (await called[1]).close()

    run(main())


@pytest.mark.parametrize("seed", range(3))
def test_pipelines_cancelled_at_any_moment_leave_nothing_behind(
    run: Run, made: Callable[..., AsyncClient], responder: Responder, seed: int
) -> None:
    dice = random.Random(seed)
    responder.objects[0, b"big"] = 1, bytes(9000)
    responder.batches.answers_max = lambda header: dice.choice((1, 2, 200))
    wire = Wire(responder)

    async def main() -> None:
        async with made() as client:

            async def work(number: int) -> None:
                for _ in range(3):
                    async with client.pipeline() as p:
                        for key in range(20):
                            p.put(f"{number} {key}", b"v")
                            if key % 5 == 0:
                                p.get("big")

            tasks = [asyncio.ensure_future(work(number)) for number in range(40)]
            for task in tasks:
                await asyncio.sleep(dice.choice((0, 0, 0.001)))
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(one) for one in found} <= {asyncio.CancelledError, type(None)}
            assert all(not shared.lanes and not shared.open for shared in client._calls.lines)
            async with client.pipeline() as p:
                p.put("after", b"all")
                p.get("after")
            assert p.results[1] == b"all"

    run(main())
    assert not wire.wrong
    assert len(writes_of(responder)) == len(set(writes_of(responder)))


def test_a_cancelled_pipeline_is_empty_and_sent_no_more(
    run: Run, made: Callable[..., AsyncClient], responder: Responder
) -> None:
    lost = lose(responder, b"never")

    async def main() -> None:
        async with made() as client:
            p = client.pipeline()
            p.put("a", b"1")
            p.get("a")
            p.put("never", b"")
            p.put("b", b"1")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(BRIEF):
                    await p.execute()
            assert p.results == [2, b"1"] and len(p) == 0
            assert lost and await p.execute() == []
            before = len(lost)
            p.get("b")
            assert await p.execute() == [None]
            assert len(lost) == before

    run(main())
    numbers = [header.sequence for header in responder.requests if header.opcode == Opcode.BATCH]
    assert numbers[-1] > lost[-1] + 1 and responder.requests[-1].acknowledged > lost[-1] + 1
    assert all(opcode in READS or key == b"a" for _, _, opcode, key in responder.batches.executed)


def test_one_that_is_not_answered_keeps_no_other_waiting(
    run: Run, made: Callable[..., AsyncClient], responder: Responder
) -> None:  # fmt: skip
    lose(responder, b"never")

    async def main() -> None:
        async with made() as client:
            stuck = client.pipeline()
            for number in range(60):
                stuck.put(f"never {number}", b"")
            waiting = asyncio.ensure_future(stuck.execute())
            await asyncio.sleep(0)
            for _ in range(3):
                async with client.pipeline() as p:
                    for number in range(100):
                        p.put(number, b"")
            assert not waiting.done()
            responder.on_request = lambda header, packet: [packet]
            assert len(await waiting) == 60

    run(main())


def test_a_silent_server_is_given_up(run: Run, made: Callable[..., AsyncClient], responder: Responder) -> None:
    responder.on_request = lambda header, packet: []

    async def main() -> None:
        async with made(timeout=BRIEF) as client:
            p = client.pipeline()
            p.get("a")
            p.put("a", b"")
            assert [type(one) for one in await p.execute(raise_errors=False)] == [RequestTimeoutError, NotSentError]

    run(main())
