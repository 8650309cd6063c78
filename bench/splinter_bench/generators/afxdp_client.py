"""Load generator over AF_XDP: frames from and to the driver, past the client's network stack.

It sends on the first queue of its device, and receives on all: a veth pair's queues are connected one to one, but a server may
answer on another queue than it was asked on. While the loop spins with one request under way, a round trip is what the
path costs and no wake-up.
"""

from __future__ import annotations

import os

import numpy as np
from numba import njit

from splinter.limits import CHUNK_BYTES, CHUNKS_PER_QUEUE, PORT_DEFAULT, RX_BATCH
from splinter.native.atomics import load64, store64
from splinter.native.clock import now_ns
from splinter.native.records import record
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.afxdp import compiled as ring
from splinter.net.netns import inside
from splinter.net.xdp import RedirectProgram
from splinter_bench.generators.flight import launch
from splinter_bench.generators.frames import FRAME_HEADER_BYTES
from splinter_bench.generators.load import LoadClient
from splinter_bench.generators.loop import LOOP, run
from splinter_bench.generators.path import Path
from splinter_bench.generators.replies import complete

_SOURCE_PORT = 40_000
_WORD_BYTES = 8
_CLIENT = np.dtype(
    [
        *LOOP.descr,
        ("sockets", "<i8"),  # address of the addresses of the sockets' records; the first one sends
        ("sockets_count", "<i8"),
        ("free", "<i8"),  # address of a stack of the chunks that no packet stands in
        ("free_count", "<i8"),
        ("left", "<i8"),  # packets that the kernel did not take when it was called
    ]
)
_Client = record(_CLIENT)


@njit(cache=True)
def _kick(client: int) -> int:
    """Have the kernel send. Returns 0, or ``-errno``."""
    left = ring.kick(load64(_Client(client).sockets))
    _Client(client).left = left
    return min(left, 0)


@njit(cache=True)
def _tidy(client: int) -> int:
    """Put the chunks of sent frames on the stack, and have the kernel send what it left. Returns 0, or ``-errno``."""
    mine = _Client(client)
    sender = load64(mine.sockets)
    count = ring.completion_available(sender)
    if count:
        position, top = ring.completion_position(sender), mine.free + mine.free_count * _WORD_BYTES
        for i in range(count):
            store64(top + i * _WORD_BYTES, ring.completion_address(sender, ring.advance(position, i)))
        ring.completion_release(sender, ring.advance(position, count))
        mine.free_count += count
    return _kick(client) if mine.left > 0 else 0


@njit(cache=True)
def _send(client: int, now: int) -> int:
    """Launch what is due, at most ``RX_BATCH`` packets. Returns how many, or ``-errno``."""
    mine = _Client(client)
    flight, sender, top = mine.flight, load64(mine.sockets), mine.free + mine.free_count * _WORD_BYTES
    umem, position = ring.Xsk(sender).umem, ring.tx_position(sender)
    room = min(mine.free_count, ring.tx_free(sender), RX_BATCH)
    count = 0
    while count < room:
        address = load64(top - (1 + count) * _WORD_BYTES)
        length = launch(flight, umem + address, now)
        if length == 0:
            break
        ring.tx_write(sender, ring.advance(position, count), address, length)
        count += 1
    if count == 0:
        return 0
    mine.free_count -= count
    ring.tx_publish(sender, ring.advance(position, count))
    error = _kick(client)
    return error if error else count


@njit(cache=True)
def _receive_on(flight: int, xsk: int, count: int, now: int) -> None:
    """Take ``count`` packets and give their chunks back to the kernel."""
    umem, position, fill = ring.Xsk(xsk).umem, ring.rx_position(xsk), ring.fill_position(xsk)
    for i in range(count):
        at = ring.advance(position, i)
        address = ring.rx_address(xsk, at)
        complete(flight, umem + address + FRAME_HEADER_BYTES, ring.rx_length(xsk, at) - FRAME_HEADER_BYTES, now)
        ring.fill_write(xsk, ring.advance(fill, i), address)
    ring.rx_release(xsk, ring.advance(position, count))
    ring.fill_publish(xsk, ring.advance(fill, count))


@njit(cache=True)
def _receive(client: int, now: int) -> tuple[int, int]:
    """Complete what has come on any socket. Returns how many packets, and the time when they were seen."""
    mine = _Client(client)
    received = 0
    for i in range(mine.sockets_count):
        xsk = load64(mine.sockets + i * _WORD_BYTES)
        count = min(ring.rx_available(xsk), RX_BATCH)
        if count:
            now = now_ns(mine.timespec)
            _receive_on(mine.flight, xsk, count, now)
            received += count
    return received, now


@njit(cache=True, nogil=True)
def _loop(client: int) -> int:
    return run(client, _send, _receive, _tidy)


class AfxdpClient(LoadClient):
    """Load generator over AF_XDP sockets on the device of ``path``, made in network namespace ``netns`` if given.

    Replies from UDP port ``port`` are taken from the network stack of that device as long as this object is open and not
    detached. Needs root; raises what :class:`XskSocket` and :class:`RedirectProgram` do.
    """

    def __init__(self, path: Path, port: int = PORT_DEFAULT, *, netns: str | None = None) -> None:
        self._device, self._netns = path.device, netns
        umem = Umem(CHUNKS_PER_QUEUE * (path.queues + 1), CHUNK_BYTES)
        with self._opening() as stack, inside(netns):
            self._program = stack.enter_context(RedirectProgram(path.device, path.queues, port, match="source"))
            sockets = [stack.enter_context(XskSocket(umem, path.device, queue)) for queue in range(path.queues)]
            chunks = np.arange(umem.chunks).reshape(-1, CHUNKS_PER_QUEUE) * CHUNK_BYTES
            for xsk, mine in zip(sockets, chunks, strict=False):
                xsk.refill(mine.tolist())
                self._program.set_socket(xsk.queue, xsk.fd)
        self._is_attached = False
        self._free = chunks[-1].astype(np.int64)
        self._records = np.array([xsk.record for xsk in sockets], np.int64)
        super().__init__(
            path.route(_SOURCE_PORT, port),
            _CLIENT,
            [xsk.fd for xsk in sockets],
            sockets=self._records.ctypes.data,
            sockets_count=len(sockets),
            free=self._free.ctypes.data,
            free_count=len(self._free),
        )

    def detach(self) -> None:
        self._program.detach()
        self._is_attached = False

    def _loop(self, client: int) -> None:
        if not self._is_attached:
            with inside(self._netns):
                self._program.attach()
            self._is_attached = True
        error = _loop(client)
        if error < 0:
            raise OSError(-error, f"sending on {self._device}: {os.strerror(-error)}")
