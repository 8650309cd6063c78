"""Many objects at once, over a link that loses packets."""

from __future__ import annotations

import random

import pytest

from splinter import limits
from splinter.errors import BadKeyError, ProtocolError, QuotaExceededError, Status
from splinter.wire import Header, Opcode


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
