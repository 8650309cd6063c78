"""What is taken is whole and undamaged; replies are addressed back to whoever asked, with headers that anybody accepts."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from splinter.worker.xdp.frame import HEADERS_BYTES, TAG_BYTES, is_intact, payload_length, payload_offset, turn_around

CHECKSUM_AT = 40  # of UDP, in a frame without a tag


@pytest.fixture
def rng() -> random.Random:
    """Each test's own, so that what it finds does not depend on those before it."""
    return random.Random(17)


def buffer_of(packet: bytes) -> np.ndarray:
    memory = np.zeros(2048, dtype=np.uint8)
    memory[: len(packet)] = np.frombuffer(packet, dtype=np.uint8)
    return memory


def request(payload: bytes, tag: Packet | None = None, **udp: int) -> bytes:
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    datagram = IP(src="10.0.0.1", dst="10.0.0.2", id=77, ttl=3) / UDP(sport=40000, dport=7171, **udp) / payload
    return bytes(link / datagram if tag is None else link / tag / datagram)


def judge(packet: bytes, *, takes_partial: bool = False) -> bool:
    """Whether a worker serves it."""
    memory = buffer_of(packet)
    length = payload_length(memory.ctypes.data, len(packet))
    return length >= 0 and bool(is_intact(memory.ctypes.data, length, takes_partial))


@pytest.mark.parametrize("tag", [None, Dot1Q(vlan=0), Dot1Q(vlan=7, prio=5)])
@pytest.mark.parametrize("size", [0, 1, 64, 333, 1472])
def test_turned_frame_goes_back_with_valid_checksums(rng: random.Random, size: int, tag: Packet | None) -> None:
    memory = buffer_of(request(b"x" * 100, tag))
    offset = HEADERS_BYTES + (TAG_BYTES if tag is not None else 0)
    assert payload_offset(memory.ctypes.data) == offset
    memory[offset : offset + size] = np.frombuffer(rng.randbytes(size), np.uint8)
    length = turn_around(memory.ctypes.data, size)
    assert length == offset + size
    reply = Ether(memory[:length].tobytes())
    assert (reply.src, reply.dst) == ("02:00:00:00:00:02", "02:00:00:00:00:01")
    assert (bytes(reply[Dot1Q])[:2] if Dot1Q in reply else None) == (bytes(tag)[:2] if tag is not None else None)
    assert (reply[IP].src, reply[IP].dst) == ("10.0.0.2", "10.0.0.1")
    assert (reply[UDP].sport, reply[UDP].dport) == (7171, 40000)
    assert reply[IP].len == 20 + 8 + size
    assert reply[UDP].len == 8 + size
    given = reply[IP].chksum, reply[UDP].chksum
    del reply[IP].chksum, reply[UDP].chksum
    whole = IP(bytes(reply[IP]))
    assert (whole.chksum, whole[UDP].chksum) == given


def test_a_checksum_that_comes_out_as_0_is_sent_as_its_other_zero() -> None:
    memory = buffer_of(request(bytes(2)))
    turn_around(memory.ctypes.data, 2)
    # Add what is missing to the payload's one word, so that the sum of all is all ones, and the checksum 0.
    memory[HEADERS_BYTES : HEADERS_BYTES + 2] = memory[CHECKSUM_AT : CHECKSUM_AT + 2]
    turn_around(memory.ctypes.data, 2)
    assert memory[CHECKSUM_AT : CHECKSUM_AT + 2].tolist() == [0xFF, 0xFF]
    assert judge(memory[: HEADERS_BYTES + 2].tobytes())


@pytest.mark.parametrize("tag", [None, Dot1Q(vlan=7)])
@pytest.mark.parametrize("takes_partial", [False, True])
@pytest.mark.parametrize("size", [64, 65, 190, 1472])
def test_no_flipped_bit_behind_the_ethernet_header_is_overlooked(
    rng: random.Random, size: int, takes_partial: bool, tag: Packet | None
) -> None:
    packet = request(rng.randbytes(size), tag)
    assert judge(packet, takes_partial=takes_partial)
    for bit in range((HEADERS_BYTES - 28 + (TAG_BYTES if tag is not None else 0)) * 8, len(packet) * 8):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not judge(bytes(damaged), takes_partial=takes_partial), f"bit {bit}"


def ones_sum(data: bytes) -> int:
    """The sum of 16-bit words that a checksum is made of, from 1; it is the same for all that cannot be told apart."""
    padded = data + bytes(len(data) % 2)
    return sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2)) % 0xFFFF or 0xFFFF


def test_no_other_damage_is_overlooked_than_a_checksum_cannot_tell(rng: random.Random) -> None:
    packet = request(rng.randbytes(190))
    found = 0
    for _ in range(5000):
        damaged = bytearray(packet)
        for _ in range(rng.randrange(1, 5)):
            damaged[rng.randrange(HEADERS_BYTES, len(packet))] = rng.randrange(256)
        is_same = ones_sum(damaged[HEADERS_BYTES:]) == ones_sum(packet[HEADERS_BYTES:])
        assert judge(bytes(damaged)) == is_same
        found += not is_same
    assert found > 4900


@pytest.mark.parametrize("takes_partial", [False, True])
def test_a_datagram_without_a_checksum_is_not_taken(takes_partial: bool) -> None:
    assert not judge(request(b"x" * 64, chksum=0), takes_partial=takes_partial)


@pytest.mark.parametrize("size", [0, 64, 77])
def test_the_sum_of_the_pseudo_header_alone_is_taken_where_it_may_come(size: int) -> None:
    pseudo = bytes([10, 0, 0, 1, 10, 0, 0, 2, 0, 17]) + (8 + size).to_bytes(2, "big")
    total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, len(pseudo), 2))
    partial = (total & 0xFFFF) + (total >> 16)
    packet = request(b"x" * size, chksum=partial)
    assert judge(packet, takes_partial=True)
    assert not judge(packet)
    assert not judge(request(b"x" * size, chksum=partial ^ 1), takes_partial=True)


@pytest.mark.parametrize("size", [0, 1, 64, 1472])
def test_payload_length_is_what_udp_says(size: int) -> None:
    packet = request(b"y" * size)
    assert payload_length(buffer_of(packet).ctypes.data, len(packet)) == size


def test_padding_behind_the_datagram_is_not_payload() -> None:
    packet = request(b"y" * 4) + b"\0" * 14
    assert payload_length(buffer_of(packet).ctypes.data, len(packet)) == 4


@pytest.mark.parametrize("cut", [0, 13, 33, 41, 42, 141])
def test_truncated_frames_are_refused(cut: int) -> None:
    packet = request(b"z" * 100)[:cut]
    assert payload_length(buffer_of(packet).ctypes.data, len(packet)) == -1


def test_ip_options_are_refused() -> None:
    packet = bytearray(request(b"z" * 100))
    packet[14] = 0x46
    assert payload_length(buffer_of(bytes(packet)).ctypes.data, len(packet)) == -1


def test_udp_length_below_its_header_is_refused() -> None:
    packet = bytearray(request(b"z" * 100))
    packet[38:40] = (7).to_bytes(2, "big")
    assert payload_length(buffer_of(bytes(packet)).ctypes.data, len(packet)) == -1


@pytest.mark.parametrize("cut", [17, 41, 45, 46, 145])
def test_truncated_frames_with_a_tag_are_refused(cut: int) -> None:
    packet = request(b"z" * 100, Dot1Q(vlan=7))[:cut]
    assert payload_length(buffer_of(packet).ctypes.data, len(packet)) == -1
