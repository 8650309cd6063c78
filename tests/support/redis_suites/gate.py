"""A gate between a suite and a server: logs in for those that cannot, tells which command came in which test, refuses some.

A test begins where the suite sends ``DEBUG LOG "### Starting test NAME"``: the stock TCL suites do, before each test on an
external server, and so does our plugin in redis-py's. What is not to reach the server goes on under another name or as another
command, so that each request keeps its place in a pipeline and in a transaction, and each reply comes from the server.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field

from tests.support.redis_suites.claims import UNKNOWN_TO_REDIS, command_name, is_claimed

STARTING = b"### Starting test "
READ_BYTES = 1 << 18
LINE_BYTES_MAX = 1 << 16  # as Redis's
WORDS_MAX = 1 << 20
WORD_BYTES_MAX = 512 << 20
CONNECT_SECONDS = 10.0
_JOIN_SECONDS = 10.0
_FINE = (b"PING", b"OK")  # a bulk string OK in place of a simple one; clients tell no difference
# What the gate has the server do instead, for the suites that need it before and between their tests.
INSTEAD = {"FLUSHALL": (b"FLUSHDB",), "FUNCTION FLUSH": _FINE, "DEBUG SET-ACTIVE-EXPIRE": _FINE}


class MalformedError(Exception):
    """Bytes that are no request."""


def one_request(data: bytearray, begin: int) -> tuple[list[bytes], int] | None:
    """The words of the request at ``begin`` and where it ends; ``None`` when it is not all there yet."""
    line = _line(data, begin)
    if line is None:
        return None
    text, end = line
    if not text.startswith(b"*"):
        return text.split(), end
    words = []
    for _ in range(_number(text[1:], WORDS_MAX)):
        line = _line(data, end)
        if line is None:
            return None
        text, start = line
        if not text.startswith(b"$"):
            raise MalformedError
        length = _number(text[1:], WORD_BYTES_MAX)
        if length < 0:
            raise MalformedError
        end = start + length + 2
        if end > len(data):
            return None
        words.append(bytes(data[start : end - 2]))
    return words, end


def _line(data: bytearray, begin: int) -> tuple[bytes, int] | None:
    found = data.find(b"\n", begin, begin + LINE_BYTES_MAX)
    if found >= 0:
        return bytes(data[begin:found]).rstrip(b"\r"), found + 1
    if len(data) - begin >= LINE_BYTES_MAX:
        raise MalformedError
    return None


def _number(text: bytes, most: int) -> int:
    if not text.removeprefix(b"-").isdigit() or int(text) > most:
        raise MalformedError
    return int(text)


def encoded(words: tuple[bytes, ...]) -> bytes:
    """A request of these words."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


@dataclass
class Seen:
    """What came while a test ran."""

    test: str
    commands: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)


class Gate:
    """Forwards between a port of its own on loopback and a server, until closed.

    ``login`` is name and token of whoever the connections are; without, they log in themselves. ``refuse``: commands that are
    not claimed get the reply to an unknown command. ``replace``: those of :data:`INSTEAD` are replaced, and counted in
    ``replaced``.
    """

    def __init__(
        self, host: str, port: int, login: tuple[str, str] | None = None, *, refuse: bool = False, replace: bool = False
    ) -> None:
        self._server = (host, port)
        self._login = tuple(part.encode() for part in login) if login else None
        self._refuse, self._replace = refuse, replace
        self.seen = [Seen("")]  # of what comes before the first test
        self.replaced: Counter[str] = Counter()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listening.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections."""
        _shut(self._listening)
        for used in list(self._sockets):
            _shut(used)
        for thread in list(self._threads):
            thread.join(_JOIN_SECONDS)
        self._listening.close()

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._server, CONNECT_SECONDS) as server:
            server.settimeout(None)
            for used in (client, server):
                used.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._login is not None:
                server.sendall(encoded((b"AUTH", *self._login)))
                reply = server.recv(READ_BYTES)
                if reply != b"+OK\r\n":  # the suite hears of it as the reply to what it asks first
                    client.sendall(reply)
                    return
            self._sockets |= {client, server}
            back = threading.Thread(target=self._replies, args=(server, client), daemon=True)
            back.start()
            try:
                self._requests(client, server)
            finally:
                back.join()
                self._sockets -= {client, server}

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(READ_BYTES):
                client.sendall(data)
        _shut(client)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        data = bytearray()
        understood = True
        try:
            while more := client.recv(READ_BYTES):
                data += more
                if understood:
                    begin, understood = self._forward(data, server)
                    del data[:begin]
                if not understood:  # the server is to see the very bytes
                    server.sendall(data)
                    data.clear()
            server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            _shut(server)

    def _forward(self, data: bytearray, server: socket.socket) -> tuple[int, bool]:
        """Send on the requests that are whole; where the rest begins, and whether it may be one."""
        begin, out, understood = 0, bytearray(), True
        try:
            while begin < len(data) and (found := one_request(data, begin)) is not None:
                words, end = found
                other = self._treat(words)
                out += data[begin:end] if other is None else encoded(other)
                begin = end
        except MalformedError:
            understood = False
        server.sendall(out)
        return begin, understood

    def _treat(self, words: list[bytes]) -> tuple[bytes, ...] | None:
        """Count a request; what goes on in its place, if anything."""
        name = command_name(words)
        if name == "DEBUG LOG" and len(words) == 3 and words[2].startswith(STARTING):
            self.seen.append(Seen(words[2][len(STARTING) :].decode("utf-8", "replace")))
            return _FINE
        if self._replace and name in INSTEAD:
            self.replaced[name] += 1
            return (*INSTEAD[name], *(words[1:] if name == "FLUSHALL" else ()))
        seen = self.seen[-1]
        seen.commands.add(name)
        if self._refuse and not is_claimed(name):
            seen.refused |= {name} - UNKNOWN_TO_REDIS
            return (b"unclaimed." + words[0], *words[1:])
        return None


def _shut(used: socket.socket) -> None:
    with contextlib.suppress(OSError):
        used.shutdown(socket.SHUT_RDWR)
