"""The worker's loop on AF_XDP sockets: one socket per queue of the device.

The turns are those of :mod:`splinter.worker.loop`. Here stands how packets come out of the queues' RX rings, how replies go
into their TX rings, and how chunks come back.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import load64
from splinter.net.afxdp import compiled as rings
from splinter.worker.admission import is_authorised
from splinter.worker.chunks import is_held, queue_of, recycle, return_chunk
from splinter.worker.durable import hold_back_task, next_durable
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.latencies import record_task
from splinter.worker.layout import BATCH_BYTES
from splinter.worker.look_ahead import note_request
from splinter.worker.loop import run, serve_batch, take_over
from splinter.worker.receive import batch_limit, take_batch
from splinter.worker.records import Counters, Depth, Held, Packet, Worker
from splinter.worker.reply import DROP, HEADER_BYTES
from splinter.worker.stages import KICK, RECEIVE, REPLY, stage
from splinter.worker.steal import steal_batch, wake_sibling
from splinter.worker.tasks.pool import end_task
from splinter.worker.tasks.records import Task
from splinter.worker.xdp.frame import is_intact, payload_length, payload_offset
from splinter.worker.xdp.transmit import transmit, write_reply

_RECYCLE_FROM = limits.RX_BATCH  # completions that are worth the lock while there is other work
# Requests that are served before the first of them gets its checksum, which is computed from words that have reached the cache
# by then, and not from those still on their way.
_SERVED_TOGETHER = 4
_SPINS = 200  # looks at the receive rings in an idle turn


@njit(cache=True, forceinline=True)
def _request_length(w: int, frame: int, frame_length: int) -> int:
    """Bytes of the request in a frame; -1, counted: none, damaged, or of a tenant that is not there any more."""
    counters = Counters(w)
    length = payload_length(frame, frame_length)
    if length < HEADER_BYTES:
        counters.malformed += 1
        return -1
    if not is_intact(frame, length, Worker(w).takes_partial != 0):
        counters.damaged += 1
        return -1
    if not is_authorised(w, frame + payload_offset(frame)):
        counters.wrong_token += 1
        return -1
    return length


@njit(cache=True, forceinline=True)
def _find_request(w: int, k: int, received: int) -> int:
    worker = Worker(w)
    entry = worker.batch + k * BATCH_BYTES
    packet = Packet(entry)
    frame = worker.umem + packet.address
    length = _request_length(w, frame, packet.frame_length)
    return note_request(w, entry, frame + payload_offset(frame), length, received)


@njit(cache=True)
def _kick(w: int, xsk: int, sent: int) -> None:
    counters = Counters(w)
    stage(w, REPLY)
    rings.kick(xsk)
    stage(w, KICK)
    counters.kicks += 1
    counters.transmitted += sent


@njit(cache=True, forceinline=True)
def _put_reply(w: int, k: int, reply: int, replies: int) -> int:
    address = Packet(Worker(w).batch + k * BATCH_BYTES).address
    if reply > 0:
        write_reply(w, queue_of(address), address, reply, replies)
        return 1
    if reply == DROP:
        return_chunk(w, queue_of(address), address)
    return 0


@njit(cache=True, forceinline=True)
def _send_replies(w: int, k: int, replies: int) -> None:
    worker = Worker(w)
    queue = queue_of(Packet(worker.batch + k * BATCH_BYTES).address)
    xsk = load64(worker.sockets + queue * 8)
    if replies > 0:
        rings.tx_publish(xsk, rings.tx_position(xsk) + replies)
        worker_point(w, WorkerPoint.REPLY_PUBLISHED)
        _kick(w, xsk, replies)
    if rings.completion_available(xsk) >= _RECYCLE_FROM:
        recycle(w, queue)


@njit(cache=True, forceinline=True)
def _serve_taken(w: int, received: int) -> None:
    """Serve the packets of the batch, which all came in by one queue, and send the replies."""
    serve_batch(w, received, _SERVED_TOGETHER, _find_request, _put_reply, _send_replies)


@njit(cache=True)
def serve_queue(w: int, queue: int) -> int:
    """One batch of one queue; returns how many packets it had."""
    worker = Worker(w)
    me, xsk = worker.index, load64(worker.sockets + queue * 8)
    most = batch_limit(w, me)
    received = take_batch(w, me, queue, 1, most)
    stage(w, RECEIVE)
    if received > 0:
        if most < limits.RX_BATCH and rings.rx_available(xsk) > 0:
            wake_sibling(w)  # now: what is left waits for as long as a batch may take
        _serve_taken(w, received)
        if rings.rx_available(xsk) >= limits.WAKE_BACKLOG:
            wake_sibling(w)
    return received


@njit(cache=True)
def _packets(w: int) -> int:
    """How many wait in this worker's RX rings."""
    worker = Worker(w)
    packets = 0
    for queue in range(worker.queues):
        packets += rings.rx_available(load64(worker.sockets + queue * 8))
    return packets


