"""Load generator for servers that speak a text protocol over TCP or UDP: Redis, memcached, and whatever else answers.

What is sent is a :class:`Script`: requests, and for each the reply that it must get, byte for byte, prepared beforehand so
that the compiled loop only sends, receives and compares. It keeps one group of requests under way on each connection:

* ``pipeline`` requests are sent by one system call, and wait for all their replies;
* ``steps`` of those follow each other, each sent when the one before is answered: a chain of dependent look-ups. Its
  latency is that of the whole chain, and it counts once.

One connection is served by ``recv``, blocking as most clients are, or spinning; many by ``epoll_wait``. A reply other than
the expected one ends its connection's part of the run and counts as corrupt. Over UDP each datagram begins with
memcached's frame header: the request's number comes back in it, so that a late reply is not taken for another's.
"""

from __future__ import annotations

import platform
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from splinter.errors import SplinterError
from splinter.native.atomics import load16, load32, load64
from splinter.native.clock import SECOND_NS, TIMESPEC_BYTES, now_ns
from splinter.native.libc import EAGAIN, EINTR, MSG_DONTWAIT, epoll_wait, errno, memcmp, recvfrom, sendto
from splinter_bench.generators.text_layout import CONNECTION, CONNECTION_BYTES, RUN, Connection, Run
from splinter_bench.histogram import Histogram, record
from splinter_bench.owner import Owner
from splinter_bench.result import Result

CONNECTIONS_MAX = 1024
REPLY_SECONDS_MAX = 5  # a reply that takes longer is lost; one that waits for a busy disk and a busy CPU took more than one
_DATAGRAM_BYTES_MAX = 1400  # memcached sends longer replies in several
FRAME = struct.Struct(">HHHH")  # memcached's protocol.txt: request number, datagram number, datagrams, reserved
_KIND_BYTES = 2  # a value, an error, nothing: the first bytes of a reply tell
_WAIT_MS = 100  # of epoll_wait where it may block
_WORD_BYTES = 8
# struct epoll_event is packed on x86-64 only.
_EVENT_BYTES = 12 if platform.machine() == "x86_64" else 16
_EVENT_DATA = _EVENT_BYTES - _WORD_BYTES
_NOTHING = -1
_CLOSED = -1  # what the loops return when the server has closed a connection


@njit(cache=True)
def _send_step(run: int, connection: int, now: int) -> bool:
    """Send the step whose first request stands in the connection; False when the server is gone."""
    whole, mine = Run(run), Connection(connection)
    mine.got = 0
    mine.sent_ns = now
    whole.sent += whole.pipeline
    at = load64(whole.request_ends + mine.first * _WORD_BYTES)
    end = load64(whole.request_ends + (mine.first + whole.pipeline) * _WORD_BYTES)
    while at < end:
        sent = sendto(mine.fd, whole.requests + at, end - at, 0, 0, 0)
        if sent > 0:
            at += sent
        elif errno() != EINTR:
            return False
    return True


@njit(cache=True)
def _begin(run: int, connection: int, now: int) -> bool:
    """Begin the next group on an idle connection, if there is one; False when the server is gone."""
    whole, mine = Run(run), Connection(connection)
    if whole.left == 0 or now >= whole.record_until_ns:
        return True
    whole.left -= 1
    whole.busy += 1
    mine.first = whole.cursor
    mine.steps_left = whole.steps - 1
    mine.begun_ns = now
    following = whole.cursor + whole.pipeline * whole.steps
    whole.cursor = 0 if following >= whole.count else following
    return _send_step(run, connection, now)


@njit(cache=True)
def _end(run: int, connection: int) -> None:
    Connection(connection).first = _NOTHING
    Run(run).busy -= 1


@njit(cache=True)
def _receive(run: int, connection: int, flags: int, timespec: int) -> bool:
    """Take what has come on a connection, and go on with what is next there; False when the server is gone."""
    whole, mine = Run(run), Connection(connection)
    at = load64(whole.reply_ends + mine.first * _WORD_BYTES)
    length = load64(whole.reply_ends + (mine.first + whole.pipeline) * _WORD_BYTES) - at
    expected, buffer, got = whole.replies + at, mine.buffer, mine.got
    received = recvfrom(mine.fd, buffer + got, length - got, flags, 0, 0)
    if received <= 0:
        return received < 0 and (errno() == EAGAIN or errno() == EINTR)
    now = now_ns(timespec)
    got += received
    if whole.is_datagram:
        if load16(buffer) != load16(expected):
            whole.stale += 1
            return True
    elif got < length and (got < _KIND_BYTES or load16(buffer) == load16(expected)):
        mine.got = got
        return True  # the rest is still to come
    if got != length or memcmp(buffer, expected, length) != 0:
        whole.corrupt += whole.pipeline
        _end(run, connection)
        return True
    if mine.steps_left > 0:
        mine.steps_left -= 1
        mine.first += whole.pipeline
        return _send_step(run, connection, now)
    if whole.record_from_ns <= now < whole.record_until_ns:
        whole.recorded += whole.pipeline
        for _ in range(whole.pipeline):
            record(whole.cells, now - mine.begun_ns)
    _end(run, connection)
    return _begin(run, connection, now)


