"""The worker's loop on AF_XDP sockets: one socket per queue of the device.

A turn: receive a batch from each queue, answer what can be answered at once, send; run some slices of tasks; when there was
nothing to do, give sent chunks back to the kernel, and sleep after a while. Replies go out before any
housekeeping.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.layout import offset
from splinter.native.atomics import (
    load32,
    load32_acquire,
    load64,
    store32,
    store32_release,
    store64,
)
from splinter.net.afxdp.compiled import (
    completion_available,
    fill_needs_wakeup,
    kick,
    rx_available,
    tx_pending,
    tx_position,
    tx_publish,
    tx_write,
    wake_rx,
)
from splinter.net.depths import DEPTH
from splinter.store.epochs import epoch_leave
from splinter.store.reclaim import reclaim
from splinter.worker.accounts import begin_batch, begin_resumes, end_batch, end_resumes, idle_until_now
from splinter.worker.admission import is_authorised
from splinter.worker.chunks import KIND_TX, chunk_word, is_held, mark, queue_of, recycle, return_chunk
from splinter.worker.counters import count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    B_ADDRESS,
    B_FRAME_LENGTH,
    B_HASHED,
    B_HEADER,
    B_LENGTH,
    B_RECORD,
    B_REPLY,
    BATCH_BYTES,
    N_BUSY_CYCLES,
    N_DAMAGED,
    N_KICKS,
    N_MALFORMED,
    N_TRANSMITTED,
    N_WRONG_TOKEN,
    STATE_STOPPED,
    W_BATCH,
    W_BATCH_BEGUN,
    W_BATCH_COUNT,
    W_CHUNKS,
    W_DEPTH,
    W_IDLE_SPIN_NS,
    W_INDEX,
    W_QUEUES,
    W_RUN_LENGTH,
    W_SOCKETS,
    W_STATE,
    W_STOP,
    W_STORE,
    W_TAKES_PARTIAL,
    W_TASKS,
    W_TASKS_COUNT,
    W_TASKS_LIVE,
    W_UMEM,
)
from splinter.worker.look_ahead import look_ahead, note_request
from splinter.worker.receive import batch_limit, take_batch
from splinter.worker.reply import DROP, HEADER_BYTES
from splinter.worker.requests import PENDING, handle
from splinter.worker.stages import IDLE, KICK, PARSE, PREFETCH, RECEIVE, RECYCLE, REPLY, SERVE, TURN, stage
from splinter.worker.steal import is_sibling_busy, steal_batch, wake_sibling
from splinter.worker.tasks.ending import refuse_task
from splinter.worker.tasks.fair import begin_slices, pick
from splinter.worker.tasks.layout import T_CHUNK, T_STATE, TASK_BYTES, TASK_REFUSED
from splinter.worker.tasks.pool import end_task, take_over_tasks
from splinter.worker.tasks.review import ENDED_PER_TURN, next_to_end
from splinter.worker.tasks.slices import cut_short, run_slice
from splinter.worker.turn import begin_serving, begin_turn, look_at_clock, sleep_in_poll
from splinter.worker.xdp.frame import is_intact, payload_length, payload_offset, turn_around
from splinter.worker.xdp.transmit import transmit

_RECYCLE_FROM = limits.RX_BATCH  # completions that are worth the lock while there is other work
_CLOCK_EVERY = 16  # busy turns between two readings of the clock
_PACKETS = offset(DEPTH, "packets")
# Requests that are served before the first of them gets its checksum, which is computed from words that have reached the cache
# by then, and not from those still on their way. As many replies may be lost when the worker dies.
_SERVED_TOGETHER = 4
_SPINS = 200  # looks at the receive rings in an idle turn
_SLICES_PER_TURN = 8  # of tasks, until replies go out and the store's housekeeping is done
_RECLAIM_PER_TURN = 128  # slots moved from limbo to the free lists


@njit(cache=True)
def serve_queue(w: int, queue: int) -> int:
    """One batch of one queue; returns how many packets it had."""
    me, xsk = load32(w + W_INDEX), load64(w + W_SOCKETS + queue * 8)
    most = batch_limit(w, me)
    received = take_batch(w, me, queue, 1, most)
    stage(w, RECEIVE)
    if received > 0:
        if most < limits.RX_BATCH and rx_available(xsk) > 0:
            wake_sibling(w)  # now: what is left waits for as long as a batch may take
        _answer(w, queue, received)
        if rx_available(xsk) >= limits.WAKE_BACKLOG:
            wake_sibling(w)
    return received


@njit(cache=True)
def _answer(w: int, queue: int, received: int) -> None:
    """Serve the packets of the batch, which all came in by one queue, and send the replies."""
    invokes = _find_requests(w, received)
    stage(w, PARSE)
    look_ahead(w, received, invokes)
    stage(w, PREFETCH)
    xsk = load64(w + W_SOCKETS + queue * 8)
    me = load32(w + W_INDEX)
    chunks, umem, batch = load64(w + W_CHUNKS), load64(w + W_UMEM), load64(w + W_BATCH)
    tasks_before = begin_batch(w)
    position = tx_position(xsk)
    sent = 0
    for first in range(0, received, _SERVED_TOGETHER):
        entries = batch + first * BATCH_BYTES
        end = batch + min(first + _SERVED_TOGETHER, received) * BATCH_BYTES
        for entry in range(entries, end, BATCH_BYTES):
            store32_release(w + W_BATCH_BEGUN, (entry - batch) // BATCH_BYTES + 1)
            worker_point(w, WorkerPoint.REQUEST_BEGUN)
            length = load64(entry + B_LENGTH)
            reply = DROP
            if length >= 0:
                header, address = load64(entry + B_HEADER), load64(entry + B_ADDRESS)
                reply = handle(w, header, length, address, load64(entry + B_HASHED), load64(entry + B_RECORD))
            store64(entry + B_REPLY, reply)
            worker_point(w, WorkerPoint.REQUEST_SERVED)
        stage(w, SERVE)
        for entry in range(entries, end, BATCH_BYTES):
            address, reply = load64(entry + B_ADDRESS), load64(entry + B_REPLY)
            if reply > 0:
                tx_write(xsk, position + sent, address, turn_around(umem + address, reply))
                worker_point(w, WorkerPoint.REPLY_WRITTEN)
                mark(chunks, address, chunk_word(KIND_TX, me, me, queue, position + sent))
                worker_point(w, WorkerPoint.REPLY_MARKED)
                sent += 1
            elif reply == DROP:
                return_chunk(w, queue, address)
        stage(w, REPLY)
    if sent > 0:
        tx_publish(xsk, position + sent)
        worker_point(w, WorkerPoint.REPLY_PUBLISHED)
        _kick(w, xsk, sent)
    if completion_available(xsk) >= _RECYCLE_FROM:
        recycle(w, queue)
    stage(w, RECYCLE)
    end_batch(w, received, tasks_before)


@njit(cache=True, forceinline=True)
def _request_length(w: int, frame: int, frame_length: int) -> int:
    """Bytes of the request in a frame; -1, counted: none, damaged, or of a tenant that is not there any more."""
    length = payload_length(frame, frame_length)
    if length < HEADER_BYTES:
        count(w + N_MALFORMED)
        return -1
    if not is_intact(frame, length, load32(w + W_TAKES_PARTIAL) != 0):
        count(w + N_DAMAGED)
        return -1
    if not is_authorised(w, frame + payload_offset(frame)):
        count(w + N_WRONG_TOKEN)
        return -1
    return length


@njit(cache=True)
def _find_requests(w: int, received: int) -> int:
    """Note of each packet of a batch where its request is; returns how many invokes to look ahead for."""
    umem, batch = load64(w + W_UMEM), load64(w + W_BATCH)
    invokes = 0
    for entry in range(batch, batch + received * BATCH_BYTES, BATCH_BYTES):
        frame = umem + load64(entry + B_ADDRESS)
        length = _request_length(w, frame, load64(entry + B_FRAME_LENGTH))
        invokes += note_request(w, entry, frame + payload_offset(frame), length, received)
    return invokes


@njit(cache=True)
def _kick(w: int, xsk: int, sent: int) -> None:
    stage(w, REPLY)
    kick(xsk)
    stage(w, KICK)
    count(w + N_KICKS)
    store64(w + N_TRANSMITTED, load64(w + N_TRANSMITTED) + sent)


@njit(cache=True)
def _tidy(w: int, queue: int) -> None:
    """What can wait until there is nothing else to do."""
    recycle(w, queue)
    xsk = load64(w + W_SOCKETS + queue * 8)
    if tx_pending(xsk) > 0:  # the device's queue was full at the last kick
        kick(xsk)
    if fill_needs_wakeup(xsk):
        wake_rx(xsk)


@njit(cache=True)
def _packets_wait(w: int, queues: int) -> bool:
    available = 0
    for queue in range(queues):
        available += rx_available(load64(w + W_SOCKETS + queue * 8))
    return available > 0


@njit(cache=True)
def _spin(w: int, queues: int) -> bool:
    """Look for a packet and at nothing else, for about a microsecond; tells whether one has come.

    A request that meets an idle worker waits for whatever the worker does between two looks.
    """
    spins = 0
    while spins < _SPINS and not _packets_wait(w, queues):
        spins += 1
    return spins < _SPINS


@njit(cache=True)
def _publish_depth(w: int, queues: int) -> None:
    """Tell the XDP program how many packets wait for this worker."""
    packets = 0
    for queue in range(queues):
        packets += rx_available(load64(w + W_SOCKETS + queue * 8))
    store32(load64(w + W_DEPTH) + _PACKETS, packets)


@njit(cache=True)
def _end(w: int, task: int, reply: int) -> None:
    """Hand the reply of a task that ended, if there is one, to its queue's TX ring; give back what it had."""
    address = load64(task + T_CHUNK)
    queue = queue_of(address)
    has_queue = queue < load32(w + W_QUEUES)  # else the device has fewer than when the request came: its chunk went with it
    if reply != DROP and has_queue:
        transmit(w, queue, address, reply)
    end_task(w, task)
    if reply == DROP and has_queue:
        return_chunk(w, queue, address)


