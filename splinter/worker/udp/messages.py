"""A worker's packet buffers on the UDP transport, and the messages in which the kernel fills and sends them."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import load32, store32, store64_release
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import HELD_BYTES
from splinter.worker.records import Counters, Held, Worker
from splinter.worker.tasks.layout import TASK_BYTES, TASK_FREE
from splinter.worker.tasks.records import Task
from splinter.worker.udp.layout import IOVEC_BYTES, MMSGHDR_BYTES, PKTINFO_BYTES, SOCKADDR_BYTES
from splinter.worker.udp.records import Area, Iovec, Message, PacketInfo


@njit(cache=True)
def _set_message(message_at: int, iovec_at: int, peer: int, base: int, length: int, info: int) -> None:
    """``info`` is the address of the packet's ``PKTINFO``, 0 for none."""
    message, iovec = Message(message_at), Iovec(iovec_at)
    iovec.base = base
    iovec.length = length
    message.name = peer
    message.name_length = SOCKADDR_BYTES
    message.iov = iovec_at
    message.iov_count = 1
    message.control = info
    message.control_length = PKTINFO_BYTES if info != 0 else 0
    message.flags = 0


@njit(cache=True)
def info_of(area: int, chunk: int) -> int:
    """Where the kernel writes which address the packet in a chunk was sent to; 0 where all packets are sent to the same."""
    memory = Area(area)
    if memory.is_wildcard == 0:
        return 0
    return memory.infos + chunk * PKTINFO_BYTES


@njit(cache=True)
def arm(area: int, slot: int, chunk: int) -> None:
    memory = Area(area)
    _set_message(
        memory.receive + slot * MMSGHDR_BYTES,
        memory.receive_iovecs + slot * IOVEC_BYTES,
        memory.peers + chunk * SOCKADDR_BYTES,
        memory.chunks + chunk * limits.CHUNK_BYTES,
        limits.CHUNK_BYTES,
        info_of(area, chunk),
    )


@njit(cache=True)
def assign(area: int, slot: int) -> None:
    """Give a receive slot a free chunk. There is one: a worker has as many chunks as slots and tasks."""
    memory = Area(area)
    free_length = memory.free_length - 1
    memory.free_length = free_length
    chunk = load32(memory.free + free_length * 4)
    store32(memory.receive_chunks + slot * 4, chunk)
    arm(area, slot, chunk)


@njit(cache=True)
def free_chunk(area: int, chunk: int) -> None:
    """Put a task's chunk on the stack of free ones."""
    memory = Area(area)
    free_length = memory.free_length
    store32(memory.free + free_length * 4, chunk)
    memory.free_length = free_length + 1


@njit(cache=True)
def share_out_chunks(w: int, area: int) -> None:
    """Every chunk that no task has, and no reply that waits for the disk, is free; then each receive slot gets one."""
    memory, worker = Area(area), Worker(w)
    tasks, free = worker.tasks, memory.free
    free_length = 0
    for chunk in range(worker.udp_chunks):
        owned = False
        for index in range(worker.tasks_count):
            task = Task(tasks + index * TASK_BYTES)
            owned = owned or (task.state != TASK_FREE and task.chunk == chunk)
        for place in range(worker.held_head, worker.held_tail):
            owned = owned or Held(worker.held + place % limits.HELD_MAX * HELD_BYTES).chunk == chunk
        if not owned:
            store32(free + free_length * 4, chunk)
            free_length += 1
    memory.free_length = free_length
    for slot in range(limits.RX_BATCH):
        assign(area, slot)


@njit(cache=True)
def add_reply(area: int, chunk: int, length: int) -> None:
    """Have the reply of ``length`` bytes in a chunk sent with the next :func:`send`, from the address that was asked."""
    memory = Area(area)
    place = memory.replies
    info = info_of(area, chunk)
    if info != 0:
        PacketInfo(info).interface = 0
    _set_message(
        memory.send + place * MMSGHDR_BYTES,
        memory.send_iovecs + place * IOVEC_BYTES,
        memory.peers + chunk * SOCKADDR_BYTES,
        memory.chunks + chunk * limits.CHUNK_BYTES,
        length,
        info,
    )
    store64_release(memory.at.replies, place + 1)


@njit(cache=True)
def send(w: int, area: int) -> None:
    """Send all replies added; one that the kernel refuses is counted and left out (its client asks again)."""
    memory, counters = Area(area), Counters(w)
    replies = memory.replies
    sent = 0
    while sent < replies:
        done = libc.sendmmsg(Worker(w).udp_fd, memory.send + sent * MMSGHDR_BYTES, replies - sent, libc.MSG_DONTWAIT)
        counters.kicks += 1
        if done > 0:
            sent += done
            counters.transmitted += done
        else:
            sent += 1
            counters.transmit_failures += 1
        worker_point(w, WorkerPoint.REPLY_PUBLISHED)
    store64_release(memory.at.replies, 0)
