"""Gets are padded for values that their packets would have no room for, and only while that is of use."""

from __future__ import annotations

import errno
import socket

import pytest

from splinter import limits
from splinter.client.channel import Channel
from splinter.client.flights import Reply
from splinter.client.packet_size import PacketSize, without_padding
from splinter.client.padding import Padding
from splinter.errors import Status
from splinter.wire import FLAG_KERNEL, KERNEL_GROWTH_BYTES, Header, Opcode

KEY = b"key"
LARGE = 1000


@pytest.fixture
def padding() -> Padding:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("127.0.0.1", 9))
        size = PacketSize(way)
    size.hear(0)
    return Padding(size)


def reply(count: int, by_kernel: bool = True, fragments: int = 0) -> Reply:
    return Reply(Status.OK, 2, 0, fragments, bytes(count), by_kernel)


def asked(responder) -> list[int]:
    """Bytes of value of the gets so far."""
    return [header.value_length for header in responder.requests if header.opcode == Opcode.GET]


def from_kernel(responder) -> None:
    def mark(header: Header, packet: bytes) -> list[bytes]:
        its = Header.unpack(packet)
        if header.opcode == Opcode.GET:
            its.flags |= FLAG_KERNEL
        return [its.pack() + packet[limits.REQUEST_HEADER_BYTES :]]

    responder.on_reply = mark


def test_values_that_a_packet_grows_to_need_no_padding(padding: Padding) -> None:
    padding.learn(0, reply(KERNEL_GROWTH_BYTES), False)
    assert padding.of(0, KEY) == b""


def test_key_and_padding_are_as_long_as_the_largest_value_of_the_table(padding: Padding) -> None:
    padding.learn(7, reply(LARGE), False)
    assert len(padding.of(7, KEY)) == LARGE - len(KEY)
    assert padding.of(8, KEY) == b""
    padding.learn(7, reply(LARGE + 1), True)
    assert len(padding.of(7, KEY)) == LARGE + 1 - len(KEY)
    assert not any(padding.of(7, KEY))


def test_no_padding_is_beyond_the_packet(padding: Padding) -> None:
    padding.learn(0, reply(limits.PACKET_BODY_BYTES_MAX), False)
    assert len(padding.of(0, KEY)) == limits.PACKET_BODY_BYTES_MAX - len(KEY)
    padding._size.hear(limits.UDP_PAYLOAD_BYTES_MIN)
    assert len(padding.of(0, KEY)) == limits.UDP_PAYLOAD_BYTES_MIN - limits.REQUEST_HEADER_BYTES - len(KEY)
    assert padding.of(0, bytes(limits.KEY_BYTES_MAX)) != b""


def test_values_of_several_packets_need_none(padding: Padding) -> None:
    padding.learn(0, reply(limits.FRAGMENT_BYTES, fragments=3), False)
    assert padding.of(0, KEY) == b""


def test_a_large_value_that_does_not_come_again_is_forgotten(padding: Padding) -> None:
    padding.learn(0, reply(LARGE), False)
    for _ in range(200):
        padding.learn(0, reply(30), True)
    assert padding.of(0, KEY) == b""
    padding.learn(0, reply(LARGE), False)
    assert len(padding.of(0, KEY)) == LARGE - len(KEY)


def test_padding_in_vain_rests_and_is_tried_again(padding: Padding) -> None:
    padding.learn(0, reply(LARGE, by_kernel=False), False)
    padded = []
    for _ in range(2500):
        padded.append(padding.of(0, KEY) != b"")
        padding.learn(0, reply(LARGE, by_kernel=False), padded[-1])
    assert padded[:9] == [True] * 8 + [False]
    assert sum(padded) == 24
    while not padding.of(0, KEY):
        pass
    padding.learn(0, reply(LARGE), True)
    assert all(padding.of(0, KEY) for _ in range(100))


def test_a_client_pads_its_gets_and_counts_what_the_kernel_answered(client, responder) -> None:
    from_kernel(responder)
    client.put(KEY, bytes(LARGE), table=3)
    assert [client.get(KEY, table=3) for _ in range(3)] == [bytes(LARGE)] * 3
    assert asked(responder) == [0, LARGE - len(KEY), LARGE - len(KEY)]
    assert client.kernel_replies == 3


def test_a_repetition_has_no_padding(client, responder) -> None:
    """What the padded packet was lost for may have been its size."""
    client.put(KEY, bytes(LARGE))
    client.get(KEY)
    responder.on_request = lambda header, packet: [] if header.value_length else [packet]
    assert client.get(KEY) == bytes(LARGE)
    assert asked(responder)[-2:] == [LARGE - len(KEY), 0]


def test_padding_that_is_too_large_for_the_way_is_no_error(client, responder, monkeypatch) -> None:
    client.put(KEY, bytes(LARGE))
    client.get(KEY)
    channel: Channel = client._idle[0]

    class Narrow:
        """The socket, of a way that has become narrower."""

        def __getattr__(self, name: str):
            return getattr(real, name)

        def send(self, packet: bytes) -> int:
            if len(packet) > limits.UDP_PAYLOAD_BYTES_MIN:
                raise OSError(errno.EMSGSIZE, "Message too long")
            return real.send(packet)

    real = channel.line._socket
    monkeypatch.setattr(channel.line, "_socket", Narrow())
    monkeypatch.setattr(channel.size, "fits", lambda count: count <= limits.UDP_PAYLOAD_BYTES_MIN)
    assert client.get(KEY) == bytes(LARGE)


def test_only_a_get_has_padding() -> None:
    get = Header(opcode=Opcode.GET, key_length=3, value_length=5).pack() + b"key" + bytes(5)
    assert without_padding(get) == Header(opcode=Opcode.GET, key_length=3).pack() + b"key"
    put = Header(opcode=Opcode.PUT, key_length=3, value_length=5).pack() + b"key" + bytes(5)
    assert without_padding(put) == put
