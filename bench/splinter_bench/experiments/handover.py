"""Requests handed to another process and back: what isolation by hardware would add to each.

Both ways take a batch as it comes from the network, give each tenant's process its part of it, and wait until all have
answered: at most one switch to each process and one back for a batch. The processes run on the front's own CPU. Every
process runs the worker's own code, on the same store; only the hand-over is new.

* Shared memory: a tenant's packets are copied into a box that it shares with the front; its process sleeps on a futex
  there. The last process to answer wakes the front.
* Pipes: the packets are written into the tenant's pipe and the replies into another one, a message each.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

from splinter.layout import offset
from splinter.limits import RX_BATCH
from splinter.native import libc
from splinter.native.atomics import (
    copy_bytes,
    fetch_add32,
    load32,
    load32_acquire,
    load64,
    store32,
    store32_release,
    store64,
)
from splinter.native.clock import SECOND_NS, now_ns
from splinter.worker.requests import handle
from splinter.worker.turn import begin_turn

PACKET_BYTES = 512  # of each packet's place: a small request, any small reply, any error's text
_WORD = 8
_NONE = -1

# What the front shares with one tenant's process. The front fills it and moves ``word`` on; the process answers in place.
BOX = np.dtype(
    [
        ("word", "<u4"),  # futex: number of batches so far. Writer: the front, after all else
        ("count", "<u4"),  # packets of the batch. Writer: the front
        ("pad", "u1", 56),
        ("lengths", "<u8", RX_BATCH),  # bytes of each packet. Writers: the front, then the process
        ("packets", "u1", RX_BATCH * PACKET_BYTES),  # the same
    ]
)
BOX_BYTES = BOX.itemsize
_B_WORD, _B_COUNT = offset(BOX, "word"), offset(BOX, "count")
_B_LENGTHS, _B_PACKETS = offset(BOX, "lengths"), offset(BOX, "packets")
WAITING = np.dtype([("left", "<u4"), ("pad", "u1", 60)])  # futex: processes that have not answered yet. Writers: all

# A message in a pipe: its bytes and packets, then each packet's bytes and the packet.
_MESSAGE_HEADER_BYTES = 2 * _WORD
MESSAGE_BYTES_MAX = _MESSAGE_HEADER_BYTES + RX_BATCH * (_WORD + PACKET_BYTES)

SYS_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), _NONE)
FUTEX_WAIT, FUTEX_WAKE = 0, 1
_function: Any = types.ExternalFunction
_syscall = _function("syscall", types.int64(*[types.int64] * 7))
_write: Callable[[int, int, int], int] = _function("write", types.int64(types.int32, types.int64, types.int64))


def available() -> bool:
    """Whether this machine's futex system call is known."""
    return SYS_FUTEX != _NONE


@njit(cache=True)
def _futex_wait(word: int, value: int, timespec: int) -> None:
    """Sleep while the 32-bit word is ``value``; ``timespec`` bounds it, 0: for ever."""
    _syscall(SYS_FUTEX, word, FUTEX_WAIT, value, timespec, 0, 0)


@njit(cache=True)
def _futex_wake(word: int) -> None:
    _syscall(SYS_FUTEX, word, FUTEX_WAKE, 1, 0, 0, 0)


@njit(cache=True)
def serve_packets(w: int, packets: int, lengths: int, count: int) -> None:
    """One turn of a worker: ``count`` packets are replaced by their replies, and so are their lengths."""
    begin_turn(w)
    for k in range(count):
        store64(lengths + k * _WORD, handle(w, packets + k * PACKET_BYTES, load64(lengths + k * _WORD), 0, 0, 0))


# --- shared memory -----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def tenant_on_box(w: int, box: int, waiting: int) -> None:
    """A tenant's process: answer whatever comes, until it is killed."""
    seen = 0
    while True:
        while load32_acquire(box + _B_WORD) == seen:
            _futex_wait(box + _B_WORD, seen, 0)
        seen = load32_acquire(box + _B_WORD)
        serve_packets(w, box + _B_PACKETS, box + _B_LENGTHS, load32(box + _B_COUNT))
        if fetch_add32(waiting, -1) == 1:
            _futex_wake(waiting)