@njit(cache=True)
def _give_up(run: int, connection: int, now: int) -> bool:
    """Count what has waited too long as lost and begin anew; over TCP the connection cannot be used any more."""
    whole, mine = Run(run), Connection(connection)
    if mine.first == _NOTHING or now - mine.sent_ns <= whole.reply_ns_max:
        return True
    whole.lost += whole.pipeline
    _end(run, connection)
    return whole.is_datagram == 0 or _begin(run, connection, now)


@njit(cache=True, nogil=True)
def _one(run: int, connection: int, flags: int, timespec: int) -> int:
    """Run over one connection by ``recv``; returns 0, or _CLOSED."""
    is_up = _begin(run, connection, now_ns(timespec))
    while is_up and Connection(connection).first != _NOTHING:
        before = Run(run).sent
        is_up = _receive(run, connection, flags, timespec)
        if is_up and Run(run).sent == before:
            is_up = _give_up(run, connection, now_ns(timespec))
    return 0 if is_up else _CLOSED


@njit(cache=True, nogil=True)
def _many(run: int, connections: int, count: int, epoll: int, events: int, places: int, wait_ms: int, timespec: int) -> int:
    """Run over ``count`` connections by ``epoll_wait``; ``places`` has each one's number by descriptor. 0, or _CLOSED."""
    for i in range(count):
        if not _begin(run, connections + i * CONNECTION_BYTES, now_ns(timespec)):
            return _CLOSED
    looked = now_ns(timespec)
    while Run(run).busy > 0:
        ready = epoll_wait(epoll, events, count, wait_ms)
        for i in range(ready):
            fd = load32(events + i * _EVENT_BYTES + _EVENT_DATA)
            connection = connections + load64(places + fd * _WORD_BYTES) * CONNECTION_BYTES
            if Connection(connection).first != _NOTHING and not _receive(run, connection, MSG_DONTWAIT, timespec):
                return _CLOSED
        now = now_ns(timespec)
        if now - looked > Run(run).reply_ns_max:
            looked = now
            for i in range(count):
                if not _give_up(run, connections + i * CONNECTION_BYTES, now):
                    return _CLOSED
    return 0


@dataclass(frozen=True)
class Script:
    """Requests and the replies they must get. ``name`` is what results are called; over UDP neither has a frame header."""

    name: str
    requests: Sequence[bytes]
    replies: Sequence[bytes]
    pipeline: int = 1
    steps: int = 1

    def __post_init__(self) -> None:
        if len(self.requests) != len(self.replies) or len(self.requests) < self.group or self.group < 1:
            raise ValueError("a script has as many replies as requests, and at least one group of them")

    @property
    def group(self) -> int:
        """Requests that belong together."""
        return self.pipeline * self.steps


class _Table:
    """Byte strings one behind the other, and where each begins and ends."""

    def __init__(self, items: Sequence[bytes]) -> None:
        self.ends = np.zeros(len(items) + 1, np.int64)
        np.cumsum([len(item) for item in items], out=self.ends[1:])
        self.bytes = np.frombuffer(bytearray(b"".join(items)), np.uint8)

    @property
    def addresses(self) -> tuple[int, int]:
        """Those of the bytes and of the ends."""
        return self.bytes.ctypes.data, self.ends.ctypes.data

    def longest(self, group: int) -> int:
        """Bytes of the longest ``group`` of items in a row."""
        return int((self.ends[group:] - self.ends[:-group]).max())


@dataclass(frozen=True)
class _Loaded:
    """A script in memory for compiled code, and each connection's room for a reply."""

    script: Script
    requests: _Table
    replies: _Table
    buffers: np.ndarray[Any, np.dtype[np.uint8]]


