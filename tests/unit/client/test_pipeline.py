"""Pipelines: how they are cut into packets, in which order, executed how often, and what becomes of what fails."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from splinter import limits
from splinter.client import Client, Pipeline
from splinter.client.batch import Batched, packed, read_answers
from splinter.client.flights import Reply
from splinter.client.pipeline import NotSentError
from splinter.client.process import ForkedError
from splinter.errors import (
    BadArgumentsError,
    BadKeyError,
    BadTableError,
    BusyError,
    NoSuchExtensionError,
    ProtocolError,
    RequestTimeoutError,
    Status,
    ValueTooLargeError,
    VersionChangedError,
    error_for,
)
from splinter.ext.signature import Signature
from splinter.wire import ANSWER, BATCHED, OBJECT_ABSENT, Header, Opcode
from tests.support import forks
from tests.support.waiting import wait_for
from tests.unit.client.batch_server import READS, split
from tests.unit.client.conftest import HEADER_BYTES, TENANT, TOKEN, Responder

BODY = limits.PACKET_BODY_BYTES_MAX
ODD = random.Random(1).randbytes(2 * limits.FRAGMENT_BYTES + 7)
BRIEF = 0.2
Request = tuple[str, tuple[Any, ...], dict[str, Any]]


class Wire:
    """What was sent: each packet with its requests; and whether what must always hold did."""

    def __init__(self, responder: Responder) -> None:
        self.packets: list[tuple[Header, list[tuple[Header, bytes, bytes]]]] = []
        self.wrong: list[str] = []
        self._then = responder.on_request
        self._said_first: set[tuple[int, int]] = set()
        self._acknowledged: dict[int, int] = {}
        self._said: dict[tuple[int, int], tuple[Any, ...]] = {}  # by client and number: the request that has it
        responder.on_request = self.look

    def look(self, header: Header, packet: bytes) -> list[bytes]:
        if header.opcode == Opcode.BATCH:
            requests = split(packet[HEADER_BYTES:])
            assert requests is not None
            if (header.client, header.sequence) not in self._said_first:  # else it is a repetition
                self.packets.append((header, requests))
            self._said_first.add((header.client, header.sequence))
            kinds = [one.opcode in READS for one, _, _ in requests]
            if kinds != sorted(kinds):
                self.wrong.append(f"{header.sequence}: a write behind a read")
            for number, (one, key, value) in enumerate(requests, header.sequence):
                self._note(header, number, (one.opcode, one.table, one.object_version, one.flags, key, value))
        elif header.opcode == Opcode.INVOKE:
            key, value = packet[HEADER_BYTES:][: header.key_length], packet[HEADER_BYTES + header.key_length :]
            self._note(header, header.sequence, (header.opcode, header.table, header.object_version, header.flags, key, value))
        elif header.fragment_count <= 1:
            self._note(header, header.sequence, (header.opcode, packet[HEADER_BYTES:][: header.key_length]))
        before = self._acknowledged.get(header.client, 0)
        if header.sequence < before:
            self.wrong.append(f"{header.sequence} is sent, and {before} was acknowledged")
        self._acknowledged[header.client] = max(before, header.acknowledged)
        return self._then(header, packet)

    def _note(self, header: Header, number: int, request: tuple[Any, ...]) -> None:
        if self._said.setdefault((header.client, number), request) != request:
            self.wrong.append(f"{number} is of two requests")

    @property
    def sizes(self) -> list[int]:
        """How many requests each packet had."""
        return [len(requests) for _, requests in self.packets]


@pytest.fixture
def wire(responder: Responder) -> Iterator[Wire]:
    made = Wire(responder)
    yield made
    assert not made.wrong


def disturb(responder: Responder, seed: int) -> None:
    """Lose, repeat and hold back packets both ways; answer some of the requests only, and be busy now and then."""
    dice = random.Random(seed)

    def network(held: list[bytes]) -> Callable[[Header, bytes], list[bytes]]:
        def pass_on(header: Header, packet: bytes) -> list[bytes]:
            if dice.random() < 0.08:
                return []
            held.append(packet)
            if dice.random() < 0.15:
                return []
            dice.shuffle(held)
            passed, held[:] = [*held, *held[: dice.random() < 0.3]], held[: dice.random() < 0.2]
            return passed

        return pass_on

    responder.on_request, responder.on_reply = network([]), network([])
    responder.batches.answers_max = lambda header: dice.choice((0, 1, 2, 3, 200, 200))


def program(dice: random.Random, count: int, sizes: tuple[int, ...]) -> list[Request]:
    """Requests of every kind, on few keys, with values of these sizes; ``big`` is only read."""

    def request() -> Request:
        key, table = f"key {dice.randrange(6)}", {"table": dice.randrange(2)}
        kind = dice.choice(("get", "get_with_version", "put", "put", "delete", "expire", "persist", "ttl"))
        if kind == "put":
            if_version = dice.choice((0, 0, OBJECT_ABSENT, dice.randrange(2, 60, 2)))
            return (
                kind,
                (key, dice.randbytes(dice.choice(sizes))),
                {**table, "if_version": if_version, "ttl": dice.choice((None, 5))},
            )
        if kind in ("delete", "persist"):
            return kind, (key,), {**table, "if_version": dice.choice((0, 0, dice.randrange(2, 60, 2)))}
        if kind == "expire":
            return kind, (key, dice.randrange(1, 9)), table
        return kind, (dice.choice((key, key, "big")),), table

    return [request() for _ in range(count)]


def one_by_one(client: Client, requests: list[Request]) -> list[Any]:
    """What the client's methods return, or raise."""
    found = []
    for name, args, kwargs in requests:
        try:
            found.append(getattr(client, name)(*args, **kwargs))
        except Exception as error:
            found.append(error)
    return found


