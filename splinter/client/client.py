"""The synchronous client."""

from __future__ import annotations

import contextlib
from collections import deque
from types import TracebackType
from typing import Self

from splinter.client.calls import Calls
from splinter.client.channel import Channel
from splinter.client.line import Line
from splinter.client.process import ProcessOwn, process_number
from splinter.errors import SplinterError


class Client(Calls, ProcessOwn):
    """A tenant's connection to a server; several threads may use one client at once.

    ``token`` is the number, or the 16 hexadecimal digits, that creating the tenant returned. ``netns`` names the network
    namespace to connect from (needs root). Requests travel by UDP to ``port``; extensions are administered by TCP at
    ``control_port``, by default the same number. Keys are bytes, text (UTF-8) or integers (8 bytes little-endian, as in
    extensions).

    ``timeout`` is in seconds, for one request with all its repetitions; every method takes another one for its own call.
    Without any it is one second for requests, and 30 for what the control plane does (extensions). What the caller takes
    itself (the generator of :meth:`put_many`), or passes while this process is stopped, is not counted. A request that is not
    answered in time is repeated, and executed once all the same: a repetition gets the first answer.

    When nothing answers, every method raises :class:`splinter.errors.RequestTimeoutError` (a ``TimeoutError``), by its
    subclasses with the reason where it can be told: :class:`~splinter.errors.UnreachableError` (also a ``ConnectionError``),
    :class:`~splinter.errors.WrongTokenError`, :class:`~splinter.errors.TenantRemovedError`,
    :class:`~splinter.errors.RateLimitedError`, :class:`~splinter.errors.PathError`; else the exception of the reply's status
    (:mod:`splinter.errors`). An argument that cannot be what it should, such as a port of 70000, is a ``ValueError`` or
    ``TypeError``, and nothing is sent.

    A client may be used on both sides of a ``fork``: the child begins anew, with sockets and a client id of its own. A
    request that was under way then is the parent's; in the child it ends in :class:`splinter.client.process.ForkedError`.
    """

    def _begin(self) -> None:
        self._process = process_number()
        self._idle: deque[Channel] = deque()  # append and pop are atomic: no lock
        self._lines: list[Line] = []  # all of this process
        self._closed = False
        self._give_back(self._take(None))  # an impossible address or namespace fails here

    @property
    def kernel_replies(self) -> int:
        """How many replies so far the server's kernel made, before any worker saw the request: for statistics."""
        return sum(line.kernel_replies for line in self._lines)

    def close(self) -> None:
        """Close every socket; requests of other threads that are under way are finished first."""
        self._closed = True
        if self._process != process_number():
            self._begin_anew()
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().line.close()
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _take(self, timeout: float | None, numbers: int = 1) -> Channel:
        if self._closed:
            raise SplinterError("this client is closed")
        timeout = self._seconds(timeout)
        if self._process != process_number():
            self._begin_anew()
        try:
            channel = self._idle.pop()
        except IndexError:
            line = self._new_line(timeout)
            self._lines.append(line)
            return Channel(line, timeout, self._diagnosis.explain)
        channel.timeout = timeout
        return channel

    def _begin_anew(self) -> None:
        """In a forked child: what the parent had is the parent's."""
        idle, self._idle, self._lines = self._idle, deque(), []
        self._process = process_number()
        for channel in idle:
            channel.line.abandon()

    def _give_back(self, channel: Channel) -> None:
        channel.end()
        if channel.line.process != process_number():
            channel.line.abandon()
            return
        self._idle.append(channel)
        if self._closed:  # close() may have emptied the pool just before
            self.close()
