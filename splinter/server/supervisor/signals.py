"""Signals to the supervisor: which end the server, and what they may interrupt."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
from collections.abc import Iterator
from types import FrameType

from splinter.interrupts import must_run_whole

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_AGAIN_SECONDS = 0.05  # until a signal is acted upon that came where exceptions are dropped, or do harm


class StoppedError(BaseException):
    """A signal asked for the end while the server starts."""


class Signals:
    """``stopping``: a signal has asked for the server's end; ``hung_up``: one (SIGHUP) for the settings to be read anew."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self.stopping = self.hung_up = False
        self._is_interruptible = False  # a signal's handler may raise
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def catch(self) -> None:
        """What is ignored stays ignored (``nohup``), what was blocked is heard, and only ``ENDING`` ends the server."""
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        self._ends = (reader, writer)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (*ENDING, signal.SIGALRM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._end)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: None)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._selector.register(reader, selectors.EVENT_READ, self._hear)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A signal that ends the server also ends the block, wherever it is. Outside of such blocks it is noted."""
        self._is_interruptible = True
        try:
            if self.stopping:
                raise StoppedError
            yield
        finally:
            self._is_interruptible = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        if self.stopping:
            raise StoppedError

    def close(self) -> None:
        """Hear no more of them. Nothing to do when none were caught."""
        if self._ends is not None:
            signal.set_wakeup_fd(-1)
            for end in self._ends:
                end.close()

    def _end(self, _: int, frame: FrameType | None) -> None:
        """A signal that ends the server. What takes long at its start is interrupted; again, should the exception get lost."""
        self.stopping = True
        if self._is_interruptible:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            if not must_run_whole(frame):
                raise StoppedError

    def _hear(self) -> None:
        assert self._ends is not None
        numbers = set(self._ends[0].recv(64))
        self.hung_up = self.hung_up or signal.SIGHUP in numbers
        self.stopping = self.stopping or not numbers.isdisjoint(ENDING)