def comparable(results: list[Any]) -> list[Any]:
    return [(type(one), str(one)) if isinstance(one, Exception) else one for one in results]


def collect(pipeline: Any, requests: list[Request]) -> None:
    for name, args, kwargs in requests:
        assert getattr(pipeline, name)(*args, **kwargs) is None


def writes_of(responder: Responder) -> list[tuple[int, int]]:
    return [(client, number) for client, number, opcode, _ in responder.batches.executed if opcode not in READS]


# --- results -----------------------------------------------------------------------------------------------------------------


def test_results_are_those_of_the_methods_in_their_order(client: Client, wire: Wire):
    with client.pipeline() as p:
        p.put("a", b"1", table=3)
        p.get("a", table=3)
        p.get("a")
        p.put("a", b"2", table=3, ttl=2.5)
        p.get_with_version("a", table=3)
        p.ttl("a", table=3)
        p.persist("a", table=3)
        p.ttl("a", table=3)
        p.expire("a", 60, table=3)
        p.delete("a", table=3)
        p.delete("a", table=3)
        p.get_with_version("a", table=3)
        p.ttl("a", table=3)
        p.expire("a", 60, table=3)
        assert len(p) == 14 and not wire.packets
    assert p.results == [2, b"1", None, 4, (b"2", 4), 2.5, True, math.inf, True, True, False, (None, 0), None, False]
    assert wire.sizes == [3, 3, 2, 5, 1]
    assert len(p) == 0


@pytest.mark.parametrize("is_disturbed", [False, True], ids=["well", "disturbed"])
@pytest.mark.parametrize("seed", range(4))
def test_a_pipeline_does_what_its_requests_would_one_by_one(responder: Responder, seed: int, is_disturbed: bool):
    other = Responder()
    try:
        for each in (responder, other):
            each.objects[0, b"big"] = 1, ODD
        sizes: tuple[int, ...] = (0, 3, 30, 300, 1300)  # what goes by itself and is repeated is executed twice here
        if is_disturbed:
            disturb(responder, seed)
        else:
            sizes += (1380, 1390, 1400, 3000)
        wire, dice = Wire(responder), random.Random(seed)
        with (
            Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=20.0) as client,
            Client("127.0.0.1", TENANT, TOKEN, port=other.port, timeout=20.0) as plain,
        ):
            pipeline = client.pipeline()
            for count in (1, 30, 60):
                requests = program(dice, count, sizes)
                collect(pipeline, requests)
                found = pipeline.execute(raise_errors=False)
                assert found == pipeline.results
                assert comparable(found) == comparable(one_by_one(plain, requests))
        assert responder.objects == other.objects and responder.ttls == other.ttls
        assert not wire.wrong
        assert len(writes_of(responder)) == len(set(writes_of(responder)))
    finally:
        other.close()


def test_arguments_are_checked_when_they_are_given(client: Client, responder: Responder):
    p = client.pipeline()
    wrong: list[tuple[type[Exception], Callable[[], object]]] = [
        (BadKeyError, lambda: p.get("")),
        (TypeError, lambda: p.get_with_version(1.5)),  # type: ignore[arg-type]
        (TypeError, lambda: p.put("k", "text")),  # type: ignore[arg-type]
        (ValueTooLargeError, lambda: p.put("k", bytes(limits.LARGE_BYTES_MAX + 1))),
        (ValueError, lambda: p.put("k", b"", ttl=0)),
        (ValueError, lambda: p.put("k", b"", if_version=-1)),
        (BadTableError, lambda: p.delete("k", table=limits.TABLES_MAX)),
        (ValueError, lambda: p.expire("k", -1)),
        (BadKeyError, lambda: p.persist(b"")),
        (BadTableError, lambda: p.ttl("k", table=-1)),
        (BadKeyError, lambda: p.invoke("")),
        (ValueError, lambda: client.pipeline(timeout=0)),
    ]
    for kind, use in wrong:
        with pytest.raises(kind):
            use()
    assert p.execute() == [] == p.results
    assert not responder.requests


