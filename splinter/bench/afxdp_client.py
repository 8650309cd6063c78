"""Load generator over AF_XDP: frames from and to the driver, past the client's network stack.

It sends on one queue of its device, and receives on all: a veth pair's queues are connected one to one, but a server may
answer on another queue than it was asked on. The loop spins; with one request under way, a round trip is then what the
path costs and no wake-up.
"""

from __future__ import annotations

import contextlib
import os

import numpy as np
from numba import njit

from splinter.bench.clock import TIMESPEC_BYTES, now_ns
from splinter.bench.flight import F_IN_FLIGHT, complete, expire, launch, room
from splinter.bench.frames import FRAME_HEADER_BYTES, Route
from splinter.bench.load import LoadClient
from splinter.bench.path import Path
from splinter.bench.process import namespace
from splinter.limits import CHUNK_BYTES, CHUNKS_PER_QUEUE, PORT_DEFAULT, RX_BATCH
from splinter.native.atomics import load64, store64
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.afxdp import compiled as ring
from splinter.net.afxdp.record import X_UMEM
from splinter.net.xdp import RedirectProgram

SOURCE_PORT_DEFAULT = 40_000
_SPINS_BETWEEN_CLOCKS = 64  # looks at empty rings until the clock is read again, for time-outs and the run's end
_WORD_BYTES = 8


@njit(cache=True)
def _take_completions(xsk: int, free: int, free_count: int) -> int:
    """Put the chunks of sent frames on the stack ``free`` of ``free_count`` addresses; returns how many it holds then."""
    count = ring.completion_available(xsk)
    if count:
        position = ring.completion_position(xsk)
        for i in range(count):
            address = ring.completion_address(xsk, ring.advance(position, i))
            store64(free + (free_count + i) * _WORD_BYTES, address)
        ring.completion_release(xsk, ring.advance(position, count))
    return free_count + count


@njit(cache=True)
def _send(flight: int, xsk: int, free: int, free_count: int, count: int, now: int) -> int:
    """Launch ``count`` requests, in chunks from the stack; returns what :func:`kick` does."""
    umem, position = load64(xsk + X_UMEM), ring.tx_position(xsk)
    for i in range(count):
        address = load64(free + (free_count - 1 - i) * _WORD_BYTES)
        length = launch(flight, umem + address, now)
        ring.tx_write(xsk, ring.advance(position, i), address, length)
    ring.tx_publish(xsk, ring.advance(position, count))
    return ring.kick(xsk)


@njit(cache=True)
def _receive(flight: int, xsk: int, count: int, now: int) -> None:
    """Take ``count`` packets and give their chunks back to the kernel."""
    umem, position, fill = load64(xsk + X_UMEM), ring.rx_position(xsk), ring.fill_position(xsk)
    for i in range(count):
        at = ring.advance(position, i)
        address = ring.rx_address(xsk, at)
        complete(flight, umem + address + FRAME_HEADER_BYTES, ring.rx_length(xsk, at) - FRAME_HEADER_BYTES, now)
        ring.fill_write(xsk, ring.advance(fill, i), address)
    ring.rx_release(xsk, ring.advance(position, count))
    ring.fill_publish(xsk, ring.advance(fill, count))


@njit(cache=True, nogil=True)
def _closed_loop(
    flight: int,
    sockets: int,
    sockets_count: int,
    free: int,
    free_count: int,
    timespec: int,
    depth: int,
    until_ns: int,
    requests_max: int,
) -> int:
    """Runs on the records at address ``sockets``; the first one sends. Returns ``free_count``, or ``-errno``."""
    sender = load64(sockets)
    sent, left, spins = 0, 0, 0
    now = now_ns(timespec)
    while True:
        if now < until_ns and sent < requests_max:
            count = min(room(flight, depth), requests_max - sent, free_count, ring.tx_free(sender))
            if count > 0:
                left = _send(flight, sender, free, free_count, count, now)
                free_count -= count
                sent += count
        elif load64(flight + F_IN_FLIGHT) == 0:
            return _take_completions(sender, free, free_count)
        if left < 0:
            return left

        received = 0
        for i in range(sockets_count):
            xsk = load64(sockets + i * _WORD_BYTES)
            count = min(ring.rx_available(xsk), RX_BATCH)
            if count:
                now = now_ns(timespec)
                _receive(flight, xsk, count, now)
                received += count
        spins += 1
        if received or spins == _SPINS_BETWEEN_CLOCKS:
            if not received:
                now = now_ns(timespec)
            spins = 0
            expire(flight, now)
            free_count = _take_completions(sender, free, free_count)
            if left > 0:
                left = ring.kick(sender)


class AfxdpClient(LoadClient):
    """Load generator over AF_XDP sockets on the device of ``path``, made in network namespace ``netns`` if given.

    Replies from UDP port ``port`` are taken from the network stack of that device as long as this object is open. Needs
    root; raises what :class:`XskSocket` and :class:`RedirectProgram` do.
    """

    def __init__(
        self,
        path: Path,
        port: int = PORT_DEFAULT,
        *,
        netns: str | None = None,
        queue: int = 0,
        source_port: int = SOURCE_PORT_DEFAULT,
    ) -> None:
        super().__init__(Route(path.source_mac, path.destination_mac, path.source, path.destination, source_port, port))
        umem = Umem(CHUNKS_PER_QUEUE * (path.queues + 1), CHUNK_BYTES)
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as undo, namespace(netns):
            undo.callback(self.close)
            program = RedirectProgram(path.device, path.queues, port, match="source")
            self._open.enter_context(program)
            queues = [queue, *(q for q in range(path.queues) if q != queue)]
            self._sockets = [self._open.enter_context(XskSocket(umem, path.device, q)) for q in queues]
            chunks = np.arange(umem.chunks).reshape(-1, CHUNKS_PER_QUEUE) * CHUNK_BYTES
            for xsk, mine in zip(self._sockets, chunks, strict=False):
                xsk.refill(mine.tolist())
                program.set_socket(xsk.queue, xsk.fd)
            program.attach()
            undo.pop_all()
        self._free = chunks[-1].astype(np.int64)
        self._free_count = len(self._free)
        self._records = np.array([xsk.record for xsk in self._sockets], np.int64)
        self._timespec = np.zeros(TIMESPEC_BYTES, np.uint8)
        self._loop(1, 0, 0)  # compiles, and returns at once

    def _loop(self, depth: int, until_ns: int, requests_max: int) -> None:
        left = _closed_loop(
            self.flight.address,
            self._records.ctypes.data,
            len(self._records),
            self._free.ctypes.data,
            self._free_count,
            self._timespec.ctypes.data,
            depth,
            until_ns,
            requests_max,
        )
        if left < 0:
            raise OSError(-left, f"sending on {self._sockets[0].device}: {os.strerror(-left)}")
        self._free_count = left

    def close(self) -> None:
        self._open.close()
