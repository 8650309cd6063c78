"""Replies are addressed back to whoever asked, with headers that the network stack accepts."""

from __future__ import annotations

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from splinter.worker.frame import PAYLOAD_OFFSET, payload_length, turn_around


def buffer_of(packet: bytes) -> np.ndarray:
    memory = np.zeros(2048, dtype=np.uint8)
    memory[: len(packet)] = np.frombuffer(packet, dtype=np.uint8)
    return memory


def request(payload: bytes) -> bytes:
    return bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(src="10.0.0.1", dst="10.0.0.2", id=77, ttl=3)
        / UDP(sport=40000, dport=7171)
        / payload
    )


def test_turned_frame_goes_back_with_valid_checksum() -> None:
    memory = buffer_of(request(b"x" * 100))
    length = turn_around(memory.ctypes.data, 333)
    assert length == PAYLOAD_OFFSET + 333
    reply = Ether(memory[:length].tobytes())
    assert (reply.src, reply.dst) == ("02:00:00:00:00:02", "02:00:00:00:00:01")
    assert (reply[IP].src, reply[IP].dst) == ("10.0.0.2", "10.0.0.1")
    assert (reply[UDP].sport, reply[UDP].dport) == (7171, 40000)
    assert reply[IP].len == 20 + 8 + 333
    assert reply[UDP].len == 8 + 333
    assert reply[UDP].chksum == 0
    given = reply[IP].chksum
    del reply[IP].chksum
    assert IP(bytes(reply[IP])).chksum == given


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