def test_what_is_given_may_be_changed_afterwards(client: Client):
    value = bytearray(b"first")
    with client.pipeline() as p:
        p.put("k", value)
        value[:] = b"later"
        p.get("k")
    assert p.results[1] == b"first"


def test_nothing_is_sent_of_a_block_that_raises(client: Client, responder: Responder):
    p = client.pipeline()
    with pytest.raises(ZeroDivisionError), p:
        p.put("a", b"1")
        raise ZeroDivisionError
    assert not responder.requests and len(p) == 0
    with p:
        p.get("a")
    assert p.results == [None]
    with p:
        p.put("a", b"2")
        assert p.execute() == [2]
    assert p.results == [2]  # of what was sent last


# --- packets -----------------------------------------------------------------------------------------------------------------


def cut(sizes: list[int]) -> list[int]:
    """How many of requests that have so many bytes go in each packet; what fits none goes by itself."""
    packets, room = [], 0
    for size in sizes:
        if size > room or packets[-1] == BODY // ANSWER.struct.size or not packets[-1]:
            packets.append(0)
            room = BODY
        if size <= BODY:
            packets[-1] += 1
            room -= size
    return [count for count in packets if count]


@pytest.mark.parametrize("size", [0, 1, 40, 170, 690, 691, BODY - 17, BODY - 16, BODY - 15, BODY - 8, BODY - 7, 5000])
def test_packets_are_filled(client: Client, wire: Wire, responder: Responder, size: int):
    count, value = 2 * limits.CLIENT_WINDOW + 1, (ODD * 3)[:size]
    with client.pipeline() as p:
        for number in range(count):
            p.put(number, value)
        p.get(7)
    assert [responder.objects[0, number.to_bytes(8, "little")][0] for number in range(count)] == p.results[:-1]
    assert p.results[:-1] == sorted(p.results[:-1]) and p.results[-1] == value
    assert wire.sizes == cut([BATCHED.struct.size + 8 + size] * count + [BATCHED.struct.size + 8])


@pytest.mark.parametrize("count", [1, limits.CLIENT_WINDOW - 1, limits.CLIENT_WINDOW, limits.CLIENT_WINDOW + 1, 500])
def test_no_packet_has_more_requests_than_answers_fit(client: Client, wire: Wire, count: int):
    with client.pipeline() as p:
        for _ in range(count):
            p.delete(b"k")  # 9 bytes: 156 would fit
    assert p.results == [False] * count
    assert wire.sizes == cut([9] * count)
    assert max(wire.sizes) < limits.CLIENT_WINDOW
    assert all(header.acknowledged == header.sequence for header, _ in wire.packets)


@pytest.mark.parametrize("kinds", ["w", "r", "wr", "rw", "wrw", "rrwwrrww", "wwwrrr", "rwrwrw"])
def test_no_write_stands_behind_a_read(client: Client, wire: Wire, kinds: str):
    with client.pipeline() as p:
        for number, kind in enumerate(kinds):
            p.put("k", b"%d" % number) if kind == "w" else p.get("k")
    last = None
    for number, kind in enumerate(kinds):
        if kind == "w":
            last = b"%d" % number
        else:
            assert p.results[number] == last
    assert len(wire.packets) == 1 + kinds.count("rw")


def test_a_read_tells_of_what_was_before_its_pipelines_later_writes(client: Client, responder: Responder, wire: Wire):
    """Though the reply is lost that tells it, and the packet comes again."""
    lost = []

    def lose_first(header: Header, packet: bytes) -> list[bytes]:
        if header.sequence in lost:
            return [packet]
        lost.append(header.sequence)
        return []

    responder.on_reply = lose_first
    with client.pipeline() as p:
        p.put("k", b"1")
        p.get("k")
        p.put("k", b"2")
        p.get("k")
    assert p.results == [2, b"1", 4, b"2"]


