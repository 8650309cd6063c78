"""What the metrics process is told: statistics, and nothing else.

For each look it sends a descriptor, one end of a socket pair, through a channel that the supervisor made before it forked both.
What it is told is written into that, and the descriptor closed. So it needs no credential, no address and no place among the
connections; whoever takes that process over can do no more than that. One is answered after the other. One that does not read
is waited for no longer than ``METRICS_SECONDS``, and nobody but the next waits meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from splinter import limits
from splinter.server import logs, statistics
from splinter.server.control.usage import Others

_log = logging.getLogger(__name__)


class MetricsDoor:
    """``channel`` is a datagram socket; ``count`` gives all counters, of so many tenants and extensions at most."""

    def __init__(
        self,
        channel: socket.socket,
        count: Callable[[], dict[str, Any]],
        others: Others,
        active: Callable[[], Sequence[int]],
        latencies: Callable[[], dict[str, Any]],
    ) -> None:
        self._channel, self._count, self._others = channel, count, others
        self._active, self._latencies = active, latencies
        channel.setblocking(False)

    async def serve(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        loop.add_reader(self._channel.fileno(), asked.set)
        try:
            while True:
                await asked.wait()
                asked.clear()
                with contextlib.suppress(BlockingIOError):
                    while True:
                        await self._answer(_take(self._channel))
        finally:
            loop.remove_reader(self._channel.fileno())

    async def _answer(self, taken: Sequence[socket.socket]) -> None:
        for answer in taken:
            with answer, contextlib.suppress(OSError, TimeoutError):
                answer.setblocking(False)
                try:
                    told = msgpack.packb(self.tell(), unicode_errors="replace")
                except Exception:
                    _log.exception("telling the metrics process failed")
                    continue
                async with asyncio.timeout(limits.METRICS_SECONDS):
                    await asyncio.get_running_loop().sock_sendall(answer, told)

    def tell(self) -> dict[str, Any]:
        """All counters, with latencies, what the others did, and how the server logs now."""
        counted = self._count()
        self._others.look(self._active(), counted["tenants"], counted["extensions"])
        latencies = statistics.plain(self._latencies())
        return {**counted, "others": self._others.sums(), "latencies": latencies, "log_level": logs.level()}


def _take(channel: socket.socket) -> list[socket.socket]:
    """The descriptors of the next message. Raises ``BlockingIOError`` when there is none."""
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
