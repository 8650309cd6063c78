"""The client for event loops: many calls at a time, over links that behave and links that do not, cancelled at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from greenlet import getcurrent

from splinter import limits
from splinter.client import AsyncClient, AsyncPipeline, AsyncTransaction, Client, Pipeline, Transaction, line
from splinter.client.asyncio.client import _LoopCalls
from splinter.client.asyncio.lanes import SharedLine
from splinter.errors import (
    BadKeyError,
    ConflictError,
    ProtocolError,
    RequestTimeoutError,
    SplinterError,
    Status,
    UnreachableError,
)
from splinter.testing.process import free_port
from splinter.wire import Header, Opcode
from tests.support.waiting import wait_for
from tests.unit.client.batch_server import split
from tests.unit.client.conftest import HEADER_BYTES, TENANT, TOKEN, Responder

BIG = bytes(range(256)) * 250
TIMEOUT = 10.0
BRIEF = 0.6
MANY = 3 * limits.CLIENT_WINDOW


def lossy(responder: Responder, seed: int) -> None:
    """Lose, repeat and hold back packets, both ways."""
    dice, held = random.Random(seed), list[bytes]()

    def pass_on(header: Header, packet: bytes) -> list[bytes]:
        held.append(packet)
        if dice.random() < 0.2:
            held.pop(dice.randrange(len(held)))
        if dice.random() < 0.3:
            return []
        dice.shuffle(held)
        passed, held[:] = list(held), []
        return passed + passed[:1] * (dice.random() < 0.2)

    responder.on_request = pass_on
    responder.on_reply = lambda header, packet: [packet] * dice.choice((0, 1, 1, 1, 2))


# --- the same as the synchronous one ---------------------------------------------------------------------------------------

PAIRS = [(Client, AsyncClient), (Transaction, AsyncTransaction), (Pipeline, AsyncPipeline)]


@pytest.mark.parametrize(("kind", "awaited"), PAIRS, ids=["client", "transaction", "pipeline"])
def test_it_has_the_same_methods_with_the_same_arguments(kind: type, awaited: type) -> None:
    def public(one: type) -> dict[str, list[tuple[str, Any, Any]]]:
        names = [name for name in dir(one) if not name.startswith("_")] + ["__init__"]
        return {
            name: [
                (each.name, each.default, each.kind)
                for each in inspect.signature(member).parameters.values()
                if name != "__init__" or kind is Client
            ]
            for name in names
            if callable(member := getattr(one, name))
        }

    wanted, found = public(kind), public(awaited)
    if kind is Transaction:
        del wanted["__init__"], found["__init__"]
    assert found == wanted


def test_each_argument_is_passed_on(made) -> None:
    """For each method that waits for one of the synchronous client: what it is given arrives there, under its own name."""

    class Recorder:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args, **kwargs: heard.append(inspect.signature(getattr(Client, name)).bind(None, *args, **kwargs))

    heard: list[inspect.BoundArguments] = []
    client = made()
    client._calls = Recorder()
    for name, method in inspect.getmembers(AsyncClient, inspect.iscoroutinefunction):
        if name.startswith("_") or name in ("close", "transact"):  # what these do is tested
            continue
        parameters = [one for one in inspect.signature(method).parameters.values() if one.name != "self"]
        given = {one.name: object() for one in parameters if one.kind is one.KEYWORD_ONLY}
        placed = [object() for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        asyncio.run(method(client, *placed, **given))
        wanted = inspect.signature(getattr(Client, name)).bind(None, *placed, **given)
        assert heard.pop().arguments == wanted.arguments, name


def test_objects_are_stored_read_and_deleted(run, made) -> None:
    async def main() -> None:
        async with made() as client:
            assert await client.get("dog", table=1) is None
            version = await client.put("dog", b"barks", table=1)
            assert await client.get_with_version("dog", table=1) == (b"barks", version)
            assert await client.delete("dog", table=1) is True
            assert await client.delete("dog", table=1) is False
            assert await client.ping() > 0

    run(main())


@pytest.mark.parametrize("size", [0, 1, limits.PACKET_BODY_BYTES_MAX, 2 * limits.FRAGMENT_BYTES + 1, len(BIG)])
def test_values_of_every_size_come_back(run, made, size: int) -> None:
    async def main() -> None:
        async with made() as client:
            await asyncio.gather(*(client.put(number, BIG[:size]) for number in range(8)))
            assert await asyncio.gather(*(client.get(number) for number in range(8))) == [BIG[:size]] * 8

    run(main())


def test_wrong_arguments_send_nothing(run, made, responder: Responder) -> None:
    async def main() -> None:
        async with made() as client:
            with pytest.raises(BadKeyError):
                await client.get(b"")
            with pytest.raises(TypeError):
                await client.put(b"k", "text")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="timeout"):
                client.transaction(timeout=-1)

    run(main())
    assert not responder.requests
    with pytest.raises(ValueError, match="port"):
        AsyncClient("127.0.0.1", TENANT, TOKEN, port=70000)


# --- many at a time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_lossy", [False, True], ids=["well", "lossy"])
def test_each_of_many_calls_gets_its_own_reply(run, made, responder: Responder, is_lossy: bool) -> None:
    if is_lossy:
        lossy(responder, 7)

    async def main() -> None:
        async def work(number: int) -> None:
            value = b"%d" % number * (number % 700)
            await client.put(number, value)
            assert await client.get(number) == value
            assert await client.get(f"none {number}") is None

        async with made(timeout=30) as client:
            await asyncio.gather(*(work(number) for number in range(100 if is_lossy else 1000)))

    run(main())


def test_one_that_is_not_answered_keeps_nobody_waiting(run, made, responder: Responder) -> None:
    responder.on_request = lambda header, packet: [] if packet.endswith(b"never") else [packet]

    async def main() -> None:
        async with made() as client:
            stuck = [asyncio.ensure_future(client.put(f"{number} never", b"never")) for number in range(5)]
            for first in range(0, MANY, 50):
                await asyncio.gather(*(client.put(number, b"v") for number in range(first, first + 50)))
            assert not any(one.done() for one in stuck)
            responder.on_request = lambda header, packet: [packet]
            await asyncio.gather(*stuck)

    run(main())


def test_no_line_has_numbers_open_that_are_too_far_apart(run, made, responder: Responder) -> None:
    """The server keeps CLIENT_WINDOW results of a client id."""
    lossy(responder, 3)
    apart: Counter[int] = Counter()

    def look(header: Header, packet: bytes) -> list[bytes]:
        last = (
            header.sequence + len(split(packet[HEADER_BYTES:]) or ()) - 1 if header.opcode == Opcode.BATCH else header.sequence
        )
        if header.opcode in (Opcode.PUT, Opcode.BATCH):
            apart[header.client] = max(apart[header.client], last - header.acknowledged)
        return inner(header, packet)

    inner, responder.on_request = responder.on_request, look

    async def main() -> None:
        async with made(timeout=30) as client:
            await asyncio.gather(
                client.put_many((number, b"v") for number in range(MANY)),
                *(client.put(number, b"w") for number in range(MANY, MANY + 200)),
                *(client.put(f"big {number}", BIG[:5000]) for number in range(8)),
            )
            assert await client.get_many(range(MANY)) == [b"v"] * MANY

    run(main())
    assert len(apart) > 1
    assert max(apart.values()) < limits.CLIENT_WINDOW


@pytest.mark.parametrize("in_pipelines", [False, True])
def test_what_goes_in_fragments_waits_for_no_other_number(run, made, responder: Responder, in_pipelines: bool) -> None:
    """The server lets go of what it collected of a put when nobody waits for numbers up to that one's."""

    async def main() -> None:
        async with made() as client:

            async def put(number: int, value: bytes) -> None:
                if not in_pipelines:
                    await client.put(number, value)
                    return
                async with client.pipeline() as pipeline:
                    pipeline.put(number, value)

            sizes = (5000, len(BIG))
            values = [bytes([number]) * sizes[number % len(sizes)] for number in range(18)]
            await asyncio.gather(*(put(number, value) for number, value in enumerate(values)))
            assert await asyncio.gather(*(client.get(number) for number in range(len(values)))) == values

    run(main())
    pieces = [header for header in responder.requests if header.fragment_count > 1 and header.opcode == Opcode.PUT]
    assert pieces and all(header.acknowledged == header.sequence for header in pieces)