def test_a_small_way_makes_small_packets(client: Client, responder: Responder, wire: Wire):
    smallest = limits.UDP_PAYLOAD_BYTES_MIN - HEADER_BYTES

    def say_small(header: Header, packet: bytes) -> list[bytes]:
        reply = Header.unpack(packet)
        reply.acknowledged = limits.UDP_PAYLOAD_BYTES_MIN
        return [reply.pack() + packet[HEADER_BYTES:]]

    responder.on_reply = say_small
    with client.pipeline() as p:
        for number in range(20):
            p.put(number, bytes(100))
    assert wire.sizes == [smallest // 116] * (20 // (smallest // 116))


# --- answers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(1, 9))
@pytest.mark.parametrize("then", [1, 3])
def test_what_has_no_answer_is_asked_for_under_its_numbers(
    client: Client, responder: Responder, wire: Wire, first: int, then: int
):  # fmt: skip
    answered = iter([first])
    responder.batches.answers_max = lambda header: next(answered, then)
    with client.pipeline() as p:
        for number in range(5):
            p.put("k", b"%d" % number)
        for _ in range(3):
            p.get_with_version("k")
    assert p.results == [2, 4, 6, 8, 10] + [(b"4", 10)] * 3
    begins = [*range(first, 8, then)] if first < 8 else []
    assert [header.sequence for header, _ in wire.packets] == [1, *(1 + begin for begin in begins)]
    assert wire.sizes == [8, *(8 - begin for begin in begins)]
    assert len(writes_of(responder)) == 5
    assert client.put("l", b"") == 12
    assert responder.requests[-1].sequence == 9


def test_what_was_executed_and_not_answered_is_not_executed_again(client: Client, responder: Responder, wire: Wire):
    """The first reply is lost; the one to the repetition has fewer answers."""
    most = iter([8, 2])
    responder.batches.answers_max = lambda header: next(most, 8)
    lost = []

    def lose_first(header: Header, packet: bytes) -> list[bytes]:
        lost.append(packet)
        return [] if len(lost) == 1 else [packet]

    responder.on_reply = lose_first
    with client.pipeline() as p:
        for number in range(6):
            p.put("k", b"%d" % number)
    assert p.results == [2, 4, 6, 8, 10, 12]
    assert len(writes_of(responder)) == 6


def test_replies_that_come_late_and_again_answer_nothing_else(client: Client, responder: Responder, wire: Wire):
    said: list[bytes] = []

    def say_all_again(header: Header, packet: bytes) -> list[bytes]:
        said.append(packet)
        return [*said[-4:-1], packet, packet]

    responder.on_reply = say_all_again
    responder.batches.answers_max = lambda header: 3
    for turn in range(5):
        with client.pipeline() as p:
            for number in range(7):
                p.put(number, b"%d %d" % (turn, number))
            for number in range(7):
                p.get(number)
        assert p.results[7:] == [b"%d %d" % (turn, number) for number in range(7)]


def test_a_busy_server_is_asked_again(client: Client, responder: Responder, wire: Wire):
    left = [Status.BUSY] * 3
    responder.refuse_with = lambda header: left.pop() if header.sequence in (1, 3) and left else None
    with client.pipeline() as p:
        for number in range(5):
            p.put(number, b"")
    assert p.results == [2, 4, 6, 8, 10] and not left


@pytest.mark.parametrize("most", [1, 2, 3, 200])
def test_large_values_come_in_their_place(client: Client, responder: Responder, wire: Wire, most: int):
    """Each after what stands before it, and before what stands behind it."""
    responder.batches.answers_max = lambda header: most
    sizes = [5, BODY - 12, BODY - 11, BODY, BODY + 1, 5000, 5, 3000, 65536, 9]
    values = {b"%d" % number: bytes([number]) * size for number, size in enumerate(sizes)}
    with client.pipeline() as p:
        for key, value in values.items():
            p.put(key, value)
        for key in values:
            p.get(key)
        p.put(b"0", b"later")
    assert p.results[10:20] == list(values.values())
    assert p.results[:10] == [2 * number for number in range(1, 11)] and p.results[20] == 22
    asked: list[bytes] = []

    def replace_what_is_behind(header: Header, packet: bytes) -> list[bytes]:
        key = packet[HEADER_BYTES:][: header.key_length]
        if header.opcode == Opcode.GET and header.fragment_index == 0:
            asked.append(key)
            responder.objects[0, b"last"] = 100, b"when %s was got" % key
        return [packet]

    responder.objects[0, b"last"] = 98, b"before"
    responder.on_request = replace_what_is_behind
    with client.pipeline() as p:
        p.get("last")
        p.get_with_version("5")
        p.get("7")
        p.get("last")
    assert p.results == [b"before", (values[b"5"], 12), values[b"7"], b"when 7 was got"]
    assert asked == [b"5", b"7"]


def test_what_is_large_only_now_is_got_as_it_is(client: Client, responder: Responder):
    """It was replaced by a smaller one, or deleted, after its size was told."""
    responder.objects[0, b"k"] = 2, ODD
    changes = iter([(4, b"small"), None])

    def change(header: Header, packet: bytes) -> list[bytes]:
        if header.opcode == Opcode.GET:
            responder.objects.pop((0, b"k"))
            if (now := next(changes)) is not None:
                responder.objects[0, b"k"] = now
        return [packet]

    responder.on_request = change
    for wanted in ((b"small", 4), (None, 0)):
        p = client.pipeline()
        p.get_with_version("k")
        assert p.execute() == [wanted]
        responder.objects[0, b"k"] = 6, ODD


# --- what fails --------------------------------------------------------------------------------------------------------------


def test_one_that_is_refused_keeps_no_other_from_being_executed(client: Client, responder: Responder, wire: Wire):
    client.put("k", b"0")

    def fill(p: Pipeline) -> None:
        p.put("a", b"1")
        p.put("k", b"2", if_version=7)
        p.delete("k", if_version=9, table=0)
        p.put("b", b"3")
        p.get("k")

    p = client.pipeline()
    fill(p)
    with pytest.raises(VersionChangedError) as raised:
        p.execute()
    assert raised.value.__notes__ == ["request 2 of the pipeline: put of key b'k' in table 0"]
    assert [type(one) for one in p.results] == [int, VersionChangedError, VersionChangedError, int, bytes]
    fill(p)
    found = p.execute(raise_errors=False)
    assert [type(one) for one in found] == [int, VersionChangedError, VersionChangedError, int, bytes]
    with pytest.raises(VersionChangedError), client.pipeline() as p:
        fill(p)
    assert [type(one) for one in p.results] == [int, VersionChangedError, VersionChangedError, int, bytes]


@pytest.mark.parametrize("status", [status for status in Status if status not in (Status.OK, Status.BUSY, Status.NOT_FOUND)])
def test_each_status_has_its_exception(client: Client, responder: Responder, status: Status):
    responder.refuse_with = lambda header: status if header.sequence % 2 == 0 else None
    p = client.pipeline()
    for number in range(4):
        p.put(number, b"") if status == Status.VALUE_TOO_LARGE else p.get(number)  # of a get that says something else
    found = p.execute(raise_errors=False)
    assert [type(one) for one in found[1::2]] == [type(error_for(status))] * 2
    assert [one.status for one in found[1::2]] == [status] * 2 and all(str(one) for one in found[1::2])
    assert all(not isinstance(one, Exception) for one in found[::2])


def lose(responder: Responder, key: bytes) -> list[int]:
    """Have no packet answered that names this key; returns the numbers of those."""
    lost: list[int] = []

    def look(header: Header, packet: bytes) -> list[bytes]:
        if key not in packet:
            return [packet]
        lost.append(header.sequence)
        return []

    responder.on_request = look
    return lost


def test_one_that_is_not_answered_ends_the_pipeline(responder: Responder):
    lost = lose(responder, b"never")
    wire = Wire(responder)
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=BRIEF) as client:
        p = client.pipeline()
        p.put("a", b"1")
        p.get("a")
        p.put("b", b"1")
        p.put("never", b"1")
        p.get("a")
        p.put("c", b"1")
        p.invoke("e")
        found = p.execute(raise_errors=False)
        assert found[:2] == [2, b"1"]
        assert [type(one) for one in found[2:]] == [RequestTimeoutError] * 3 + [NotSentError] * 2
        assert found[2] is found[4] is found[5].__cause__
        assert found[2].__notes__ == ["requests 3 to 5 of the pipeline, the first: put of key b'b' in table 0"]
        assert "request 3" in str(found[5])
        assert len(lost) > 1 and (0, b"c") not in responder.objects
        given_up = lost[0] + 2
        p.get("a")
        p.put("d", b"1")
        assert p.execute() == [b"1", 4]  # the client goes on, under other numbers
        assert min(header.sequence for header in responder.requests[-2:]) > given_up
        assert responder.requests[-1].acknowledged > given_up
        with pytest.raises(RequestTimeoutError), client.pipeline() as p:
            p.put("d", b"2")
            p.get("never")
        assert [type(one) for one in p.results] == [RequestTimeoutError] * 2
    assert not wire.wrong