class TextClient(Owner):
    """``connections`` connections, made by ``connect``; a context manager that closes them.

    ``is_spinning``: wait by asking again and again, which spares the server the client's wake-up.
    A reply that takes longer than ``reply_seconds_max`` is lost, whoever had the client's CPU meanwhile.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        connections: int = 1,
        *,
        is_datagram: bool = False,
        is_spinning: bool = False,
        reply_seconds_max: int = REPLY_SECONDS_MAX,
    ) -> None:
        if not 1 <= connections <= CONNECTIONS_MAX:
            raise ValueError(f"1 to {CONNECTIONS_MAX} connections, not {connections}")
        self._is_datagram, self._is_spinning = is_datagram, is_spinning
        self._reply_ns_max = reply_seconds_max * SECOND_NS
        with self._opening() as stack:
            self._epoll = stack.enter_context(select.epoll())
            self._sockets = [stack.enter_context(connect()) for _ in range(connections)]
        descriptors = [sock.fileno() for sock in self._sockets]
        self._places = np.zeros(max(descriptors) + 1, np.int64)
        self._places[descriptors] = np.arange(connections)
        wait = struct.pack("@ll", reply_seconds_max, 0)
        for sock in self._sockets:
            sock.settimeout(None)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._connections = np.zeros(connections, CONNECTION)
        self._connections["fd"] = descriptors
        self._events = np.zeros(connections * _EVENT_BYTES, np.uint8)
        self._timespec = np.zeros(TIMESPEC_BYTES, np.uint8)
        self._loaded: dict[int, _Loaded] = {}  # by the script's id; each holds its script
        self._loop(np.zeros(1, RUN))  # compiles, and sends nothing

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._sockets)

    def run(self, script: Script, *, seconds: float, warmup_seconds: float) -> Result:
        """Repeat the script for ``seconds`` after ``warmup_seconds``, which count for nothing.

        Raises :class:`SplinterError` when the server closes a connection.
        """
        self._load(script)
        begin = time.monotonic_ns() + int(warmup_seconds * SECOND_NS)
        return self._run(script, begin, begin + int(seconds * SECOND_NS), 1 << 62, seconds)

    def run_once(self, script: Script) -> Result:
        """Send each request once, whole groups only. Raises as :meth:`run` does."""
        self._load(script)
        start = time.monotonic_ns()
        result = self._run(script, start, 1 << 62, len(script.requests) // script.group, 0.0)
        result.seconds = (time.monotonic_ns() - start) / SECOND_NS
        return result

    def _run(self, script: Script, begin_ns: int, until_ns: int, groups: int, seconds: float) -> Result:
        loaded = self._loaded[id(script)]
        histogram, run = Histogram(), np.zeros(1, RUN)
        run["requests"], run["request_ends"] = loaded.requests.addresses
        run["replies"], run["reply_ends"] = loaded.replies.addresses
        run["count"], run["left"] = len(script.requests) // script.group * script.group, groups
        run["pipeline"], run["steps"], run["is_datagram"] = script.pipeline, script.steps, self._is_datagram
        run["record_from_ns"], run["record_until_ns"], run["cells"] = begin_ns, until_ns, histogram.address
        run["reply_ns_max"] = self._reply_ns_max
        self._connections["buffer"] = loaded.buffers.ctypes.data + np.arange(len(loaded.buffers)) * loaded.buffers.shape[1]
        if self._loop(run) == _CLOSED:
            raise SplinterError(f"{script.name}: the server closed a connection")
        found: dict[str, Any] = {name: int(run[name][0]) for name in ("recorded", "lost", "corrupt", "stale")}
        depth, sent = len(self._sockets) * script.pipeline, int(run["sent"][0])
        return Result(script.name, depth, seconds, sent, checked=found["recorded"], histogram=histogram, **found)

    def _loop(self, run: np.ndarray[Any, Any]) -> int:
        self._connections["first"] = _NOTHING
        address, timespec = self._connections.ctypes.data, self._timespec.ctypes.data
        if len(self._sockets) == 1:
            return int(_one(run.ctypes.data, address, MSG_DONTWAIT if self._is_spinning else 0, timespec))
        return int(
            _many(
                run.ctypes.data, address, len(self._sockets), self._epoll.fileno(), self._events.ctypes.data,
                self._places.ctypes.data, 0 if self._is_spinning else _WAIT_MS, timespec,
            )
        )  # fmt: skip

    def _load(self, script: Script) -> None:
        if id(script) in self._loaded:
            return
        requests, replies = script.requests, script.replies
        if self._is_datagram:
            if script.pipeline != 1:
                raise ValueError("a datagram holds one request")
            frames = [FRAME.pack(number & 0xFFFF, 0, 1, 0) for number in range(len(requests))]
            requests = [frame + request for frame, request in zip(frames, requests, strict=True)]
            replies = [frame + reply for frame, reply in zip(frames, replies, strict=True)]
            if max(map(len, [*requests, *replies])) > _DATAGRAM_BYTES_MAX:
                raise ValueError(f"more than {_DATAGRAM_BYTES_MAX} bytes do not fit a datagram")
        tables = _Table(requests), _Table(replies)
        room = np.zeros((len(self._sockets), tables[1].longest(script.pipeline)), np.uint8)
        self._loaded[id(script)] = _Loaded(script, *tables, room)
