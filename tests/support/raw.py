"""A plain UDP socket that sends whatever bytes a test makes up, and reads replies by header."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from splinter.net.netns import inside
from splinter.server.instance import InstanceInfo
from splinter.wire import HEADER, Header

RECEIVE_SECONDS = 2.0


class RawSocket:
    """Sends packets to a server from its clients' namespace."""

    def __init__(self, info: InstanceInfo) -> None:
        with inside(info.client_netns):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((info.address, info.port))
        self._socket.settimeout(RECEIVE_SECONDS)
        self._sequence = 0

    def send(self, packet: bytes) -> None:
        """Send a packet; what the network refuses is lost, as it may be anywhere."""
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
            self._socket.send(packet)

    def receive(self, seconds: float = RECEIVE_SECONDS) -> tuple[Header, bytes] | None:
        """The next packet as header and value; None when none comes."""
        self._socket.settimeout(seconds)
        try:
            packet = self._socket.recv(65536)
        except (TimeoutError, BlockingIOError):
            return None
        return Header.unpack(packet), packet[HEADER.itemsize :]

    def drain(self) -> int:
        """Read away what has come; returns how many packets."""
        self._socket.setblocking(False)
        count = 0
        try:
            while True:
                self._socket.recv(65536)
                count += 1
        except (BlockingIOError, ConnectionRefusedError):
            return count

    def request(self, tenant: int, token: int, opcode: int, body: bytes = b"", **fields: Any) -> tuple[Header, bytes] | None:
        """Send one request (``fields`` override the header's) and return the reply that has its sequence number."""
        self.start(tenant, token, opcode, body, **fields)
        return self.reply()

    def start(self, tenant: int, token: int, opcode: int, body: bytes = b"", **fields: Any) -> None:
        """Send one request; :meth:`reply` waits for its reply."""
        self._sequence += 1
        header = Header(tenant=tenant, token=token, opcode=opcode, client=99, sequence=self._sequence, **fields)
        self.send(header.pack() + body)

    def reply(self) -> tuple[Header, bytes] | None:
        """The reply to the last request; None when none comes."""
        while (reply := self.receive()) is not None:
            if reply[0].sequence == self._sequence:
                return reply
        return None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
