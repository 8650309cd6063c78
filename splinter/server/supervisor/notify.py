"""What the service manager is told (sd_notify): readiness, the end, a line for people, and that the supervisor's loop runs.

The protocol is systemd's: lines of ``NAME=VALUE`` in one datagram, to the socket of ``$NOTIFY_SOCKET``. Nothing waits for the
manager, and nothing fails by it: a server that nobody listens to serves all the same.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket

from splinter.server.supervisor.timers import make_timer

_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
_BEATS = 3  # in each period that the manager waits for one: some may come late
_MICROSECONDS_PER_SECOND = 1e6
_PERIOD_SECONDS_MIN = 0.001


class Manager:
    """The service manager, if there is one. Made by the supervisor before its first fork: it takes the manager's variables out
    of the environment, so that no child has them. ``selector`` is the supervisor's: it wakes the loop for each beat."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._address = _address(os.environ.pop(_SOCKET, ""))
        period, pid = os.environ.pop(_WATCHDOG, ""), os.environ.pop(_WATCHDOG_PID, "")
        is_meant = self._address is not None and pid in ("", str(os.getpid()))
        # Seconds in which it wants to hear of the loop; 0: it does not.
        self._period = int(period) / _MICROSECONDS_PER_SECOND if is_meant and period.isdecimal() else 0.0
        self._timer = -1

    def tell_ready(self, status: str) -> None:
        """The server answers; from now on it beats, if it is to. ``status`` is what it says of itself, one line."""
        self._send("READY=1", f"STATUS={_line(status)}")
        if self._period:
            self._timer = make_timer(max(_PERIOD_SECONDS_MIN, self._period / _BEATS))
            self._selector.register(self._timer, selectors.EVENT_READ, self._beat)

    def tell_status(self, status: str) -> None:
        """Another line for people."""
        self._send(f"STATUS={_line(status)}")

    def tell_stopping(self) -> None:
        """The end has begun; no beat comes any more."""
        self._send("STOPPING=1", "STATUS=stopping")
        if self._timer >= 0:
            self._selector.unregister(self._timer)
            os.close(self._timer)
            self._timer = -1

    def _beat(self) -> None:
        """Called by the supervisor's loop and by nothing else: so a beat is a sign of its life."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._timer, 8)
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(errors="surrogateescape"), self._address)


def _address(text: str) -> bytes | None:
    """A path, or with ``@`` an abstract name. None: no address that is known here."""
    if text.startswith("@"):
        return b"\0" + os.fsencode(text[1:])
    return os.fsencode(text) if text.startswith("/") else None


def _line(text: str) -> str:
    return " ".join(text.split())
