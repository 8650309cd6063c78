"""The worker's loop, as it is on every transport.

A turn: receive packets and serve them, run some slices of tasks, send; when there was nothing to do, look for work at siblings,
and sleep after a while. Replies go out before any housekeeping. The steps in which transports differ are handed over as
compiled functions. Numba puts them in when it compiles a transport's own functions, so that no indirection is left:

================================ ====================================================================================
``find(w, k, received)``         note the request of packet ``k`` of the batch; returns 1 if it is an invoke to look ahead for
``put(w, k, reply, replies)``    put the reply to packet ``k`` behind ``replies`` others, or give its chunk back; 1: a reply
``send(w, k, replies)``          send as many replies that were put, the queue being that of packet ``k``
``flush(w)``                     send all that waits to be sent
``end(w, t, reply)``             have the reply of a task that ended, if there is one, sent with the next ``flush``; release it
``has_left(w, k)``               whether packet ``k`` of a dead predecessor's batch is this worker's to serve
``receive(w)``                   serve what came; returns how many packets, and whether more wait, as far as that tells
``wait(w, told)``                whether packets wait; ``told``: what ``receive`` said about that
``tidy(w)``                      what can wait until there is nothing else to do; returns whether packets have come meanwhile
``release(w)``                   send the replies that waited for the disk and need not any more; returns how many
``steal(w, now)``                serve what waits at a sibling; returns how many packets
================================ ====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from splinter.native import libc
from splinter.native.atomics import call_resume, load32_acquire, store32_release
from splinter.store.epochs import epoch_leave
from splinter.store.reclaim import reclaim
from splinter.worker.accounts import begin_batch, begin_resumes, end_batch, end_resumes, idle_until_now
from splinter.worker.durable import are_held, begin_showing, forget_held, hold_back, press_log
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import BATCH_BYTES, STATE_STOPPED
from splinter.worker.look_ahead import look_ahead
from splinter.worker.records import Counters, Packet, Worker
from splinter.worker.reply import DROP, PENDING
from splinter.worker.requests import handle
from splinter.worker.resp.records import Door
from splinter.worker.stages import IDLE, PARSE, PREFETCH, RECYCLE, REPLY, SERVE, TURN, stage
from splinter.worker.steal import is_sibling_busy
from splinter.worker.tasks.ending import refuse_task
from splinter.worker.tasks.fair import begin_slices, pick
from splinter.worker.tasks.layout import CALL_CHUNK, TASK_BYTES, TASK_REFUSED
from splinter.worker.tasks.pool import take_over_tasks
from splinter.worker.tasks.records import Task
from splinter.worker.tasks.review import ENDED_PER_TURN, next_to_end
from splinter.worker.tasks.slices import cut_short, run_slice
from splinter.worker.turn import begin_serving, begin_turn, look_at_clock, sleep_in_poll

_CLOCK_EVERY = 16  # busy turns between two readings of the clock
_SLICES_PER_TURN = 8  # of tasks, until replies go out and the store's housekeeping is done
_HELD_POLL_MS = 1  # between looks whether replies need not wait any more, when nobody says so
_RECLAIM_PER_TURN = 128  # slots moved from limbo to the free lists

Find = Callable[[int, int, int], int]
Put = Callable[[int, int, int, int], int]
Send = Callable[[int, int, int], None]
Flush = Callable[[int], None]
End = Callable[[int, int, int], None]
HasLeft = Callable[[int, int], bool]
Receive = Callable[[int], tuple[int, bool]]
Wait = Callable[[int, bool], bool]
Tidy = Callable[[int], bool]
Steal = Callable[[int, int], int]
Release = Callable[[int], int]


@njit(cache=True, forceinline=True)
def _serve(w: int, entry: int) -> int:
    """Serve the request that a batch's entry notes. Returns what :func:`splinter.worker.requests.handle` does."""
    packet = Packet(entry)
    length = packet.length
    if length < 0:
        return DROP
    tail = begin_showing(w)
    reply = handle(w, packet.header, length, packet.address, packet.hashed, packet.record)
    if Worker(w).log != 0 and reply > 0:
        return hold_back(w, packet.header, packet.address, reply, tail)
    return reply


# Not cached, as all that take functions: they are compiled into a transport's own, and kept with it.
@njit(forceinline=True)
def serve_batch(w: int, received: int, together: int, find: Find, put: Put, send: Send) -> None:
    """Serve the packets of the batch, which all came in by one queue, and send the replies.

    ``together`` packets are served before the first of them gets its reply put. As many replies may be lost when the worker
    dies.
    """
    worker = Worker(w)
    invokes = 0
    for k in range(received):
        invokes += find(w, k, received)
    stage(w, PARSE)
    look_ahead(w, received, invokes)
    stage(w, PREFETCH)
    batch = worker.batch
    tasks_before = begin_batch(w)
    replies = 0
    for first in range(0, received, together):
        end = min(first + together, received)
        for k in range(first, end):
            store32_release(worker.at.batch_begun, k + 1)
            worker_point(w, WorkerPoint.REQUEST_BEGUN)
            entry = batch + k * BATCH_BYTES
            Packet(entry).reply = _serve(w, entry)
            worker_point(w, WorkerPoint.REQUEST_SERVED)
        stage(w, SERVE)
        for k in range(first, end):
            replies += put(w, k, Packet(batch + k * BATCH_BYTES).reply, replies)
        stage(w, REPLY)
    send(w, 0, replies)
    stage(w, RECYCLE)
    end_batch(w, received, tasks_before)


