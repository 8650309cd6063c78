"""Lines that many calls use at a time, in one event loop and thread."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable

from splinter import limits
from splinter.client.asyncio.greenlets import in_thread, wait
from splinter.client.channel import Channel
from splinter.client.flights import FRAGMENT_BITS, Explain, Reply
from splinter.client.line import Line
from splinter.client.process import process_number
from splinter.errors import RequestTimeoutError, SplinterError

_PACKETS_AT_ONCE = 256  # that are read before the loop goes on with something else
_monotonic = time.monotonic


def _end(future: asyncio.Future[bool], is_called: bool) -> None:
    """Have who waits for it go on, if anybody does."""
    if not future.done():
        future.set_result(is_called)


class SharedLine:
    """A line, and who waits for the reply to which of its numbers."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.line = line
        self.lanes = 0
        self.promised = 0  # numbers that its lanes may have open at once
        self.is_closed = False
        self.open: dict[int, Lane] = {}  # by sequence number, the oldest first
        self._loop = loop
        self._waiting: deque[tuple[int, asyncio.Future[bool]]] = deque()  # lanes that want so many numbers
        self._called = 0  # numbers of those that were called and have not gone on yet
        loop.add_reader(line.fileno(), self.read)

    @property
    def span(self) -> int:
        """How many numbers lie between the oldest that is open and the next one."""
        return self.line.sequence + 1 - next(iter(self.open)) if self.open else 0

    def has_room(self, numbers: int) -> bool:
        """Whether one more lane finds so many numbers at once, whatever the others do."""
        return not self.is_closed and self.span + self.promised + numbers <= limits.CLIENT_WINDOW

    def next_sequences(self, lane: Lane, count: int, *, may_wait: bool) -> int:
        """New numbers of a lane, one after the other; returns the first. Where the oldest that is open is too old, the lane
        waits until that is closed, behind those that have waited for longer. Raises :class:`RequestTimeoutError` where that is
        longer than the lane's time-out."""
        begun, was_called = _monotonic(), False
        while may_wait and (
            self.span + count > limits.CLIENT_WINDOW if was_called else self._room < count or self._is_waited_for()
        ):
            if (left := begun + lane.timeout - _monotonic()) <= 0:
                self._call()  # the others, in its place
                raise RequestTimeoutError(
                    f"not sent within {lane.timeout:g} s: an earlier request by the same socket is not answered yet"
                )
            future: asyncio.Future[bool] = self._loop.create_future()
            if was_called:
                self._waiting.appendleft((count, future))
            else:
                self._waiting.append((count, future))
            timer = self._loop.call_later(left, _end, future, False)
            try:
                was_called = wait(future)
            except BaseException:
                if future.done() and not future.cancelled() and future.result():
                    self._called -= count
                self._call()
                raise
            finally:
                timer.cancel()
            if was_called:
                self._called -= count
        lane.waited += _monotonic() - begun
        first = self.line.next_sequences(count)
        self.open.update(dict.fromkeys(range(first, first + count), lane))
        return first

    def release(self, sequence: int) -> None:
        """Nobody waits for a number's reply any more."""
        self.open.pop(sequence, None)
        if self._waiting:
            self._call()

    @property
    def _room(self) -> int:
        """How many numbers are neither open nor promised to who was called."""
        return limits.CLIENT_WINDOW - self.span - self._called

    def _is_waited_for(self) -> bool:
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        return bool(self._waiting)

    def _call(self) -> None:
        """Have those go on that find room, in the order in which they came."""
        while self._is_waited_for() and self._waiting[0][0] <= self._room:
            count, future = self._waiting.popleft()
            self._called += count
            future.set_result(True)

    def close(self) -> None:
        """As :meth:`Line.close`; once.

        In a forked child the loop's selector is the parent's too, which would miss what the child takes out of it.
        """
        if not self.is_closed:
            self.is_closed = True
            if self.line.process != process_number():
                self.line.abandon()
                return
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
    """What one call has of a shared line: up to ``numbers`` of its numbers at once, or, where that is all there are, all of it.
    It is closed with :meth:`close`.

    A call that opens a number while it has others open only reads by them, or has a whole line: for what only reads the server
    keeps no results, and does not mind how far apart its numbers are.
    """

    def __init__(self, shared: SharedLine, timeout: float, explain: Explain, *, numbers: int = 1) -> None:
        super().__init__(shared.line, timeout, lambda obstacle, seconds: in_thread(explain, obstacle, seconds))
        self.shared = shared
        self._promised = numbers
        self._heard: deque[tuple[int, Reply]] = deque()
        self._failure: SplinterError | None = None
        self._future: asyncio.Future[None] | None = None
        shared.lanes += 1
        shared.promised += numbers

    def close(self) -> None:
        """The call has ended."""
        self.end()
        self.shared.lanes -= 1
        self.shared.promised -= self._promised

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

    def next_sequences(self, count: int = 1) -> int:
        """As of any channel. One that has none open waits where the line has too many."""
        first = self.shared.next_sequences(self, count, may_wait=not self._numbers)
        self._numbers.update(dict.fromkeys(range(first, first + count)))
        return first

    def close_numbers(self, numbers: Iterable[int]) -> None:
        """As of any channel."""
        for number in numbers:
            if self._numbers.pop(number, self) is None:
                self.shared.release(number)

    @property
    def numbers_left(self) -> int:
        """As of any channel. What only reads may have them as far apart as it likes."""
        return limits.CLIENT_WINDOW - self.shared.span if self._promised == limits.CLIENT_WINDOW else limits.CLIENT_WINDOW

    def _oldest(self, new: int) -> int:
        return next(iter(self.shared.open), new)

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
