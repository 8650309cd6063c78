"""``splinter serve`` as a child process: its start, what it says, its end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from splinter.errors import ServerError
from splinter.interrupts import uninterrupted
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo

START_SECONDS_MAX = 900.0  # the first start on a machine compiles everything, and that may be a slow one
STOP_SECONDS_MAX = 20.0
_POLL_SECONDS = 0.02
_LINES_SHOWN = 15
_PORTS = range(10_000, 32_768)  # below net.ipv4.ip_local_port_range
_PORTS_APART = 997  # of processes with neighbouring ids
_PR_SET_PDEATHSIG = 1
_port_numbers = iter(range(len(_PORTS)))
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel end the calling process when its parent ends, however it ends; one that cleans up takes SIGTERM.

    ``parent`` is the parent's pid; when it is gone by now, the calling process ends here. To the kernel the parent is the
    thread that forked: a thread that starts a server must live as long as the server.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def free_port() -> int:
    """A port that nobody uses on loopback, for TCP and UDP. Raises :class:`ServerError` when there is none.

    The port is used a while later, and others run beside: it is none of those that the kernel gives to whom any will do, and
    each process that asks has others.
    """
    for number in _port_numbers:
        port = _PORTS[(os.getpid() * _PORTS_APART + number) % len(_PORTS)]
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError("all ports of 127.0.0.1 that servers of tests take are in use")


class ServerProcess:
    """A server of an instance name; it ends with the thread that started it, whatever ends that.

    ``options`` are those of ``splinter serve``; ``environment`` is added to this process's; ``program``, a command, takes
    the place of ``python -m splinter``. ``log`` is the file with all that the server printed; :meth:`stop` leaves it.
    """

    def __init__(
        self, instance: str, *options: str, environment: Mapping[str, str] | None = None, program: Sequence[str] = ()
    ) -> None:
        self.instance = instance
        command = [*(program or (sys.executable, "-m", "splinter")), "serve", "--instance", instance, *options]
        with contextlib.ExitStack() as undo:
            with uninterrupted():  # who is interrupted here has nothing by which to stop it
                descriptor, name = tempfile.mkstemp(prefix=f"splinter-{instance}-", suffix=".log")
                self.log = Path(name)
                undo.callback(self.forget)
                undo.callback(os.close, descriptor)
                # A process group of its own: Ctrl-C at the terminal is for this process, which then stops the server in order.
                # It stays in the session, as the kernel shares the CPUs among sessions: one that tests keep busy would starve
                # another.
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, process_group=0,
                    env=os.environ | dict(environment or {}),
                    preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),
                )  # fmt: skip
                undo.callback(self.stop)
            undo.pop_all()
        os.close(descriptor)

    def wait_until_ready(self, seconds: float = START_SECONDS_MAX) -> InstanceInfo:
        """What the server says of itself, once it answers. Raises :class:`ServerError` when it ends, or takes longer.

        The error carries the end of what the server printed as a note. The process is left as it is.
        """
        deadline = time.monotonic() + seconds
        reason = f"the server was not ready within {seconds:g} s"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                reason = f"the server ended with status {self.process.returncode}"
                break
            with contextlib.suppress(ServerError):
                info = instances.read(self.instance)
                if info.pid == self.process.pid:  # else another server has the name, and this one is about to say so
                    return info
            time.sleep(_POLL_SECONDS)
        error = ServerError(reason)
        self.explain(error)
        raise error

    def explain(self, error: BaseException) -> None:
        """Add the end of what the server printed to an error, as a note."""
        if said := "\n".join(self.said().splitlines()[-_LINES_SHOWN:]):
            error.add_note(f"The server said last:\n{said}")

    def said(self) -> str:
        """All that the server printed so far."""
        return self.log.read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM, seconds: float = STOP_SECONDS_MAX) -> int:
        """Send a signal, wait for the end, return the exit status. After ``seconds`` the server is killed."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def forget(self) -> None:
        """Remove the log."""
        self.log.unlink(missing_ok=True)