@njit(forceinline=True)
def take_over(w: int, find: Find, has_left: HasLeft, put: Put, send: Send, flush: Flush, end: End) -> None:
    """Go on where a predecessor died: its replies, its tasks, and what it had received and not begun to serve.

    Every step can be done again by another successor, should this one die on the way.
    """
    worker = Worker(w)
    forget_held(w)
    if worker.door != 0:
        call_resume(Door(worker.door).open, w, 0)
    take_over_tasks(w)
    worker_point(w, WorkerPoint.TASKS_LISTED)
    idle_until_now(w)
    begin_turn(w)
    begin_serving(w)  # now, since what the predecessor had received may get this one stuck, too
    flush(w)
    tasks, batch = worker.tasks, worker.batch
    for index in range(worker.tasks_count):
        t = tasks + index * TASK_BYTES
        if Task(t).state == TASK_REFUSED:
            begin_showing(w)
            end(w, t, refuse_task(w, t))
            flush(w)
            worker_point(w, WorkerPoint.REFUSAL_SENT)
    for k in range(worker.batch_begun, worker.batch_count):
        store32_release(worker.at.batch_begun, k + 1)
        worker_point(w, WorkerPoint.BATCH_GOES_ON)
        if has_left(w, k):
            find(w, k, 1)
            send(w, k, put(w, k, _serve(w, batch + k * BATCH_BYTES), 0))


@njit(forceinline=True)
def _end(w: int, t: int, reply: int, end: End) -> None:
    """Have the reply of a task that ended sent by the way that it came."""
    if Task(t).chunk & CALL_CHUNK != 0:
        call_resume(Door(Worker(w).door).end_call, w, t)
    else:
        end(w, t, reply)


@njit(forceinline=True)
def _run_tasks(w: int, packets_cycles: int, told: bool, wait: Wait, flush: Flush, end: End) -> int:
    """Run some slices of tasks, with a look whether packets wait before each; end a few that must. Returns how many slices."""
    begin_resumes(w)
    begin_slices(w, packets_cycles)
    slices = 0
    while slices < _SLICES_PER_TURN:
        t = pick(w, wait(w, told))
        if t == 0:
            break
        slices += 1
        begin_showing(w)
        reply = run_slice(w, t)
        if reply != PENDING:
            _end(w, t, reply, end)
    end_resumes(w)
    for _ in range(ENDED_PER_TURN):
        t = next_to_end(w)
        if t == 0:
            break
        begin_showing(w)
        _end(w, t, cut_short(w, t), end)
    flush(w)
    return slices


@njit(cache=True)
def _rest(w: int, now: int, idle_from: int) -> int:
    """End a turn without work, maybe with a sleep. Returns since when there has been none (0: since the next turn).

    ``idle_from`` is what the turn before returned, ``now`` the time in monotonic nanoseconds.
    """
    worker = Worker(w)
    reclaim(worker.store, worker.index, _RECLAIM_PER_TURN)
    since = now if idle_from == 0 else idle_from
    if are_held(w):  # the log process may need this core
        if now - since <= worker.idle_spin_ns:
            libc.sched_yield()
        else:
            libc.poll(worker.poll_fds, worker.descriptors, _HELD_POLL_MS)
            libc.read(worker.wake_fd, worker.scratch, 8)
        idle_until_now(w)
        return since
    if now - since <= worker.idle_spin_ns or worker.tasks_live != 0:
        return since
    if is_sibling_busy(w):
        return now
    return 0 if sleep_in_poll(w) else since


@njit(cache=True)
def _look_at_clock(w: int) -> int:
    now = look_at_clock(w)
    if Worker(w).door != 0:
        call_resume(Door(Worker(w).door).review, w, now)
    return now


@njit(forceinline=True)
def run(
    w: int, receive: Receive, wait: Wait, tidy: Tidy, steal: Steal, flush: Flush, end: End, release: Release
) -> None:  # fmt: skip
    """Serve until the block's ``stop`` is set."""
    worker, counters = Worker(w), Counters(w)
    store, me = worker.store, worker.index
    stage(w, IDLE)  # what a predecessor spent since its last mark, too
    idle_from = _look_at_clock(w)
    turn = 0
    while load32_acquire(worker.at.stop) == 0:
        begin_turn(w)
        busy_before = counters.busy_cycles
        worked, told = receive(w)
        if are_held(w):
            worked += release(w)
        if worker.run_length > 0:
            worked += _run_tasks(w, counters.busy_cycles - busy_before, told, wait, flush, end)
        if worker.door != 0:
            worked += call_resume(Door(worker.door).serve, w, worked)
        if worked > 0:
            reclaim(store, me, _RECLAIM_PER_TURN)
            press_log(w)
            turn += 1
            if turn % _CLOCK_EVERY == 0:
                _look_at_clock(w)
            idle_from = 0
            stage(w, TURN)
            continue
        have_come = tidy(w)
        idle_until_now(w)
        stage(w, IDLE)
        if have_come:
            continue
        now = _look_at_clock(w)
        if steal(w, now) > 0:
            reclaim(store, me, _RECLAIM_PER_TURN)
            idle_from = 0
            continue
        idle_from = _rest(w, now, idle_from)
    epoch_leave(store, me)
    store32_release(worker.at.state, STATE_STOPPED)
