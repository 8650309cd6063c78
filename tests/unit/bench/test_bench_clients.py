"""Requests of several clients, and of several sequence numbers: batches."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from splinter_bench.generators.flight import CHECK_EVERY
from splinter_bench.generators.flight_memory import UNLIMITED
from splinter_bench.generators.replies import expire
from splinter_bench.workloads.batches import batch_gets_operation, batch_puts_operation, most_gets, most_puts
from splinter_bench.workloads.workload import Account, Operation, Workload, get_operation, only, put_operation

from splinter.errors import Status
from splinter.limits import CLIENT_WINDOW, PACKET_BODY_BYTES_MAX, REQUEST_HEADER_BYTES
from splinter.wire import BATCHED, Header, Opcode
from tests.support.flight_wire import Wire

ACCOUNT = Account(7, 1, 3)
KEY_BYTES, VALUE_BYTES = 30, 100
PUT = put_operation(ACCOUNT)


def of_clients(operation: Operation, clients: int, entries: int = 16) -> Workload:
    """The numbers 0, 1, … of as many columns as the operation has requests."""
    columns = max(1, operation.batch)
    keys = np.arange(entries * columns, dtype=np.int64).reshape(entries, columns)
    return replace(only(operation, keys), clients=clients)


def answer(value: bytes = b"", version: int = 8, status: int = Status.OK) -> bytes:
    """One answer of a batch's reply, byte by byte."""
    return status.to_bytes(2, "little") + len(value).to_bytes(2, "little") + version.to_bytes(8, "little") + value


def value_of(number: int) -> bytes:
    """What is stored under the key of a number."""
    return number.to_bytes(8, "little") + put_operation(ACCOUNT).payload[-VALUE_BYTES + 8 :]


def test_clients_take_turns_and_count_by_themselves() -> None:
    wire = Wire(of_clients(PUT, 3))
    headers = [Header.unpack(wire.send(1)) for _ in range(7)]
    first = wire.flight.client
    assert [h.client - first for h in headers] == [0, 1, 2, 0, 1, 2, 0]
    assert [h.sequence for h in headers] == [1, 1, 1, 2, 2, 2, 3]
    assert {h.acknowledged for h in headers} == {1}


def test_a_batch_has_numbers_for_all_its_requests() -> None:
    wire = Wire(of_clients(batch_puts_operation(ACCOUNT, 8), 2))
    headers = [Header.unpack(wire.send(1)) for _ in range(6)]
    assert [h.sequence for h in headers] == [1, 1, 9, 9, 17, 17]
    assert {h.acknowledged for h in headers} == {1}


@pytest.mark.parametrize(("clients", "batch"), [(1, 0), (1, 10), (7, 0), (5, 8)])
def test_nothing_is_acknowledged_that_waits_for_its_reply(clients: int, batch: int) -> None:
    """Replies in any order, some never: an ``acknowledged`` above an open number would have the server forget its result."""
    operation = batch_puts_operation(ACCOUNT, batch) if batch else PUT
    wire, choose = Wire(of_clients(operation, clients)), random.Random(clients * 100 + batch)
    wire.flight.limit(depth=40, until_ns=UNLIMITED, requests=UNLIMITED)
    wire.flight.timeout_ns = 300
    reply = answer() * batch
    under_way: list[tuple[bytes, int]] = []
    open_numbers: dict[int, dict[int, int]] = defaultdict(dict)
    latest: dict[int, int] = defaultdict(int)
    asked_once = 0
    for now in range(1, 3000):
        while request := wire.send(now):
            header = Header.unpack(request)
            mine, last = open_numbers[header.client], header.sequence + max(1, batch) - 1
            assert header.sequence > latest[header.client]
            latest[header.client] = last
            mine[header.sequence] = now
            under_way.append((request, now))
            if header.acknowledged:
                asked_once += 1
                assert header.acknowledged <= min(mine)
                assert last < header.acknowledged + CLIENT_WINDOW
        choose.shuffle(under_way)
        for request, sent in under_way[:: choose.randint(1, 9)]:
            if choose.random() < 0.01:  # this one's reply is lost
                continue
            header = Header.unpack(request)
            del open_numbers[header.client][header.sequence]
            under_way.remove((request, sent))
            assert wire.answer(request, now, reply, object_version=2)
        expire(wire.flight.address, now)
        for request, sent in [each for each in under_way if each[1] <= now - 300]:  # given up
            header = Header.unpack(request)
            open_numbers[header.client].pop(header.sequence)
            under_way.remove((request, sent))
    assert asked_once > 1000
    assert (wire.flight["corrupt"], wire.flight["stale"], wire.flight.errors()) == (0, 0, {})