def test_a_server_that_stays_busy_ends_the_pipeline(responder: Responder):
    responder.refuse_with = lambda header: Status.BUSY if header.sequence >= 3 else None
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=BRIEF) as client:
        p = client.pipeline()
        for number in range(4):
            p.put(number, b"")
        p.get(0)
        p.put(9, b"")
        found = p.execute(raise_errors=False)
    assert found[:2] == [2, 4]
    assert [type(one) for one in found[2:]] == [BusyError] * 3 + [NotSentError]


def test_an_invoke_that_stays_busy_ends_the_pipeline(responder: Responder):
    responder.invoke = lambda name, packed, hash: (Status.BUSY, b"")
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=BRIEF) as client:
        client._signatures["f"] = Signature("f", (), "u64")
        p = client.pipeline()
        p.get(0)
        p.invoke("f")
        p.put(0, b"")
        p.get(0)
        p.put(0, b"")
        found = [type(one) for one in p.execute(raise_errors=False)]
        assert found == [type(None), BusyError, BusyError, BusyError, NotSentError]


def test_a_batch_that_is_refused_as_a_whole_ends_the_pipeline(client: Client, responder: Responder):
    responder.answers[Opcode.BATCH] = lambda header, key, value: (Status.UNKNOWN_OPCODE, b"an old server")
    p = client.pipeline()
    p.get("a")
    p.put("a", b"")
    found = p.execute(raise_errors=False)
    assert [type(one) for one in found] == [ProtocolError, NotSentError] and "an old server" in str(found[0])


