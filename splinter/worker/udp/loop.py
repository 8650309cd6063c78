"""The worker's loop on an ordinary UDP socket: the same requests, tasks and store, without root or XDP.

The turns are those of :mod:`splinter.worker.loop`. Packets are received into chunks by ``recvmmsg`` and answered from them by
``sendmmsg``. Here the worker itself checks the token, as no XDP program has done it.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import (
    load8,
    load32,
    load64,
    store16,
    store32,
    store32_release,
    store64,
)
from splinter.native.clock import now_ns
from splinter.net.tenants import T_PACKETS_PER_SECOND
from splinter.wire import FLAG_REPLY, H_FLAGS, H_MAGIC, H_TENANT, MAGIC
from splinter.worker.admission import is_authorised, tenant_record
from splinter.worker.counters import count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    B_ADDRESS,
    B_REPLY,
    BATCH_BYTES,
    N_LOOPS,
    N_MALFORMED,
    N_RATE_LIMITED,
    N_RECEIVED,
    N_STOLEN,
    N_WRONG_TOKEN,
    P_EVENTS,
    P_FD,
    POLLIN,
    W_BATCH,
    W_BATCH_BEGUN,
    W_BATCH_COUNT,
    W_CORES,
    W_INDEX,
    W_RATES,
    W_SCRATCH,
    W_STEALING,
    W_UDP_AREA,
    W_UDP_FD,
)
from splinter.worker.look_ahead import note_request
from splinter.worker.loop import run, serve_batch, take_over
from splinter.worker.rates import is_within_rate
from splinter.worker.receive import batch_limit, worker_block
from splinter.worker.reply import DROP, HEADER_BYTES
from splinter.worker.requests import PENDING
from splinter.worker.steal import has_waited, is_empty, next_place, wake_sibling
from splinter.worker.tasks.layout import T_CHUNK
from splinter.worker.tasks.pool import end_task
from splinter.worker.udp.layout import (
    A_CHUNKS,
    A_FREE_LENGTH,
    A_RECEIVE,
    A_RECEIVE_CHUNKS,
    M_LENGTH,
    MMSGHDR_BYTES,
    PI_ADDRESS,
    PI_DESTINATION,
    PI_LENGTH,
    PKTINFO_LENGTH,
)
from splinter.worker.udp.messages import add_reply, arm, assign, free_chunk, info_of, send, share_out_chunks

_SERVED_TOGETHER = 1
_DESCRIPTORS = 2  # of poll: the socket and the wake-up descriptor


@njit(cache=True)
def _is_for_one(area: int, chunk: int) -> bool:
    """Whether the packet in a chunk was sent to one of this host's addresses. One to a group or a broadcast address reaches
    many hosts, which must not all answer: the kernel tells another address of ours for it than it was sent to."""
    info = info_of(area, chunk)
    if info == 0:
        return True
    return load64(info + PI_LENGTH) == PKTINFO_LENGTH and load32(info + PI_ADDRESS) == load32(info + PI_DESTINATION)


@njit(cache=True)
def _is_authentic(w: int, area: int, chunk: int, length: int) -> bool:
    """Whether an active tenant sent this to us alone, with its token and within its limit. All else is dropped and counted."""
    header = load64(area + A_CHUNKS) + chunk * limits.CHUNK_BYTES
    if length < HEADER_BYTES or load32(header + H_MAGIC) != MAGIC or load8(header + H_FLAGS) & FLAG_REPLY:
        count(w + N_MALFORMED)
        return False
    if not _is_for_one(area, chunk):
        count(w + N_MALFORMED)
        return False
    if not is_authorised(w, header):
        count(w + N_WRONG_TOKEN)
        return False
    tenant = load32(header + H_TENANT)
    packets_per_second = load32(tenant_record(w, tenant) + T_PACKETS_PER_SECOND)
    if packets_per_second != 0:
        now = now_ns(load64(w + W_SCRATCH))
        if not is_within_rate(load64(w + W_RATES), tenant, packets_per_second, now):
            count(w + N_RATE_LIMITED)
            return False
    return True


@njit(cache=True, forceinline=True)
def _find_request(w: int, k: int, received: int) -> int:
    area, entry = load64(w + W_UDP_AREA), load64(w + W_BATCH) + k * BATCH_BYTES
    chunk = load32(load64(area + A_RECEIVE_CHUNKS) + k * 4)
    header = load64(area + A_CHUNKS) + chunk * limits.CHUNK_BYTES
    length = load32(load64(area + A_RECEIVE) + k * MMSGHDR_BYTES + M_LENGTH)
    store64(entry + B_ADDRESS, chunk)
    return note_request(w, entry, header, length if _is_authentic(w, area, chunk, length) else -1, received)


@njit(cache=True)
def _has_left(w: int, k: int) -> bool:
    return True


@njit(cache=True, forceinline=True)
def _put_reply(w: int, k: int, reply: int, replies: int) -> int:
    if reply <= 0:
        return 0
    add_reply(load64(w + W_UDP_AREA), load64(load64(w + W_BATCH) + k * BATCH_BYTES + B_ADDRESS), reply)
    worker_point(w, WorkerPoint.REPLY_WRITTEN)
    return 1


@njit(cache=True)
def _flush(w: int) -> None:
    send(w, load64(w + W_UDP_AREA))


@njit(cache=True)
def _send_replies(w: int, k: int, replies: int) -> None:
    _flush(w)


@njit(cache=True)
def _is_readable(fd: int, pollfd: int) -> bool:
    """Whether packets wait at a socket; ``pollfd`` is the address of scratch memory."""
    store32(pollfd + P_FD, fd)
    store16(pollfd + P_EVENTS, POLLIN)
    return libc.poll(pollfd, 1, 0) > 0


@njit(cache=True)
def _serve_socket(w: int, fd: int, most: int) -> int:
    """One batch from a worker's socket; returns how many packets it had. Replies go out by this worker's own."""
    area = load64(w + W_UDP_AREA)
    store32_release(w + W_BATCH_COUNT, 0)
    received = libc.recvmmsg(fd, load64(area + A_RECEIVE), most, libc.MSG_DONTWAIT, 0)
    if received <= 0:
        return 0
    worker_point(w, WorkerPoint.DATAGRAMS_RECEIVED)
    if received == most < limits.RX_BATCH and _is_readable(fd, load64(w + W_SCRATCH)):
        wake_sibling(w)  # now: what is left waits for as long as a batch may take
    store32_release(w + W_BATCH_BEGUN, 0)
    store32_release(w + W_BATCH_COUNT, received)
    worker_point(w, WorkerPoint.RX_COUNTED)
    store64(w + N_RECEIVED, load64(w + N_RECEIVED) + received)
    serve_batch(w, received, _SERVED_TOGETHER, _find_request, _put_reply, _send_replies)
    batch = load64(w + W_BATCH)
    for slot in range(received):
        entry = batch + slot * BATCH_BYTES
        if load64(entry + B_REPLY) == PENDING:  # the task keeps the chunk
            assign(area, slot)
            worker_point(w, WorkerPoint.CHUNK_ASSIGNED)
        else:
            arm(area, slot, load64(entry + B_ADDRESS))
    return received


@njit(cache=True)
def _steal(w: int, now: int) -> int:
    """Serve packets from a sibling's socket if they have waited there; returns how many.

    The kernel hands each packet to one of those that ask. Where the queue stands is told by the owner's turns: it takes
    what there is once a turn.
    """
    if load32(w + W_STEALING) == 0:
        return 0
    cores = load32(w + W_CORES)
    core = next_place(w, cores)
    if core == load32(w + W_INDEX):
        return 0
    sibling = worker_block(w, core)
    fd = load32(sibling + W_UDP_FD)
    if not _is_readable(fd, load64(w + W_SCRATCH)):
        is_empty(w, core)
        return 0
    if not has_waited(w, core, load64(sibling + N_LOOPS), now):
        return 0
    taken = _serve_socket(w, fd, min(batch_limit(w, core), limits.STEAL_PACKETS_MAX))
    worker_point(w, WorkerPoint.STOLEN)
    store64(w + N_STOLEN, load64(w + N_STOLEN) + taken)
    return taken


@njit(cache=True)
def _receive(w: int) -> tuple[int, bool]:
    """A batch of this worker's socket. Whether more wait is asked no further: a system call takes as long as a slice."""
    most = batch_limit(w, load32(w + W_INDEX))
    received = _serve_socket(w, load32(w + W_UDP_FD), most)
    if received == limits.RX_BATCH:  # more may wait
        wake_sibling(w)
    return received, received == most


@njit(cache=True)
def _packets_wait(w: int, told: bool) -> bool:
    return told


@njit(cache=True)
def _tidy(w: int) -> bool:
    return False


@njit(cache=True)
def _end(w: int, task: int, reply: int) -> None:
    """Have the reply of a task that ended, if there is one, sent; give back what it had."""
    area, chunk = load64(w + W_UDP_AREA), load64(task + T_CHUNK)
    if reply != DROP:
        add_reply(area, chunk, reply)
    free_chunk(area, chunk)
    worker_point(w, WorkerPoint.CHUNK_FREED)
    end_task(w, task)


@njit(cache=True)
def serve_udp(w: int) -> None:
    """Serve until the block's ``stop`` is set. Run in the worker's process, with everything in the block set up."""
    store64(load64(w + W_UDP_AREA) + A_FREE_LENGTH, 0)  # which chunks are free is found out when all is taken over
    take_over(w, _find_request, _has_left, _put_reply, _send_replies, _flush, _end)
    share_out_chunks(w, load64(w + W_UDP_AREA))
    run(w, _DESCRIPTORS, _receive, _packets_wait, _tidy, _steal, _flush, _end)
