"""How large a client's packets may be: what fits the way there, the way back, and the server's device.

The kernel knows the way: the MTU of this host's device, and what routers have said. The server says in each reply how large a
request it takes; each request says how large a reply fits. So whoever has the smallest MTU, nothing is sent that is lost for
its size.
"""

from __future__ import annotations

import contextlib
import socket

from splinter import limits
from splinter.wire import H_FRAGMENT_COUNT, H_FRAGMENT_INDEX, H_KEY_LENGTH, H_OPCODE, H_ROOM, H_VALUE_LENGTH, Opcode

_IP_HEADERS_BYTES = 28  # IPv4 and UDP
_IP_MTU, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO = 14, 10, 2  # linux/in.h: not all Pythons have them
_HEADER_BYTES = limits.REQUEST_HEADER_BYTES
_LARGEST, _SMALLEST = limits.UDP_PAYLOAD_BYTES_MAX, limits.UDP_PAYLOAD_BYTES_MIN
_NOT_FRAGMENTED = (b"\0\0", b"\1\0")  # fragment counts


class PacketSize:
    """Of one connected UDP socket."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        # The server takes no IP fragments: rather be told that a packet is too large for the way than have it cut.
        connected.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        self.mtu = limits.MTU
        """Of the way, by what the kernel said last."""
        self.way = _LARGEST
        """Bytes of payload that packets may have for it."""
        self._server = 0  # it has not said
        self.measure()

    def measure(self) -> None:
        """Ask the kernel what fits the way now."""
        with contextlib.suppress(OSError):
            self.mtu = self._socket.getsockopt(socket.IPPROTO_IP, _IP_MTU)
            self.way = max(min(self.mtu - _IP_HEADERS_BYTES, _LARGEST), _SMALLEST)

    def fits(self, count: int) -> bool:
        """Whether a payload of so many bytes fits the way. Where that has less than ``MTU_MIN``, not all that is sent does."""
        return count <= self.mtu - _IP_HEADERS_BYTES

    def hear(self, server_bytes: int) -> None:
        """A reply has come; it says what the server takes, 0 for the protocol's largest."""
        self._server = max(server_bytes, _SMALLEST) if server_bytes else _LARGEST

    def must_ask(self, body_bytes: int) -> bool:
        """Whether a packet with this many bytes of key and value may be too large, and the server has said nothing yet."""
        return self._server == 0 and _HEADER_BYTES + body_bytes > _SMALLEST

    @property
    def room(self) -> int:
        """What a request says of the way back."""
        return 0 if self.way == _LARGEST else self.way // limits.ROOM_UNIT_BYTES

    def packet_bytes_max(self) -> int:
        """Bytes that a packet may have now; while the server has not said, what every server takes."""
        self.measure()
        return min(self.way, self._server or _SMALLEST)

    def body_bytes_max(self) -> int:
        """Bytes that key and value of one packet may have now."""
        return self.packet_bytes_max() - _HEADER_BYTES

    def spare_bytes(self, body_bytes: int) -> int:
        """What a packet with this many bytes of key and value may have beyond them, by what is known: nobody is asked."""
        return min(self.way, self._server or _SMALLEST) - _HEADER_BYTES - body_bytes

    def renew(self, packet: bytes) -> bytes:
        """A packet that was not answered, to be sent again: with the room that there is now, and without padding, which may
        have been too much. Fragments stay as they are."""
        self.measure()
        packet = without_padding(packet)
        index, count = packet[H_FRAGMENT_INDEX : H_FRAGMENT_INDEX + 2], packet[H_FRAGMENT_COUNT : H_FRAGMENT_COUNT + 2]
        if index != b"\0\0" or count not in _NOT_FRAGMENTED:
            return packet
        return packet[:H_ROOM] + bytes([self.room]) + packet[H_ROOM + 1 :]


def without_padding(packet: bytes) -> bytes:
    """A request as it is without what its client padded it by: a GET has no value."""
    if packet[H_OPCODE] != Opcode.GET or packet[H_VALUE_LENGTH : H_VALUE_LENGTH + 4] == b"\0\0\0\0":
        return packet
    end = _HEADER_BYTES + int.from_bytes(packet[H_KEY_LENGTH : H_KEY_LENGTH + 2], "little")
    return packet[:H_VALUE_LENGTH] + b"\0\0\0\0" + packet[H_VALUE_LENGTH + 4 : end]
