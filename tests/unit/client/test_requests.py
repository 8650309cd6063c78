"""One request at a time, over a link that behaves and over one that does not."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from splinter import limits
from splinter.client import Client
from splinter.client.channel import Channel
from splinter.errors import (
    BadKeyError,
    BadTableError,
    BusyError,
    OutOfMemoryError,
    ProtocolError,
    QuotaExceededError,
    RequestTimeoutError,
    SplinterError,
    Status,
    ValueTooLargeError,
    VersionChangedError,
    error_for,
)
from splinter.testing.process import free_port
from splinter.wire import Header, Opcode

BIG = bytes(range(256)) * 256  # 64 KiB
ODD = random.Random(1).randbytes(5 * limits.FRAGMENT_BYTES + 1)


def test_an_object_is_stored_read_and_deleted(client):
    assert client.get(b"dog", table=1) is None
    version = client.put(b"dog", b"barks", table=1)
    assert client.get_with_version(b"dog", table=1) == (b"barks", version)
    assert client.get(b"dog", table=2) is None
    assert client.delete(b"dog", table=1) is True
    assert client.delete(b"dog", table=1) is False
    assert client.get(b"dog", table=1) is None


def test_keys_are_bytes_text_and_integers(client):
    client.put("dög", b"text")
    client.put(2084071, b"integer")
    client.put(bytearray(b"raw"), memoryview(b"view"))
    assert client.get("dög".encode()) == b"text"
    assert client.get((2084071).to_bytes(8, "little")) == b"integer"
    assert client.get(b"raw") == b"view"


@pytest.mark.parametrize("key", [b"", b"x" * 256, -1, 1 << 64, ""])
def test_an_impossible_key_is_refused_before_it_is_sent(client, responder, key):
    with pytest.raises(BadKeyError):
        client.get(key)
    assert not responder.requests


@pytest.mark.parametrize("key", [1.5, None, True, ["a"]])
def test_a_key_of_another_type_is_a_type_error(client, key):
    with pytest.raises(TypeError):
        client.get(key)


def test_bounds_are_checked_before_anything_is_sent(client, responder):
    with pytest.raises(ValueTooLargeError):
        client.put(b"k", b"x" * (limits.LARGE_BYTES_MAX + 1))
    with pytest.raises(TypeError):
        client.put(b"k", "text")
    for table in (-1, limits.TABLES_MAX):
        with pytest.raises(BadTableError):
            client.get(b"k", table=table)
    assert not responder.requests


@pytest.mark.parametrize("size", [0, 1, limits.PACKET_BODY_BYTES_MAX - 3, limits.PACKET_BODY_BYTES_MAX - 2, 65536])
def test_values_of_every_size_come_back(client, size):
    value = BIG[:size]
    client.put(b"key", value)
    assert client.get(b"key") == value


@pytest.mark.parametrize("status", [status for status in Status if status not in (Status.OK, Status.BUSY)])
def test_each_status_has_its_exception(client, responder, status):
    responder.refuse_with = lambda header: status
    with pytest.raises(type(error_for(status))) as raised:
        client.put(b"k", b"v")
    assert raised.value.status == status
    assert str(raised.value)


def test_compare_and_put_takes_effect_only_on_that_version(client):
    first = client.put(b"k", b"1")
    second = client.put(b"k", b"2", if_version=first)
    with pytest.raises(VersionChangedError):
        client.put(b"k", b"3", if_version=first)
    assert client.get_with_version(b"k") == (b"2", second)
    with pytest.raises(VersionChangedError):
        client.put(b"k", ODD, if_version=first)


def test_lost_requests_and_replies_are_repeated_under_the_same_number(client, responder):
    seen: set[int] = set()

    def lose_first(header: Header, packet: bytes) -> list[bytes]:
        if header.sequence in seen:
            return [packet]
        seen.add(header.sequence)
        return []

    responder.on_request = lose_first
    client.put(b"k", b"v")
    assert [header.sequence for header in responder.requests] == [1, 1]
    responder.on_request = lambda header, packet: [packet]
    responder.on_reply = lose_first
    assert client.get(b"k") == b"v"
    assert [header.sequence for header in responder.requests[2:]] == [2, 2]


def test_duplicated_late_and_damaged_replies_are_ignored(client, responder):
    """Every reply comes twice, behind the one before it and every kind of rubbish."""
    before: list[bytes] = []

    def disturb(header: Header, packet: bytes) -> list[bytes]:
        wrong = b"wrong"
        other, request, longer, keyed = (Header.unpack(packet) for _ in range(4))
        for forged in (other, request, keyed):
            forged.value_length = len(wrong)
        other.client ^= 1
        request.flags = 0
        longer.value_length = len(wrong) + 1
        keyed.key_length = 1
        stranger = Header.unpack(packet)
        stranger.tenant += 1
        rubbish = [
            b"",
            b"short",
            b"\0" * limits.REQUEST_HEADER_BYTES,
            other.pack() + wrong,
            request.pack() + wrong,
            longer.pack() + wrong,
            keyed.pack() + wrong,
            stranger.pack() + packet[limits.REQUEST_HEADER_BYTES :] + wrong,
            packet + b"x",
            packet + b"x" * limits.UDP_PAYLOAD_BYTES_MAX,
        ]
        sent = [*before, *rubbish, packet, packet]
        before[:] = [packet]
        return sent

    responder.on_reply = disturb
    for number in range(20):
        client.put(b"k%d" % number, b"v%d" % number)
    assert [client.get(b"k%d" % number) for number in range(20)] == [b"v%d" % number for number in range(20)]


@pytest.mark.parametrize("value", [ODD, BIG], ids=["odd", "largest"])
def test_large_values_survive_loss_duplication_and_disorder(client, responder, value):
    def disturb(seed: int) -> Callable[[Header, bytes], list[bytes]]:
        dice = random.Random(seed)
        held: list[bytes] = []

        def step(header: Header, packet: bytes) -> list[bytes]:
            fate = dice.random()
            if fate < 0.1:
                return []
            if fate < 0.2:
                return [packet, packet]
            if fate < 0.3 and not held:  # comes after the next
                held.append(packet)
                return []
            sent = [packet, *held]
            held.clear()
            return sent

        return step

    responder.on_request, responder.on_reply = disturb(2), disturb(3)
    version = client.put(b"large", value)
    assert version
    assert client.get(b"large") == value


@pytest.mark.parametrize("times", [1, 3])
def test_a_value_that_two_workers_have_in_part_is_sent_again(client, responder, monkeypatch, times):
    """At once the first time: all of it was answered."""
    elsewhere: list[int] = []
    pauses: list[float] = []
    wait = Channel.pause

    def to_another_worker(header: Header, packet: bytes) -> list[bytes]:
        if header.fragment_index == 2 and len(elsewhere) < times:
            elsewhere.append(header.client)
            header.client ^= 1
            return [header.pack() + packet[limits.REQUEST_HEADER_BYTES :]]
        return [packet]

    def from_either(_: Header, packet: bytes) -> list[bytes]:
        reply = Header.unpack(packet)
        if elsewhere:
            reply.client = elsewhere[0]
        return [reply.pack() + packet[limits.REQUEST_HEADER_BYTES :]]

    def pause(channel: Channel, seconds: float) -> None:
        pauses.append(seconds)
        wait(channel, seconds)

    monkeypatch.setattr(Channel, "pause", pause)
    responder.on_request, responder.on_reply = to_another_worker, from_either
    version = client.put(b"large", ODD)
    assert client.get_with_version(b"large") == (ODD, version)
    assert len(pauses) == times and pauses[0] == 0 and all(pauses[1:])


def test_a_lost_completing_acknowledgement_of_fragments_is_survived(client, responder):
    """The value is stored, but the client cannot know: it sends everything once more under a new number."""
    lost: list[Header] = []

    def lose_completion(header: Header, packet: bytes) -> list[bytes]:
        reply = Header.unpack(packet)
        if reply.object_version and not lost:
            lost.append(reply)
            return []
        return [packet]

    responder.on_reply = lose_completion
    version = client.put(b"large", ODD)
    assert lost and lost[0].object_version != version
    assert client.get_with_version(b"large") == (ODD, version)


def test_a_value_replaced_while_its_fragments_are_read_is_read_anew(client, responder):
    client.put(b"large", ODD)
    replaced = []

    def replace(header: Header, packet: bytes) -> list[bytes]:
        if header.opcode == Opcode.GET and header.fragment_index == 3 and not replaced:
            replaced.append(True)
            version, _ = responder.objects[0, b"large"]
            responder.objects[0, b"large"] = (version + 2, BIG)
        return [packet]

    responder.on_request = replace
    assert client.get(b"large") == BIG


def test_a_value_deleted_while_its_fragments_are_read_is_gone(client, responder):
    client.put(b"large", ODD)

    def delete(header: Header, packet: bytes) -> list[bytes]:
        if header.fragment_index == 3:
            responder.objects.clear()
        return [packet]

    responder.on_request = delete
    assert client.get(b"large") is None


def test_busy_is_tried_again(client, responder):
    answers = iter([Status.BUSY, Status.BUSY])
    responder.refuse_with = lambda header: next(answers, None)
    assert client.put(b"k", b"v")
    assert len(responder.requests) == 3


def test_a_server_that_stays_busy_is_given_up(responder):
    responder.refuse_with = lambda header: Status.BUSY
    with (
        Client("127.0.0.1", 7, 0x1122334455667788, port=responder.port, timeout=0.1) as client,
        pytest.raises(BusyError, match="still busy"),
    ):
        client.put(b"k", b"v")


def test_silence_ends_in_a_timeout_and_says_what_to_check(responder):
    responder.on_request = lambda header, packet: []
    with Client("127.0.0.1", 7, 1, port=responder.port, timeout=0.1) as client:
        with pytest.raises(RequestTimeoutError, match="token"):
            client.get(b"k")
        with pytest.raises(RequestTimeoutError, match="token"):
            client.put(b"k", ODD)
        with pytest.raises(RequestTimeoutError, match="token"):
            client.get_many([b"k"])
    assert len(responder.requests) > 3  # it was tried more than once


def test_nobody_listening_is_told_apart():
    with (
        Client("127.0.0.1", 7, 1, port=free_port(), timeout=0.1) as client,
        pytest.raises(RequestTimeoutError, match="nothing listens"),
    ):
        client.ping()


def test_a_server_of_another_protocol_version_is_named(client, responder):
    def speak_two(header: Header, packet: bytes) -> list[bytes]:
        reply = Header.unpack(packet)
        reply.version = 2
        return [reply.pack()]

    responder.on_reply = speak_two
    with pytest.raises(ProtocolError, match="version 2"):
        client.ping()


def test_acknowledged_says_what_is_settled(client, responder):
    for _ in range(3):
        client.ping()
    assert [header.acknowledged for header in responder.requests] == [1, 2, 3]
    responder.requests.clear()
    client.put_many([(b"%d" % number, b"v") for number in range(100)], window=8)
    for header in responder.requests:
        assert header.sequence - 8 < header.acknowledged <= header.sequence


def test_acknowledged_does_not_pass_a_request_that_is_still_open(client, responder):
    """As long as the first put has no answer, no later request may say that it is settled."""
    client.ping()  # so that nobody need ask how large packets may be
    responder.requests.clear()
    answered = []

    def lose_first(header: Header, packet: bytes) -> list[bytes]:
        if header.sequence == 2 and len(responder.requests) < 21:
            return []
        if header.sequence == 2:
            answered.append(len(responder.requests))
        return [packet]

    responder.on_reply = lose_first
    client.put_many([(b"%d" % number, bytes(1300)) for number in range(30)], window=25)  # one goes in a packet
    before = responder.requests[: answered[0]]
    assert len(before) > 20
    assert {header.acknowledged for header in before} == {2}


def test_threads_share_a_client(client):
    failures: list[object] = []

    def work(number: int) -> None:
        key = b"thread %d" % number
        for turn in range(50):
            value = b"%d %d" % (number, turn)
            client.put(key, value)
            if (got := client.get(key)) != value:
                failures.append((key, value, got))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_closed_client_says_so(client):
    client.close()
    with pytest.raises(SplinterError, match="closed"):
        client.ping()


def test_tokens_come_as_numbers_and_as_text(responder):
    with Client("127.0.0.1", 7, "1122334455667788", port=responder.port) as client:
        assert client.ping() > 0
    for token in (0, 1 << 64, "", "xyz", -1):
        with pytest.raises(ValueError):
            Client("127.0.0.1", 7, token, port=responder.port)
    for tenant in (0, limits.TENANTS_MAX):
        with pytest.raises(ValueError):
            Client("127.0.0.1", tenant, 1, port=responder.port)


def test_an_unknown_namespace_is_named():
    with pytest.raises(SplinterError, match="no-such-namespace"):
        Client("127.0.0.1", 7, 1, netns="no-such-namespace")


@pytest.mark.parametrize("error", [OutOfMemoryError, QuotaExceededError])
def test_a_refused_fragment_ends_the_put(client, responder, error):
    responder.refuse_with = lambda header: error.status if header.fragment_index == 2 else None
    with pytest.raises(error):
        client.put(b"large", ODD)
