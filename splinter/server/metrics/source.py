"""Where the metrics process has its numbers from: the control process, by :mod:`splinter.server.control.metrics_door`."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import Any

import msgpack

from splinter import limits
from splinter.server import logs

logger = logging.getLogger(__name__)
_PIECE_BYTES = 1 << 16
_BYTES_MAX = 16 << 20  # of an answer


class Source:
    """Looks at the server's counters, once for all who ask at about the same time; used by several threads."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._channel.setblocking(False)
        self._lock = threading.Lock()
        self._told: dict[str, Any] | None = None
        self._next = 0.0  # monotonic seconds: from then on the counters are asked for anew
        self._is_silent = False

    def look(self) -> dict[str, Any] | None:
        """The statistics, not older than ``METRICS_SECONDS_MIN``; None when the control process does not tell them in time."""
        with self._lock:
            if time.monotonic() >= self._next:
                self._told = self._ask()
                self._next = time.monotonic() + limits.METRICS_SECONDS_MIN
            return self._told

    def _ask(self) -> dict[str, Any] | None:
        try:
            told = ask(self._channel)
        except (OSError, ValueError) as error:  # msgpack's errors are ValueErrors, or not its own
            if not self._is_silent:
                logger.warning("the control process does not tell the counters: %s", error)
            self._is_silent = True
            return None
        self._is_silent = False
        if told.get("log_level") in logs.LEVELS:  # the file may have been read again since this process began
            logs.set_level(told["log_level"])
        return told


def ask(channel: socket.socket) -> dict[str, Any]:
    """Ask once. Raises :class:`OSError` when nobody answers in time, :class:`ValueError` for what is no whole answer."""
    deadline = time.monotonic() + limits.METRICS_SECONDS
    ours, theirs = socket.socketpair()
    with contextlib.closing(ours):
        with contextlib.closing(theirs):
            try:
                socket.send_fds(channel, [b"?"], [theirs.fileno()])
            except BlockingIOError:
                raise TimeoutError("too many earlier looks wait") from None
        pieces, size = [], 0
        while True:
            ours.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = ours.recv(_PIECE_BYTES)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > _BYTES_MAX:
                raise ValueError(f"more than {_BYTES_MAX} bytes")
    told = msgpack.unpackb(b"".join(pieces), strict_map_key=False)
    if not isinstance(told, dict):
        raise ValueError("no statistics")
    return told
