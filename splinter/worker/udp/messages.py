"""A worker's packet buffers on the UDP transport, and the messages in which the kernel fills and sends them."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import (
    load32,
    load64,
    store32,
    store64,
    store64_release,
)
from splinter.worker.counters import count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    N_KICKS,
    N_TRANSMIT_FAILURES,
    N_TRANSMITTED,
    W_TASKS,
    W_TASKS_COUNT,
    W_UDP_CHUNKS,
    W_UDP_FD,
)
from splinter.worker.tasks.layout import T_CHUNK, T_STATE, TASK_BYTES, TASK_FREE
from splinter.worker.udp.layout import (
    A_CHUNKS,
    A_FREE,
    A_FREE_LENGTH,
    A_INFOS,
    A_IS_WILDCARD,
    A_PEERS,
    A_RECEIVE,
    A_RECEIVE_CHUNKS,
    A_RECEIVE_IOVECS,
    A_REPLIES,
    A_SEND,
    A_SEND_IOVECS,
    IOVEC_BYTES,
    M_CONTROL,
    M_CONTROL_LENGTH,
    M_FLAGS,
    M_IOV,
    M_IOV_COUNT,
    M_NAME,
    M_NAME_LENGTH,
    MMSGHDR_BYTES,
    PI_INTERFACE,
    PKTINFO_BYTES,
    SOCKADDR_BYTES,
)


@njit(cache=True)
def _set_message(message: int, iovec: int, peer: int, base: int, length: int, info: int) -> None:
    """``info`` is the address of the packet's ``PKTINFO``, 0 for none."""
    store64(iovec, base)
    store64(iovec + 8, length)
    store64(message + M_NAME, peer)
    store32(message + M_NAME_LENGTH, SOCKADDR_BYTES)
    store64(message + M_IOV, iovec)
    store64(message + M_IOV_COUNT, 1)
    store64(message + M_CONTROL, info)
    store64(message + M_CONTROL_LENGTH, PKTINFO_BYTES if info != 0 else 0)
    store32(message + M_FLAGS, 0)


@njit(cache=True)
def info_of(area: int, chunk: int) -> int:
    """Where the kernel writes which address the packet in a chunk was sent to; 0 where all packets are sent to the same."""
    if load64(area + A_IS_WILDCARD) == 0:
        return 0
    return load64(area + A_INFOS) + chunk * PKTINFO_BYTES


@njit(cache=True)
def arm(area: int, slot: int, chunk: int) -> None:
    _set_message(
        load64(area + A_RECEIVE) + slot * MMSGHDR_BYTES,
        load64(area + A_RECEIVE_IOVECS) + slot * IOVEC_BYTES,
        load64(area + A_PEERS) + chunk * SOCKADDR_BYTES,
        load64(area + A_CHUNKS) + chunk * limits.CHUNK_BYTES,
        limits.CHUNK_BYTES,
        info_of(area, chunk),
    )


@njit(cache=True)
def assign(area: int, slot: int) -> None:
    """Give a receive slot a free chunk. There is one: a worker has as many chunks as slots and tasks."""
    free_length = load64(area + A_FREE_LENGTH) - 1
    store64(area + A_FREE_LENGTH, free_length)
    chunk = load32(load64(area + A_FREE) + free_length * 4)
    store32(load64(area + A_RECEIVE_CHUNKS) + slot * 4, chunk)
    arm(area, slot, chunk)


@njit(cache=True)
def free_chunk(area: int, chunk: int) -> None:
    """Put a task's chunk on the stack of free ones."""
    free_length = load64(area + A_FREE_LENGTH)
    store32(load64(area + A_FREE) + free_length * 4, chunk)
    store64(area + A_FREE_LENGTH, free_length + 1)


@njit(cache=True)
def share_out_chunks(w: int, area: int) -> None:
    """Every chunk that no task has is free; then each receive slot gets one."""
    tasks, free = load64(w + W_TASKS), load64(area + A_FREE)
    free_length = 0
    for chunk in range(load32(w + W_UDP_CHUNKS)):
        owned = False
        for index in range(load32(w + W_TASKS_COUNT)):
            task = tasks + index * TASK_BYTES
            owned = owned or (load32(task + T_STATE) != TASK_FREE and load64(task + T_CHUNK) == chunk)
        if not owned:
            store32(free + free_length * 4, chunk)
            free_length += 1
    store64(area + A_FREE_LENGTH, free_length)
    for slot in range(limits.RX_BATCH):
        assign(area, slot)


@njit(cache=True)
def add_reply(area: int, chunk: int, length: int) -> None:
    """Have the reply of ``length`` bytes in a chunk sent with the next :func:`send`, from the address that was asked."""
    place = load64(area + A_REPLIES)
    info = info_of(area, chunk)
    if info != 0:
        store32(info + PI_INTERFACE, 0)
    _set_message(
        load64(area + A_SEND) + place * MMSGHDR_BYTES,
        load64(area + A_SEND_IOVECS) + place * IOVEC_BYTES,
        load64(area + A_PEERS) + chunk * SOCKADDR_BYTES,
        load64(area + A_CHUNKS) + chunk * limits.CHUNK_BYTES,
        length,
        info,
    )
    store64_release(area + A_REPLIES, place + 1)


@njit(cache=True)
def send(w: int, area: int) -> None:
    """Send all replies added; one that the kernel refuses is counted and left out (its client asks again)."""
    replies = load64(area + A_REPLIES)
    sent = 0
    while sent < replies:
        done = libc.sendmmsg(
            load32(w + W_UDP_FD), load64(area + A_SEND) + sent * MMSGHDR_BYTES, replies - sent, libc.MSG_DONTWAIT
        )
        count(w + N_KICKS)
        if done > 0:
            sent += done
            store64(w + N_TRANSMITTED, load64(w + N_TRANSMITTED) + done)
        else:
            sent += 1
            count(w + N_TRANSMIT_FAILURES)
        worker_point(w, WorkerPoint.REPLY_PUBLISHED)
    store64_release(area + A_REPLIES, 0)
