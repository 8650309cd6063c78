"""One socket's requests and replies: numbering, matching, sending again.

A channel belongs to one thread at a time and needs no lock; :class:`splinter.client.Client` keeps as many as it has
threads in a request. Each has a client id of its own, so its sequence numbers are the whole truth about what it still
waits for. It belongs to one process: in a child that was forked in the midst of a request it raises :class:`ForkedError`.

A request that is not answered is sent again under the same sequence number, after a wait that doubles each time; the
server executes it once. To that end each packet says below which number the channel waits for no reply, and a channel has
no more than CLIENT_WINDOW numbers open.

**Time.** A request is given up when the channel has waited for the server for ``timeout`` seconds. What the caller takes (a
slow generator), or passes while this process does not run (a stop, a collection, a suspended machine), is not the server's:
``waited`` counts the time spent in waits, and of each no more than was asked for. And whatever has come in is read before a
request is given up. Only repetitions follow the clock. One that would come so late that the server may have forgotten the
first is not sent.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import select
import socket
import time
from collections.abc import Callable, Iterator

from splinter import limits
from splinter.client import obstacles, packet_size
from splinter.client.flights import FRAGMENT_BITS, Explain, Flight, Reply, identity_of, parse
from splinter.client.padding import Padding
from splinter.client.process import ForkedError, ProcessOwn, process_number
from splinter.client.sockets import ResolutionTimeoutError, connect
from splinter.errors import BusyError, RequestTimeoutError, SplinterError, Status, UnreachableError
from splinter.wire import FLAG_EXPIRES, HEADER_STRUCT, MAGIC, TTL_BYTES, VERSION, Opcode

RESEND_SECONDS_MIN = 0.02  # wait before the first repetition; a wait doubles each time
RESEND_SECONDS_MAX = 0.5
_QUIET_SECONDS_MIN = 1.0  # since the last repetition, before the server may be told to forget what it would know one by
_WAIT_SECONDS_MIN = 0.001  # what poll() can count; less might add nothing to ``waited``
_MILLISECONDS = 1000
_STRAY_PACKETS_MAX = 1024  # read in a row to find a reply before a request is given up
_REASON_SECONDS_MAX = 0.25  # the last part of a request's time, in which the control plane may be asked what is wrong
_REASON_SHARE = 0.25  # of the time-out, if that is less
# A client that was silent for CLIENT_IDLE_NS_MAX is forgotten, and a repetition would be executed a second time. Half of that:
# the packets sent last may all have been lost.
_REPEAT_SECONDS_MAX = limits.CLIENT_IDLE_NS_MAX / 2e9
_RECEIVE_BUFFER_BYTES = 1 << 20
_HEADER_BYTES = limits.REQUEST_HEADER_BYTES
_IP_RECVERR = 11  # linux/in.h

# What the server may keep a result of
_WRITES = frozenset(
    (Opcode.PUT, Opcode.DELETE, Opcode.INVOKE, Opcode.TRANSACT, Opcode.EXPIRE, Opcode.PUT_PART, Opcode.PUT_LARGE)
)

_pack = HEADER_STRUCT.pack
_monotonic = time.monotonic


class Channel(ProcessOwn):
    """A connected UDP socket of one tenant. ``timeout`` is seconds for one request with all its repetitions; ``waited`` how
    many were spent in waiting for the server so far, ``kernel_replies`` how many replies the server's kernel made."""

    def __init__(
        self,
        address: str,
        port: int,
        tenant: int,
        token: int,
        netns: str | None,
        timeout: float,
        explain: Explain | None = None,
    ) -> None:
        self._address, self._port, self._peer = address, port, f"{address}:{port}"
        self._tenant = tenant
        self._token = token
        self.timeout = timeout
        self.waited = 0.0
        self.kernel_replies = 0
        self.process = process_number()
        self._explain = explain
        self._reason: Callable[[str], RequestTimeoutError] | None = None  # why the current request is not answered
        self._asked_reason = False
        self._obstacle = 0  # errno of what was heard since the last reply
        self._sent_at = 0.0  # boot time, in seconds
        self._client = secrets.randbits(64) or 1
        self._sequence = 0
        self._has_written = False  # so the server keeps something of this client
        self._repeated_at = float("-inf")  # monotonic clock, in seconds: a copy of a packet may be on its way since then
        self._flights: dict[int, Flight] = {}  # of the current stream(), oldest first
        try:
            self._socket = connect(socket.SOCK_DGRAM, address, port, netns, timeout)
        except ResolutionTimeoutError as error:
            raise RequestTimeoutError(f"cannot send to {self._peer}: {error}") from None
        except OSError as error:
            if (error.errno or 0) <= 0:  # a name that is none
                raise UnreachableError(f"cannot send to {self._peer}: {error}") from None
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
        is_quiet = _monotonic() - self._repeated_at >= _QUIET_SECONDS_MIN
        if self._has_written and is_quiet and self.process == process_number():
            with contextlib.suppress(OSError):
                self._socket.send(self.packet(Opcode.GOODBYE, self.next_sequence(), 0, b"", b""))
        self._has_written = False
        self._socket.close()

    def abandon(self) -> None:
        """Close the socket of a parent process in its forked child, which must not send anything by it."""
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
        room: int | None = None,
        ttl: int = 0,
    ) -> bytes:
        """The bytes of a request. ``room``: as the header's, by default as large as fits the way. ``ttl``: a PUT's, ns."""
        if opcode in _WRITES:
            self._has_written = True
        flags, value = (FLAG_EXPIRES, value + ttl.to_bytes(TTL_BYTES, "little")) if ttl else (0, value)
        return (
            _pack(
                MAGIC, VERSION, opcode, self.size.room if room is None else room, flags, self._tenant, table,
                len(key), self._token, self._client, sequence,
                len(value), fragment_index, fragment_count, object_version, self._oldest(sequence),
            ) + key + value
        )  # fmt: skip

    def learn(self, body_bytes: int) -> None:
        """Have the server say how large packets may be, if it has not and ``body_bytes`` of key and value may be too many."""
        if self.size.must_ask(body_bytes):
            self.request(Opcode.PING)

    def _oldest(self, new: int) -> int:
        """The number below which everything has been answered or given up for good; ``new`` when nothing is open."""
        return next(iter(self._flights)) >> FRAGMENT_BITS if self._flights else new

    def request(
        self, opcode: Opcode, table: int = 0, key: bytes = b"", value: bytes = b"", object_version: int = 0,
        *, timeout: float | None = None, resend_seconds: float = RESEND_SECONDS_MIN, ttl: int = 0,
    ) -> Reply:  # fmt: skip
        """Send one request and return its reply, whatever the status (but BUSY, which is tried again until the
        deadline).

        Raises :class:`RequestTimeoutError` without an answer, :class:`BusyError` when the server stayed busy.
        """
        sequence = self.next_sequence()
        packet = self.packet(opcode, sequence, table, key, value, object_version, ttl=ttl)
        identity = identity_of(sequence)
        timeout = self.timeout if timeout is None else timeout
        deadline = self.waited + timeout
        reserve = self._begin(timeout)
        wait = min(resend_seconds, timeout)
        self._send(packet)
        while True:
            reply = self._await(identity, wait)
            if reply is not None and reply.status != Status.BUSY:
                return reply
            busy = reply is not None
            remaining = deadline - self.waited
            if remaining <= 0:
                raise self._give_up(busy, timeout, len(packet))
            if busy:
                self.pause(min(wait, remaining))
            elif remaining <= reserve + _WAIT_SECONDS_MIN:
                self._ask_reason(remaining)
            remaining = deadline - self.waited
            wait = min(wait * 2, RESEND_SECONDS_MAX, remaining if remaining <= reserve else remaining - reserve)
            wait = max(wait, _WAIT_SECONDS_MIN)
            packet = self._send_again(packet)

    def pause(self, seconds: float) -> None:
        """Wait until the server may be less busy; then a request is repeated."""
        before = self._repeated_at = _monotonic()
        time.sleep(seconds)
        self.waited += min(_monotonic() - before, seconds)

    def _await(self, identity: int, seconds: float) -> Reply | None:
        while seconds > 0:
            before = _monotonic()
            packet = self._receive(seconds)
            if packet and (found := self._parse(packet)) is not None and found[0] == identity:
                return found[1]
            spent = min(_monotonic() - before, seconds)
            self.waited += spent
            seconds -= spent
        for _ in range(_STRAY_PACKETS_MAX):  # what has come in while this process did something else
            packet = self._receive(0.0)
            if packet is None:
                break
            if packet and (found := self._parse(packet)) is not None and found[0] == identity:
                return found[1]
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
        reserve = self._begin(timeout)
        flights: dict[int, Flight] = {}
        self._flights = flights
        judge_at = _monotonic() + RESEND_SECONDS_MAX
        reads_first = False  # after a slow producer: all that has come in, before it is asked again
        try:
            while True:
                now = _monotonic()
                while not reads_first and self._has_room(window) and (item := produce()) is not None:
                    before, now = now, _monotonic()
                    self._send(item[1])
                    flights[item[0]] = Flight(item[1], self.waited + timeout, now + RESEND_SECONDS_MIN, RESEND_SECONDS_MIN)
                    reads_first = now - before >= RESEND_SECONDS_MIN
                if not flights and not reads_first:
                    return
                wait, before = 0.0 if reads_first else RESEND_SECONDS_MIN, _monotonic()
                packet = self._receive(wait)
                now = _monotonic()
                self.waited += min(now - before, wait)
                if packet is None:
                    reads_first = False
                if packet is None or now >= judge_at:  # all that has come in is read; or so much comes that it has no end
                    self._resend_late(now, timeout, reserve)
                    judge_at = now + RESEND_SECONDS_MAX
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
            if flights:
                self._repeated_at = _monotonic()
            flights.clear()  # what still comes in answers nobody

    def _has_room(self, window: int) -> bool:
        """Whether one more request may be on its way. The oldest may wait long for its reply while others come and go."""
        oldest = self._oldest(self._sequence + 1)
        return len(self._flights) < window and self._sequence + 1 - oldest < limits.CLIENT_WINDOW

    def _resend_late(self, now: float, timeout: float, reserve: float) -> None:
        for flight in self._flights.values():
            remaining = flight.deadline - self.waited
            busy = flight.last_status == Status.BUSY
            if remaining <= 0:
                raise self._give_up(busy, timeout, len(flight.packet))
            if remaining <= reserve and not busy:
                self._ask_reason(remaining)
            if now >= flight.resend_at:
                flight.packet = self._send_again(flight.packet, flight.is_repeatable)
                flight.wait = min(flight.wait * 2, RESEND_SECONDS_MAX)
                flight.resend_at = now + flight.wait

    def _begin(self, timeout: float) -> float:
        """Before the first request; returns the seconds before the time-out in which to ask for a reason."""
        self._reason, self._asked_reason = None, False
        return min(_REASON_SECONDS_MAX, timeout * _REASON_SHARE)

    def _ask_reason(self, seconds: float) -> None:
        """Ask the control plane, once, why a request is not answered; a reply may still come and is taken."""
        if self._asked_reason or self._explain is None:
            return
        self._asked_reason = True
        before = _monotonic()
        self._reason = self._explain(self._obstacle, seconds)
        self.waited += min(_monotonic() - before, seconds)

    def _give_up(self, busy: bool, timeout: float, packet_bytes: int) -> Exception:
        if busy:
            return BusyError(f"the server at {self._peer} was still busy after {timeout:g} s")
        before = f"no answer within {timeout:g} s: "
        most = self.size.packet_bytes_max()
        if packet_bytes > most:
            return RequestTimeoutError(
                f"{before}the request had {packet_bytes} bytes, and packets on this way have at most {most} now: an MTU has "
                "changed. It was executed once or never; ask again"
            )
        if self._reason is not None:
            return self._reason(before)
        if self._obstacle:
            return obstacles.unreachable(self._obstacle, self._address, self._port, before)
        return RequestTimeoutError(
            f"no answer from {self._peer} within {timeout:g} s (is the server there, are tenant and token right?)"
        )

    def _send(self, packet: bytes) -> None:
        """Raises :class:`ForkedError` in a child: the number in the packet is the parent's."""
        if self.process != process_number():
            raise ForkedError
        now = _boot_seconds()
        if now - self._sent_at > _REPEAT_SECONDS_MAX:
            for flight in self._flights.values():
                flight.is_repeatable = False
        self._sent_at = now
        try:
            self._socket.send(packet)
        except OSError as error:
            self._note(error, len(packet_size.without_padding(packet)))

    def _send_again(self, packet: bytes, is_repeatable: bool = True) -> bytes:
        """Send what was not answered; returns what was sent. It may have been too large: the server is asked what it takes."""
        if not is_repeatable or _boot_seconds() - self._sent_at > _REPEAT_SECONDS_MAX:
            raise RequestTimeoutError(
                f"no answer from {self._peer}, and for over {_REPEAT_SECONDS_MAX:g} s this process did something else: too "
                "late to ask again, as the request might be executed twice; whether it was executed is not known"
            )
        self._repeated_at = _monotonic()
        packet = self.size.renew(packet)
        self._send(packet)
        if len(packet) > limits.UDP_PAYLOAD_BYTES_MIN:
            self._send(self.packet(Opcode.PING, self.next_sequence(), 0, b"", b""))
        return packet

    def _receive(self, seconds: float) -> bytes | None:
        """The next packet; None when there is none within ``seconds``, nothing (b"") when the network said something."""
        if seconds > 0 and not self._readable.poll(seconds * _MILLISECONDS):
            return None
        try:
            packet = self._socket.recv(limits.UDP_PAYLOAD_BYTES_MAX + 1)
        except BlockingIOError:
            if seconds > 0:  # readable for the rest of an error, or for a packet that the kernel found damaged
                self._empty_error_queue()
            return None if seconds == 0 else b""
        except OSError as error:  # nobody listens, or not yet again: the server may be on its way back
            self._note(error, 0)
            return b""
        if self.process != process_number():  # what was received is lost to the parent, whose repetition is answered again
            raise ForkedError
        return packet

    def _note(self, error: OSError, count: int) -> None:
        """Remember what the network said; ``count`` bytes were to be sent. Raises what cannot pass."""
        number = error.errno or 0
        self._empty_error_queue()
        if number == errno.EMSGSIZE:  # about this packet, or an earlier one
            self.size.measure()
            if not self.size.fits(count):
                raise obstacles.too_large(count, self._address, self.size.mtu) from None
        if number not in obstacles.PASSING:
            raise SplinterError(f"sending to {self._peer}: {error.strerror or error}") from None
        if number not in (errno.EAGAIN, errno.ENOBUFS, errno.EMSGSIZE):
            self._obstacle = number

    def _empty_error_queue(self) -> None:
        """Take the details of an error off the socket, which would go on to be readable for them."""
        with contextlib.suppress(OSError):
            while True:
                self._socket.recvmsg(1, 0, socket.MSG_ERRQUEUE)

    def _parse(self, packet: bytes) -> tuple[int, Reply] | None:
        """(identity, reply) of a packet that answers this client; None for anything else."""
        found = parse(packet, self._tenant, self._client, self._peer)
        if found is None:
            return None
        self._obstacle = 0
        self.kernel_replies += found[1].by_kernel
        self.size.hear(found[2])
        return found[:2]


def _boot_seconds() -> float:
    """Seconds since the machine was started, those in which it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