@njit(cache=True)
def _run_tasks(w: int, queues: int, packets_cycles: int) -> int:
    """Run some slices of tasks, with a look at the receive rings before each; returns how many."""
    begin_resumes(w)
    begin_slices(w, packets_cycles)
    slices = 0
    while slices < _SLICES_PER_TURN:
        task = pick(w, _packets_wait(w, queues))
        if task == 0:
            break
        slices += 1
        reply = run_slice(w, task)
        if reply != PENDING:
            _end(w, task, reply)
    end_resumes(w)
    _review_tasks(w)
    for queue in range(queues):
        waiting = tx_pending(load64(w + W_SOCKETS + queue * 8))
        if waiting > 0:
            _kick(w, load64(w + W_SOCKETS + queue * 8), waiting)
    return slices


@njit(cache=True)
def _review_tasks(w: int) -> None:
    """End waiting tasks that must end, a few."""
    for _ in range(ENDED_PER_TURN):
        task = next_to_end(w)
        if task == 0:
            break
        _end(w, task, cut_short(w, task))


@njit(cache=True)
def _take_over(w: int, queues: int) -> None:
    """Go on where a predecessor died: its tasks, and what it had received and not begun to serve.

    Every step can be done again by another successor, should this one die on the way.
    """
    take_over_tasks(w)
    worker_point(w, WorkerPoint.TASKS_LISTED)
    idle_until_now(w)
    begin_turn(w)
    begin_serving(w)  # now, since what the predecessor had received may get this one stuck, too
    tasks, umem, batch = load64(w + W_TASKS), load64(w + W_UMEM), load64(w + W_BATCH)
    for index in range(load32(w + W_TASKS_COUNT)):
        task = tasks + index * TASK_BYTES
        if load32(task + T_STATE) == TASK_REFUSED:
            _end(w, task, refuse_task(w, task))
            worker_point(w, WorkerPoint.REFUSAL_SENT)
    for k in range(load32(w + W_BATCH_BEGUN), load32(w + W_BATCH_COUNT)):
        store32_release(w + W_BATCH_BEGUN, k + 1)
        worker_point(w, WorkerPoint.BATCH_GOES_ON)
        address = load64(batch + k * BATCH_BYTES + B_ADDRESS)
        if not is_held(w, address):
            continue  # it never left the RX ring
        queue, frame = queue_of(address), umem + address
        if queue >= queues:
            continue
        length = _request_length(w, frame, load64(batch + k * BATCH_BYTES + B_FRAME_LENGTH))
        reply = DROP if length < 0 else handle(w, frame + payload_offset(frame), length, address, 0, 0)
        if reply > 0:
            transmit(w, queue, address, reply)
        elif reply == DROP:
            return_chunk(w, queue, address)
    for queue in range(queues):
        kick(load64(w + W_SOCKETS + queue * 8))  # also what the predecessor had published