REQUESTS = [Batched(Opcode.PUT, 0, b"k", b"v"), Batched(Opcode.GET, 0, b"k"), Batched(Opcode.TTL, 0, b"k")]
ANSWERS = [(Status.OK, 4, b""), (Status.OK, 4, b"value"), (Status.OK, 4, bytes(8))]


def answer_bytes(*answers: tuple[int, int, bytes]) -> bytes:
    return b"".join(ANSWER.struct.pack(status, len(value), version) + value for status, version, value in answers)


@pytest.mark.parametrize("end", range(len(answer_bytes(*ANSWERS)) + 1))
def test_a_reply_that_is_cut_is_refused_or_answers_the_first(client: Client, responder: Responder, end: int):
    """And what comes after it is executed under its own numbers."""
    whole = answer_bytes(*ANSWERS)
    ends = [len(answer_bytes(*ANSWERS[:count])) for count in (1, 2, 3)]
    once = iter([whole[:end]])

    def answer(header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        said = next(once, None)
        return (Status.OK, said) if said is not None else responder.batches.serve(header, key, value)

    responder.answers[Opcode.BATCH] = answer
    p = client.pipeline()
    p.put("k", b"v")
    p.get("k")
    p.ttl("k")
    p.put("l", b"")
    found = p.execute(raise_errors=False)
    if end in ends:
        assert not any(isinstance(one, Exception) for one in found)
        assert found[0] == 4
    else:
        assert [type(one) for one in found] == [ProtocolError] * 3 + [NotSentError]
    before = responder.requests[-1].sequence
    p.put("m", b"")
    assert isinstance(p.execute()[0], int)
    assert responder.requests[-1].sequence == before + (1 if end in ends else 3)


@pytest.mark.parametrize(
    "answers",
    [
        [*ANSWERS, (Status.OK, 4, b"")],
        [(Status.OK, 4, b"v"), *ANSWERS[1:]],
        [(Status.NOT_FOUND, 0, b"v"), *ANSWERS[1:]],
        [(Status.BUSY, 0, b"")],
        [ANSWERS[0], (Status.BUSY, 0, b"")],
        [*ANSWERS[:2], (Status.OK, 4, b"")],
        [*ANSWERS[:2], (Status.OK, 4, bytes(9))],
        [],
    ],
)
def test_what_no_server_says_is_refused(answers: list[tuple[int, int, bytes]]):
    with pytest.raises(ProtocolError):
        read_answers(Reply(Status.OK, 0, 0, 0, answer_bytes(*answers)), REQUESTS)


def test_an_answer_of_another_status_ends_nothing(client: Client, responder: Responder):
    """A status of a later version, of one request."""
    responder.answers[Opcode.BATCH] = lambda header, key, value: (Status.OK, answer_bytes((999, 0, b""), (Status.OK, 8, b"")))
    p = client.pipeline()
    p.put("a", b"")
    p.put("b", b"")
    assert [type(one) for one in p.execute(raise_errors=False)] == [ProtocolError, int]


def test_bytes_of_requests_are_as_the_protocol_says():
    asked = [
        Batched(Opcode.PUT, 0x1234, b"key", b"value", 5, 7),
        Batched(Opcode.GET, 1, b"k"),
        Batched(Opcode.DELETE, 0, b"kk", b"", 9),
    ]
    assert packed(asked) == bytes.fromhex(
        "02 03 3412 0d00 0500 0500000000000000 6b6579 76616c7565 0700000000000000"
        "01 01 0100 0000 0000 6b"
        "03 02 0000 0000 0100 0900000000000000 6b6b"
    )
    assert [len(one.pack()) for one in asked] == [one.size for one in asked]


# --- extensions --------------------------------------------------------------------------------------------------------------


def test_invokes_go_in_their_place(client: Client, responder: Responder, wire: Wire):
    order: list[bytes] = []

    def invoke(name: bytes, packed: bytes, hash: int) -> tuple[Status, bytes]:
        order.append(b"%s %d" % (name, int.from_bytes(packed[:8], "little")))
        responder.objects[0, b"k"] = 50, order[-1]
        return Status.OK, packed[:8]

    responder.invoke = invoke
    client._signatures["f"] = Signature("f", (("timeout", "u64"),), "u64")
    with client.pipeline() as p:
        p.put("k", b"1")
        p.get("k")
        p.invoke("f", 7)
        p.get("k")
        p.invoke("f", timeout=8)
        p.get("k")
    assert p.results == [2, b"1", 7, b"f 7", 8, b"f 8"]
    assert len(client._lines) == 1


class Counting:
    """An extension "f" that counts its executions, and takes one signature."""

    def __init__(self, responder: Responder, client: Client) -> None:
        self.signature, self.calls, self.asked = Signature("f", (("n", "u64"),), "u64"), 0, 0
        responder.invoke = self.invoke
        client._signatures["f"] = self.signature
        client.signature = self.ask  # type: ignore[method-assign]
        self._client = client

    def ask(self, name: str, *, timeout: float | None = None) -> Signature:
        self.asked += 1
        self._client._signatures[name] = self.signature
        return self.signature

    def invoke(self, name: bytes, packed: bytes, hash: int) -> tuple[Status, bytes]:
        if hash != self.signature.hash:
            return Status.BAD_SIGNATURE, b""
        self.calls += 1
        return Status.OK, self.calls.to_bytes(8, "little")


def test_many_invokes_go_in_one_packet(client: Client, responder: Responder, wire: Wire):
    counting = Counting(responder, client)
    with client.pipeline() as p:
        for number in range(30):
            p.invoke("f", number)
    assert p.results == [*range(1, 31)] and wire.sizes == [30]
    with client.pipeline() as p:
        p.put("k", b"1")
        p.invoke("f", 1)
        p.put("k", b"2")
        p.get("k")
        p.invoke("f", 1)
        p.get("k")
    assert p.results[1:] == [31, 4, b"2", 32, b"2"] and wire.sizes[1:] == [4, 2]
    assert counting.asked == 0


def test_one_that_waits_is_sent_by_itself_under_its_number(client: Client, responder: Responder, wire: Wire):
    counting = Counting(responder, client)
    responder.batches.waits = lambda name: name == b"f"
    with client.pipeline() as p:
        for number in range(5):
            p.put("k", b"%d" % number)
            p.invoke("f", number)
    assert p.results[1::2] == [1, 2, 3, 4, 5] and counting.calls == 5
    alone = [header.sequence for header in responder.requests if header.opcode == Opcode.INVOKE]
    first = responder.requests[0].sequence
    assert sorted(set(alone)) == [first + place for place in range(1, 10, 2)]


@pytest.mark.parametrize("waits", [False, True])
def test_a_late_answer_of_the_packet_is_none_to_the_invoke_by_itself(responder: Responder, waits: bool):
    """They have one number."""
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=5.0) as client:
        counting = Counting(responder, client)
        responder.batches.waits = lambda name: True
        late: list[bytes] = []

        def reply(header: Header, packet: bytes) -> list[bytes]:
            if header.opcode == Opcode.BATCH:
                late.append(packet)
                return [packet]
            return [*late, packet] if waits else [packet, *late]

        responder.on_reply = reply
        with client.pipeline() as p:
            for number in range(3):
                p.invoke("f", number)
        assert p.results == [1, 2, 3] and counting.calls == 3


