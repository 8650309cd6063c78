"""The worker's loop on an ordinary UDP socket: the same requests, tasks and store, without root or XDP.

Packets are received into chunks by ``recvmmsg`` and answered from them by ``sendmmsg``. Here the worker itself checks the
token, as no XDP program has done it.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import (
    load8,
    load32,
    load32_acquire,
    load64,
    store16,
    store32,
    store32_release,
    store64,
    store64_release,
)
from splinter.native.clock import now_ns
from splinter.net.tenants import T_PACKETS_PER_SECOND
from splinter.store.epochs import epoch_leave
from splinter.store.reclaim import reclaim
from splinter.wire import FLAG_REPLY, H_FLAGS, H_MAGIC, H_TENANT, MAGIC
from splinter.worker.accounts import begin_batch, begin_resumes, end_batch, end_resumes, idle_until_now
from splinter.worker.admission import is_authorised, tenant_record
from splinter.worker.counters import count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    B_ADDRESS,
    B_HASHED,
    B_HEADER,
    B_LENGTH,
    B_RECORD,
    BATCH_BYTES,
    N_BUSY_CYCLES,
    N_KICKS,
    N_LOOPS,
    N_MALFORMED,
    N_RATE_LIMITED,
    N_RECEIVED,
    N_STOLEN,
    N_TRANSMIT_FAILURES,
    N_TRANSMITTED,
    N_WRONG_TOKEN,
    P_EVENTS,
    P_FD,
    POLLIN,
    STATE_STOPPED,
    W_BATCH,
    W_BATCH_BEGUN,
    W_BATCH_COUNT,
    W_CORES,
    W_IDLE_SPIN_NS,
    W_INDEX,
    W_RATES,
    W_RUN_LENGTH,
    W_SCRATCH,
    W_STATE,
    W_STEALING,
    W_STOP,
    W_STORE,
    W_TASKS,
    W_TASKS_COUNT,
    W_TASKS_LIVE,
    W_UDP_AREA,
    W_UDP_CHUNKS,
    W_UDP_FD,
)
from splinter.worker.look_ahead import look_ahead, note_request
from splinter.worker.rates import is_within_rate
from splinter.worker.receive import batch_limit, worker_block
from splinter.worker.reply import DROP, HEADER_BYTES
from splinter.worker.requests import PENDING, handle
from splinter.worker.steal import has_waited, is_empty, is_sibling_busy, next_place, wake_sibling
from splinter.worker.tasks.ending import refuse_task
from splinter.worker.tasks.fair import begin_slices, pick
from splinter.worker.tasks.layout import T_CHUNK, T_STATE, TASK_BYTES, TASK_FREE, TASK_REFUSED
from splinter.worker.tasks.pool import end_task, take_over_tasks
from splinter.worker.tasks.review import ENDED_PER_TURN, next_to_end
from splinter.worker.tasks.slices import cut_short, run_slice
from splinter.worker.turn import begin_serving, begin_turn, look_at_clock, sleep_in_poll
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
    M_LENGTH,
    M_NAME,
    M_NAME_LENGTH,
    MMSGHDR_BYTES,
    PI_ADDRESS,
    PI_DESTINATION,
    PI_INTERFACE,
    PI_LENGTH,
    PKTINFO_BYTES,
    PKTINFO_LENGTH,
    SOCKADDR_BYTES,
)

_CLOCK_EVERY = 16
_SLICES_PER_TURN = 8  # of tasks, until their replies go out and the socket is asked again
_RECLAIM_PER_TURN = 128
_DESCRIPTORS = 2  # of poll: the socket and the wake-up descriptor


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
def _assign(area: int, slot: int) -> None:
    """Give a receive slot a free chunk. There is one: a worker has as many chunks as slots and tasks."""
    free_length = load64(area + A_FREE_LENGTH) - 1
    store64(area + A_FREE_LENGTH, free_length)
    chunk = load32(load64(area + A_FREE) + free_length * 4)
    store32(load64(area + A_RECEIVE_CHUNKS) + slot * 4, chunk)
    _arm(area, slot, chunk)


@njit(cache=True)
def _arm(area: int, slot: int, chunk: int) -> None:
    _set_message(
        load64(area + A_RECEIVE) + slot * MMSGHDR_BYTES,
        load64(area + A_RECEIVE_IOVECS) + slot * IOVEC_BYTES,
        load64(area + A_PEERS) + chunk * SOCKADDR_BYTES,
        load64(area + A_CHUNKS) + chunk * limits.CHUNK_BYTES,
        limits.CHUNK_BYTES,
        _info(area, chunk),
    )


@njit(cache=True)
def _info(area: int, chunk: int) -> int:
    """Where the kernel writes which address the packet in a chunk was sent to; 0 where all packets are sent to the same."""
    if load64(area + A_IS_WILDCARD) == 0:
        return 0
    return load64(area + A_INFOS) + chunk * PKTINFO_BYTES


@njit(cache=True)
def _take_over(w: int) -> None:
    """Go on where a predecessor died: its replies, its tasks, and what it had received and not begun to serve.

    Every step can be done again by another successor, should this one die on the way: then some replies are sent twice.
    """
    area = load64(w + W_UDP_AREA)
    take_over_tasks(w)
    worker_point(w, WorkerPoint.TASKS_LISTED)
    idle_until_now(w)
    begin_turn(w)
    begin_serving(w)  # now, since what the predecessor had received may get this one stuck, too
    _send(w, area)
    tasks = load64(w + W_TASKS)
    for index in range(load32(w + W_TASKS_COUNT)):
        task = tasks + index * TASK_BYTES
        if load32(task + T_STATE) == TASK_REFUSED:
            reply = refuse_task(w, task)
            if reply != DROP:
                _add_reply(area, load64(task + T_CHUNK), reply)
                _send(w, area)
            end_task(w, task)
            worker_point(w, WorkerPoint.REFUSAL_SENT)
    for slot in range(load32(w + W_BATCH_BEGUN), load32(w + W_BATCH_COUNT)):
        store32_release(w + W_BATCH_BEGUN, slot + 1)
        worker_point(w, WorkerPoint.BATCH_GOES_ON)
        chunk = load32(load64(area + A_RECEIVE_CHUNKS) + slot * 4)
        header = load64(area + A_CHUNKS) + chunk * limits.CHUNK_BYTES
        length = load32(load64(area + A_RECEIVE) + slot * MMSGHDR_BYTES + M_LENGTH)
        reply = handle(w, header, length, chunk, 0, 0) if _is_authentic(w, area, chunk, length) else DROP
        if reply > 0:
            _add_reply(area, chunk, reply)
            _send(w, area)
    _share_out_chunks(w, area)


@njit(cache=True)
def _share_out_chunks(w: int, area: int) -> None:
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
        _assign(area, slot)


@njit(cache=True)
def _is_for_one(area: int, chunk: int) -> bool:
    """Whether the packet in a chunk was sent to one of this host's addresses. One to a group or a broadcast address reaches
    many hosts, which must not all answer: the kernel tells another address of ours for it than it was sent to."""
    info = _info(area, chunk)
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


@njit(cache=True)
def _add_reply(area: int, chunk: int, length: int) -> None:
    """Have the reply of ``length`` bytes in a chunk sent with the next :func:`_send`, from the address that was asked."""
    place = load64(area + A_REPLIES)
    info = _info(area, chunk)
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
def _send(w: int, area: int) -> None:
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
    batch = load64(w + W_BATCH)
    invokes = 0
    for slot in range(received):
        entry = batch + slot * BATCH_BYTES
        chunk = load32(load64(area + A_RECEIVE_CHUNKS) + slot * 4)
        header = load64(area + A_CHUNKS) + chunk * limits.CHUNK_BYTES
        length = load32(load64(area + A_RECEIVE) + slot * MMSGHDR_BYTES + M_LENGTH)
        store64(entry + B_ADDRESS, chunk)
        invokes += note_request(w, entry, header, length if _is_authentic(w, area, chunk, length) else -1, received)
    look_ahead(w, received, invokes)

    tasks_before = begin_batch(w)
    for slot in range(received):
        store32_release(w + W_BATCH_BEGUN, slot + 1)
        worker_point(w, WorkerPoint.REQUEST_BEGUN)
        entry = batch + slot * BATCH_BYTES
        chunk, length = load64(entry + B_ADDRESS), load64(entry + B_LENGTH)
        if length < 0:
            reply = DROP
        else:
            hashed, record = load64(entry + B_HASHED), load64(entry + B_RECORD)
            reply = handle(w, load64(entry + B_HEADER), length, chunk, hashed, record)
        worker_point(w, WorkerPoint.REQUEST_SERVED)
        if reply == PENDING:
            _assign(area, slot)
            worker_point(w, WorkerPoint.CHUNK_ASSIGNED)
            continue
        if reply > 0:
            _add_reply(area, chunk, reply)
            worker_point(w, WorkerPoint.REPLY_WRITTEN)
        _arm(area, slot, chunk)
    _send(w, area)
    end_batch(w, received, tasks_before)
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
def _is_readable(fd: int, pollfd: int) -> bool:
    """Whether packets wait at a socket; ``pollfd`` is the address of scratch memory."""
    store32(pollfd + P_FD, fd)
    store16(pollfd + P_EVENTS, POLLIN)
    return libc.poll(pollfd, 1, 0) > 0


@njit(cache=True)
def _run_tasks(w: int, packets_wait: bool, packets_cycles: int) -> int:
    """Run some slices of tasks; returns how many. Whether packets wait is not looked up before each: a system call takes as
    long as a slice."""
    area = load64(w + W_UDP_AREA)
    begin_resumes(w)
    begin_slices(w, packets_cycles)
    slices = 0
    while slices < _SLICES_PER_TURN:
        task = pick(w, packets_wait)
        if task == 0:
            break
        slices += 1
        reply = run_slice(w, task)
        if reply == PENDING:
            continue
        _end(w, area, task, reply)
    end_resumes(w)
    _send(w, area)
    return slices


@njit(cache=True)
def _end(w: int, area: int, task: int, reply: int) -> None:
    """Have the reply of a task that ended, if there is one, sent; give back what it had."""
    chunk = load64(task + T_CHUNK)
    if reply != DROP:
        _add_reply(area, chunk, reply)
    free_length = load64(area + A_FREE_LENGTH)
    store32(load64(area + A_FREE) + free_length * 4, chunk)
    store64(area + A_FREE_LENGTH, free_length + 1)
    worker_point(w, WorkerPoint.CHUNK_FREED)
    end_task(w, task)


@njit(cache=True)
def _review_tasks(w: int) -> None:
    """End waiting tasks that must end, a few."""
    area = load64(w + W_UDP_AREA)
    for _ in range(ENDED_PER_TURN):
        task = next_to_end(w)
        if task == 0:
            break
        _end(w, area, task, cut_short(w, task))
    _send(w, area)


@njit(cache=True)
def serve_udp(w: int) -> None:
    """Serve until the block's ``stop`` is set. Run in the worker's process, with everything in the block set up."""
    _take_over(w)
    store, me = load64(w + W_STORE), load32(w + W_INDEX)
    idle_from = look_at_clock(w)
    turn = 0
    while load32_acquire(w + W_STOP) == 0:
        begin_turn(w)
        busy_before = load64(w + N_BUSY_CYCLES)
        most = batch_limit(w, me)
        worked = _serve_socket(w, load32(w + W_UDP_FD), most)
        if worked == limits.RX_BATCH:  # more may wait
            wake_sibling(w)
        if load32(w + W_RUN_LENGTH) > 0:
            more_wait = worked == most
            worked += _run_tasks(w, more_wait, load64(w + N_BUSY_CYCLES) - busy_before)
            _review_tasks(w)
        if worked > 0:
            reclaim(store, me, _RECLAIM_PER_TURN)
            turn += 1
            if turn % _CLOCK_EVERY == 0:
                look_at_clock(w)
            idle_from = 0
            continue
        idle_until_now(w)
        now = look_at_clock(w)
        if _steal(w, now) > 0:
            reclaim(store, me, _RECLAIM_PER_TURN)
            idle_from = 0
            continue
        if idle_from == 0:
            idle_from = now
        reclaim(store, me, _RECLAIM_PER_TURN)
        if now - idle_from > load64(w + W_IDLE_SPIN_NS) and load32(w + W_TASKS_LIVE) == 0:
            if is_sibling_busy(w):
                idle_from = now
            elif sleep_in_poll(w, _DESCRIPTORS):
                idle_from = 0
    epoch_leave(store, me)
    store32_release(w + W_STATE, STATE_STOPPED)
