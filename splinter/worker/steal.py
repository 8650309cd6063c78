"""Which sibling an idle worker helps, and how a busy one gets help.

Work stealing after Cilk and ZygOS (SOSP'17): the idle side does the work of finding. A worker that has nothing looks
at its siblings' receive queues, a few each turn. It takes from one where several packets wait, or where any has waited
for a while: its owner may be busy with one long task, stopped, or not scheduled at all, so the owner need not help.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import exchange32, load32_acquire, store64
from splinter.net.afxdp import compiled as rings
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import LOOK_BYTES, STATE_RUNNING, STATE_SLEEPING
from splinter.worker.receive import batch_limit, rx_socket, take_batch, worker_block
from splinter.worker.records import Counters, Look, Worker

_HALF = 2  # a thief takes one of two packets that wait
_US_PER_MS = 1000


@njit(cache=True)
def has_waited(w: int, place: int, position: int, now: int) -> bool:
    """Whether what waits in the queue of this place already waited there, at this position, ``STEAL_WAIT_NS`` ago.

    Remembers the position when it is a new one. Places are 0 … queues × cores - 1.
    """
    seen = Look(Worker(w).looks + place * LOOK_BYTES)
    since = seen.since
    if since == 0 or seen.position != position:
        seen.position = position
        seen.since = now
        return False
    return now - since >= limits.STEAL_WAIT_NS


@njit(cache=True)
def is_empty(w: int, place: int) -> None:
    """Remember that nothing waits at a place."""
    Look(Worker(w).looks + place * LOOK_BYTES).since = 0


@njit(cache=True)
def next_place(w: int, places: int) -> int:
    """The place to look at next, in turn."""
    worker = Worker(w)
    place = worker.next_look
    worker.next_look = place + 1 if place + 1 < places else 0
    return place


@njit(cache=True)
def steal_batch(w: int, now: int) -> int:
    """Take packets from a sibling's RX ring to this worker's batch. Returns how many.

    ``now`` is in monotonic nanoseconds. The packets are this worker's from now on: replies go out on its own socket of
    the queue.
    """
    worker, counters = Worker(w), Counters(w)
    if worker.stealing == 0:
        return 0
    cores, queues, me = worker.cores, worker.queues, worker.index
    places = cores * queues
    for _ in range(min(places, limits.STEAL_LOOKS)):
        place = next_place(w, places)
        core, queue = place % cores, place // cores
        if core == me:
            continue
        xsk = rx_socket(w, core, queue)
        available = rings.rx_available(xsk)
        if available == 0:
            is_empty(w, place)
            continue
        if not has_waited(w, place, rings.rx_position(xsk), now) and available < limits.STEAL_PACKETS_MIN:
            continue
        taken = take_batch(w, core, queue, _HALF, min(batch_limit(w, core), limits.STEAL_PACKETS_MAX))
        if taken > 0:
            worker_point(w, WorkerPoint.STOLEN)
            counters.stolen += taken
            return taken
    return 0


@njit(cache=True)
def wake_sibling(w: int) -> None:
    """Wake one sibling that sleeps, if there is any: this worker has more than it can do at once."""
    worker = Worker(w)
    if worker.stealing == 0:
        return
    cores, me = worker.cores, worker.index
    for step in range(1, cores):
        sibling = Worker(worker_block(w, (me + step) % cores))
        if load32_acquire(sibling.at.state) == STATE_SLEEPING and exchange32(sibling.at.woken, 1) == 0:
            one = worker.scratch
            store64(one, 1)
            libc.write(sibling.wake_fd, one, 8)
            Counters(w).wakes += 1
            return


@njit(cache=True)
def is_sibling_busy(w: int) -> bool:
    """Whether a sibling has been at one thing for ``SIBLING_BUSY_US``: what comes for it now will wait, so do not sleep.

    To be called right after this worker's heartbeat. A sibling that has not moved for ``WATCHDOG_MS`` is the watchdog's.
    """
    worker = Worker(w)
    if worker.stealing == 0:
        return False
    cores, me, now = worker.cores, worker.index, worker.heartbeat
    a_millisecond = worker.cycles_per_millisecond
    for core in range(cores):
        sibling = Worker(worker_block(w, core))
        if core == me or load32_acquire(sibling.at.state) != STATE_RUNNING:
            continue
        age = now - sibling.heartbeat
        if a_millisecond * limits.SIBLING_BUSY_US // _US_PER_MS < age < a_millisecond * limits.WATCHDOG_MS:
            return True
    return False


@njit(cache=True)
def allow_waking(w: int) -> int:
    """Let siblings wake this worker once it sleeps. Returns after how many milliseconds it looks at their queues again."""
    worker = Worker(w)
    if worker.stealing == 0:
        return limits.IDLE_POLL_MS
    worker.woken = 0
    cores, me = worker.cores, worker.index
    for core in range(cores):
        if core != me and load32_acquire(Worker(worker_block(w, core)).at.state) != STATE_SLEEPING:
            return limits.WATCH_MS
    return limits.REST_MS
