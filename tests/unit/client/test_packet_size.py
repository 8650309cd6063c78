"""What fits the way is asked of the kernel and of the server; requests tell how large their replies may be."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.client.packet_size import PacketSize
from splinter.wire import Header, Opcode

IP_MTU, SIZES = 14, {576: 548, 1280: 1252, 1400: 1372, 1460: 1432, 1500: 1472, 9000: 1472, 65536: 1472, 68: 548}


class Way(socket.socket):
    """A UDP socket whose way has the MTU that a test says."""

    mtu = 1500

    def getsockopt(self, level: int, option: int, *rest: int):
        return self.mtu if (level, option) == (socket.IPPROTO_IP, IP_MTU) else super().getsockopt(level, option, *rest)


@pytest.fixture
def way() -> Iterator[Way]:
    with Way(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


@pytest.mark.parametrize(("mtu", "payload"), SIZES.items())
def test_packets_fit_the_way_both_ways(way: Way, mtu: int, payload: int) -> None:
    way.mtu = mtu
    size = PacketSize(way)
    size.hear(0)
    assert size.packet_bytes_max() == payload
    assert size.body_bytes_max() == payload - limits.REQUEST_HEADER_BYTES
    assert payload - 8 < (size.room * limits.ROOM_UNIT_BYTES or 1472) <= payload


def test_a_server_with_less_counts_and_its_last_word_is_what_counts(way: Way) -> None:
    size = PacketSize(way)
    for said, most in ((1432, 1432), (0, 1472), (548, 548), (1, 548), (1472, 1472), (2**40, 1472)):
        size.hear(said)
        assert size.packet_bytes_max() == most


def test_a_change_of_the_way_is_noticed(way: Way) -> None:
    size = PacketSize(way)
    size.hear(1472)
    way.mtu = 1400
    assert size.packet_bytes_max() == 1372


def test_only_what_may_be_too_large_has_to_be_asked_about(way: Way) -> None:
    size = PacketSize(way)
    most = limits.UDP_PAYLOAD_BYTES_MIN - limits.REQUEST_HEADER_BYTES
    assert [size.must_ask(most), size.must_ask(most + 1)] == [False, True]
    size.hear(0)
    assert not size.must_ask(1 << 20)


def test_a_repetition_has_the_room_that_there_is_now_and_fragments_stay_as_they_are(way: Way) -> None:
    size = PacketSize(way)
    get = Header(opcode=Opcode.GET).pack()
    fragments = [
        Header(opcode=Opcode.PUT, fragment_index=index, fragment_count=count, status=28).pack()
        for index, count in ((0, 2), (1, 2), (0, 293), (256, 293), (0, 256))
    ]
    way.mtu = 1400
    assert Header.unpack(size.renew(get)).status == 1372 // 8
    assert [size.renew(packet) for packet in fragments] == fragments
    way.mtu = 1500
    assert size.renew(size.renew(get)) == get
