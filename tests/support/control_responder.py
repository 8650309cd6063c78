"""A control plane that answers what a test wants."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgpack


class ControlResponder:
    """A control plane in threads, one for each connection. ``answer`` makes the reply of a request; None: silence."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self.socket.getsockname()[1]
        self.requests: list[dict[str, Any]] = []
        self.connections: list[socket.socket] = []
        self.answer: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda request: {"ok": True}
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for used in (self.socket, *self.connections):
            used.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while head := connection.recv(4, socket.MSG_WAITALL):
                body = connection.recv(int.from_bytes(head, "little"), socket.MSG_WAITALL)
                request = msgpack.unpackb(body)
                self.requests.append(request)
                reply = self.answer(request)
                if reply is not None:
                    packed = msgpack.packb(reply)
                    connection.sendall(len(packed).to_bytes(4, "little") + packed)