@njit(cache=True)
def _packets_wait(w: int, told: bool) -> bool:
    return _packets(w) > 0


@njit(cache=True)
def _publish_depth(w: int) -> None:
    """Tell the XDP program how many packets wait for this worker."""
    Depth(Worker(w).depth).packets = _packets(w)


@njit(cache=True)
def _receive(w: int) -> tuple[int, bool]:
    """A batch of each queue. Whether packets wait is seen in the rings at any time."""
    worker = Worker(w)
    received = 0
    for queue in range(worker.queues):
        received += serve_queue(w, queue)
    if worker.depth != 0:
        _publish_depth(w)
    return received, False


@njit(cache=True)
def _flush(w: int) -> None:
    worker = Worker(w)
    for queue in range(worker.queues):
        xsk = load64(worker.sockets + queue * 8)
        waiting = rings.tx_pending(xsk)
        if waiting > 0:
            _kick(w, xsk, waiting)


@njit(cache=True)
def _end(w: int, t: int, reply: int) -> None:
    """Hand the reply of a task that ended, if there is one, to its queue's TX ring; give back what it had."""
    address = Task(t).chunk
    queue = queue_of(address)
    if reply != DROP:
        reply = hold_back_task(w, address, reply, t)
    has_queue = queue < Worker(w).queues  # else the device has fewer than when the request came: its chunk went with it
    if reply > 0 and has_queue:
        transmit(w, queue, address, reply)
        record_task(w, t)
    end_task(w, t)
    if reply == DROP and has_queue:
        return_chunk(w, queue, address)


@njit(cache=True)
def _release(w: int) -> int:
    """Send what waited for the disk."""
    released = 0
    while released < limits.RX_BATCH:
        held = next_durable(w)
        if held == 0:
            break
        address = Held(held).chunk
        if queue_of(address) < Worker(w).queues:
            transmit(w, queue_of(address), address, Held(held).reply)
        released += 1
    if released != 0:
        _flush(w)
    return released


@njit(cache=True)
def _tidy(w: int) -> bool:
    """Give sent chunks back; then look for a packet and at nothing else, for about a microsecond.

    A request that meets an idle worker waits for whatever the worker does between two looks.
    """
    worker = Worker(w)
    for queue in range(worker.queues):
        recycle(w, queue)
        xsk = load64(worker.sockets + queue * 8)
        if rings.tx_pending(xsk) > 0:  # the device's queue was full at the last kick
            rings.kick(xsk)
        if rings.fill_needs_wakeup(xsk):
            rings.wake_rx(xsk)
    spins = 0
    while spins < _SPINS and _packets(w) == 0:
        spins += 1
    return spins < _SPINS


@njit(cache=True)
def _steal(w: int, now: int) -> int:
    stolen = steal_batch(w, now)
    if stolen > 0:
        _serve_taken(w, stolen)
    return stolen


@njit(cache=True)
def _has_left(w: int, k: int) -> bool:
    """Whether the packet has left the RX ring, and its queue is one that the device still has."""
    worker = Worker(w)
    address = Packet(worker.batch + k * BATCH_BYTES).address
    return is_held(w, address) and queue_of(address) < worker.queues


@njit(cache=True)
def serve_xdp(w: int) -> None:
    """Serve until the block's ``stop`` is set. Run in the worker's process, with everything in the block set up."""
    take_over(w, _find_request, _has_left, _put_reply, _send_replies, _flush, _end)
    run(w, _receive, _packets_wait, _tidy, _steal, _flush, _end, _release)
