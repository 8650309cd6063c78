"""Large values, by a client whose server answers as no server of ours would, or loses what it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.client import AsyncClient, Client
from splinter.errors import BusyError, OutOfMemoryError, QuotaExceededError, SplinterError, Status, VersionChangedError
from splinter.wire import LARGE, OBJECT_ABSENT, PART, PART_KEY_STRUCT, Header, Opcode
from tests.unit.client.conftest import TENANT, TOKEN, Responder

LENGTH = 2 * limits.PART_BYTES + 5
VALUE = bytes(range(256)) * (LENGTH // 256 + 1)
VALUE = VALUE[:LENGTH]


class Large:
    """What a server has of one large value."""

    def __init__(self, responder: Responder) -> None:
        self.parts: dict[bytes, dict[int, bytes]] = {}
        self.head: bytes | None = None
        self.refused = 0  # heads that are refused from now on, as parts are missing
        responder.answers |= {
            Opcode.PUT_PART: self._put_part,
            Opcode.PUT_LARGE: self._put_large,
            Opcode.GET: lambda header, key, value: (Status.VALUE_TOO_LARGE, b""),
            Opcode.GET_LARGE: self._get_large,
            Opcode.GET_PART: self._get_part,
        }

    def _put_part(self, header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        fragments = self.parts.setdefault(key, {})
        fragments[header.fragment_index] = value
        header.object_version = 2 if len(fragments) >= header.fragment_count else 0
        return Status.OK, b""

    def _put_large(self, header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        if self.refused:
            self.refused -= 1
            self.parts.clear()
            return Status.NOT_FOUND, b""
        self.head, header.object_version = value, 8
        return Status.OK, b""

    def _get_large(self, header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        header.object_version = 8
        return (Status.OK, self.head) if self.head is not None else (Status.NOT_FOUND, b"")

    def _get_part(self, header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        fragments = self.parts.get(key)
        if fragments is None:
            return Status.NOT_FOUND, b""
        header.object_version, header.fragment_count = 2, len(fragments)
        return Status.OK, fragments[header.fragment_index]


@pytest.fixture
def large(responder: Responder) -> Iterator[Large]:
    yield Large(responder)


def test_it_goes_and_comes_in_parts(client: Client, large: Large):
    assert client.put(b"key", VALUE, table=3) == 8
    assert client.get_with_version(b"key", table=3) == (VALUE, 8)
    identity, length = LARGE.struct.unpack(large.head or b"")
    assert length == LENGTH
    assert large.parts.keys() == {PART_KEY_STRUCT.pack(identity, number) for number in range(3)}
    whole = [b"".join(fragments[index] for index in sorted(fragments)) for fragments in large.parts.values()]
    assert {part[: PART.struct.size + 3] for part in whole} == {PART.struct.pack(3, 3, LENGTH) + b"key"}


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_its_parts_keep_no_numbers_open(responder: Responder, large: Large, kind: type):
    """They are more than the server keeps results of one client."""
    value = bytes((limits.CLIENT_WINDOW + 2) * limits.PART_BYTES)

    async def put() -> int:
        async with AsyncClient("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=5.0) as client:
            return await client.put(b"key", value)

    if kind is Client:
        with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=5.0) as client:
            assert client.put(b"key", value) == 8
    else:
        assert asyncio.run(put()) == 8
    assert {header.sequence - header.acknowledged for header in responder.requests if header.opcode != Opcode.PING} == {0}


def test_each_upload_has_an_id_of_its_own_and_is_begun_anew_a_few_times(client: Client, large: Large):
    large.refused = 2
    assert client.put(b"key", VALUE) == 8
    assert client.get(b"key") == VALUE
    large.refused = 3
    with pytest.raises(BusyError, match="longer than the server keeps"):
        client.put(b"key", VALUE)


@pytest.mark.parametrize("number", range(3))
def test_parts_of_a_value_that_is_refused_are_given_up(client: Client, large: Large, responder: Responder, number: int):
    put_part, heads = responder.answers[Opcode.PUT_PART], []

    def refuse(header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        return (Status.QUOTA_EXCEEDED, b"") if key[8] == number else put_part(header, key, value)

    def give_up(header: Header, key: bytes, value: bytes) -> tuple[Status, bytes]:
        heads.append((header.table, key, header.object_version, value))
        return Status.NOT_FOUND, b""

    responder.answers |= {Opcode.PUT_PART: refuse, Opcode.PUT_LARGE: give_up}
    with pytest.raises(QuotaExceededError):
        client.put(b"key", VALUE, table=3)
    ((table, key, version, value),) = heads
    assert (table, key) == (3, b"key") and version % 2 == 1  # which no object has, should a part have come all the same
    identity, length = LARGE.struct.unpack(value)
    assert length == LENGTH and all(part.startswith(PART_KEY_STRUCT.pack(identity, 0)[:8]) for part in large.parts)


def test_a_server_that_does_not_answer_that_keeps_nobody_from_the_reason(client: Client, large: Large, responder: Responder):
    responder.answers[Opcode.PUT_PART] = lambda header, key, value: (Status.OUT_OF_MEMORY, b"")
    responder.on_request = lambda header, packet: [] if header.opcode == Opcode.PUT_LARGE else [packet]
    with pytest.raises(OutOfMemoryError):
        client.put(b"key", VALUE, timeout=0.3)


def test_nothing_is_sent_where_the_condition_does_not_hold(client: Client, large: Large, responder: Responder):
    responder.objects[3, b"key"] = 8, b"value"
    for key, condition in ((b"key", 6), (b"key", OBJECT_ABSENT), (b"none", 6)):
        with pytest.raises(VersionChangedError):
            client.put(key, VALUE, table=3, if_version=condition)
    assert large.parts == {} and large.head is None
    for key, condition in ((b"key", 8), (b"none", OBJECT_ABSENT)):
        assert client.put(key, VALUE, table=3, if_version=condition) == 8


def test_a_value_that_is_replaced_all_the_time_is_told_as_busy(client: Client, large: Large, responder: Responder):
    client.put(b"key", VALUE)
    large.parts.clear()
    responder.answers[Opcode.GET_LARGE] = lambda header, key, value: (Status.VERSION_CHANGED, b"")
    with pytest.raises(BusyError, match="replaced over and over"):
        client.get(b"key", timeout=0.3)


def test_one_that_was_deleted_meanwhile_is_none(client: Client, large: Large):
    assert client.get_with_version(b"key") == (None, 0)


@pytest.mark.parametrize(
    "told", [b"", bytes(15), bytes(17), LARGE.struct.pack(1, limits.LARGE_BYTES_MAX + 1), LARGE.struct.pack(1, (1 << 64) - 1)]
)
def test_what_no_server_says_is_an_error(client: Client, large: Large, told: bytes):
    large.head = told
    with pytest.raises(SplinterError, match="does not understand"):
        client.get(b"key")


def test_parts_of_another_length_are_no_value(client: Client, large: Large):
    client.put(b"key", VALUE)
    next(iter(large.parts.values())).popitem()
    with pytest.raises(BusyError):
        client.get(b"key", timeout=0.3)
