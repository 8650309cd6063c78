"""Frames, as Scapy reads them."""

from __future__ import annotations

import pytest
import scapy.all as scapy
from splinter_bench.generators import frames
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route, frame

ROUTE = Route("02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1", "10.0.0.2", 40000, 7171)


def test_scapy_reads_what_was_written() -> None:
    payload = bytes(range(101))
    packet = scapy.Ether(frame(ROUTE, payload))
    assert (packet.src, packet.dst) == (ROUTE.source_mac, ROUTE.destination_mac)
    ip, udp = packet[scapy.IP], packet[scapy.UDP]
    assert (ip.src, ip.dst, ip.len) == (ROUTE.source, ROUTE.destination, 20 + 8 + len(payload))
    assert (udp.sport, udp.dport, udp.len) == (40000, 7171, 8 + len(payload))
    assert bytes(udp.payload) == payload


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 64, bytes(range(101))])
def test_the_checksums_are_right(payload: bytes) -> None:
    packet = scapy.Ether(frame(ROUTE, payload))
    written = packet[scapy.IP].chksum, packet[scapy.UDP].chksum
    del packet[scapy.IP].chksum, packet[scapy.UDP].chksum
    whole = scapy.Ether(bytes(packet))
    assert (whole[scapy.IP].chksum, whole[scapy.UDP].chksum) == written


def test_offsets_name_the_fields() -> None:
    data = frame(ROUTE, b"payload")
    assert data[FRAME_HEADER_BYTES:] == b"payload"
    assert data[frames.ETHERNET_DESTINATION_AT :][:6].hex(":") == ROUTE.destination_mac
    assert data[frames.ETHERNET_SOURCE_AT :][:6].hex(":") == ROUTE.source_mac
    assert data[frames.IPV4_SOURCE_AT :][:4] == bytes([10, 0, 0, 1])
    assert data[frames.IPV4_DESTINATION_AT :][:4] == bytes([10, 0, 0, 2])
    assert data[frames.UDP_PORTS_AT :][:4] == (40000).to_bytes(2, "big") + (7171).to_bytes(2, "big")
