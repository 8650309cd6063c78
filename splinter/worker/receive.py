"""Taking packets out of an RX ring, a worker's own or a sibling's.

The ring's consumer index is in memory that all workers share. Where they may steal, it moves only under the ring's lock,
which names its holder, so that recovery can break it. The lock is tried once and never waited for: a ring that
somebody else is at will be looked at again in the next turn.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import cas32, load64, prefetch, store32_release
from splinter.net.afxdp import compiled as rings
from splinter.store.layout import CACHE_LINE_BYTES
from splinter.worker.accounts import packets_in_batch
from splinter.worker.chunks import KIND_RX, chunk_word, mark
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import BATCH_BYTES, QUEUE_LOCK_BYTES
from splinter.worker.records import Counters, Packet, Worker


@njit(cache=True)
def worker_block(w: int, core: int) -> int:
    """Address of a sibling's block."""
    return load64(Worker(w).workers + core * 8)


@njit(cache=True)
def rx_socket(w: int, core: int, queue: int) -> int:
    """Address of the XSK record of a worker's socket on a queue."""
    return load64(Worker(worker_block(w, core)).sockets + queue * 8)


@njit(cache=True)
def rx_lock(w: int, core: int, queue: int) -> int:
    """Address of the lock of a socket's RX ring."""
    worker = Worker(w)
    return worker.rx_locks + (queue * worker.cores + core) * QUEUE_LOCK_BYTES


@njit(cache=True)
def batch_limit(w: int, core: int) -> int:
    """How many packets of a worker's ring, its own or a sibling's, are taken at a time.

    What has been taken nobody else can take any more. So where siblings steal, a batch is no longer than ``BATCH_US``.
    """
    return limits.RX_BATCH if Worker(w).stealing == 0 else packets_in_batch(worker_block(w, core))


@njit(cache=True)
def take_batch(w: int, core: int, queue: int, share: int, most: int) -> int:
    """Move packets from the RX ring of (core, queue) to this worker's batch: one of each ``share`` that wait, at most ``most``.

    Returns how many; 0 also when somebody else is at the ring.
    """
    worker = Worker(w)
    xsk = rx_socket(w, core, queue)
    if rings.rx_available(xsk) == 0:
        return 0
    if worker.stealing == 0:
        return _take(w, xsk, core, queue, share, most)
    lock = rx_lock(w, core, queue)
    if not cas32(lock, 0, worker.index + 1):
        return 0
    worker_point(w, WorkerPoint.RX_LOCKED)
    taken = _take(w, xsk, core, queue, share, most)
    store32_release(lock, 0)
    return taken


@njit(cache=True)
def _take(w: int, xsk: int, core: int, queue: int, share: int, most: int) -> int:
    worker, counters = Worker(w), Counters(w)
    me = worker.index
    chunks, umem, batch = worker.chunks, worker.umem, worker.batch
    count = min((rings.rx_available(xsk) + share - 1) // share, most)
    first = rings.rx_position(xsk)
    store32_release(worker.at.batch_count, 0)
    store32_release(worker.at.batch_begun, 0)
    for k in range(count):
        address = rings.rx_address(xsk, first + k)
        packet = Packet(batch + k * BATCH_BYTES)
        packet.address = address
        packet.frame_length = rings.rx_length(xsk, first + k)
        mark(chunks, address, chunk_word(KIND_RX, me, core, queue, first + k))
        worker_point(w, WorkerPoint.RX_MARKED)
        prefetch(umem + address)
        prefetch(umem + address + CACHE_LINE_BYTES)
        prefetch(umem + address + 2 * CACHE_LINE_BYTES)
    store32_release(worker.at.batch_count, count)
    worker_point(w, WorkerPoint.RX_COUNTED)
    rings.rx_release(xsk, first + count)
    worker_point(w, WorkerPoint.RX_RELEASED)
    counters.received += count
    return count
