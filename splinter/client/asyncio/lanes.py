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
_PROMPT_IN_A_ROW = 16  # replies that calls get without a turn of the loop
_CLOCK_SECONDS = 0.001  # by which a timer may go off early
_NEVER = float("inf")
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
        self._idle: list[Lane] = []
        self._listening: dict[Lane, None] = {}  # lanes that wait to be woken
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = _NEVER
        self._in_a_row = 0  # replies that were taken without a turn of the loop
        loop.add_reader(line.fileno(), self.read)

    @property
    def span(self) -> int:
        """How many numbers lie between the oldest that is open and the next one."""
        return self.line.sequence + 1 - next(iter(self.open)) if self.open else 0

    def has_room(self, numbers: int) -> bool:
        """Whether one more lane finds so many numbers at once, whatever the others do."""
        return not self.is_closed and self.span + self.promised + numbers <= limits.CLIENT_WINDOW

    def lane(self, timeout: float, explain: Explain, numbers: int) -> Lane:
        """A lane for one call, which closes it."""
        lane = self._idle.pop() if self._idle else Lane(self, explain)
        lane.timeout, lane.promised = timeout, numbers
        self.lanes += 1
        self.promised += numbers
        return lane

    def give_back(self, lane: Lane) -> None:
        """The lane's call has ended."""
        self.lanes -= 1
        self.promised -= lane.promised
        self._idle.append(lane)

    def next_sequences(self, lane: Lane, count: int, *, may_wait: bool) -> int:
        """New numbers of a lane, one after the other; returns the first. Where the oldest that is open is too old, the lane
        waits until that is closed, behind those that have waited for longer. Raises :class:`RequestTimeoutError` where that is
        longer than the lane's time-out."""
        if may_wait and (self._room < count or self._is_waited_for()):
            self._await_room(lane, count)
        first = self.line.next_sequences(count)
        for number in range(first, first + count):
            self.open[number] = lane
        return first

    def _await_room(self, lane: Lane, count: int) -> None:
        begun, was_called = _monotonic(), False
        while self.span + count > limits.CLIENT_WINDOW if was_called else self._room < count or self._is_waited_for():
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

    def take_prompt(self) -> None:
        """Hand out what is there already, where the kernel's reply may be; so many times in a row at most, as the loop has to
        do something else, too."""
        if self.line.is_prompt and self._in_a_row < _PROMPT_IN_A_ROW:
            in_a_row = self._in_a_row
            self.read(was_readable=False)
            self._in_a_row = in_a_row + 1

    def listen(self, lane: Lane, seconds: float) -> None:
        """Have a lane woken when it hears something, or after so many seconds."""
        lane.wake_at = at = self._loop.time() + seconds
        self._listening[lane] = None
        if at < self._alarm_at:
            self._set_alarm(at)

    def stop_listening(self, lane: Lane) -> None:
        """It was woken, or does not wait any more. The alarm stays: a timer for each request would cost more than one that is
        set anew when it has gone off for nothing."""
        self._listening.pop(lane, None)

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = self._loop.call_at(at, self._ring), at

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, _NEVER
        now = self._loop.time() + _CLOCK_SECONDS
        for lane in [lane for lane in self._listening if lane.wake_at <= now]:
            lane.wake()
        if self._listening:
            self._set_alarm(min(lane.wake_at for lane in self._listening))

    def close(self) -> None:
        """As :meth:`Line.close`; once.

        In a forked child the loop's selector is the parent's too, which would miss what the child takes out of it.
        """
        if not self.is_closed:
            self.is_closed = True
            if self.line.process != process_number():
                self.line.abandon()
                return
            if self._alarm is not None:
                self._alarm.cancel()
            self._loop.remove_reader(self.line.fileno())
            self.line.close()

    def read(self, *, was_readable: bool = True) -> None:
        """Hand out what has come in, as far as anybody waits for it."""
        self._in_a_row = 0
        line = self.line
        try:
            for _ in range(_PACKETS_AT_ONCE):
                packet = line.receive(was_readable=was_readable)
                if packet is None:
                    break
                was_readable = False
                if packet and (found := line.parse(packet)) is not None:
                    lane = self.open.get(found[0] >> FRAGMENT_BITS)
                    if lane is not None:
                        lane.hear(found)
                        if not self._listening and not lane.is_streaming:
                            break
        except SplinterError as error:  # what the network said cannot pass, or the server speaks another version
            for lane in {id(lane): lane for lane in self.open.values()}.values():
                lane.fail(error)


class Lane(Channel):
    """What one call has of a shared line: up to ``promised`` of its numbers at once, or, where that is all, all of it.

    A call that opens a number while it has others open only reads by them, or has a whole line: for what only reads the server
    keeps no results, and does not mind how far apart its numbers are.
    """

    def __init__(self, shared: SharedLine, explain: Explain) -> None:
        super().__init__(shared.line, 0.0, lambda obstacle, seconds: in_thread(explain, obstacle, seconds))
        self.shared = shared
        self.promised = 0
        self.wake_at = 0.0  # by the loop's clock
        self._heard: deque[tuple[int, Reply]] = deque()
        self._failure: SplinterError | None = None
        self._future: asyncio.Future[None] | None = None

    def close(self) -> None:
        """The call has ended."""
        self.end()
        self._heard.clear()
        self._failure = None
        self.shared.give_back(self)

    @property
    def is_streaming(self) -> bool:
        """Whether it waits for more than one packet."""
        return bool(self._flights)

    def hear(self, found: tuple[int, Reply]) -> None:
        """A reply to one of its numbers has come."""
        self._heard.append(found)
        self.wake()

    def fail(self, error: SplinterError) -> None:
        """No reply can come."""
        self._failure = error
        self.wake()

    def wake(self) -> None:
        """Have it look at what it has heard, and at the time."""
        self.shared.stop_listening(self)
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def next_sequences(self, count: int = 1) -> int:
        """As of any channel. One that has none open waits where the line has too many."""
        first = self.shared.next_sequences(self, count, may_wait=not self._numbers)
        for number in range(first, first + count):
            self._numbers[number] = None
        return first

    def close_numbers(self, numbers: Iterable[int]) -> None:
        """As of any channel."""
        for number in numbers:
            if self._numbers.pop(number, self) is None:
                self.shared.release(number)

    @property
    def numbers_left(self) -> int:
        """As of any channel. What only reads may have them as far apart as it likes."""
        return limits.CLIENT_WINDOW - self.shared.span if self.promised == limits.CLIENT_WINDOW else limits.CLIENT_WINDOW

    def _oldest(self, new: int) -> int:
        return next(iter(self.shared.open), new)

    def _hear(self, seconds: float) -> tuple[int, Reply] | tuple[()] | None:
        if not self._heard and seconds > 0:
            self.shared.take_prompt()
        if not self._heard and seconds > 0 and self._failure is None:
            self._future = asyncio.get_running_loop().create_future()
            self.shared.listen(self, seconds)
            try:
                wait(self._future)
            finally:
                self.shared.stop_listening(self)
                self._future = None
        if not self._heard:
            # A loop that was busy may have told of the time before it looked at the socket.
            self.shared.read(was_readable=False)
        if not self._heard and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return self._heard.popleft() if self._heard else None

    def pause(self, seconds: float) -> None:
        """As of any channel, while the loop does something else."""
        before = self.line.repeated_at = _monotonic()
        wait(asyncio.sleep(seconds))
        self.waited += min(_monotonic() - before, seconds)
