"""Replies through an AF_XDP socket, in the steps that a recovery can tell apart."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load64
from splinter.net.afxdp import compiled as rings
from splinter.worker.chunks import KIND_TX, chunk_word, mark
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.records import Worker
from splinter.worker.xdp.frame import turn_around


@njit(cache=True, forceinline=True)
def write_reply(w: int, queue: int, address: int, reply: int, ahead: int) -> None:
    """Write a reply, which stands in its request's chunk, into the TX ring, behind ``ahead`` that are written already.

    ``reply``: its bytes; ``address``: UMEM address of the frame's first byte. The reply is the kernel's once the ring's index
    is published.
    """
    worker = Worker(w)
    xsk, me = load64(worker.sockets + queue * 8), worker.index
    position = rings.tx_position(xsk) + ahead
    rings.tx_write(xsk, position, address, turn_around(worker.umem + address, reply))
    worker_point(w, WorkerPoint.REPLY_WRITTEN)
    mark(worker.chunks, address, chunk_word(KIND_TX, me, me, queue, position))
    worker_point(w, WorkerPoint.REPLY_MARKED)


@njit(cache=True)
def transmit(w: int, queue: int, address: int, reply: int) -> None:
    """Write one reply and publish it; the kernel sends it at the next kick. Arguments as of :func:`write_reply`."""
    xsk = load64(Worker(w).sockets + queue * 8)
    write_reply(w, queue, address, reply, 0)
    rings.tx_publish(xsk, rings.tx_position(xsk) + 1)
    worker_point(w, WorkerPoint.REPLY_PUBLISHED)