def test_another_signature_is_asked_for_before_what_follows_is_executed(client: Client, responder: Responder, wire: Wire):
    counting = Counting(responder, client)
    client._signatures["f"] = Signature("f", (("n", "u64"), ("m", "u64")), "u64")
    p = client.pipeline()
    p.put("k", b"1")
    p.invoke("f", 1, 2)
    p.put("k", b"2")
    p.invoke("f", 3)
    p.invoke("f", 4)
    p.get("k")
    found = p.execute(raise_errors=False)
    assert type(found[1]) is BadArgumentsError  # it takes one now
    assert found[3:] == [1, 2, b"2"] and counting.asked == 1
    client._signatures["f"] = Signature("f", (("other", "u64"),), "u64")
    with client.pipeline() as p:
        p.put("k", b"3")
        p.invoke("f", 1)
        p.put("k", b"4")
        p.invoke("f", 2)
        p.get("k")
    assert p.results[1::2] == [3, 4] and p.results[4] == b"4"
    puts = [number for _, number, opcode, _ in responder.batches.executed if opcode == Opcode.PUT]
    assert len(puts) == len(set(puts)) == 4


def test_an_error_of_an_extension_says_what_it_says_by_itself(client: Client, responder: Responder):
    client._signatures["f"] = Signature("f", (), "u64")
    responder.invoke = lambda name, packed, hash: (Status.EXTENSION_ERROR, b"f, line 3: raised")
    p = client.pipeline()
    p.invoke("f")
    p.invoke("f")
    found = p.execute(raise_errors=False)
    assert [str(one) for one in found] == ["f, line 3: raised"] * 2


