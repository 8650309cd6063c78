"""A connected UDP socket under one client id: what numbers requests, sends them, and hears what comes back.

It waits for nobody. One :class:`splinter.client.channel.Channel` uses a line, or, in an event loop, many at a time do
(:mod:`splinter.client.asyncio`).
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import select
import socket
import time

from splinter import limits
from splinter.client import obstacles, packet_size
from splinter.client.flights import Reply, identity_of
from splinter.client.padding import Padding
from splinter.client.process import ForkedError, ProcessOwn, process_number
from splinter.client.sockets import ResolutionTimeoutError, connect
from splinter.errors import ProtocolError, RequestTimeoutError, SplinterError, UnreachableError
from splinter.wire import FLAG_EXPIRES, FLAG_KERNEL, FLAG_REPLY, HEADER, MAGIC, TTL_BYTES, VERSION, Opcode

# A client that was silent for CLIENT_IDLE_NS_MAX is forgotten, and a repetition would be executed a second time. Half of that:
# the packets sent last may all have been lost.
SILENCE_SECONDS = limits.CLIENT_IDLE_NS_MAX / 2e9
_QUIET_SECONDS_MIN = 1.0  # since the last repetition, before the server may be told to forget what it would know one by
_MILLISECONDS = 1000
_RECEIVE_BUFFER_BYTES = 1 << 20
_IP_RECVERR = 11  # linux/in.h
_HEADER_BYTES = limits.REQUEST_HEADER_BYTES

# What the server may keep a result of
_WRITES = frozenset(
    (
        Opcode.PUT, Opcode.DELETE, Opcode.INVOKE, Opcode.TRANSACT, Opcode.EXPIRE, Opcode.PUT_PART, Opcode.PUT_LARGE,
        Opcode.BATCH,
    )
)  # fmt: skip

_pack, _unpack = HEADER.struct.pack, HEADER.struct.unpack_from
_monotonic = time.monotonic


class Line(ProcessOwn):
    """Of one tenant. ``kernel_replies``: how many replies the server's kernel made; ``obstacle``: errno of what was heard since
    the last reply; ``repeated_at``: since when, by the monotonic clock in seconds, a copy of a packet may be on its way;
    ``silences``: how often nothing was sent for so long that the server may have forgotten this client; ``is_prompt``: the
    kernel made the last reply. Over veth it does so while the request is sent: the next may be there at once."""

    def __init__(self, address: str, port: int, tenant: int, token: int, netns: str | None, timeout: float) -> None:
        """``timeout`` is in seconds, for looking up a name. Raises :class:`SplinterError`."""
        self.address, self.port, self.peer = address, port, f"{address}:{port}"
        self.process = process_number()
        self.kernel_replies = 0
        self.is_prompt = False
        self.obstacle = 0
        self.repeated_at = float("-inf")
        self.sequence = 0
        self.silences = 0
        self._sent_at = 0.0  # boot time, in seconds
        self._tenant, self._token = tenant, token
        self._client = secrets.randbits(64) or 1
        self._has_written = False  # so the server keeps something of this client
        try:
            self._socket = connect(socket.SOCK_DGRAM, address, port, netns, timeout)
        except ResolutionTimeoutError as error:
            raise RequestTimeoutError(f"cannot send to {self.peer}: {error}") from None
        except OSError as error:
            if (error.errno or 0) <= 0:  # a name that is none
                raise UnreachableError(f"cannot send to {self.peer}: {error}") from None
            raise obstacles.unreachable(error.errno or 0, address, port) from None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)  # tell also what is no last word: no route, no host
        # A wait of its own and then a receipt that does not block: both keep to their time whatever signals come, and where
        # gevent has put its own functions in their place.
        self._socket.setblocking(False)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self.size = packet_size.PacketSize(self._socket)
        self.padding = Padding(self.size)

    def close(self) -> None:
        """Say goodbye, so that the server need not keep what it would know a repetition by, and close the socket.

        Nobody waits for a reply. After a repetition, or a request that was given up, a copy of a packet may still be on its
        way: then nothing is said, and the server forgets this client when it has been idle for long.
        """
        is_quiet = _monotonic() - self.repeated_at >= _QUIET_SECONDS_MIN
        if self._has_written and is_quiet and self.process == process_number():
            number = self.next_sequences()
            with contextlib.suppress(OSError):
                self._socket.send(self.packet(Opcode.GOODBYE, number, number, 0, b"", b""))
        self._has_written = False
        self._socket.close()

    def abandon(self) -> None:
        """Close the socket of a parent process in its forked child, which must not send anything by it."""
        self._socket.close()

    def fileno(self) -> int:
        """The socket's, for who waits until there is something to hear."""
        return self._socket.fileno()

    def next_sequences(self, count: int = 1) -> int:
        """So many new sequence numbers, one after the other; returns the first."""
        first = self.sequence + 1
        self.sequence += count
        return first

    def packet(
        self, opcode: Opcode, sequence: int, oldest: int, table: int, key: bytes, value: bytes, object_version: int = 0,
        fragment_index: int = 0, fragment_count: int = 0, room: int | None = None, ttl: int = 0,
    ) -> bytes:  # fmt: skip
        """The bytes of a request. ``oldest``: below this number nobody waits for a reply. ``room``: as the header's, by default
        as large as fits the way. ``ttl``: a PUT's, ns."""
        if opcode in _WRITES:
            self._has_written = True
        flags, value = (FLAG_EXPIRES, value + ttl.to_bytes(TTL_BYTES, "little")) if ttl else (0, value)
        return (
            _pack(
                MAGIC, VERSION, opcode, self.size.room if room is None else room, flags, self._tenant, table,
                len(key), self._token, self._client, sequence,
                len(value), fragment_index, fragment_count, object_version, oldest,
            ) + key + value
        )  # fmt: skip

    def send(self, packet: bytes) -> None:
        """Raises :class:`ForkedError` in a child: the number in the packet is the parent's."""
        if self.process != process_number():
            raise ForkedError
        now = _boot_seconds()
        self.silences += now - self._sent_at > SILENCE_SECONDS
        self._sent_at = now
        try:
            self._socket.send(packet)
        except OSError as error:
            self._note(error, len(packet_size.without_padding(packet)))

    @property
    def is_silent(self) -> bool:
        """Whether there is such a silence now."""
        return _boot_seconds() - self._sent_at > SILENCE_SECONDS

    def is_readable(self, seconds: float) -> bool:
        """Whether there is something to hear, or comes within so many seconds."""
        return bool(self._readable.poll(seconds * _MILLISECONDS))

    def receive(self, *, was_readable: bool) -> bytes | None:
        """The next packet; None when there is none, nothing (b"") when the network said something, or when there was nothing
        though the socket had been readable."""
        try:
            packet = self._socket.recv(limits.UDP_PAYLOAD_BYTES_MAX + 1)
        except BlockingIOError:
            if not was_readable:
                return None
            self._empty_error_queue()  # readable for the rest of an error, or for a packet that the kernel found damaged
            return b""
        except OSError as error:  # nobody listens, or not yet again: the server may be on its way back
            self._note(error, 0)
            return b""
        if self.process != process_number():  # what was received is lost to the parent, whose repetition is answered again
            raise ForkedError
        return packet

    def parse(self, packet: bytes) -> tuple[int, Reply] | None:
        """(:func:`splinter.client.flights.identity_of` it, reply) of a packet that answers this client; None for anything else.

        Raises :class:`ProtocolError` for another version of the protocol.
        """
        if not _HEADER_BYTES <= len(packet) <= limits.UDP_PAYLOAD_BYTES_MAX:
            return None
        (magic, version, opcode, status, flags, tenant, _table, key_length, _token, client, sequence, value_length,
         fragment_index, fragment_count, object_version, server_bytes) = _unpack(packet)  # fmt: skip
        if magic != MAGIC or not flags & FLAG_REPLY or tenant != self._tenant or client != self._client:
            return None
        if version != VERSION:
            raise ProtocolError(f"the server at {self.peer} speaks protocol version {version}, this client {VERSION}")
        if key_length or value_length != len(packet) - _HEADER_BYTES:
            return None
        self.is_prompt = by_kernel = flags & FLAG_KERNEL != 0
        self.kernel_replies += by_kernel
        self.obstacle = 0
        self.size.hear(server_bytes)
        reply = Reply(status, object_version, fragment_index, fragment_count, packet[_HEADER_BYTES:], by_kernel, opcode)
        return identity_of(sequence, fragment_index), reply

    def _note(self, error: OSError, count: int) -> None:
        """Remember what the network said; ``count`` bytes were to be sent. Raises what cannot pass."""
        number = error.errno or 0
        self._empty_error_queue()
        if number == errno.EMSGSIZE:  # about this packet, or an earlier one
            self.size.measure()
            if not self.size.fits(count):
                raise obstacles.too_large(count, self.address, self.size.mtu) from None
        if number not in obstacles.PASSING:
            raise SplinterError(f"sending to {self.peer}: {error.strerror or error}") from None
        if number not in (errno.EAGAIN, errno.ENOBUFS, errno.EMSGSIZE):
            self.obstacle = number

    def _empty_error_queue(self) -> None:
        """Take the details of an error off the socket, which would go on to be readable for them."""
        with contextlib.suppress(OSError):
            while True:
                self._socket.recvmsg(1, 0, socket.MSG_ERRQUEUE)


def _boot_seconds() -> float:
    """Seconds since the machine was started, those in which it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
