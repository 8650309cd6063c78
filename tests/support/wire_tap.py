"""Frames onto the client's end of a lab as they are, and those that come back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from splinter import limits
from splinter.net import netns
from splinter.net.lab import Lab

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
_TAG_VALID = 0x10  # TP_STATUS_VLAN_VALID
_OUTGOING = 4
PORT = 40_000


class WireTap:
    """A packet socket on the client's device."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        with netns.inside(lab.client.namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._socket.bind((lab.client.device, 0))
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)

    def frame(self, payload: bytes, tag: Packet | None = None, **udp: int) -> bytes:
        """A frame to the server with right checksums."""
        client, server = self._lab.client, self._lab.server
        link = Ether(src=client.mac, dst=server.mac)
        datagram = IP(src=client.address, dst=server.address) / UDP(sport=PORT, dport=limits.PORT_DEFAULT, **udp) / payload
        return bytes(link / datagram if tag is None else link / tag / datagram)

    def send(self, frame: bytes) -> None:
        """Onto the wire."""
        self._socket.send(frame)

    def receive(self, seconds: float, is_wanted: Callable[[Packet], bool]) -> tuple[Packet, int | None] | None:
        """The next frame of the server's that is wanted, and its VLAN tag (16 bits); None when none comes."""
        self._socket.settimeout(seconds)
        try:
            while True:
                data, control, _, address = self._socket.recvmsg(65536, 256)
                if address[2] == _OUTGOING:
                    continue
                packet = Ether(data)
                tag = None
                for level, kind, content in control:
                    if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                        status, _, _, _, _, tci, _ = _AUXDATA.unpack_from(content)
                        tag = tci if status & _TAG_VALID else None
                if Dot1Q in packet:
                    tag = int.from_bytes(bytes(packet[Dot1Q])[:2], "big")
                if UDP in packet and is_wanted(packet):
                    return packet, tag
        except TimeoutError:
            return None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
