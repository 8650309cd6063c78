"""Ethernet, IPv4 and UDP headers of the frames that the load generators send."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

ETHERNET_BYTES = 14
IPV4_BYTES = 20
UDP_BYTES = 8
FRAME_HEADER_BYTES = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES

# Offsets in a frame without VLAN tag and IP options, for compiled code.
ETHERNET_DESTINATION_AT = 0
ETHERNET_SOURCE_AT = 6
IPV4_SOURCE_AT = ETHERNET_BYTES + 12
IPV4_DESTINATION_AT = ETHERNET_BYTES + 16
UDP_PORTS_AT = ETHERNET_BYTES + IPV4_BYTES  # source and destination port, two bytes each

_ETHERTYPE_IPV4 = 0x0800
_VERSION_AND_HEADER_WORDS = 0x45
_DONT_FRAGMENT = 0x4000
_TTL = 64
_PROTOCOL_UDP = 17


@dataclass(frozen=True)
class Route:
    """From where to where frames go. Addresses are dotted IPv4, MAC addresses are written with colons."""

    source_mac: str
    destination_mac: str
    source: str
    destination: str
    source_port: int
    destination_port: int


def checksum_of(header: bytes) -> int:
    """Internet checksum (RFC 1071) of an even number of bytes."""
    total = int(sum(struct.unpack(f"!{len(header) // 2}H", header)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def frame(route: Route, payload: bytes) -> bytes:
    """A whole Ethernet frame with ``payload`` in one UDP datagram."""
    ethernet = (
        bytes.fromhex(route.destination_mac.replace(":", ""))
        + bytes.fromhex(route.source_mac.replace(":", ""))
        + struct.pack("!H", _ETHERTYPE_IPV4)
    )
    udp_length = UDP_BYTES + len(payload)
    addresses = ipaddress.IPv4Address(route.source).packed + ipaddress.IPv4Address(route.destination).packed
    ports = struct.pack("!HHH", route.source_port, route.destination_port, udp_length)
    pseudo = addresses + struct.pack("!HH", _PROTOCOL_UDP, udp_length)
    summed = pseudo + ports + bytes(2) + payload + bytes(len(payload) % 2)
    udp = ports + struct.pack("!H", checksum_of(summed) or 0xFFFF)

    def ipv4(checksum: int) -> bytes:
        length = IPV4_BYTES + len(udp) + len(payload)
        start = struct.pack("!BBHHHBB", _VERSION_AND_HEADER_WORDS, 0, length, 0, _DONT_FRAGMENT, _TTL, _PROTOCOL_UDP)
        return start + struct.pack("!H", checksum) + addresses

    return ethernet + ipv4(checksum_of(ipv4(0))) + udp + payload
