"""What a server says, without ever waiting for whoever reads it.

A pipe that nobody empties, a terminal that is stopped by Ctrl-S, a file system that hangs: a write to any of them can
last for ever, and who writes does nothing else meanwhile. So a server's processes do not write to what they were given as
standard output and error. In their place are pipes of the server's own that cannot block: what does not fit is dropped, and
counted. A process of its own, the *writer*, carries the text on; it may wait as long as it likes. What it cannot write
(nobody listens any more, the disk is full) it drops, and says so when it can write again.

Setting O_NONBLOCK on the descriptors that were inherited would be simpler and wrong: it would hold for everybody who has them,
the shell included. A thread would not do: the supervisor forks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from splinter.server.logs import text_note
from splinter.server.processes import die_in_order, fork_child, reap, wait_or_kill

_DESCRIPTORS = (1, 2)
_PIPE_BYTES = 1 << 20  # as much as an unprivileged process may ask for
_CHUNK_BYTES = 1 << 16
_END_SECONDS = 2  # for what is left to be written when the server has ended


class _Stream:
    """A text stream whose writes drop what cannot be written at once. A line, of at most PIPE_BUF bytes, is written in one."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, descriptor: int, note: Callable[[str], str] = text_note) -> None:
        self._descriptor, self._note = descriptor, note
        self._begun = ""  # of a line
        self._lost = 0  # lines, since the last that could be written

    def write(self, text: str) -> int:
        """Write the lines that are whole; the rest waits for its end."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._put(line + "\n")
        return len(text)

    def _put(self, line: str) -> None:
        data = line.encode(errors=self.errors)
        if len(data) > select.PIPE_BUF:
            data = data[: select.PIPE_BUF - 1] + b"\n"
        try:
            if self._lost:  # by itself: with the line it could be more than is taken in one
                told = f"{self._lost} lines before this one were lost, as nobody took them"
                os.write(self._descriptor, self._note(told).encode() + b"\n")
                self._lost = 0
            os.write(self._descriptor, data)
        except OSError:
            self._lost += 1

    def flush(self) -> None:
        """Write a line that has not ended."""
        if self._begun:
            line, self._begun = self._begun, ""
            self._put(line)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """It is a pipe."""
        return False

    def writable(self) -> bool:
        """It always is."""
        return True


class Output:
    """The server's standard output and error, from :meth:`__init__` to :meth:`close`. Used by the supervisor."""

    def __init__(self, note: Callable[[str], str] = text_note) -> None:
        """``note`` makes a line of what there is to say about the standard error itself."""
        self._notes = (text_note, note)  # of each descriptor
        self._before: list[tuple[int, TextIO]] = []  # what the descriptors were: a copy, and Python's stream
        self._pipes: list[int] = []  # the ends that are read; kept, so that another writer can go on
        for descriptor, stream in zip(_DESCRIPTORS, (sys.stdout, sys.stderr), strict=True):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
            reading, writing = os.pipe2(os.O_CLOEXEC)
            with contextlib.suppress(OSError):
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            os.set_blocking(writing, False)
            self._before.append((fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3), stream))
            self._pipes.append(reading)
            os.dup2(writing, descriptor)
            os.close(writing)
        sys.stdout, sys.stderr = _Stream(1), _Stream(2, note)
        self.start_writer()

    def start_writer(self) -> None:
        """Fork the writer, or its successor."""
        self._pid, self.pidfd = fork_child("splinter-log", self._carry_all)

    def reap_writer(self) -> None:
        """The writer has ended, as ``pidfd`` told, which is closed now."""
        reap(self._pid, self.pidfd)
        self._pid, self.pidfd = 0, -1

    def close(self) -> None:
        """Have the rest written, as far as somebody takes it, and give the descriptors back."""
        for descriptor, (copy, stream) in zip(_DESCRIPTORS, self._before, strict=True):
            (sys.stdout, sys.stderr)[descriptor - 1].flush()
            os.dup2(copy, descriptor)
            os.close(copy)
            if descriptor == 1:
                sys.stdout = stream
            else:
                sys.stderr = stream
        for reading in self._pipes:
            os.close(reading)
        if self._pid:
            wait_or_kill(self._pid, self.pidfd, time.monotonic() + _END_SECONDS)

    def _carry_all(self) -> None:
        """In the writer: one thread for each stream, as either may wait."""
        for number in (signal.SIGTERM, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)  # it ends with those who write to it, and not before
        die_in_order(_END_SECONDS)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, *_DESCRIPTORS):
            os.dup2(nowhere, descriptor)
        threads = [
            threading.Thread(target=_carry, args=(reading, copy, note))
            for reading, (copy, _), note in zip(self._pipes, self._before, self._notes, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _carry(reading: int, writing: int, note: Callable[[str], str] = text_note) -> None:
    """Write what is read, until all who write to the pipe have gone."""
    carrier = _Carrier(writing, note)
    while data := os.read(reading, _CHUNK_BYTES):
        carrier.carry(data)


class _Carrier:
    """Writes lines to a descriptor. What it cannot write is dropped, and told of in a line of its own once there is room.

    A disk that gets full cuts a line wherever it is. What comes next begins a line all the same, and is a whole one.
    """

    def __init__(self, descriptor: int, note: Callable[[str], str]) -> None:
        self._descriptor, self._note = descriptor, note
        self._lost = 0  # bytes, since the last that could be written
        self._has_taken_line = self._has_written_line = True  # the last byte was a line's end

    def carry(self, data: bytes) -> None:
        """Write it, as far as that can be."""
        if self._lost and not self._has_taken_line:  # the rest of a line whose beginning was lost
            rest = data.find(b"\n") + 1 or len(data)
            self._lost += rest
            self._has_taken_line = data[:rest].endswith(b"\n")
            data = data[rest:]
        if not data:
            return
        self._has_taken_line = data.endswith(b"\n")
        if self._lost:
            told = self._note(f"{self._lost} bytes before this could not be written").encode() + b"\n"
            if self._write(told if self._has_written_line else b"\n" + told):
                self._lost += len(data)
                return
        self._lost = self._write(data)

    def _write(self, data: bytes) -> int:
        left = _write(self._descriptor, data)
        if left < len(data):
            self._has_written_line = data[: len(data) - left].endswith(b"\n")
        return left


def _write(descriptor: int, data: bytes) -> int:
    """Write all of it, however long that takes; returns how many bytes could not be written."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # others have made it so
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            waiting.poll()
        except OSError:
            return len(data)
    return 0
