"""The worker's loop on an ordinary UDP socket: the same requests, tasks and store, without root or XDP.

The turns are those of :mod:`splinter.worker.loop`. Packets are received into chunks by ``recvmmsg`` and answered from them by
``sendmmsg``. Here the worker itself checks the token, as no XDP program has done it.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import load32, store32_release
from splinter.native.clock import now_ns
from splinter.wire import FLAG_REPLY, MAGIC
from splinter.worker.admission import is_authorised, tenant_record
from splinter.worker.durable import HELD, hold_back_task, next_durable
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.latencies import record_task
from splinter.worker.layout import BATCH_BYTES, POLLIN
from splinter.worker.look_ahead import note_request
from splinter.worker.loop import run, serve_batch, take_over
from splinter.worker.rates import is_within_rate
from splinter.worker.receive import batch_limit, worker_block
from splinter.worker.records import Counters, Header, Held, Packet, PollFd, Tenant, Worker
from splinter.worker.reply import DROP, HEADER_BYTES, PENDING
from splinter.worker.steal import has_waited, is_empty, next_place, wake_sibling
from splinter.worker.tasks.pool import end_task
from splinter.worker.tasks.records import Task
from splinter.worker.udp.layout import MMSGHDR_BYTES, PKTINFO_LENGTH
from splinter.worker.udp.messages import add_reply, arm, assign, free_chunk, info_of, send, share_out_chunks
from splinter.worker.udp.records import Area, Message, PacketInfo

_SERVED_TOGETHER = 1


@njit(cache=True)
def _is_for_one(area: int, chunk: int) -> bool:
    """Whether the packet in a chunk was sent to one of this host's addresses. One to a group or a broadcast address reaches
    many hosts, which must not all answer: the kernel tells another address of ours for it than it was sent to."""
    info = info_of(area, chunk)
    if info == 0:
        return True
    told = PacketInfo(info)
    return told.length == PKTINFO_LENGTH and told.address == told.destination


@njit(cache=True)
def _is_authentic(w: int, area: int, chunk: int, length: int) -> bool:
    """Whether an active tenant sent this to us alone, with its token and within its limit. All else is dropped and counted."""
    counters, worker = Counters(w), Worker(w)
    header = Area(area).chunks + chunk * limits.CHUNK_BYTES
    request = Header(header)
    if length < HEADER_BYTES or request.magic != MAGIC or request.flags & FLAG_REPLY:
        counters.malformed += 1
        return False
    if not _is_for_one(area, chunk):
        counters.malformed += 1
        return False
    if not is_authorised(w, header):
        counters.wrong_token += 1
        return False
    tenant = request.tenant
    packets_per_second = Tenant(tenant_record(w, tenant)).packets_per_second
    if packets_per_second != 0:
        now = now_ns(worker.scratch)
        if not is_within_rate(worker.rates, tenant, packets_per_second, now):
            counters.rate_limited += 1
            return False
    return True


@njit(cache=True, forceinline=True)
def _find_request(w: int, k: int, received: int) -> int:
    worker = Worker(w)
    area, entry = worker.udp_area, worker.batch + k * BATCH_BYTES
    memory = Area(area)
    chunk = load32(memory.receive_chunks + k * 4)
    header = memory.chunks + chunk * limits.CHUNK_BYTES
    length = Message(memory.receive + k * MMSGHDR_BYTES).length
    Packet(entry).address = chunk
    return note_request(w, entry, header, length if _is_authentic(w, area, chunk, length) else -1, received)


@njit(cache=True)
def _has_left(w: int, k: int) -> bool:
    return True


@njit(cache=True, forceinline=True)
def _put_reply(w: int, k: int, reply: int, replies: int) -> int:
    if reply <= 0:
        return 0
    worker = Worker(w)
    add_reply(worker.udp_area, Packet(worker.batch + k * BATCH_BYTES).address, reply)
    worker_point(w, WorkerPoint.REPLY_WRITTEN)
    return 1


@njit(cache=True)
def _flush(w: int) -> None:
    send(w, Worker(w).udp_area)


@njit(cache=True, forceinline=True)
def _send_replies(w: int, k: int, replies: int) -> None:
    _flush(w)


@njit(cache=True)
def _is_readable(fd: int, pollfd: int) -> bool:
    """Whether packets wait at a socket; ``pollfd`` is the address of scratch memory."""
    waiting = PollFd(pollfd)
    waiting.fd = fd
    waiting.events = POLLIN
    return libc.poll(pollfd, 1, 0) > 0


@njit(cache=True)
def _serve_socket(w: int, fd: int, most: int) -> int:
    """One batch from a worker's socket; returns how many packets it had. Replies go out by this worker's own."""
    worker, counters = Worker(w), Counters(w)
    area = worker.udp_area
    store32_release(worker.at.batch_count, 0)
    received = libc.recvmmsg(fd, Area(area).receive, most, libc.MSG_DONTWAIT, 0)
    if received <= 0:
        return 0
    worker_point(w, WorkerPoint.DATAGRAMS_RECEIVED)
    if received == most < limits.RX_BATCH and _is_readable(fd, worker.scratch):
        wake_sibling(w)  # now: what is left waits for as long as a batch may take
    store32_release(worker.at.batch_begun, 0)
    store32_release(worker.at.batch_count, received)
    worker_point(w, WorkerPoint.RX_COUNTED)
    counters.received += received
    serve_batch(w, received, _SERVED_TOGETHER, _find_request, _put_reply, _send_replies)
    batch = worker.batch
    for slot in range(received):
        packet = Packet(batch + slot * BATCH_BYTES)
        if packet.reply == PENDING or packet.reply == HELD:  # the task keeps the chunk, or the reply that waits
            assign(area, slot)
            worker_point(w, WorkerPoint.CHUNK_ASSIGNED)
        else:
            arm(area, slot, packet.address)
    return received


@njit(cache=True)
def _steal(w: int, now: int) -> int:
    """Serve packets from a sibling's socket if they have waited there; returns how many.

    The kernel hands each packet to one of those that ask. Where the queue stands is told by the owner's turns: it takes
    what there is once a turn.
    """
    worker, counters = Worker(w), Counters(w)
    if worker.stealing == 0:
        return 0
    cores = worker.cores
    core = next_place(w, cores)
    if core == worker.index:
        return 0
    sibling = worker_block(w, core)
    fd = Worker(sibling).udp_fd
    if not _is_readable(fd, worker.scratch):
        is_empty(w, core)
        return 0
    if not has_waited(w, core, Counters(sibling).loops, now):
        return 0
    taken = _serve_socket(w, fd, min(batch_limit(w, core), limits.STEAL_PACKETS_MAX))
    worker_point(w, WorkerPoint.STOLEN)
    counters.stolen += taken
    return taken


@njit(cache=True)
def _receive(w: int) -> tuple[int, bool]:
    """A batch of this worker's socket. Whether more wait is asked no further: a system call takes as long as a slice."""
    worker = Worker(w)
    most = batch_limit(w, worker.index)
    received = _serve_socket(w, worker.udp_fd, most)
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
def _end(w: int, t: int, reply: int) -> None:
    """Have the reply of a task that ended, if there is one, sent; give back what it had."""
    area, chunk = Worker(w).udp_area, Task(t).chunk
    if reply != DROP:
        reply = hold_back_task(w, chunk, reply, t)
    if reply > 0:
        add_reply(area, chunk, reply)
        record_task(w, t)
    if reply != HELD:
        free_chunk(area, chunk)
    worker_point(w, WorkerPoint.CHUNK_FREED)
    end_task(w, t)


@njit(cache=True)
def _release(w: int) -> int:
    """Send what waited for the disk."""
    area, released = Worker(w).udp_area, 0
    while released < limits.RX_BATCH:
        held = next_durable(w)
        if held == 0:
            break
        add_reply(area, Held(held).chunk, Held(held).reply)
        free_chunk(area, Held(held).chunk)
        released += 1
    if released != 0:
        _flush(w)
    return released


@njit(cache=True)
def serve_udp(w: int) -> None:
    """Serve until the block's ``stop`` is set. Run in the worker's process, with everything in the block set up."""
    worker = Worker(w)
    Area(worker.udp_area).free_length = 0  # which chunks are free is found out when all is taken over
    take_over(w, _find_request, _has_left, _put_reply, _send_replies, _flush, _end)
    share_out_chunks(w, worker.udp_area)
    run(w, _receive, _packets_wait, _tidy, _steal, _flush, _end, _release)
