"""Requests and replies: matching, waiting, sending again.

A channel belongs to one thread at a time and needs no lock; :class:`splinter.client.Client` keeps as many as it has
threads in a request. Each has a client id of its own, so its sequence numbers are the whole truth about what it still
waits for. It belongs to one process: in a child that was forked in the midst of a request it raises :class:`ForkedError`.

A request that is not answered is sent again under the same sequence number, after a wait that doubles each time; the
server executes it once. To that end each packet says below which number the channel waits for no reply, and a channel has
no more than CLIENT_WINDOW numbers open.

**Numbers** are open from :meth:`Channel.next_sequences` on until their replies are there, or nobody waits for them any more.
It is numbers that are kept, not packets. The fragments of a value share one; a batch has one for each of its requests. What a
reply to a batch leaves out is sent again, under its numbers, in another packet, or by itself: a late copy of the batch may
execute it meanwhile, and then that is found. A number that was given up is never used again.

**Time.** A request is given up when the channel has waited for the server for ``timeout`` seconds. What the caller takes (a
slow generator), or passes while this process does not run (a stop, a collection, a suspended machine), is not the server's:
``waited`` counts the time spent in waits, and of each no more than was asked for. And whatever has come in is read before a
request is given up. Only repetitions follow the clock. One that would come so late that the server may have forgotten the
first is not sent.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from splinter import limits
from splinter.client import obstacles
from splinter.client.batch import Batched, packed, read_answers
from splinter.client.flights import FRAGMENT_BITS, Explain, Flight, Reply, identity_of
from splinter.client.line import SILENCE_SECONDS, Line
from splinter.client.process import ProcessOwn
from splinter.errors import BusyError, RequestTimeoutError, Status
from splinter.wire import Opcode

RESEND_SECONDS_MIN = 0.02  # wait before the first repetition; a wait doubles each time
RESEND_SECONDS_MAX = 0.5
# A task may take its time, and one that only reads is run again by each repetition: be patient.
INVOKE_RESEND_SECONDS = 0.25
_WAIT_SECONDS_MIN = 0.001  # what poll() can count; less might add nothing to ``waited``
_STRAY_PACKETS_MAX = 1024  # read in a row to find a reply before a request is given up
_REASON_SECONDS_MAX = 0.25  # the last part of a request's time, in which the control plane may be asked what is wrong
_REASON_SHARE = 0.25  # of the time-out, if that is less

_monotonic = time.monotonic


class Channel(ProcessOwn):
    """Requests by a line. ``timeout`` is seconds for one request with all its repetitions; ``waited`` how many were spent in
    waiting for the server so far."""

    def __init__(self, line: Line, timeout: float, explain: Explain | None = None) -> None:
        self.line = line
        self.size, self.padding = line.size, line.padding
        self.timeout = timeout
        self.waited = 0.0
        self._explain = explain
        self._reason: Callable[[str], RequestTimeoutError] | None = None  # why the current request is not answered
        self._asked_reason = False
        self._numbers: dict[int, None] = {}  # that are open, in their order
        self._flights: dict[int, Flight] = {}  # of the current stream()

    def end(self) -> None:
        """The call that has used it is over: nobody waits for any number."""
        if self._numbers:
            self.close_numbers(list(self._numbers))

    def next_sequences(self, count: int = 1) -> int:
        """Open so many new numbers, one after the other; returns the first. Each stays open until it is closed, or the request,
        stream or :meth:`closing_numbers` that it was opened in has ended."""
        first = self.line.next_sequences(count)
        for number in range(first, first + count):
            self._numbers[number] = None
        return first

    def close_numbers(self, numbers: Iterable[int]) -> None:
        """Their replies are there, or nobody waits for them any more: no packet carries them from now on."""
        for number in numbers:
            self._numbers.pop(number, None)

    @contextlib.contextmanager
    def closing_numbers(self) -> Iterator[None]:
        """In the end nobody waits for a number that was opened in the block."""
        before = self.line.sequence
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException:
            self.line.repeated_at = _monotonic()  # a packet may still be on its way
            raise
        finally:
            self.close_numbers([number for number in self._numbers if number > before])

    @property
    def numbers_left(self) -> int:
        """How many more may be opened. The oldest may wait long for its reply while others come and go."""
        following = self.line.sequence + 1
        return limits.CLIENT_WINDOW - (following - self._oldest(following))

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
        """The bytes of a request, as :meth:`splinter.client.line.Line.packet` makes them."""
        oldest = self._oldest(sequence)
        return self.line.packet(
            opcode, sequence, oldest, table, key, value, object_version, fragment_index, fragment_count, room, ttl
        )  # fmt: skip

    def learn(self, body_bytes: int) -> None:
        """Have the server say how large packets may be, if it has not and ``body_bytes`` of key and value may be too many."""
        if self.size.must_ask(body_bytes):
            self.request(Opcode.PING)

    def _oldest(self, new: int) -> int:
        """The number below which everything has been answered or given up for good; ``new`` when nothing is open."""
        return next(iter(self._numbers), new)

    def request(
        self, opcode: Opcode, table: int = 0, key: bytes = b"", value: bytes = b"", object_version: int = 0,
        *, timeout: float | None = None, resend_seconds: float = RESEND_SECONDS_MIN, ttl: int = 0,
    ) -> Reply:  # fmt: skip
        """Send one request and return its reply, whatever the status (but BUSY, which is tried again until the
        deadline).

        Raises :class:`RequestTimeoutError` without an answer, :class:`BusyError` when the server stayed busy.
        """
        timeout = self.timeout if timeout is None else timeout
        deadline = self.waited + timeout
        sequence = self.next_sequences()  # which may have to wait for another request
        try:
            packet = self.packet(opcode, sequence, table, key, value, object_version, ttl=ttl)
            return self._exchange(opcode, sequence, packet, timeout, deadline, resend_seconds)
        except BaseException:
            self.line.repeated_at = _monotonic()  # a packet may still be on its way
            raise
        finally:
            self.close_numbers((sequence,))

    def batch(self, requests: Sequence[Batched]) -> Generator[list[Reply]]:
        """Send requests that fit one packet; yields their answers in their order, as they come: each time some.

        What an answer leaves out is asked for again, and has a time-out of its own. Raises as :meth:`request` does, and the
        exception of a reply whose status is not OK: of those that have no answer until then.
        """
        with self.closing_numbers():
            deadline = self.waited + self.timeout
            number = self.next_sequences(len(requests))
            while requests:
                packet = self.packet(Opcode.BATCH, number, 0, b"", packed(requests))
                reply = self._exchange(Opcode.BATCH, number, packet, self.timeout, deadline, _patience(requests))
                answers = read_answers(reply, requests) or [self._first(requests[0], number)]
                self.close_numbers(range(number, number + len(answers)))
                number, requests = number + len(answers), requests[len(answers) :]
                yield answers
                deadline = self.waited + self.timeout

    def _first(self, request: Batched, number: int) -> Reply:
        """Send an invoke by itself that was the first of a batch, and may have to wait. It has a time-out of its own."""
        deadline = self.waited + self.timeout
        packet = self.packet(Opcode.INVOKE, number, request.table, request.key, request.value, request.object_version)
        return self._exchange(Opcode.INVOKE, number, packet, self.timeout, deadline, INVOKE_RESEND_SECONDS)

    def _exchange(
        self, opcode: Opcode, sequence: int, packet: bytes, timeout: float, deadline: float, resend_seconds: float
    ) -> Reply:
        """Send a packet whose first number this is until it is answered. ``deadline``: of :attr:`waited`."""
        identity = identity_of(sequence)
        reserve = self._begin(timeout)
        wait = min(resend_seconds, timeout)
        self.line.send(packet)
        silences = self.line.silences
        has_been_busy = False
        while True:
            reply = self._await(identity, opcode, wait)
            if reply is not None and reply.status != Status.BUSY:
                return reply
            busy = reply is not None
            has_been_busy = has_been_busy or busy
            remaining = deadline - self.waited
            if remaining <= 0:
                raise self._give_up(has_been_busy, timeout, len(packet))
            if busy:
                self.pause(min(wait, remaining))
            elif remaining <= reserve + _WAIT_SECONDS_MIN:
                self._ask_reason(remaining)
            remaining = deadline - self.waited
            wait = min(wait * 2, RESEND_SECONDS_MAX, remaining if remaining <= reserve else remaining - reserve)
            wait = max(wait, _WAIT_SECONDS_MIN)
            packet = self._send_again(packet, silences)

    def pause(self, seconds: float) -> None:
        """Wait until the server may be less busy; then a request is repeated."""
        before = self.line.repeated_at = _monotonic()
        time.sleep(seconds)
        self.waited += min(_monotonic() - before, seconds)

    def _await(self, identity: int, opcode: Opcode, seconds: float) -> Reply | None:
        """The reply to a request; one to another packet that had its number is not."""
        while seconds > 0:
            before = _monotonic()
            found = self._hear(seconds)
            if found and found[0] == identity and found[1].opcode == opcode:
                return found[1]
            spent = min(_monotonic() - before, seconds)
            self.waited += spent
            seconds -= spent
        for _ in range(_STRAY_PACKETS_MAX):  # what has come in while this process did something else
            found = self._hear(0.0)
            if found is None:
                break
            if found and found[0] == identity and found[1].opcode == opcode:
                return found[1]
        return None

    def stream(
        self,
        produce: Callable[[], tuple[int, bytes] | None],
        window: int,
        timeout: float | None = None,
        *,
        keeps_numbers: bool = False,
    ) -> Iterator[tuple[int, Reply]]:
        """Keep up to ``window`` packets on their way; yields (identity, reply) in the order the replies come in.

        ``produce`` is asked for the next one whenever there is room: (:func:`identity_of` its first number, packet), or None
        when there is none now; the stream ends when there is none and nothing is on its way. Each packet has ``timeout``
        seconds. Raises as :meth:`request` does.

        Each packet has a number of its own, that ``produce`` has opened, and that is closed with its reply. With
        ``keeps_numbers`` the caller closes its numbers, and sees to it that there are not too many.
        """
        with self.closing_numbers():
            yield from self._stream(produce, window, self.timeout if timeout is None else timeout, keeps_numbers)

    def _stream(
        self, produce: Callable[[], tuple[int, bytes] | None], window: int, timeout: float, keeps_numbers: bool
    ) -> Iterator[tuple[int, Reply]]:
        reserve = self._begin(timeout)
        flights: dict[int, Flight] = {}
        self._flights = flights
        judge_at = _monotonic() + RESEND_SECONDS_MAX
        reads_first = False  # after a slow producer: all that has come in, before it is asked again
        try:
            while True:
                now = _monotonic()
                while (
                    not reads_first
                    and len(flights) < window
                    and (keeps_numbers or self.numbers_left > 0)
                    and (item := produce()) is not None
                ):
                    before, now = now, _monotonic()
                    self.line.send(item[1])
                    flights[item[0]] = Flight(
                        item[1], self.waited + timeout, now + RESEND_SECONDS_MIN, RESEND_SECONDS_MIN, self.line.silences
                    )
                    reads_first = now - before >= RESEND_SECONDS_MIN
                if not flights and not reads_first:
                    return
                wait, before = 0.0 if reads_first else RESEND_SECONDS_MIN, _monotonic()
                found = self._hear(wait)
                now = _monotonic()
                self.waited += min(now - before, wait)
                if found is None:
                    reads_first = False
                if found is None or now >= judge_at:  # all that has come in is read; or so much comes that it has no end
                    self._resend_late(now, timeout, reserve)
                    judge_at = now + RESEND_SECONDS_MAX
                if not found:
                    continue
                flight = flights.get(found[0])
                if flight is None:
                    continue
                flight.last_status = found[1].status
                if flight.last_status != Status.BUSY:  # else it is sent again when its time has come
                    del flights[found[0]]
                    if not keeps_numbers:
                        self.close_numbers((found[0] >> FRAGMENT_BITS,))
                    yield found
        finally:
            if flights:
                self.line.repeated_at = _monotonic()
            flights.clear()  # what still comes in answers nobody

    def _resend_late(self, now: float, timeout: float, reserve: float) -> None:
        for flight in self._flights.values():
            remaining = flight.deadline - self.waited
            busy = flight.last_status == Status.BUSY
            if remaining <= 0:
                raise self._give_up(busy, timeout, len(flight.packet))
            if remaining <= reserve and not busy:
                self._ask_reason(remaining)
            if now >= flight.resend_at:
                flight.packet = self._send_again(flight.packet, flight.silences)
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
        self._reason = self._explain(self.line.obstacle, seconds)
        self.waited += min(_monotonic() - before, seconds)

    def _give_up(self, busy: bool, timeout: float, packet_bytes: int) -> Exception:
        if busy:
            return BusyError(f"the server at {self.line.peer} was still busy after {timeout:g} s")
        before = f"no answer within {timeout:g} s: "
        most = self.size.packet_bytes_max()
        if packet_bytes > most:
            return RequestTimeoutError(
                f"{before}the request had {packet_bytes} bytes, and packets on this way have at most {most} now: an MTU has "
                "changed. It was executed once or never; ask again"
            )
        if self._reason is not None:
            return self._reason(before)
        if self.line.obstacle:
            return obstacles.unreachable(self.line.obstacle, self.line.address, self.line.port, before)
        return RequestTimeoutError(
            f"no answer from {self.line.peer} within {timeout:g} s (is the server there, are tenant and token right?)"
        )

    def _send_again(self, packet: bytes, silences: int) -> bytes:
        """Send what was not answered; returns what was sent. It may have been too large: the server is asked what it takes.

        ``silences`` are those of the line when it was sent first.
        """
        line = self.line
        if line.silences != silences or line.is_silent:
            raise RequestTimeoutError(
                f"no answer from {line.peer}, and for over {SILENCE_SECONDS:g} s this process did something else: too "
                "late to ask again, as the request might be executed twice; whether it was executed is not known"
            )
        line.repeated_at = _monotonic()
        packet = self.size.renew(packet)
        line.send(packet)
        if len(packet) > limits.UDP_PAYLOAD_BYTES_MIN:
            line.send(self.packet(Opcode.PING, line.next_sequences(), 0, b"", b""))
        return packet

    def _hear(self, seconds: float) -> tuple[int, Reply] | tuple[()] | None:
        """(identity, reply) of the next that comes; nothing, (), for anything else that does; None when nothing does within
        ``seconds``."""
        line = self.line
        if seconds > 0:
            if line.is_prompt and (packet := line.receive(was_readable=False)) is not None:
                return line.parse(packet) or ()
            if not line.is_readable(seconds):
                return None
        packet = line.receive(was_readable=seconds > 0)
        return None if packet is None else line.parse(packet) or ()


def _patience(requests: Sequence[Batched]) -> float:
    """Seconds before the first repetition of a batch."""
    has_invokes = any(request.opcode == Opcode.INVOKE for request in requests)
    return INVOKE_RESEND_SECONDS if has_invokes else RESEND_SECONDS_MIN
