"""Processes kept ready to become workers, forked by a process of their own.

Forking copies the page tables of a store in BPF maps, tens of milliseconds for a gigabyte. A worker that dies must be
replaced at once, and the watchdog must not look away meanwhile; so spares are forked beforehand, and not by the supervisor
but by the *forker*. The forker is forked when everything is set up, and its children are the supervisor's (``CLONE_PARENT``),
which waits for them as for its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from splinter.server.processes import OomPreference, be_urgent, fork_child, fork_sibling, hurry, is_readable, kill

_PID_BYTES = 4
_ASK = b"1"
_FORK_SECONDS = 0.1  # until a fork that failed is tried again
_OOM_POINTS = 100  # workers and spares are replaced; nothing of the store is lost


@dataclass
class Spare:
    """A process that waits to become a worker: it reads its core slot from a pipe, of which this is the other end."""

    pid: int
    pidfd: int
    assign_fd: int

    def assign(self, slot: int) -> None:
        """Tell it which worker it is. One that has just ended is told for nothing: its ``pidfd`` says so."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.assign_fd, bytes([slot]))
        os.close(self.assign_fd)

    def has_ended(self) -> bool:
        """Whether somebody has killed it, as the kernel does where memory runs out."""
        return is_readable(self.pidfd)


class Spares:
    """Keeps ``wanted`` spares; ``serve`` is what a spare runs with its core slot.

    ``socket`` is readable when :meth:`receive` has something to take, or the forker has ended. Used from one thread.
    """

    def __init__(self, serve: Callable[[int], None], wanted: int) -> None:
        self._serve = serve
        self._wanted = wanted
        self._asked = 0
        self._ready: list[Spare] = []
        self._forker: int | None = None  # its pid
        self._hurries = False  # the forker goes before the workers
        self.socket: socket.socket

    @property
    def has_forker(self) -> bool:
        """Whether it lives, as far as is known; then there is a ``socket``."""
        return self._forker is not None

    @property
    def has_ready(self) -> bool:
        """Whether one has been received and not taken."""
        return bool(self._ready)

    def start(self, at_first: Callable[[], None]) -> None:
        """Fork the forker, which runs ``at_first`` first, and ask it for spares."""
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._forker, pidfd = fork_child("splinter-forker", lambda: self._fork_for(other, at_first))
        os.close(pidfd)  # its end of the socket tells of its death
        other.close()
        self._hurries = False
        self._asked = 0
        self._ask()

    def _ask(self) -> None:
        while self._forker is not None and self._asked + len(self._ready) < self._wanted:
            self.socket.send(_ASK)
            self._asked += 1

    def receive(self) -> bool:
        """Take the spare that has come; false when the forker has ended: close ``socket``, and :meth:`start` again."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self.socket, _PID_BYTES, 1)
        except ConnectionResetError:
            message = b""
        if not message:
            assert self._forker is not None
            os.waitpid(self._forker, 0)
            self._forker = None
            return False
        pid = int.from_bytes(message, "little")
        self._ready.append(Spare(pid, os.pidfd_open(pid), descriptors[0]))
        self._asked -= 1
        self._hurry(False)
        return True

    def take(self) -> Spare | None:
        """A spare for a worker that died; None: none is ready. Another one is asked for, urgently if it was the last."""
        while self._ready and self._ready[0].has_ended():
            self._drop(self._ready.pop(0))
        spare = self._ready.pop(0) if self._ready else None
        self._ask()
        if not self._ready:
            self._hurry(True)
        return spare

    def _hurry(self, is_urgent: bool) -> None:
        if is_urgent != self._hurries and self._forker is not None:
            self._hurries = is_urgent
            hurry(self._forker, is_urgent=is_urgent)

    def close(self) -> None:
        """End the forker and all spares, which hold nothing. Nothing to do when that is done; :meth:`start` begins anew."""
        if self._forker is not None:
            os.kill(self._forker, signal.SIGKILL)
            while self.receive():
                pass
            self.socket.close()
        self._asked = 0
        for spare in self._ready:
            self._drop(spare)
        self._ready.clear()

    @staticmethod
    def _drop(spare: Spare) -> None:
        kill(spare.pid, spare.pidfd)
        os.close(spare.assign_fd)

    # --- in the forker ---------------------------------------------------------------------------------------------------

    def _fork_for(self, orders: socket.socket, at_first: Callable[[], None]) -> None:
        """Fork a spare for each order, until the supervisor has gone."""
        self.socket.close()
        OomPreference.offer(_OOM_POINTS)  # its children are offered likewise
        at_first()
        while orders.recv(len(_ASK)):
            receive_fd, assign_fd = os.pipe()

            def wait_and_serve(receive_fd: int = receive_fd, assign_fd: int = assign_fd) -> None:
                os.close(assign_fd)
                orders.close()
                be_urgent()  # so that it runs as soon as it is told, also on a busy machine
                assigned = os.read(receive_fd, 1)
                if assigned:
                    self._serve(assigned[0])

            pid = _fork_when_possible(wait_and_serve)
            socket.send_fds(orders, [pid.to_bytes(_PID_BYTES, "little")], [assign_fd])
            os.close(receive_fd)
            os.close(assign_fd)


def _fork_when_possible(main: Callable[[], None]) -> int:
    """Fork a spare; where the system has no room for another process at the moment, when it has."""
    while True:
        try:
            return fork_sibling("splinter-spare", main)
        except OSError:
            time.sleep(_FORK_SECONDS)