@njit(cache=True)
def hand_over_boxes(boxes: int, waiting: int, wait: Any, groups: Any, packets: int, lengths: int) -> bool:
    """Have the tenants' processes answer a batch; False when none did for as long as ``wait`` says.

    ``wait``: addresses of a timespec of whole seconds and of scratch memory for the clock.
    """
    timespec, clock = wait
    active, first, following = groups
    store32_release(waiting, len(active))
    for tenant in active:
        box = boxes + tenant * BOX_BYTES
        count, k = 0, first[tenant]
        while k != _NONE:
            length = load64(lengths + k * _WORD)
            store64(box + _B_LENGTHS + count * _WORD, length)
            copy_bytes(box + _B_PACKETS + count * PACKET_BYTES, packets + k * PACKET_BYTES, length)
            count, k = count + 1, following[k]
        store32(box + _B_COUNT, count)
        store32_release(box + _B_WORD, load32(box + _B_WORD) + 1)
        _futex_wake(box + _B_WORD)
    left, wait_ns = load32_acquire(waiting), load64(timespec) * SECOND_NS
    deadline = now_ns(clock) + wait_ns
    while left != 0:
        # What ends a wait may be the last batch's waker, which had counted down and had not got to its call: not the time.
        _futex_wait(waiting, left, timespec)
        before, left = left, load32_acquire(waiting)
        if left != before:
            deadline = now_ns(clock) + wait_ns
        elif now_ns(clock) >= deadline:
            return False
    for tenant in active:
        box = boxes + tenant * BOX_BYTES
        count, k = 0, first[tenant]
        while k != _NONE:
            length = load64(box + _B_LENGTHS + count * _WORD)
            store64(lengths + k * _WORD, length)
            copy_bytes(packets + k * PACKET_BYTES, box + _B_PACKETS + count * PACKET_BYTES, min(length, PACKET_BYTES))
            count, k = count + 1, following[k]
    return True


# --- pipes -------------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _add(message: int, at: int, packet: int, length: int) -> int:
    """Add a packet to a message whose end is at ``at``; returns its new end."""
    store64(message + at, length)
    copy_bytes(message + at + _WORD, packet, length)
    return at + _WORD + length


@njit(cache=True)
def _send(descriptor: int, message: int, end: int, count: int) -> bool:
    store64(message, end)
    store64(message + _WORD, count)
    return _write(descriptor, message, end) == end


@njit(cache=True)
def _receive(descriptor: int, message: int) -> bool:
    """One whole message; False at the pipe's end."""
    got = 0
    while got < _MESSAGE_HEADER_BYTES or got < load64(message):
        count = libc.read(descriptor, message + got, MESSAGE_BYTES_MAX - got)
        if count <= 0:
            return False
        got += count
    return True


@njit(cache=True)
def tenant_on_pipes(w: int, inward: int, outward: int, message: int, packets: int, lengths: int) -> None:
    """A tenant's process: answer whatever comes, until the pipe ends or it is killed."""
    while _receive(inward, message):
        count, at = load64(message + _WORD), _MESSAGE_HEADER_BYTES
        for k in range(count):
            length = load64(message + at)
            store64(lengths + k * _WORD, length)
            copy_bytes(packets + k * PACKET_BYTES, message + at + _WORD, length)
            at += _WORD + length
        serve_packets(w, packets, lengths, count)
        at = _MESSAGE_HEADER_BYTES
        for k in range(count):
            at = _add(message, at, packets + k * PACKET_BYTES, load64(lengths + k * _WORD))
        if not _send(outward, message, at, count):
            return


@njit(cache=True)
def hand_over_pipes(to_tenant: Any, from_tenant: Any, message: int, groups: Any, packets: int, lengths: int) -> bool:
    """Have the tenants' processes answer a batch; False when one has died."""
    active, first, following = groups
    for tenant in active:
        count, at, k = 0, _MESSAGE_HEADER_BYTES, first[tenant]
        while k != _NONE:
            at = _add(message, at, packets + k * PACKET_BYTES, load64(lengths + k * _WORD))
            count, k = count + 1, following[k]
        if not _send(to_tenant[tenant], message, at, count):
            return False
    # The last one first: when it has answered so have the others, if they ran in turn, and the front slept only once.
    for place in range(len(active) - 1, -1, -1):
        tenant = active[place]
        if not _receive(from_tenant[tenant], message):
            return False
        at, k = _MESSAGE_HEADER_BYTES, first[tenant]
        while k != _NONE:
            length = load64(message + at)
            store64(lengths + k * _WORD, length)
            copy_bytes(packets + k * PACKET_BYTES, message + at + _WORD, length)
            at, k = at + _WORD + length, following[k]
    return True


@njit(cache=True)
def group(tenants: Any, first: Any, last: Any, following: Any) -> Any:
    """Which packets of a batch are whose. ``first`` is _NONE for each tenant before and must be so again afterwards.

    Returns the tenants of the batch, in the order of their first packets; ``following`` links each one's packets.
    """
    active = np.empty(len(tenants), np.int64)
    count = 0
    for k in range(len(tenants)):
        tenant = tenants[k]
        following[k] = _NONE
        if first[tenant] == _NONE:
            first[tenant] = k
            active[count] = tenant
            count += 1
        else:
            following[last[tenant]] = k
        last[tenant] = k
    return active[:count]