def test_the_time_out_of_a_pipeline_is_no_argument_of_an_invoke(client: Client, responder: Responder):
    signature = Signature("f", (("timeout", "u64"),), "u64")
    client.signature = lambda name, *, timeout=None: signature  # type: ignore[method-assign]
    responder.invoke = lambda name, packed, hash: (Status.OK, packed[:8])
    p = client.pipeline(timeout=5)
    p.invoke("f")
    p.invoke("f", timeout=3)
    found = p.execute(raise_errors=False)
    assert type(found[0]) is BadArgumentsError and found[1] == 3
    assert len(responder.requests) == 1


def test_arguments_of_an_invoke_are_checked_when_its_turn_has_come(client: Client, responder: Responder):
    client._signatures["f"] = Signature("f", (("n", "u64"),), "u64")
    client.signature = lambda name, *, timeout=None: Signature("f", (("n", "u64"),), "u64")  # type: ignore[method-assign]
    p = client.pipeline(timeout=5)
    p.put("k", b"1")
    p.invoke("f", -1)
    p.invoke("f", timeout=3)
    p.invoke("f", 3)
    p.get("k")
    found = p.execute(raise_errors=False)
    assert [type(one) for one in found] == [int, BadArgumentsError, BadArgumentsError, NoSuchExtensionError, bytes]
    assert found[1].__notes__[-1] == "request 2 of the pipeline: invoke of 'f'"


# --- processes and threads ---------------------------------------------------------------------------------------------------


def test_a_fork_between_collecting_and_sending(client: Client, responder: Responder, wire: Wire):
    p = client.pipeline()
    for number in range(200):
        p.put(number, b"%d" % os.getpid())
        p.get(number)
    child = forks.start(lambda: p.execute())
    found = p.execute()
    for results in (found, child()):
        assert len(results) == 400 and not any(isinstance(one, Exception) for one in results)
    assert len({header.client for header in responder.requests}) == 2


def test_a_fork_in_the_midst_ends_the_childs_part(client: Client, responder: Responder):
    parent, end = os.getpid(), os.pipe()
    children: list[int] = []

    def fork(*_: object) -> None:
        children.append(os.fork())

    def ask_to_fork(header: Header, packet: bytes) -> list[bytes]:
        if header.sequence > 20 and not children:
            os.kill(parent, signal.SIGUSR1)
            wait_for(lambda: children, 30, "the fork")
        return [packet]

    before = signal.signal(signal.SIGUSR1, fork)
    responder.on_request = ask_to_fork
    wire = Wire(responder)
    p = client.pipeline()
    for number in range(20):
        p.put(number, b"%d" % number)
        p.get(number)
    found = p.execute(raise_errors=False)
    if os.getpid() != parent:
        forks.report(end[1], lambda: ([type(one).__name__ for one in found], client.put("child", b"own")))
    signal.signal(signal.SIGUSR1, before)
    os.close(end[1])
    names, version = forks.result(children[0], end[0])
    assert found[1::2] == [b"%d" % number for number in range(20)]
    assert ForkedError.__name__ in names and names[-1] == NotSentError.__name__ and version
    assert not wire.wrong
    assert len(writes_of(responder)) == len(set(writes_of(responder)))


def test_threads_have_pipelines_of_one_client(client: Client, responder: Responder):
    disturb(responder, 9)
    failures: list[object] = []

    def work(number: int) -> None:
        for turn in range(5):
            with client.pipeline(timeout=20) as p:
                for key in range(30):
                    p.put(f"{number} {key}", b"%d %d" % (turn, key))
                for key in range(30):
                    p.get(f"{number} {key}")
            if p.results[30:] != [b"%d %d" % (turn, key) for key in range(30)]:
                failures.append(p.results)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(writes_of(responder)) == len(set(writes_of(responder))) == 6 * 5 * 30
