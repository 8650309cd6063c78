"""One socket's requests and replies: numbering, matching, sending again.

A channel belongs to one thread at a time and needs no lock; :class:`splinter.client.Client` keeps as many as it has
threads in a request. Each has a client id of its own, so its sequence numbers are the whole truth about what it still
waits for.

A request that is not answered is sent again under the same sequence number, after a wait that doubles each time; the
server executes it once. To that end each packet says below which number the channel waits for no reply, and a channel has
no more than CLIENT_WINDOW numbers open. The
socket blocks in ``recv`` with SO_RCVTIMEO: one system call to send and one to receive, where Python's own time-outs
would add a ``poll`` to each.
"""

from __future__ import annotations

import errno
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from splinter import limits
from splinter.client.sockets import connect
from splinter.errors import BusyError, ProtocolError, RequestTimeoutError, SplinterError, Status
from splinter.wire import FLAG_REPLY, HEADER_STRUCT, MAGIC, VERSION, Opcode

RESEND_SECONDS_MIN = 0.02  # wait before the first repetition; a wait doubles each time
RESEND_SECONDS_MAX = 0.5
_WAIT_SECONDS_MIN = 0.001  # SO_RCVTIMEO of 0 would wait for ever
_RECEIVE_BUFFER_BYTES = 1 << 20
_FRAGMENT_BITS = 16  # an identity is sequence << 16 | fragment index
_HEADER_BYTES = limits.REQUEST_HEADER_BYTES

_pack = HEADER_STRUCT.pack
_unpack = HEADER_STRUCT.unpack_from
_monotonic = time.monotonic


class Reply(NamedTuple):
    """What a reply carries; ``version`` is the object's."""

    status: int
    version: int
    fragment_index: int
    fragment_count: int
    value: bytes


@dataclass(slots=True)
class _Flight:
    """A request on its way; times are seconds of the monotonic clock."""

    packet: bytes
    deadline: float
    resend_at: float
    wait: float
    last_status: int = Status.OK