def test_a_line_is_used_again(run, made) -> None:
    async def main() -> None:
        async with made() as client:
            for _ in range(3):
                await client.put_many([(1, b"v")])
                await asyncio.gather(*(client.get(number) for number in range(limits.CLIENT_WINDOW // 3)))
            assert len(client._calls.lines) == 1

    run(main())


def test_a_call_of_many_requests_keeps_to_the_window_of_its_line(run, made, responder: Responder) -> None:
    """It waits for the oldest number of the line to be closed, where it could go on before."""
    responder.on_request = lambda header, packet: [] if packet.endswith(b"never") else [packet]

    async def main() -> None:
        async with made() as client:
            await client.put("k", b"v")
            stuck = asyncio.ensure_future(client.put("stuck", b"never"))
            while len(responder.requests) < 2:
                await asyncio.sleep(0)
            async with client.transaction() as begun:
                begun.put("written", b"")

                async def work() -> None:
                    for _ in range(2 * limits.CLIENT_WINDOW):
                        await begun.ttl("k")

                working = asyncio.ensure_future(work())
                done, _ = await asyncio.wait([working], timeout=0.2)
                assert not done and not stuck.done()
                responder.on_request = lambda header, packet: [packet]
                await asyncio.gather(stuck, working)
            assert len(client._calls.lines) == 1

    run(main())
    assert max(header.sequence - header.acknowledged for header in responder.requests) < limits.CLIENT_WINDOW


def test_what_a_packet_gives_up_nobody_waits_for(run, made, responder: Responder) -> None:
    """A request says below which number its client waits for no reply; whoever still does is asked about again, and refused."""
    waiting: dict[tuple[int, int], int] = {}  # puts that were not answered, by client and number: when they came
    wrong: list[str] = []
    lossy(responder, 11)
    inner = responder.on_request

    def look(header: Header, packet: bytes) -> list[bytes]:
        for client, number in waiting:
            if client == header.client and number < header.acknowledged:
                waiting[client, number] += 1
        if header.opcode == Opcode.PUT and waiting.setdefault((header.client, header.sequence), 0):
            wrong.append(f"{header.sequence} is asked for again, and was given up")
        return inner(header, packet)

    responder.on_request = look

    async def main() -> None:
        async with made(timeout=30) as client:
            await asyncio.gather(
                *(client.put(number, b"w") for number in range(100)),
                *(client.put(f"big {number}", BIG[:9000]) for number in range(4)),
            )

    run(main())
    assert not wrong


def test_keys_are_listed(run, made) -> None:
    async def main() -> None:
        async with made() as client:
            await client.put_many((f"k{number}", b"") for number in range(20))
            assert sorted([key async for key in client.scan(prefix="k1")]) == sorted(
                f"k{number}".encode() for number in range(20) if str(number).startswith("1")
            )
            async for _ in client.scan():
                break  # the rest is not asked for
            assert [key async for key in client.scan(table=1)] == []

    run(main())


# --- transactions ------------------------------------------------------------------------------------------------------------


def test_a_transaction_is_committed_at_the_end_of_its_block(run, made, responder: Responder) -> None:
    async def main() -> None:
        async with made() as client:
            await client.put("a", b"1")
            async with client.transaction() as begun:
                assert await begun.get("a") == b"1"
                assert await begun.get_many(["a", "b"]) == [b"1", None]
                begun.put("a", b"2")
                begun.delete("b")
                assert await client.get("a") == b"1"
            assert await client.get("a") == b"2"
            with pytest.raises(SplinterError, match="has ended"):
                await begun.get("a")

    run(main())


def test_nothing_is_sent_of_a_block_that_raises(run, made, responder: Responder) -> None:
    async def main() -> None:
        async with made() as client:
            with pytest.raises(ZeroDivisionError):
                async with client.transaction() as begun:
                    begun.put("a", b"2")
                    raise ZeroDivisionError
            task = asyncio.ensure_future(stay(client))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def stay(client: AsyncClient) -> None:
        async with client.transaction() as begun:
            begun.put("a", b"3")
            await asyncio.Event().wait()

    run(main())
    assert Opcode.TRANSACT not in {header.opcode for header in responder.requests}


def test_a_transaction_is_tried_again_after_a_conflict(run, made) -> None:
    async def main() -> None:
        async def add(begun: AsyncTransaction) -> int:
            count = int(await begun.get("n") or b"0") + 1
            await asyncio.sleep(0)
            begun.put("n", b"%d" % count)
            return count

        async with made() as client:
            assert sorted(await asyncio.gather(*(client.transact(add) for _ in range(12)))) == list(range(1, 13))
            with pytest.raises(ConflictError):
                async with client.transaction() as begun:
                    await begun.get("n")
                    await client.put("n", b"0")
                    begun.put("m", b"")
            assert await client.get("m") is None

            async def spoil(begun: AsyncTransaction) -> None:
                await begun.get("n")
                await client.put("n", b"0")
                begun.put("m", b"")

            with pytest.raises(ConflictError):
                await client.transact(spoil, tries=3)

            async def mistake(begun: AsyncTransaction) -> None:
                seen.append((await begun.get("n"), await begun.get("m")))
                if len(seen) == 1:
                    await client.put("n", b"1")  # what it has seen never was there together: the error does not count
                    raise ZeroDivisionError
                begun.put("m", b"made")

            seen: list[object] = []
            await client.transact(mistake)
            assert len(seen) == 2 and await client.get("m") == b"made"

    run(main())


# --- cancellation and time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_repeated", [False, True])
def test_a_cancelled_call_is_sent_no_more_and_its_number_is_given_up(
    run, made, responder: Responder, is_repeated: bool
) -> None:
    responder.on_request = lambda header, packet: [] if packet.endswith(b"cancelled") else [packet]

    async def main() -> int:
        async with made() as client:
            await client.put("k", b"first")
            task = asyncio.ensure_future(client.put("k", b"cancelled"))
            while responder.requests[-1].value_length != len(b"cancelled"):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            sent = len([header for header in responder.requests if header.value_length == len(b"cancelled")])
            if is_repeated:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await client.put("k", b"cancelled")
                sent = len([header for header in responder.requests if header.value_length == len(b"cancelled")])
            await client.put("k", b"last")
            assert await client.get("k") == b"last"
            return sent

    sent = run(main())
    puts = [header for header in responder.requests if header.opcode == Opcode.PUT]
    cancelled = [header.sequence for header in puts if header.value_length == len(b"cancelled")]
    assert len(cancelled) == sent and len(set(cancelled)) == 1 + is_repeated
    assert puts[-1].acknowledged > cancelled[-1]
    assert Opcode.GOODBYE not in {header.opcode for header in responder.requests}  # a copy may still be on its way


def test_calls_cancelled_at_any_moment_leave_nothing_behind(run, made, responder: Responder) -> None:
    dice = random.Random(5)

    async def main() -> None:
        async with made() as client:

            async def work(number: int) -> None:
                await client.put(number, BIG[: dice.choice((10, 3000, 20_000))])
                await client.get_many(range(number))
                async with client.transaction() as begun:
                    await begun.get(number)
                    begun.put(f"t {number}", b"")

            tasks = [asyncio.ensure_future(work(number)) for number in range(60)]
            for task in tasks:
                await asyncio.sleep(dice.choice((0, 0, 0.001)))
                task.cancel()
            assert {type(found) for found in await asyncio.gather(*tasks, return_exceptions=True)} <= {
                asyncio.CancelledError,
                type(None),
            }
            assert all(not shared.lanes and not shared.open for shared in client._calls.lines)
            await client.put("after", b"all")
            assert await client.get("after") == b"all"

    run(main())


@pytest.mark.parametrize("timeout", [0.02, BRIEF])
def test_what_has_come_in_counts_however_busy_the_loop_was(run, made, responder: Responder, timeout: float) -> None:
    async def main() -> None:
        async with made() as client:
            await client.ping()
            tasks = [asyncio.ensure_future(client.put(number, b"v", timeout=timeout)) for number in range(3)]
            await asyncio.sleep(0)
            # Somebody else's code, which does not give way until all is answered, and for longer than the time-out.
            wait_for(lambda: len(responder.requests) == 4, 30, "the requests")
            time.sleep(2 * BRIEF)
            assert len(await asyncio.gather(*tasks)) == 3

    run(main())


def test_what_came_in_while_the_caller_made_the_next_is_not_asked_for_again(run, made, responder: Responder) -> None:
    def slow() -> Iterator[tuple[int, bytes]]:
        for number in range(5):
            yield number, b"v"
            wait_for(lambda asked=number + 1: len(responder.requests) == asked, 30, "the request")
            time.sleep(0.1)  # the responder, another thread, answers; and it would be time for a repetition

    async def main() -> None:
        async with made() as client:
            assert await client.put_many(slow()) == 5

    run(main())
    assert [header.sequence for header in responder.requests if header.opcode == Opcode.BATCH] == [1, 2, 3, 4, 5]


def test_a_silent_server_is_given_up(run, made, responder: Responder) -> None:
    responder.on_request = lambda header, packet: []

    async def main() -> None:
        async with made(timeout=BRIEF) as client:
            found = await asyncio.gather(*(client.put(number, b"") for number in range(20)), return_exceptions=True)
            assert {type(one) for one in found} == {RequestTimeoutError}
            with pytest.raises(RequestTimeoutError):
                await client.put_many((number, b"") for number in range(200))

    run(main())


def test_the_reason_is_told_where_nobody_listens(run) -> None:
    port = free_port()

    async def main() -> None:
        async with AsyncClient("127.0.0.1", TENANT, TOKEN, port=port, timeout=BRIEF) as client:
            for _ in range(2):
                with pytest.raises(RequestTimeoutError, match="nothing listens"):
                    await client.get("k")
        async with AsyncClient("no.such.host.invalid", TENANT, TOKEN, timeout=5) as client:
            found = await asyncio.gather(*(client.get(number) for number in range(50)), return_exceptions=True)
            assert {type(one) for one in found} <= {UnreachableError, RequestTimeoutError}

    run(main())


def test_another_version_of_the_protocol_is_told_to_all(run, made, responder: Responder) -> None:
    responder.on_reply = lambda header, packet: [packet[:4] + b"\x09" + packet[5:]]

    async def main() -> None:
        async with made() as client:
            found = await asyncio.gather(*(client.get(number) for number in range(5)), return_exceptions=True)
            assert {type(one) for one in found} == {ProtocolError}

    run(main())


def test_a_busy_server_is_asked_again(run, made, responder: Responder) -> None:
    refused: Counter[int] = Counter()

    def refuse(header: Header) -> Status | None:
        refused[header.sequence] += 1
        return Status.BUSY if refused[header.sequence] < 3 else None

    responder.refuse_with = refuse

    async def main() -> None:
        async with made() as client:
            await asyncio.gather(*(client.put(number, b"v") for number in range(10)))

    run(main())
    assert min(refused.values()) == 3 and len(refused) == 10  # a machine that stands still may have some asked once more


# --- the end -----------------------------------------------------------------------------------------------------------------


def test_it_says_goodbye_and_waits_for_calls_that_are_under_way(run, made, responder: Responder, monkeypatch) -> None:
    monkeypatch.setattr(line, "_QUIET_SECONDS_MIN", 0.0)

    async def main() -> None:
        responder.on_request = lambda header, packet: []
        client = made()
        task = asyncio.ensure_future(client.put("k", b"v"))
        while not responder.requests:
            await asyncio.sleep(0)
        await client.close()
        responder.on_request = lambda header, packet: [packet]
        assert await task
        with pytest.raises(SplinterError, match="closed"):
            await client.get("k")
        await client.close()

    run(main())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:  # the responder has read all that came before this
        last.settimeout(TIMEOUT)
        last.sendto(Header(opcode=Opcode.PING, tenant=TENANT, token=TOKEN).pack(), ("127.0.0.1", responder.port))
        last.recv(4096)
    assert responder.requests[-2].opcode == Opcode.GOODBYE


@pytest.mark.parametrize("cancelled", [0, 1, 3])
def test_a_call_whose_line_is_being_made_is_under_way(run, made, monkeypatch, cancelled: int) -> None:
    """One line is made, whoever still waits for it, and it is closed after the last call."""
    lines, may_go_on = list[line.Line](), threading.Event()
    new_line = _LoopCalls._new_line

    def counted(calls: _LoopCalls, timeout: float) -> line.Line:
        assert may_go_on.wait(TIMEOUT)
        lines.append(new_line(calls, timeout))
        return lines[-1]

    monkeypatch.setattr(_LoopCalls, "_new_line", counted)

    async def main() -> None:
        client = made()
        tasks = [asyncio.ensure_future(client.put("k", b"v")) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks[:cancelled]:
            task.cancel()
        await asyncio.wait(tasks[:cancelled] or [asyncio.ensure_future(asyncio.sleep(0))])
        await client.close()
        with pytest.raises(SplinterError, match="closed"):
            await client.get("k")
        may_go_on.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, int) for result in results] == [False] * cancelled + [True] * (3 - cancelled)
        while not lines or lines[0].fileno() != -1:
            await asyncio.sleep(0.001)

    run(main())
    assert len(lines) == 1


def test_a_line_that_was_made_for_who_was_cancelled_serves_others(run, made, monkeypatch) -> None:
    """Else who is always cancelled sooner than a name is looked up would never have one."""
    count, new_line = itertools.count(1), _LoopCalls._new_line
    monkeypatch.setattr(_LoopCalls, "_new_line", lambda calls, timeout: (next(count), new_line(calls, timeout))[1])

    async def main() -> None:
        async with made() as client:
            task = asyncio.ensure_future(client.get("k"))
            await asyncio.sleep(0)
            task.cancel()
            await client.put("k", b"v")
            assert len(client._calls.lines) == 1

    run(main())
    assert next(count) == 2


def test_a_forked_child_takes_nothing_from_its_parent(run, made, monkeypatch) -> None:
    """The child has the parent's selector: what it took out of it, the loop of the parent would not hear of."""
    heard_by_loop = list[bool]()
    read = SharedLine.read
    monkeypatch.setattr(SharedLine, "read", lambda shared: (heard_by_loop.append(getcurrent().parent is None), read(shared))[1])

    async def main() -> None:
        async with made() as client:
            await client.put("k", b"v")
            child = os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    client.close().send(None)
                os._exit(0)
            os.waitpid(child, 0)
            heard_by_loop.clear()
            assert await client.get("k") == b"v"
            assert any(heard_by_loop)

    run(main())


def test_what_waits_for_room_on_its_line_keeps_to_its_timeout(run, made, responder: Responder) -> None:
    responder.on_request = lambda header, packet: [] if packet.endswith(b"never") else [packet]

    async def main() -> None:
        async with made(timeout=60) as client:
            await client.put("k", b"v")
            stuck = asyncio.ensure_future(client.put("stuck", b"never"))
            while len(responder.requests) < 2:
                await asyncio.sleep(0)
            with pytest.raises(RequestTimeoutError, match="an earlier request"):
                async with client.transaction(timeout=0.3) as begun:
                    for _ in range(2 * limits.CLIENT_WINDOW):
                        await begun.ttl("k")
            assert not stuck.done() and len(client._calls.lines) == 1
            responder.on_request = lambda header, packet: [packet]
            await stuck

    run(main())


def test_it_belongs_to_one_event_loop(made) -> None:
    client = made()
    with asyncio.Runner() as first:
        first.run(client.put("k", b"v"))
        with asyncio.Runner() as second, pytest.raises(SplinterError, match="another event loop"):
            second.run(client.get("k"))
        assert first.run(client.get("k")) == b"v"
        first.run(client.close())
