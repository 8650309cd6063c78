"""A connection to the control plane: msgpack maps over TCP, each behind its length."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from typing import Any

import msgpack

from splinter import limits
from splinter.client.sockets import connect
from splinter.errors import CompileError, ControlError, PermissionDeniedError, SplinterError, Status, error_for

_LENGTH = struct.Struct("<I")


def error_from(reply: dict[str, Any]) -> SplinterError:
    """The exception for a reply whose ``ok`` is false."""
    code, message = str(reply.get("error", "error")), str(reply.get("message", ""))
    if code == "compile_error":
        return CompileError(list(reply.get("diagnostics", [])), message)
    if code == "permission_denied":
        return PermissionDeniedError(message, code)
    if code.upper() in Status.__members__:
        return error_for(Status[code.upper()], message)
    return ControlError(message, code)


class ControlConnection:
    """Requests to the control plane, one at a time; connects when first used, and again when the server has hung up.

    ``timeout`` is in seconds, for each request. Threads may share a connection. Every request raises
    :class:`ControlError` when the server cannot be reached, the exception of its error code when it refuses.
    """

    def __init__(self, address: str, port: int, *, netns: str | None = None, timeout: float = 30.0) -> None:
        self._address, self._port, self._netns, self._timeout = address, port, netns, timeout
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one request, return the reply's map."""
        body = msgpack.packb({"op": op, **{name: value for name, value in fields.items() if value is not None}})
        if len(body) > limits.CONTROL_MESSAGE_BYTES_MAX:
            raise ControlError(f"a control message has at most {limits.CONTROL_MESSAGE_BYTES_MAX} bytes", "message_too_large")
        with self._lock:
            try:
                connection = self._connected()
                connection.sendall(_LENGTH.pack(len(body)) + body)
                reply = self._read(connection)
            except (OSError, ValueError) as error:
                self._hang_up()
                reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
                raise ControlError(
                    f"control plane at {self._address}:{self._port}: {reason}; whether {op!r} took effect is unknown",
                    "connection",
                ) from None
            except BaseException:
                self._hang_up()  # a reply may still come: it would answer the next request
                raise
        if reply.get("ok") is not True:
            raise error_from(reply)
        return reply

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        with self._lock:
            self._hang_up()

    def _connected(self) -> socket.socket:
        if self._socket is not None and self._server_hung_up():
            self._hang_up()
        if self._socket is None:
            try:
                self._socket = connect(socket.SOCK_STREAM, self._address, self._port, self._netns, self._timeout)
            except OSError as error:
                where = f"{self._address}:{self._port}"
                raise ControlError(f"cannot reach the control plane at {where}: {error}", "connection") from None
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _server_hung_up(self) -> bool:
        """Whether an idle connection has ended. Asked before each request, so that none is ever sent twice."""
        assert self._socket is not None
        # Between requests nothing is to be read: whatever is there is the end, or a farewell before it.
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(0))

    def _hang_up(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _read(self, connection: socket.socket) -> dict[str, Any]:
        (length,) = _LENGTH.unpack(_read_exactly(connection, _LENGTH.size))
        if length > limits.CONTROL_MESSAGE_BYTES_MAX:
            raise ValueError(f"a reply of {length} bytes")
        reply = msgpack.unpackb(_read_exactly(connection, length))
        if not isinstance(reply, dict):
            raise ValueError("a reply that is not a map")
        return reply


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = connection.recv(count - len(received))
        if not piece:
            raise ConnectionResetError("the server closed the connection")
        received += piece
    return bytes(received)