def test_fifty_clients_ask_for_once_however_many_requests_are_under_way() -> None:
    batch = Wire(of_clients(batch_puts_operation(ACCOUNT, 8), 50))
    one = Wire(of_clients(PUT, 50))
    for wire, numbers in ((batch, 8), (one, 1)):
        headers = [Header.unpack(packet) for packet in wire.send_all(1)]
        assert len(headers) == 50 * (CLIENT_WINDOW // numbers)
        assert {h.acknowledged for h in headers} == {1}
        assert max(h.sequence for h in headers) + numbers - 1 <= CLIENT_WINDOW


def test_one_client_may_have_more_under_way_than_can_be_asked_once() -> None:
    wire = Wire(of_clients(PUT, 1))
    wire.flight.limit(depth=CLIENT_WINDOW + 5, until_ns=UNLIMITED, requests=UNLIMITED)
    assert [Header.unpack(packet).acknowledged for packet in wire.send_all(1)] == [1] * CLIENT_WINDOW + [0] * 5


def test_a_reply_is_found_by_client_and_number() -> None:
    operation = batch_puts_operation(ACCOUNT, 4)
    wire = Wire(of_clients(operation, 2))
    mine, other = wire.send(1), wire.send(1)
    first, reply = wire.flight.client, answer() * 4
    for client, sequence in ((first - 1, 1), (first + 2, 1), (first, 2), (first, 4), (first, 5), (first, 0)):
        assert not wire.answer(mine, 2, reply, client=client, sequence=sequence)
    assert wire.flight["stale"] == 6
    assert wire.answer(other, 2, reply)
    assert not wire.answer(other, 2, reply)
    assert wire.answer(mine, 2, reply)
    assert wire.flight["completed"] == 2


def test_numbers_of_the_next_run_are_beyond_those_of_the_last_one() -> None:
    """Whatever follows what: a number that a client had before is answered with the result of then."""
    runs = [(PUT, 1), (batch_puts_operation(ACCOUNT, 8), 3), (PUT, 3), (PUT, 1), (batch_puts_operation(ACCOUNT, 10), 1)]
    wire = Wire(of_clients(*runs[0]))
    highest: dict[int, int] = defaultdict(int)
    late = None
    for operation, clients in [*runs, *runs[::-1]]:
        wire.load(of_clients(operation, clients))
        wire.flight.limit(depth=5, until_ns=UNLIMITED, requests=5)
        for request in wire.send_all(1):
            header = Header.unpack(request)
            assert header.sequence > highest[header.client]
            assert 0 < header.acknowledged <= header.sequence
            highest[header.client] = header.sequence + max(1, operation.batch) - 1
            if late is not None:
                assert not wire.answer(late, 2)
            assert wire.answer(request, 2, answer() * operation.batch, object_version=2)
        late = request
        expire(wire.flight.address, 2)


def test_a_batch_lists_its_requests() -> None:
    wire = Wire(of_clients(batch_puts_operation(ACCOUNT, 2), 1))
    wire.send(1)
    packet = wire.send(1)
    header = Header.unpack(packet)
    assert (header.opcode, header.table, header.key_length) == (Opcode.BATCH, 0, 0)
    entry = BATCHED.struct.pack(Opcode.PUT, KEY_BYTES, ACCOUNT.table, VALUE_BYTES, 0)
    key = put_operation(ACCOUNT).payload[REQUEST_HEADER_BYTES:][: KEY_BYTES - 8]
    assert packet[REQUEST_HEADER_BYTES:] == b"".join(
        entry + key + number.to_bytes(8, "little") + value_of(number) for number in (2, 3)
    )


@pytest.mark.parametrize(
    ("make", "most", "least"),
    [(batch_gets_operation, most_gets(), 12), (batch_puts_operation, most_puts(), 10)],
)
def test_a_batch_is_as_large_as_packets_are(make: Callable[[Account, int], Operation], most: int, least: int) -> None:
    assert most == least
    made = make(ACCOUNT, most)
    assert len(made.payload) <= REQUEST_HEADER_BYTES + PACKET_BODY_BYTES_MAX and len(made.reply or b"") <= PACKET_BODY_BYTES_MAX
    for count in (0, most + 1):
        with pytest.raises(ValueError, match=f"1 to {most}"):
            make(ACCOUNT, count)


def _replies(*replies: bytes, gets: int = 2) -> Wire:
    """Each is the reply to one more batch of the same gets, of the objects 0 and 1."""
    wire = Wire(of_clients(batch_gets_operation(ACCOUNT, gets), 1, entries=1))
    for reply in replies:
        wire.answer(wire.send(1), 2, reply)
    return wire


RIGHT = answer(value_of(0)) + answer(value_of(1))


def test_every_value_of_a_batch_is_checked() -> None:
    assert _replies(*[RIGHT] * CHECK_EVERY).flight["corrupt"] == 0
    for wrong in (
        answer(value_of(0)) + answer(value_of(2)),
        answer(value_of(0)) + answer(value_of(1)[:-1] + b"?"),
        answer(value_of(0)) + answer(value_of(1), version=0),
    ):
        wire = _replies(*[wrong] * CHECK_EVERY)
        assert (wire.flight["corrupt"], wire.flight["checked"]) == (1, 1)
    assert _replies(RIGHT + answer(), answer(value_of(0)) + answer(value_of(1)[:-1])).flight["corrupt"] == 2


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (answer(value_of(0)) + answer(status=Status.NOT_FOUND), "NOT_FOUND"),
        (answer(status=Status.DISK_FAILED) + answer(value_of(1)), "DISK_FAILED"),
        (answer(value_of(0)), "BUSY"),  # the other one is to be asked for again
        (answer(value_of(0)) + answer()[:-1], "BUSY"),
    ],
)
def test_every_status_of_a_batch_is_looked_at(reply: bytes, name: str) -> None:
    wire = _replies(RIGHT, reply)
    assert wire.flight.errors() == {name: 1}
    assert (wire.flight["completed"], wire.flight["in_flight"]) == (2, 0)


def test_a_batch_that_is_refused_as_a_whole_has_that_status() -> None:
    wire = Wire(of_clients(batch_puts_operation(ACCOUNT, 2), 1))
    wire.answer(wire.send(1), 2, b"later", status=Status.BUSY)
    assert wire.flight.errors() == {"BUSY": 1}


def test_there_is_at_least_one_client() -> None:
    with pytest.raises(ValueError, match="client"):
        of_clients(get_operation(ACCOUNT), 0)