class Channel:
    """A connected UDP socket of one tenant. ``timeout`` is seconds for one request with all its repetitions."""

    def __init__(self, address: str, port: int, tenant: int, token: int, netns: str | None, timeout: float) -> None:
        self._peer = f"{address}:{port}"
        self._tenant = tenant
        self._token = token
        self.timeout = timeout
        self._client = secrets.randbits(64) or 1
        self._sequence = 0
        self._flights: dict[int, _Flight] = {}  # of the current stream(), oldest first
        self._refused = False
        try:
            self._socket = connect(socket.SOCK_DGRAM, address, port, netns, timeout)
        except OSError as error:
            raise SplinterError(f"cannot send to {self._peer}: {error}") from None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self._socket.setblocking(True)
        self._receive_seconds = 0.0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def next_sequence(self) -> int:
        """A new sequence number."""
        self._sequence += 1
        return self._sequence

    def packet(
        self,
        opcode: Opcode,
        sequence: int,
        table: int,
        key: bytes,
        value: bytes,
        object_version: int = 0,
        fragment_index: int = 0,
        fragment_count: int = 0,
    ) -> bytes:
        """The bytes of a request."""
        return (
            _pack(
                MAGIC, VERSION, opcode, 0, 0, self._tenant, table, len(key), self._token, self._client, sequence,
                len(value), fragment_index, fragment_count, object_version, self._oldest(sequence),
            ) + key + value
        )  # fmt: skip

    def _oldest(self, new: int) -> int:
        """The number below which everything has been answered or given up for good; ``new`` when nothing is open."""
        return next(iter(self._flights)) >> _FRAGMENT_BITS if self._flights else new

    def request(
        self,
        opcode: Opcode,
        table: int = 0,
        key: bytes = b"",
        value: bytes = b"",
        object_version: int = 0,
        *,
        timeout: float | None = None,
        resend_seconds: float = RESEND_SECONDS_MIN,
    ) -> Reply:
        """Send one request and return its reply, whatever the status (but BUSY, which is tried again until the
        deadline).

        Raises :class:`RequestTimeoutError` without an answer, :class:`BusyError` when the server stayed busy.
        """
        sequence = self.next_sequence()
        packet = self.packet(opcode, sequence, table, key, value, object_version)
        identity = sequence << _FRAGMENT_BITS
        timeout = self.timeout if timeout is None else timeout
        deadline = _monotonic() + timeout
        wait = min(resend_seconds, timeout)
        busy = False
        while True:
            self._send(packet)
            reply = self._await(identity, wait)
            if reply is not None and reply.status != Status.BUSY:
                return reply
            busy = reply is not None
            remaining = deadline - _monotonic()
            if remaining <= 0:
                raise self._give_up(busy, timeout)
            if busy:
                time.sleep(min(wait, remaining))
            wait = min(wait * 2, RESEND_SECONDS_MAX, max(remaining, _WAIT_SECONDS_MIN))

    def _await(self, identity: int, seconds: float) -> Reply | None:
        until = _monotonic() + seconds
        while True:
            packet = self._receive(seconds)
            if packet:
                found = self._parse(packet)
                if found is not None and found[0] == identity:
                    return found[1]
            seconds = until - _monotonic()
            if seconds <= 0:
                return None

    def stream(
        self, produce: Callable[[], tuple[int, bytes] | None], window: int, timeout: float | None = None
    ) -> Iterator[tuple[int, Reply]]:
        """Keep up to ``window`` requests on their way; yields (identity, reply) in the order the replies come in.

        ``produce`` is asked for the next request, under a new number for each or the same for all, whenever there is
        room: (:func:`identity_of` it, packet), or None when there is none now; the stream ends when there is none and
        nothing is on its way. Each request has ``timeout`` seconds. Raises as :meth:`request` does.
        """
        timeout = self.timeout if timeout is None else timeout
        flights: dict[int, _Flight] = {}
        self._flights = flights
        check_at = 0.0
        try:
            while True:
                now = _monotonic()
                while self._has_room(window) and (item := produce()) is not None:
                    flights[item[0]] = _Flight(item[1], now + timeout, now + RESEND_SECONDS_MIN, RESEND_SECONDS_MIN)
                    self._send(item[1])
                if not flights:
                    return
                if now >= check_at:
                    self._resend_late(now, timeout)
                    check_at = now + RESEND_SECONDS_MIN / 2
                packet = self._receive(RESEND_SECONDS_MIN)
                if not packet or (found := self._parse(packet)) is None:
                    continue
                flight = flights.get(found[0])
                if flight is None:
                    continue
                flight.last_status = found[1].status
                if flight.last_status != Status.BUSY:  # else it is sent again when its time has come
                    del flights[found[0]]
                    yield found
        finally:
            flights.clear()  # what still comes in answers nobody

    def _has_room(self, window: int) -> bool:
        """Whether one more request may be on its way. The oldest may wait long for its reply while others come and go."""
        oldest = self._oldest(self._sequence + 1)
        return len(self._flights) < window and self._sequence + 1 - oldest < limits.CLIENT_WINDOW

    def _resend_late(self, now: float, timeout: float) -> None:
        for flight in self._flights.values():
            if now >= flight.deadline:
                raise self._give_up(flight.last_status == Status.BUSY, timeout)
            if now >= flight.resend_at:
                self._send(flight.packet)
                flight.wait = min(flight.wait * 2, RESEND_SECONDS_MAX)
                flight.resend_at = now + flight.wait

    def _give_up(self, busy: bool, timeout: float) -> Exception:
        if busy:
            return BusyError(f"the server at {self._peer} was still busy after {timeout:g} s")
        if self._refused:
            return RequestTimeoutError(f"no answer within {timeout:g} s: nothing listens at {self._peer}")
        return RequestTimeoutError(
            f"no answer from {self._peer} within {timeout:g} s (is the server there, are tenant and token right?)"
        )

    def _send(self, packet: bytes) -> None:
        try:
            self._socket.send(packet)
        except ConnectionRefusedError:  # about an earlier packet: this one was not sent, its repetition will be
            self._refused = True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):  # those lose the packet as the network might
                raise SplinterError(f"sending to {self._peer}: {error.strerror}") from None

    def _receive(self, seconds: float) -> bytes | None:
        if seconds != self._receive_seconds:
            micros = int(max(seconds, _WAIT_SECONDS_MIN) * 1e6)
            timeval = struct.pack("@ll", micros // 1_000_000, micros % 1_000_000)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            self._receive_seconds = seconds
        try:
            return self._socket.recv(limits.UDP_PAYLOAD_BYTES_MAX + 1)
        except BlockingIOError:
            return None
        except ConnectionRefusedError:  # nobody listens, or not yet again: the server may be on its way back
            self._refused = True
            return None

    def _parse(self, packet: bytes) -> tuple[int, Reply] | None:
        """(identity, reply) of a packet that answers this client; None for anything else."""
        if not _HEADER_BYTES <= len(packet) <= limits.UDP_PAYLOAD_BYTES_MAX:
            return None
        (magic, version, _opcode, status, flags, tenant, _table, key_length, _token, client, sequence, value_length,
         fragment_index, fragment_count, object_version, _acknowledged) = _unpack(packet)  # fmt: skip
        if magic != MAGIC or not flags & FLAG_REPLY or tenant != self._tenant or client != self._client:
            return None
        if version != VERSION:
            raise ProtocolError(f"the server at {self._peer} speaks protocol version {version}, this client {VERSION}")
        if key_length or value_length != len(packet) - _HEADER_BYTES:
            return None
        self._refused = False
        reply = Reply(status, object_version, fragment_index, fragment_count, packet[_HEADER_BYTES:])
        return sequence << _FRAGMENT_BITS | fragment_index, reply


def identity_of(sequence: int, fragment_index: int = 0) -> int:
    """What :meth:`Channel.stream` calls a request by."""
    return sequence << _FRAGMENT_BITS | fragment_index
