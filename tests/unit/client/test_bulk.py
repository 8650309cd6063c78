"""Many objects at once, over a link that loses packets."""

from __future__ import annotations

import random

import pytest

from splinter import limits
from splinter.client import Client
from splinter.errors import (
    BadKeyError,
    BusyError,
    ProtocolError,
    QuotaExceededError,
    RequestTimeoutError,
    Status,
    UnknownTenantError,
)
from splinter.wire import ANSWER, Header, Opcode
from tests.support.waiting import wait_for
from tests.unit.client.batch_server import split
from tests.unit.client.conftest import HEADER_BYTES, TENANT, TOKEN
from tests.unit.client.test_pipeline import BRIEF, Wire, disturb, lose, writes_of


@pytest.fixture(params=["good link", "bad link"])
def link(request, responder):
    if request.param == "bad link":
        dice = random.Random(3)

        def disturb(header: Header, packet: bytes) -> list[bytes]:
            return [packet] * dice.choice([0, 1, 1, 1, 1, 1, 1, 1, 1, 2])

        responder.on_request = responder.on_reply = disturb


def test_everything_put_comes_back(client, link):
    objects = {b"key %d" % number: b"value %d" % number for number in range(1000)}
    assert client.put_many(objects.items(), table=3) == 1000
    keys = [*objects, b"missing", b"key 5"]
    assert client.get_many(keys, table=3) == [*objects.values(), None, b"value 5"]
    assert client.multiget(keys[:10], table=3) == list(objects.values())[:10]


def test_values_of_all_sizes_come_back(client, link):
    dice = random.Random(4)
    objects = {number: dice.randbytes(int(1.4**number)) for number in range(1, 33)}
    client.put_many(objects.items())
    assert client.get_many(list(objects)) == list(objects.values())


def test_the_last_of_several_puts_to_a_key_wins(client, link):
    client.put_many([(b"key %d" % (number % 3), b"%d" % number) for number in range(300)], window=64)
    assert client.multiget([b"key 0", b"key 1", b"key 2"]) == [b"297", b"298", b"299"]


def test_partial_answers_shrink_the_next_requests(client, responder):
    value = b"x" * 1000  # one fits a reply
    client.put_many([(number, value) for number in range(100)])
    responder.requests.clear()
    assert client.get_many(range(100)) == [value] * 100
    gets = [header for header in responder.requests if header.opcode == Opcode.MULTIGET]
    # The first goes out with as many keys as fit; once it is known that one value fills a reply, the others are small.
    assert sum(header.value_length for header in gets) < 3 * limits.PACKET_BODY_BYTES_MAX
    assert len(gets) < 110


def test_nothing_to_do_is_nothing_sent(client, responder):
    assert client.put_many([]) == 0
    assert client.multiget([]) == []
    assert not responder.requests


def test_an_error_names_the_key(client, responder):
    responder.refuse_with = lambda header: Status.QUOTA_EXCEEDED if header.sequence == 5 else None
    with pytest.raises(QuotaExceededError) as raised:
        client.put_many([(b"key %d" % number, b"v") for number in range(1, 20)])
    assert "key 5" in str(raised.value.__notes__)
    responder.refuse_with = lambda header: None
    assert client.get(b"key 1") == b"v"  # the client goes on, whatever replies still come in


def test_an_error_of_a_packet_names_its_first_key(client, responder):
    responder.answers[Opcode.BATCH] = lambda header, key, value: (Status.UNKNOWN_TENANT, b"")
    with pytest.raises(UnknownTenantError) as raised:
        client.put_many([(b"key 1", b"v")], table=2)
    assert raised.value.__notes__ == ["while putting key b'key 1' in table 2"]


@pytest.mark.parametrize("status", [(Status.OK, b""), (Status.OK, bytes(11)), (Status.OK, bytes(13))])
def test_a_reply_that_makes_no_sense_is_refused(client, responder, status):
    responder.answers[Opcode.BATCH] = lambda header, key, value: status
    with pytest.raises(ProtocolError):
        client.put_many([(b"k", b"v")])
    del responder.answers[Opcode.BATCH]
    assert client.put_many([(b"k", b"v")]) == 1 and client.get(b"k") == b"v"


