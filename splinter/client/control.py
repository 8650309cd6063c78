"""A connection to the control plane: msgpack maps over TCP, each behind its length."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgpack

from splinter import limits
from splinter.client.obstacles import sentence
from splinter.client.process import ForkedError, ProcessOwn, process_number
from splinter.client.sockets import ResolutionTimeoutError, connect
from splinter.errors import (
    CompileError,
    ControlConnectionError,
    ControlError,
    ControlTimeoutError,
    PermissionDeniedError,
    SplinterError,
    Status,
    error_for,
)

_LENGTH = struct.Struct("<I")
_UNKNOWN_BYTES_MAX = limits.CONTROL_STRANGER_MESSAGE_BYTES_MAX
_WHO = ("credential", "tenant", "token")  # fields that tell who asks
_IDLE_MAX = 2  # connections that are kept for later requests
_PIECE_SECONDS = 0.1  # a wait is cut into such pieces: one in which this process was stopped counts as one piece


def error_from(reply: dict[str, Any]) -> SplinterError:
    """The exception for a reply whose ``ok`` is false."""
    code, message = str(reply.get("error", "error")), str(reply.get("message", ""))
    if code == "compile_error":
        return CompileError(list(reply.get("diagnostics", [])), message)
    if code in ("permission_denied", "token_retired", "tenant_removed"):
        return PermissionDeniedError(message, code)
    if code.upper() in Status.__members__:
        return error_for(Status[code.upper()], message)
    return ControlError(message, code)


def _packed(op: str, fields: dict[str, Any]) -> bytes:
    """A request's message. Raises :class:`ControlError` for what cannot be one."""
    try:
        body = msgpack.packb({"op": op, **{name: value for name, value in fields.items() if value is not None}})
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        raise ControlError(f"{op!r} cannot be asked for with these values: {error}", "bad_request") from None
    if len(body) > limits.CONTROL_MESSAGE_BYTES_MAX:
        raise ControlError(f"a control message has at most {limits.CONTROL_MESSAGE_BYTES_MAX} bytes", "message_too_large")
    return _LENGTH.pack(len(body)) + bytes(body)


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """For the block that takes a reply apart: what it lacks, or has of another form, is told as the server's mistake."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
        raise ControlError(f"this is no reply of a Splinter server of this version ({said})", "bad_reply") from None


class _Wait:
    """The time that one request may still wait for the server; what this process itself takes, or is stopped for, is not
    counted."""

    def __init__(self, seconds: float) -> None:
        self.left = self._seconds = seconds
        self._process = process_number()

    def check_process(self) -> None:
        """Raises :class:`ForkedError` in a child that was forked since the request began."""
        if self._process != process_number():
            raise ForkedError

    def extend(self, times: int) -> None:
        """A long reply has come so far that its length is known: it may take as much time again, so many times."""
        self.left += times * self._seconds

    def piece(self) -> float:
        """For how long to wait now. Raises :class:`TimeoutError` when nothing is left."""
        if self.left <= 0:
            raise TimeoutError
        return min(self.left, _PIECE_SECONDS)

    def took(self, begun: float, piece: float) -> None:
        """A wait that began then, for so long at most, is over."""
        self.left -= min(time.monotonic() - begun, piece)


class ControlConnection(ProcessOwn):
    """Requests to the control plane; connects when first used, and again when the server has hung up.

    ``timeout`` is in seconds, for each request, and for each MiB of its reply but the first. Threads may share it: each request
    under way has a connection of its own.
    A forked child makes its own connections. Every request raises :class:`ControlConnectionError` when the server cannot be
    reached, :class:`ControlTimeoutError` when it does not answer, the exception of its error code when it refuses.
    """

    def __init__(self, address: str, port: int, *, netns: str | None = None, timeout: float = 30.0) -> None:
        self._address, self._port, self._netns, self._timeout = address, port, netns, timeout
        self._idle: deque[socket.socket] = deque()  # append and pop are atomic: no lock
        self._process = process_number()

    def request(self, op: str, *, seconds: float | None = None, **fields: Any) -> dict[str, Any]:
        """Send one request, return the reply's map. ``seconds`` in place of the connection's time-out."""
        message = _packed(op, fields)
        # Nobody may send much before the server knows who it is.
        first = _packed("hello", {name: fields.get(name) for name in _WHO}) if len(message) > _UNKNOWN_BYTES_MAX else b""
        reply = self._exchange(first, message, op, self._timeout if seconds is None else seconds)
        if reply.get("ok") is not True:
            raise error_from(reply)
        return reply

    def close(self) -> None:
        """Close what is idle; the next request connects again."""
        idle, self._idle = self._idle, deque()
        for connection in idle:
            _close(connection)

    def _exchange(self, first: bytes, message: bytes, op: str, seconds: float) -> dict[str, Any]:
        """Send a message, after ``first`` if there is one, whose reply does not matter; return the reply."""
        wait = _Wait(seconds)
        connection = self._take(wait, seconds)
        where, unknown = f"control plane at {self._address}:{self._port}", f"whether {op!r} took effect is unknown"
        try:
            if first:
                self._send(connection, first, wait)
                self._read(connection, wait)
            self._send(connection, message, wait)
            reply = self._read(connection, wait)
        except BaseException as error:
            _close(connection)  # a reply may still come: it would answer the next request
            if isinstance(error, SplinterError):
                raise
            if isinstance(error, TimeoutError):
                raise ControlTimeoutError(f"{where}: no answer within {seconds:g} s; {unknown}") from None
            if isinstance(error, OSError | ValueError | RecursionError | msgpack.UnpackException):
                number = getattr(error, "errno", None)
                raise ControlConnectionError(f"{where}: {error}; {unknown}", number) from None
            raise
        if len(self._idle) < _IDLE_MAX:
            self._idle.append(connection)
        else:
            _close(connection)
        return reply

    def _take(self, wait: _Wait, seconds: float) -> socket.socket:
        """A connection that nobody else uses. Raises :class:`ControlError`."""
        if self._process != process_number():  # the parent's: closing them here does nothing to it
            self.close()
            self._process = process_number()
        with contextlib.suppress(IndexError):
            while True:
                idle = self._idle.pop()
                if not _has_hung_up(idle):
                    return idle
                _close(idle)
        begun = time.monotonic()
        try:
            made = connect(socket.SOCK_STREAM, self._address, self._port, self._netns, wait.left)
        except ResolutionTimeoutError as error:
            raise ControlTimeoutError(f"cannot reach the control plane: {error}") from None
        except TimeoutError:
            raise ControlTimeoutError(
                f"the control plane at {self._address}:{self._port} did not answer within {seconds:g} s (is the host there? "
                "does a firewall drop TCP to this port?)"
            ) from None
        except OSError as error:
            text = sentence(error.errno, self._address, self._port) if error.errno else str(error)
            raise ControlConnectionError(f"cannot reach the control plane: {text}", error.errno) from None
        wait.took(begun, wait.left)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _send(self, connection: socket.socket, message: bytes, wait: _Wait) -> None:
        rest = memoryview(message)
        while rest:
            piece, begun = wait.piece(), time.monotonic()
            connection.settimeout(piece)
            wait.check_process()
            with contextlib.suppress(TimeoutError):
                rest = rest[connection.send(rest) :]
            wait.took(begun, piece)

    def _read(self, connection: socket.socket, wait: _Wait) -> dict[str, Any]:
        (length,) = _LENGTH.unpack(self._read_exactly(connection, _LENGTH.size, wait))
        if length > limits.CONTROL_REPLY_BYTES_MAX:
            raise ValueError(f"a reply of {length} bytes")
        wait.extend(length // limits.CONTROL_MESSAGE_BYTES_MAX)
        reply = msgpack.unpackb(self._read_exactly(connection, length, wait))
        if not isinstance(reply, dict):
            raise ValueError("a reply that is not a map")
        return reply

    def _read_exactly(self, connection: socket.socket, count: int, wait: _Wait) -> bytes:
        received = bytearray()
        while len(received) < count:
            piece, begun = wait.piece(), time.monotonic()
            connection.settimeout(piece)
            try:
                part = connection.recv(count - len(received))
            except TimeoutError:
                part = None
            wait.check_process()
            wait.took(begun, piece)
            if part is not None:
                if not part:
                    raise ConnectionResetError("the server closed the connection")
                received += part
        return bytes(received)


def _has_hung_up(connection: socket.socket) -> bool:
    """Whether an idle connection has ended. Asked before each request, so that none is ever sent twice."""
    # Between requests nothing is to be read: whatever is there is the end, or a farewell before it.
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.close()
