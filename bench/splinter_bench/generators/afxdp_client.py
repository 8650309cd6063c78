"""Load generator over AF_XDP: frames from and to the driver, past the client's network stack.

It sends on one queue of its device, and receives on all: a veth pair's queues are connected one to one, but a server may
answer on another queue than it was asked on. The loop spins; with one request under way, a round trip is then what the
path costs and no wake-up. A loop that sleeps in ``ppoll`` while it has nothing to do leaves its CPU to others.
"""

from __future__ import annotations

import contextlib
import os

import numpy as np
from numba import njit

from splinter.limits import CHUNK_BYTES, CHUNKS_PER_QUEUE, PORT_DEFAULT, RX_BATCH
from splinter.native.atomics import load64, store64
from splinter.native.clock import TIMESPEC_BYTES, now_ns
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.afxdp import compiled as ring
from splinter.net.xdp import RedirectProgram
from splinter_bench.generators.flight import idle_ns, is_over, launch
from splinter_bench.generators.flight_layout import State
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route
from splinter_bench.generators.load import LoadClient
from splinter_bench.generators.path import Path
from splinter_bench.generators.replies import complete, expire
from splinter_bench.process import namespace
from splinter_bench.sleep import polled, sleep

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
def _send(flight: int, xsk: int, free: int, free_count: int, now: int) -> int:
    """Launch what is to be sent, at most ``RX_BATCH`` packets, in chunks from the stack; returns how many."""
    umem, position = ring.Xsk(xsk).umem, ring.tx_position(xsk)
    room = min(free_count, ring.tx_free(xsk), RX_BATCH)
    count = 0
    while count < room:
        address = load64(free + (free_count - 1 - count) * _WORD_BYTES)
        length = launch(flight, umem + address, now)
        if length == 0:
            break
        ring.tx_write(xsk, ring.advance(position, count), address, length)
        count += 1
    if count:
        ring.tx_publish(xsk, ring.advance(position, count))
    return count


@njit(cache=True)
def _receive(flight: int, xsk: int, count: int, now: int) -> None:
    """Take ``count`` packets and give their chunks back to the kernel."""
    umem, position, fill = ring.Xsk(xsk).umem, ring.rx_position(xsk), ring.fill_position(xsk)
    for i in range(count):
        at = ring.advance(position, i)
        address = ring.rx_address(xsk, at)
        complete(flight, umem + address + FRAME_HEADER_BYTES, ring.rx_length(xsk, at) - FRAME_HEADER_BYTES, now)
        ring.fill_write(xsk, ring.advance(fill, i), address)
    ring.rx_release(xsk, ring.advance(position, count))
    ring.fill_publish(xsk, ring.advance(fill, count))


@njit(cache=True, nogil=True)
def _loop(
    flight: int, sockets: int, sockets_count: int, free: int, free_count: int, scratch: int, polled: int, spins_max: int
) -> int:
    """Run until all is over, on the records at address ``sockets``; the first one sends.

    After ``spins_max`` looks at empty rings it sleeps until there is something to do; 0: it never does. ``polled``: a pollfd
    for each socket. Returns ``free_count``, or ``-errno``.
    """
    sender = load64(sockets)
    left, spins = 0, 0
    now = now_ns(scratch)
    while True:
        sent = _send(flight, sender, free, free_count, now)
        if sent:
            free_count -= sent
            left = ring.kick(sender)
        elif is_over(flight, now):
            return _take_completions(sender, free, free_count)
        if left < 0:
            return left

        received = 0
        for i in range(sockets_count):
            xsk = load64(sockets + i * _WORD_BYTES)
            count = min(ring.rx_available(xsk), RX_BATCH)
            if count:
                now = now_ns(scratch)
                _receive(flight, xsk, count, now)
                received += count
        spins = 0 if sent or received else spins + 1
        if received or spins % _SPINS_BETWEEN_CLOCKS == 0:
            if not received:
                now = now_ns(scratch)
            expire(flight, now)
            free_count = _take_completions(sender, free, free_count)
            if left > 0:
                left = ring.kick(sender)
        elif State(flight).gaps:
            now = now_ns(scratch)  # the next arrival may be due
        if spins_max and spins >= spins_max:
            sleep(polled, sockets_count, idle_ns(flight, now), scratch)
            now, spins = now_ns(scratch), 0
            expire(flight, now)


class AfxdpClient(LoadClient):
    """Load generator over AF_XDP sockets on the device of ``path``, made in network namespace ``netns`` if given.

    Replies from UDP port ``port`` are taken from the network stack of that device as long as this object is open and not
    detached. Needs root; raises what :class:`XskSocket` and :class:`RedirectProgram` do.
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
        self._netns = netns
        umem = Umem(CHUNKS_PER_QUEUE * (path.queues + 1), CHUNK_BYTES)
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as undo, namespace(netns):
            undo.callback(self.close)
            self._program = self._open.enter_context(RedirectProgram(path.device, path.queues, port, match="source"))
            queues = [queue, *(q for q in range(path.queues) if q != queue)]
            self._sockets = [self._open.enter_context(XskSocket(umem, path.device, q)) for q in queues]
            chunks = np.arange(umem.chunks).reshape(-1, CHUNKS_PER_QUEUE) * CHUNK_BYTES
            for xsk, mine in zip(self._sockets, chunks, strict=False):
                xsk.refill(mine.tolist())
                self._program.set_socket(xsk.queue, xsk.fd)
            undo.pop_all()
        self._is_attached = False
        self._free = chunks[-1].astype(np.int64)
        self._free_count = len(self._free)
        self._records = np.array([xsk.record for xsk in self._sockets], np.int64)
        self._polled = polled([xsk.fd for xsk in self._sockets])
        self._timespec = np.zeros(TIMESPEC_BYTES, np.uint8)
        self.compile()

    def detach(self) -> None:
        self._program.detach()
        self._is_attached = False

    def _loop(self, spins_max: int) -> None:
        if not self._is_attached:
            with namespace(self._netns):
                self._program.attach()
            self._is_attached = True
        left = _loop(
            self.flight.address,
            self._records.ctypes.data,
            len(self._records),
            self._free.ctypes.data,
            self._free_count,
            self._timespec.ctypes.data,
            self._polled.ctypes.data,
            spins_max,
        )
        if left < 0:
            raise OSError(-left, f"sending on {self._sockets[0].device}: {os.strerror(-left)}")
        self._free_count = left

    def close(self) -> None:
        self._open.close()