@pytest.mark.parametrize("window", [1, 2, 3, 8, 64, limits.CLIENT_WINDOW])
@pytest.mark.parametrize("size", [0, 100, 1300, 1400, 3000])
def test_a_window_is_of_objects(client, responder, window, size):
    wire = Wire(responder)
    assert client.put_many([(number, bytes(size)) for number in range(400)], window=window) == 400
    assert not wire.wrong and len(responder.objects) == 400
    spans = [header.sequence + len(requests) - header.acknowledged for header, requests in wire.packets]
    has_repeated = sum(header.opcode == Opcode.BATCH for header in responder.requests) > len(wire.packets)
    assert has_repeated or max(spans, default=0) <= window  # one that was waited for longer has others overtake it
    if size < 1300:
        assert max(wire.sizes) == max(1, min(window // 2, (limits.PACKET_BODY_BYTES_MAX) // (size + 16)))


def test_what_a_reply_leaves_out_counts_for_the_window(client, responder):
    seen, answered, most_open = set(), set(), [0]

    def look(header: Header, packet: bytes) -> list[bytes]:
        requests = split(packet[HEADER_BYTES:]) or []
        seen.update(range(header.sequence, header.sequence + len(requests)))
        most_open[0] = max(most_open[0], len(seen - answered))
        return [packet]

    def note(header: Header, packet: bytes) -> list[bytes]:
        count = (len(packet) - HEADER_BYTES) // ANSWER.struct.size
        answered.update(range(header.sequence, header.sequence + count))
        return [packet]

    responder.on_request, responder.on_reply = look, note
    responder.batches.answers_max = lambda header: 3
    assert client.put_many([(number, b"") for number in range(300)], window=20) == 300
    assert 10 < most_open[0] <= 20


@pytest.mark.parametrize("seed", range(3))
def test_each_is_put_once_and_those_of_a_key_in_order(client, responder, seed):
    """Over a link that does everything, and with replies that answer the first few only."""
    disturb(responder, seed)
    wire = Wire(responder)
    dice = random.Random(seed)
    keys = [b"key %d" % dice.randrange(40) for _ in range(300)]
    items = [(key, b"%d" % number * dice.choice((1, 200))) for number, key in enumerate(keys)]
    assert client.put_many(items, window=dice.choice((8, 64, 120)), timeout=20) == 300
    assert {key: value for (_, key), (_, value) in responder.objects.items()} == dict(items)
    assert not wire.wrong
    assert [len(writes_of(responder)), len(set(writes_of(responder)))] == [300, 300]
    by_key: dict[bytes, list[int]] = {}
    for _, number, _, key in responder.batches.executed:
        by_key.setdefault(key, []).append(number)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_what_is_made_is_sent_before_the_next_is_made(client, responder):
    """Which may wait for it to be stored."""

    def items():
        for number in range(300):
            yield number, b"v"
            wait_for(lambda asked=number: (0, asked.to_bytes(8, "little")) in responder.objects, 30, "the put")

    assert client.put_many(items()) == 300
    assert len(responder.batches.executed) == 300


def test_a_large_one_waits_for_those_of_its_key(client, responder):
    items = [(b"k", b"1"), (b"k", bytes(5000)), (b"k", b"2"), (b"l", bytes(3000)), (b"l", b"3"), (b"l", bytes(1400))]
    for end in range(1, len(items) + 1):
        assert client.put_many(items[:end]) == end
        assert {key: value for (_, key), (_, value) in responder.objects.items()} == dict(items[:end])


def test_a_server_that_does_not_answer_is_given_up(responder):
    lost = lose(responder, b"never")
    with Client("127.0.0.1", TENANT, TOKEN, port=responder.port, timeout=BRIEF) as client:
        with pytest.raises(RequestTimeoutError):
            client.put_many([(b"a", b""), (b"never", b""), *((number, b"") for number in range(500))])
        assert len(lost) > 1
        sent = max(header.sequence for header in responder.requests)
        assert client.put_many([(b"b", b"")]) == 1
        assert responder.requests[-1].sequence > sent and responder.requests[-1].acknowledged > lost[0]
        responder.refuse_with = lambda header: Status.BUSY
        with pytest.raises(BusyError):
            client.put_many([(b"c", b"")])


def test_a_bad_key_in_the_middle_is_refused(client):
    with pytest.raises(BadKeyError):
        client.put_many([(b"good", b"v"), (b"", b"v")])
    with pytest.raises(BadKeyError):
        client.get_many([b"good", b""])


def test_damaged_multiget_replies_are_refused(client, responder):
    def shorten(header: Header, packet: bytes) -> list[bytes]:
        reply = Header.unpack(packet)
        reply.value_length = 5
        return [reply.pack() + b"\xff\0\0\0x"]

    responder.on_reply = shorten
    with pytest.raises(ProtocolError, match="damaged"):
        client.multiget([b"k"])


def test_an_empty_multiget_reply_is_refused(client, responder):
    def empty(header: Header, packet: bytes) -> list[bytes]:
        reply = Header.unpack(packet)
        reply.value_length = 0
        return [reply.pack()]

    responder.on_reply = empty
    with pytest.raises(ProtocolError, match="no key"):
        client.multiget([b"k"])


@pytest.mark.parametrize("window", [0, limits.CLIENT_WINDOW + 1])
def test_a_window_has_bounds(client, window):
    with pytest.raises(ValueError):
        client.put_many([], window=window)
