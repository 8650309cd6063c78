"""A client of the Redis protocol that shows replies as they came: each type of RESP2 and RESP3 is a Python type of its own.

It sends lists of bytes, one for each argument, and knows no commands: what a client library would make equal (a status and a
string, the nulls of RESP2) stays apart. The protocol: <https://redis.io/docs/reference/protocol-spec/>.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 60.0  # only a server that does not answer takes so long
_READ_BYTES = 1 << 16
_LEVELS_MAX = 16  # of replies within replies; commands of Redis use four


class ProtocolError(Exception):
    """A reply that is none."""


class Closed(ProtocolError):
    """The server closed the connection."""


@dataclass(frozen=True)
class Status:
    """``+``: a simple string."""

    text: bytes


@dataclass(frozen=True)
class Failure:
    """``-``: an error. ``code`` is its first word, by which programs tell errors apart."""

    text: bytes

    @property
    def code(self) -> bytes:
        """The first word."""
        return self.text.split(b" ", 1)[0]


@dataclass(frozen=True)
class Null:
    """No value: ``$`` is the string that is none, ``*`` the array that is none (both RESP2), ``_`` RESP3's only null."""

    mark: str


@dataclass(frozen=True)
class Boolean:
    """``#``; not a Python bool, which would equal an integer."""

    is_true: bool


@dataclass(frozen=True)
class Double:
    """``,``: the number as it was written."""

    text: bytes


@dataclass(frozen=True)
class BigNumber:
    """``(``: the number as it was written."""

    text: bytes


@dataclass(frozen=True)
class Verbatim:
    """``=``: a text, with the three letters that tell its format."""

    form: bytes
    text: bytes


@dataclass(frozen=True)
class Map:
    """``%``: pairs, in the order in which they came."""

    pairs: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class Set:
    """``~``: members, in the order in which they came."""

    members: tuple[Any, ...]


@dataclass(frozen=True)
class Push:
    """``>``: what the server sends unasked."""

    items: tuple[Any, ...]


Reply = Any  # one of these, or int (``:``), bytes (``$``), list (``*``)


def encode(arguments: Iterable[bytes]) -> bytes:
    """A request: an array of bulk strings."""
    parts = list(arguments)
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class Connection:
    """One connection to a server on ``host:port``. Raises :class:`OSError` when nobody answers there."""

    def __init__(self, host: str, port: int, timeout: float = TIMEOUT_SECONDS) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._bytes = bytearray()
        self._read = 0  # of _bytes

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; again does nothing."""
        self._socket.close()

    def call(self, *arguments: bytes) -> Reply:
        """Send one request, and return its reply."""
        self.send(encode(arguments))
        return self.receive()

    def pipeline(self, requests: Sequence[Sequence[bytes]]) -> list[Reply]:
        """Send all requests at once, and return their replies. Requests and replies fit into the kernel's buffers."""
        self.send(b"".join(encode(request) for request in requests))
        return [self.receive() for _ in requests]

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def receive(self) -> Reply:
        """The next reply. Raises :class:`Closed` at the end, :class:`ProtocolError` for what is no reply."""
        reply = self._reply(_LEVELS_MAX)
        del self._bytes[: self._read]
        self._read = 0
        return reply

    def is_at_end(self) -> bool:
        """Whether the server closes the connection with nothing more said."""
        try:
            return not self._bytes and self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def last_words(self, *arguments: bytes) -> bytes:
        """The error with which the server ends the connection, told to this request, or without one to what was sent; empty:
        it has ended before, as it looks for connections whose tenant is gone by itself."""
        try:
            if arguments:
                self.send(encode(arguments))
            reply = self.receive()
        except (Closed, ConnectionError):
            return b""
        assert isinstance(reply, Failure) and self.is_at_end(), reply
        return reply.text

    def _more(self) -> None:
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise Closed(f"the server closed the connection behind {bytes(self._bytes[:80])!r}")
        self._bytes += data

    def _line(self) -> bytes:
        while (end := self._bytes.find(b"\r\n", self._read)) < 0:
            self._more()
        line = bytes(self._bytes[self._read : end])
        self._read = end + 2
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self._bytes) < self._read + count + 2:
            self._more()
        end = self._read + count
        data, behind = bytes(self._bytes[self._read : end]), self._bytes[end : end + 2]
        if behind != b"\r\n":
            raise ProtocolError(f"{count} bytes of a string end in {bytes(behind)!r}")
        self._read = end + 2
        return data

    def _reply(self, levels: int) -> Reply:
        line = self._line()
        mark, rest = line[:1], line[1:]
        if levels == 0 or mark not in _READERS:
            raise ProtocolError(f"{line[:80]!r} begins no reply")
        return _READERS[mark](self, rest, levels - 1)

    def _many(self, count: bytes, levels: int, each: int = 1) -> list[Reply]:
        return [self._reply(levels) for _ in range(_number(count) * each)]

    def _string(self, rest: bytes, levels: int) -> Reply:
        return Null("$") if rest == b"-1" else self._exactly(_number(rest))

    def _array(self, rest: bytes, levels: int) -> Reply:
        return Null("*") if rest == b"-1" else self._many(rest, levels)

    def _map(self, rest: bytes, levels: int) -> Map:
        flat = self._many(rest, levels, 2)
        return Map(tuple(zip(flat[::2], flat[1::2], strict=True)))

    def _verbatim(self, rest: bytes, levels: int) -> Verbatim:
        form, colon, text = (data := self._exactly(_number(rest)))[:3], data[3:4], data[4:]
        if colon != b":":
            raise ProtocolError(f"a verbatim string begins with {data[:4]!r}")
        return Verbatim(form, text)


def _number(text: bytes) -> int:
    if not text.removeprefix(b"-").isdigit():
        raise ProtocolError(f"{text[:40]!r} is no number")
    return int(text)


def _boolean(text: bytes) -> Boolean:
    if text not in (b"t", b"f"):
        raise ProtocolError(f"{text[:40]!r} is no boolean")
    return Boolean(text == b"t")


_READERS: dict[bytes, Any] = {
    b"+": lambda _, rest, levels: Status(rest),
    b"-": lambda _, rest, levels: Failure(rest),
    b":": lambda _, rest, levels: _number(rest),
    b"$": Connection._string,
    b"*": Connection._array,
    b"_": lambda _, rest, levels: Null("_"),
    b"#": lambda _, rest, levels: _boolean(rest),
    b",": lambda _, rest, levels: Double(rest),
    b"(": lambda _, rest, levels: BigNumber(rest),
    b"=": Connection._verbatim,
    b"%": Connection._map,
    b"~": lambda self, rest, levels: Set(tuple(self._many(rest, levels))),
    b">": lambda self, rest, levels: Push(tuple(self._many(rest, levels))),
}