@njit(cache=True)
def serve_xdp(w: int) -> None:
    """Serve until the block's ``stop`` is set. Run in the worker's process, with everything in the block set up."""
    queues = load32(w + W_QUEUES)
    store, me = load64(w + W_STORE), load32(w + W_INDEX)
    _take_over(w, queues)
    stage(w, IDLE)  # what a predecessor spent since its last mark, too
    idle_from = look_at_clock(w)
    turn = 0
    while load32_acquire(w + W_STOP) == 0:
        begin_turn(w)
        worked = 0
        busy_before = load64(w + N_BUSY_CYCLES)
        for queue in range(queues):
            worked += serve_queue(w, queue)
        if load64(w + W_DEPTH) != 0:
            _publish_depth(w, queues)
        if load32(w + W_RUN_LENGTH) > 0:
            worked += _run_tasks(w, queues, load64(w + N_BUSY_CYCLES) - busy_before)
        if worked > 0:
            reclaim(store, me, _RECLAIM_PER_TURN)
            turn += 1
            if turn % _CLOCK_EVERY == 0:
                look_at_clock(w)
            idle_from = 0
            stage(w, TURN)
            continue
        for queue in range(queues):
            _tidy(w, queue)
        found = _spin(w, queues)
        idle_until_now(w)
        stage(w, IDLE)
        if found:
            continue
        now = look_at_clock(w)
        queue, stolen = steal_batch(w, now)
        if stolen > 0:
            _answer(w, queue, stolen)
            reclaim(store, me, _RECLAIM_PER_TURN)
            idle_from = 0
            continue
        if idle_from == 0:
            idle_from = now
        reclaim(store, me, _RECLAIM_PER_TURN)
        if now - idle_from > load64(w + W_IDLE_SPIN_NS) and load32(w + W_TASKS_LIVE) == 0:
            if is_sibling_busy(w):
                idle_from = now
            elif sleep_in_poll(w, queues + 1):
                idle_from = 0
    epoch_leave(store, me)
    store32_release(w + W_STATE, STATE_STOPPED)
