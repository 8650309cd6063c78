"""Forked processes: what is sent to a child is the child's, from its first instruction on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from splinter.server import processes


@pytest.fixture
def told() -> Iterator[socket.socket]:
    """Where this process is told of its signals, as the supervisor is."""
    reading, writing = socket.socketpair()
    for end in (reading, writing):
        end.setblocking(False)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    yield reading
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, before)
    reading.close()
    writing.close()


def signalled_at_once() -> int:
    """``os.fork``; the child gets SIGTERM before it does anything."""
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid


def test_a_signal_to_a_child_that_was_just_forked_is_not_its_parents(told: socket.socket) -> None:
    pid = processes._fork(os.getpid(), signalled_at_once, "child", lambda: None)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    with pytest.raises(BlockingIOError):
        told.recv(1)


def test_a_fork_leaves_the_parents_signals_as_they_were(told: socket.socket) -> None:
    def no_room() -> int:
        raise BlockingIOError

    with pytest.raises(BlockingIOError):
        processes._fork(os.getpid(), no_room, "child", lambda: None)
    pid, pidfd = processes.fork_child("child", lambda: None)
    os.waitpid(pid, 0)
    os.close(pidfd)
    os.kill(os.getpid(), signal.SIGTERM)
    assert told.recv(1) == bytes([signal.SIGTERM])
