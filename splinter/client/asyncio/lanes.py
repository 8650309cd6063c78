"""Lines that many calls use at a time, in one event loop and thread."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator

from splinter import limits
from splinter.client.asyncio.greenlets import in_thread, wait
from splinter.client.channel import RESEND_SECONDS_MIN, Channel
from splinter.client.flights import FRAGMENT_BITS, Explain, Reply
from splinter.client.line import Line
from splinter.errors import SplinterError
from splinter.wire import Opcode

_PACKETS_AT_ONCE = 256  # that are read before the loop goes on with something else
_monotonic = time.monotonic


class SharedLine:
    """A line, and who waits for the reply to which of its numbers."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.line = line
        self.lanes = 0
        self.is_whole = False  # one lane has all of it
        self.is_closed = False
        self.open: dict[int, Lane] = {}  # by sequence number, the oldest first
        self._loop = loop
        self._waiting: deque[asyncio.Future[None]] = deque()  # lanes without a number
        loop.add_reader(line.fileno(), self.read)

    @property
    def span(self) -> int:
        """How many numbers lie between the oldest that is open and the next one."""
        return self.line.sequence + 1 - next(iter(self.open)) if self.open else 0

    @property
    def has_room(self) -> bool:
        """Whether one more lane finds a number at once, whatever the others do."""
        return not self.is_whole and self.span + self.lanes < limits.CLIENT_WINDOW

    def next_sequence(self, lane: Lane, *, may_wait: bool) -> int:
        """A new number of a lane; where the oldest that is open is too old, it waits until that is closed."""
        while may_wait and self.span >= limits.CLIENT_WINDOW:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(future)
            wait(future)
        sequence = self.line.next_sequence()
        self.open[sequence] = lane
        return sequence

    def release(self, sequence: int) -> None:
        """Nobody waits for a number's reply any more."""
        self.open.pop(sequence, None)
        room = limits.CLIENT_WINDOW - self.span
        while self._waiting and room > 0:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                room -= 1

    def close(self) -> None:
        """As :meth:`Line.close`; once."""
        if not self.is_closed:
            self.is_closed = True
            self._loop.remove_reader(self.line.fileno())
            self.line.close()

    def read(self) -> None:
        """Hand out what has come in."""
        try:
            packet = self.line.receive(was_readable=True)
            for _ in range(_PACKETS_AT_ONCE):
                if packet is None:
                    break
                if packet and (found := self.line.parse(packet)) is not None:
                    lane = self.open.get(found[0] >> FRAGMENT_BITS)
                    if lane is not None:
                        lane.hear(found)
                packet = self.line.receive(was_readable=False)
        except SplinterError as error:  # what the network said cannot pass, or the server speaks another version
            for lane in {id(lane): lane for lane in self.open.values()}.values():
                lane.fail(error)


class Lane(Channel):
    """What one call has of a shared line, or all of it (``is_whole``). It is closed with :meth:`close`.

    A call that has several numbers open only reads by them, or has a whole line: for what only reads the server keeps no
    results, and does not mind how far apart its numbers are.
    """

    def __init__(self, shared: SharedLine, timeout: float, explain: Explain, *, is_whole: bool = False) -> None:
        super().__init__(shared.line, timeout, lambda obstacle, seconds: in_thread(explain, obstacle, seconds))
        self.shared = shared
        self._numbers: set[int] = set()
        self._heard: deque[tuple[int, Reply]] = deque()
        self._failure: SplinterError | None = None
        self._future: asyncio.Future[None] | None = None
        shared.lanes += 1
        shared.is_whole = is_whole

    def close(self) -> None:
        """The call has ended."""
        self._release(self._numbers)
        self.shared.lanes -= 1
        self.shared.is_whole = False

    def hear(self, found: tuple[int, Reply]) -> None:
        """A reply to one of its numbers has come."""
        self._heard.append(found)
        self._wake()

    def fail(self, error: SplinterError) -> None:
        """No reply can come."""
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def next_sequence(self) -> int:
        """A new number, which stays open until the request, or the stream, that it was made in has ended."""
        sequence = self.shared.next_sequence(self, may_wait=not self._numbers)
        self._numbers.add(sequence)
        return sequence

    def request(
        self, opcode: Opcode, table: int = 0, key: bytes = b"", value: bytes = b"", object_version: int = 0,
        *, timeout: float | None = None, resend_seconds: float = RESEND_SECONDS_MIN, ttl: int = 0,
    ) -> Reply:  # fmt: skip
        """As of any channel."""
        with self._closing_numbers():
            return super().request(
                opcode, table, key, value, object_version, timeout=timeout, resend_seconds=resend_seconds, ttl=ttl
            )

    def stream(
        self, produce: Callable[[], tuple[int, bytes] | None], window: int, timeout: float | None = None
    ) -> Iterator[tuple[int, Reply]]:
        """As of any channel."""
        earlier = frozenset(self._numbers)  # one that its caller has made is its caller's
        with self._closing_numbers():
            for found in super().stream(produce, window, timeout):
                if (sequence := found[0] >> FRAGMENT_BITS) not in earlier:
                    self._release({sequence})
                yield found

    @contextlib.contextmanager
    def _closing_numbers(self) -> Iterator[None]:
        """In the end nobody waits for a number that was made in the block."""
        earlier = frozenset(self._numbers)
        try:
            yield
        except BaseException:
            self.line.repeated_at = _monotonic()  # a packet may still be on its way
            raise
        finally:
            self._release(self._numbers - earlier)

    def _release(self, numbers: set[int]) -> None:
        for number in list(numbers):
            self._numbers.discard(number)
            self.shared.release(number)

    def _oldest(self, new: int) -> int:
        return next(iter(self.shared.open), new)

    def _has_room(self, window: int) -> bool:
        return len(self._flights) < window and (not self.shared.is_whole or self.shared.span < limits.CLIENT_WINDOW)

    def _hear(self, seconds: float) -> tuple[int, Reply] | tuple[()] | None:
        if not self._heard and seconds > 0 and self._failure is None:
            loop = asyncio.get_running_loop()
            self._future = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                wait(self._future)
            finally:
                timer.cancel()
                self._future = None
        if not self._heard:
            self.shared.read()  # a loop that was busy may have told of the time before it looked at the socket
        if not self._heard and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return self._heard.popleft() if self._heard else None

    def pause(self, seconds: float) -> None:
        """As of any channel, while the loop does something else."""
        before = self.line.repeated_at = _monotonic()
        wait(asyncio.sleep(seconds))
        self.waited += min(_monotonic() - before, seconds)
