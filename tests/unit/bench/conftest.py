"""A server of the wire format in a thread, over loopback, that misbehaves as a test asks for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from splinter.errors import Status
from splinter.wire import FLAG_REPLY, HEADER, Header, Opcode

Reply = Callable[[Header, bytes], list[bytes]]


class Responder:
    """Keeps objects in a dict. ``mangle(request, reply)`` gives the datagrams to send in place of the reply."""

    def __init__(self, mangle: Reply | None = None) -> None:
        self.objects: dict[bytes, bytes] = {}
        self.requests: list[tuple[Header, bytes]] = []
        self._mangle = mangle or (lambda request, reply: [reply])
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Responder:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            packet, sender = self._socket.recvfrom(2048)
            if not packet:
                return
            request = Header.unpack(packet)
            body = packet[HEADER.itemsize :]
            self.requests.append((request, body))
            for reply in self._mangle(request, self._answer(request, body)):
                self._socket.sendto(reply, sender)

    def _answer(self, request: Header, body: bytes) -> bytes:
        key, value = body[: request.key_length], body[request.key_length :]
        found = b""
        status = Status.OK
        if request.opcode == Opcode.PUT:
            self.objects[key] = value
        elif key in self.objects:
            found = self.objects[key]
        else:
            status = Status.NOT_FOUND
        header = Header(
            opcode=request.opcode,
            status=status,
            flags=FLAG_REPLY,
            tenant=request.tenant,
            client=request.client,
            sequence=request.sequence,
            value_length=len(found),
        )
        return header.pack() + found


@pytest.fixture
def responder() -> type[Responder]:
    """The class: a test makes its responder with the misbehaviour that it needs."""
    return Responder
