"""Ethernet, IPv4 and UDP around a request: found on the way in, turned around on the way out."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load8, load16, load32, store8, store16, store32

ETHERNET_BYTES = 14
IPV4_BYTES = 20  # the XDP program steers only packets without IP options
UDP_BYTES = 8
PAYLOAD_OFFSET = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES

_IP_VERSION_AND_LENGTH = 0x45
_TTL = 64
_UDP = 17


@njit(cache=True)
def swap16(value: int) -> int:
    """Exchange the two bytes of a 16-bit number: network to host order and back."""
    return (value >> 8) | ((value & 0xFF) << 8)


@njit(cache=True)
def payload_length(frame: int, frame_length: int) -> int:
    """Bytes of UDP payload in an Ethernet frame, or -1 when the frame is not IPv4 and UDP with whole, plain headers."""
    if frame_length < PAYLOAD_OFFSET or load8(frame + ETHERNET_BYTES) != _IP_VERSION_AND_LENGTH:
        return -1
    length = swap16(load16(frame + ETHERNET_BYTES + IPV4_BYTES + 4)) - UDP_BYTES
    if length < 0 or length > frame_length - PAYLOAD_OFFSET:
        return -1
    return length


@njit(cache=True)
def turn_around(frame: int, length: int) -> int:
    """Address the frame back to its sender, with ``length`` bytes of UDP payload. Returns the frame's length.

    The UDP checksum is left out (0), as IPv4 allows (RFC 768); the IPv4 header's is computed (RFC 1071).
    """
    target_high, target_low = load32(frame), load16(frame + 4)
    store32(frame, load32(frame + 6))
    store16(frame + 4, load16(frame + 10))
    store32(frame + 6, target_high)
    store16(frame + 10, target_low)

    ip = frame + ETHERNET_BYTES
    source, target = load32(ip + 12), load32(ip + 16)
    total = IPV4_BYTES + UDP_BYTES + length
    store16(ip, _IP_VERSION_AND_LENGTH)
    store16(ip + 2, swap16(total))
    store32(ip + 4, 0)  # no fragmentation: identification, flags and offset are 0
    store8(ip + 8, _TTL)
    store8(ip + 9, _UDP)
    store16(ip + 10, 0)
    store32(ip + 12, target)
    store32(ip + 16, source)
    total_sum = 0
    for word in range(IPV4_BYTES // 2):
        total_sum += load16(ip + word * 2)
    total_sum = (total_sum & 0xFFFF) + (total_sum >> 16)
    total_sum = (total_sum & 0xFFFF) + (total_sum >> 16)
    store16(ip + 10, ~total_sum & 0xFFFF)

    udp = ip + IPV4_BYTES
    source_port = load16(udp)
    store16(udp, load16(udp + 2))
    store16(udp + 2, source_port)
    store16(udp + 4, swap16(UDP_BYTES + length))
    store16(udp + 6, 0)
    return PAYLOAD_OFFSET + length
