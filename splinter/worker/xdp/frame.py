"""Ethernet, IPv4 and UDP around a request: found and checked on the way in, turned around on the way out.

A frame may carry one 802.1Q tag; its reply carries the same one.

Nothing is executed whose bytes are not what its sender summed up: the checksums of the IPv4 header and of UDP are verified,
and a datagram without one is not taken. Every single flipped bit is found, and of other damages that Ethernet's own CRC has
missed all but one in 65,536. A CRC32C of our own in the packet was the other choice: it would find more, costs several times
as much for a full packet, and clients would have to compute it, where for this one the kernel and the card do.
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load8, load16, load32, load64, shift_right, store16, store32, store64
from splinter.native.checksum import WHOLE, fold, is_whole, ones_sum, word_sum

ETHERNET_BYTES = 14
TAG_BYTES = 4  # 802.1Q: type and tag, in front of the type of what follows
IPV4_BYTES = 20  # without options: a packet that has some is not taken
UDP_BYTES = 8
HEADERS_BYTES = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES  # without a tag

_TYPE_AT = 12
_TYPE_TAGGED = 0x0081  # 802.1Q, as it stands in memory
_IP_VERSION_AND_LENGTH = 0x45
_TTL = 64
_UDP = 17
_ADDRESSES_AT = 12  # in an IPv4 header: source and target
_CHECKSUM_AT = 6  # in a UDP header


@njit(cache=True)
def swap16(value: int) -> int:
    """Exchange the two bytes of a 16-bit number: network to host order and back."""
    return ((value & 0xFFFF) >> 8) | ((value & 0xFF) << 8)


@njit(cache=True, forceinline=True)
def payload_offset(frame: int) -> int:
    """Bytes in front of the UDP payload of a frame."""
    return HEADERS_BYTES + (TAG_BYTES if load16(frame + _TYPE_AT) == _TYPE_TAGGED else 0)


@njit(cache=True, forceinline=True)
def payload_length(frame: int, frame_length: int) -> int:
    """Bytes of UDP payload in an Ethernet frame, or -1 when the frame is not IPv4 and UDP with whole, plain headers."""
    if frame_length < HEADERS_BYTES:
        return -1
    offset = payload_offset(frame)
    if frame_length < offset or load8(frame + offset - UDP_BYTES - IPV4_BYTES) != _IP_VERSION_AND_LENGTH:
        return -1
    length = swap16(load16(frame + offset - UDP_BYTES + 4)) - UDP_BYTES
    if length < 0 or length > frame_length - offset:
        return -1
    return length


@njit(cache=True, forceinline=True)
def is_intact(frame: int, length: int, takes_partial: bool) -> bool:
    """Whether the checksums say that a frame with ``length`` bytes of UDP payload is as it was sent.

    ``takes_partial``: the UDP checksum may also be that of the pseudo header alone. So it is in packets that never were on a
    wire, where the sending device was to compute the rest.
    """
    payload = frame + payload_offset(frame)
    udp = payload - UDP_BYTES
    ip = udp - IPV4_BYTES
    checksum = load16(udp + _CHECKSUM_AT)
    addresses = word_sum(load64(ip + _ADDRESSES_AT))
    if checksum == 0 or not is_whole(word_sum(load64(ip)) + load32(ip + 8) + addresses):
        return False
    pseudo = addresses + swap16(_UDP) + load16(udp + 4)  # RFC 768
    if is_whole(pseudo + word_sum(load64(udp)) + ones_sum(payload, length)):
        return True
    return takes_partial and checksum == fold(pseudo)


@njit(cache=True)
def _header_of_udp(ports: int, addresses: int, payload: int, length: int) -> int:
    """The eight bytes of a UDP header: for its two ports as they stand in it, and the sum of the IPv4 header's addresses."""
    size = swap16(UDP_BYTES + length)
    total = addresses + swap16(_UDP) + size + ports + size + ones_sum(payload, length)
    checksum = fold(total) ^ WHOLE
    if checksum == 0:  # it would say that there is none
        checksum = WHOLE
    return ports | size << 32 | checksum << 48


@njit(cache=True)
def sum_udp(udp: int, length: int) -> None:
    """Complete a UDP header that has its ports and follows a plain IPv4 header, with ``length`` bytes of payload behind it."""
    addresses = word_sum(load64(udp - IPV4_BYTES + _ADDRESSES_AT))
    store64(udp, _header_of_udp(load32(udp), addresses, udp + UDP_BYTES, length))


@njit(cache=True, forceinline=True)
def turn_around(frame: int, length: int) -> int:
    """Address the frame back to its sender, with ``length`` bytes of UDP payload. Returns the frame's length.

    The headers are put together in registers and stored a word at a time: a load that spans several stores of a moment ago
    waits until they are in the cache.
    """
    target_high, target_low = load32(frame), load16(frame + 4)
    store32(frame, load32(frame + 6))
    store16(frame + 4, load16(frame + 10))
    store32(frame + 6, target_high)
    store16(frame + 10, target_low)

    payload = frame + payload_offset(frame)
    udp = payload - UDP_BYTES
    ip = udp - IPV4_BYTES
    addresses = load64(ip + _ADDRESSES_AT)
    sum_of_addresses = word_sum(addresses)
    start = _IP_VERSION_AND_LENGTH | swap16(IPV4_BYTES + UDP_BYTES + length) << 16  # identification, flags, offset are 0
    life = _TTL | _UDP << 8
    store64(ip, start)
    store32(ip + 8, life | (fold(start + life + sum_of_addresses) ^ WHOLE) << 16)
    store64(ip + _ADDRESSES_AT, addresses << 32 | shift_right(addresses, 32))
    ports = load32(udp)
    store64(udp, _header_of_udp((ports << 16 | ports >> 16) & 0xFFFFFFFF, sum_of_addresses, payload, length))
    return payload + length - frame
