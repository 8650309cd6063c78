"""Which sibling an idle worker helps, and how a busy one gets help.

Work stealing after Cilk and ZygOS (SOSP'17): the idle side does the work of finding. A worker that has nothing looks
at its siblings' receive queues, a few each turn. It takes from one where several packets wait, or where any has waited
for a while: its owner may be busy with one long task, stopped, or not scheduled at all, so the owner need not help.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import (
    exchange32,
    load32,
    load32_acquire,
    load64,
    store32,
    store64,
)
from splinter.net.afxdp.compiled import rx_available, rx_position
from splinter.worker.counters import count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    L_POSITION,
    L_SINCE,
    LOOK_BYTES,
    N_STOLEN,
    N_WAKES,
    STATE_RUNNING,
    STATE_SLEEPING,
    W_CORES,
    W_CYCLES_PER_MILLISECOND,
    W_HEARTBEAT,
    W_INDEX,
    W_LOOKS,
    W_NEXT_LOOK,
    W_QUEUES,
    W_SCRATCH,
    W_STATE,
    W_STEALING,
    W_WAKE_FD,
    W_WOKEN,
)
from splinter.worker.receive import batch_limit, rx_socket, take_batch, worker_block

_HALF = 2  # a thief takes one of two packets that wait
_US_PER_MS = 1000


@njit(cache=True)
def has_waited(w: int, place: int, position: int, now: int) -> bool:
    """Whether what waits in the queue of this place already waited there, at this position, ``STEAL_WAIT_NS`` ago.

    Remembers the position when it is a new one. Places are 0 … queues × cores - 1.
    """
    look = load64(w + W_LOOKS) + place * LOOK_BYTES
    since = load64(look + L_SINCE)
    if since == 0 or load64(look + L_POSITION) != position:
        store64(look + L_POSITION, position)
        store64(look + L_SINCE, now)
        return False
    return now - since >= limits.STEAL_WAIT_NS


@njit(cache=True)
def is_empty(w: int, place: int) -> None:
    """Remember that nothing waits at a place."""
    store64(load64(w + W_LOOKS) + place * LOOK_BYTES + L_SINCE, 0)


@njit(cache=True)
def next_place(w: int, places: int) -> int:
    """The place to look at next, in turn."""
    place = load64(w + W_NEXT_LOOK)
    store64(w + W_NEXT_LOOK, place + 1 if place + 1 < places else 0)
    return place


@njit(cache=True)
def steal_batch(w: int, now: int) -> int:
    """Take packets from a sibling's RX ring to this worker's batch. Returns how many.

    ``now`` is in monotonic nanoseconds. The packets are this worker's from now on: replies go out on its own socket of
    the queue.
    """
    if load32(w + W_STEALING) == 0:
        return 0
    cores, queues, me = load32(w + W_CORES), load32(w + W_QUEUES), load32(w + W_INDEX)
    places = cores * queues
    for _ in range(min(places, limits.STEAL_LOOKS)):
        place = next_place(w, places)
        core, queue = place % cores, place // cores
        if core == me:
            continue
        xsk = rx_socket(w, core, queue)
        available = rx_available(xsk)
        if available == 0:
            is_empty(w, place)
            continue
        if not has_waited(w, place, rx_position(xsk), now) and available < limits.STEAL_PACKETS_MIN:
            continue
        taken = take_batch(w, core, queue, _HALF, min(batch_limit(w, core), limits.STEAL_PACKETS_MAX))
        if taken > 0:
            worker_point(w, WorkerPoint.STOLEN)
            store64(w + N_STOLEN, load64(w + N_STOLEN) + taken)
            return taken
    return 0


@njit(cache=True)
def wake_sibling(w: int) -> None:
    """Wake one sibling that sleeps, if there is any: this worker has more than it can do at once."""
    if load32(w + W_STEALING) == 0:
        return
    cores, me = load32(w + W_CORES), load32(w + W_INDEX)
    for step in range(1, cores):
        sibling = worker_block(w, (me + step) % cores)
        if load32_acquire(sibling + W_STATE) == STATE_SLEEPING and exchange32(sibling + W_WOKEN, 1) == 0:
            one = load64(w + W_SCRATCH)
            store64(one, 1)
            libc.write(load32(sibling + W_WAKE_FD), one, 8)
            count(w + N_WAKES)
            return


@njit(cache=True)
def is_sibling_busy(w: int) -> bool:
    """Whether a sibling has been at one thing for ``SIBLING_BUSY_US``: what comes for it now will wait, so do not sleep.

    To be called right after this worker's heartbeat. A sibling that has not moved for ``WATCHDOG_MS`` is the watchdog's.
    """
    if load32(w + W_STEALING) == 0:
        return False
    cores, me, now = load32(w + W_CORES), load32(w + W_INDEX), load64(w + W_HEARTBEAT)
    a_millisecond = load64(w + W_CYCLES_PER_MILLISECOND)
    for core in range(cores):
        sibling = worker_block(w, core)
        if core == me or load32_acquire(sibling + W_STATE) != STATE_RUNNING:
            continue
        age = now - load64(sibling + W_HEARTBEAT)
        if a_millisecond * limits.SIBLING_BUSY_US // _US_PER_MS < age < a_millisecond * limits.WATCHDOG_MS:
            return True
    return False


@njit(cache=True)
def allow_waking(w: int) -> int:
    """Let siblings wake this worker once it sleeps. Returns after how many milliseconds it looks at their queues again."""
    if load32(w + W_STEALING) == 0:
        return limits.IDLE_POLL_MS
    store32(w + W_WOKEN, 0)
    cores, me = load32(w + W_CORES), load32(w + W_INDEX)
    for core in range(cores):
        if core != me and load32_acquire(worker_block(w, core) + W_STATE) != STATE_SLEEPING:
            return limits.WATCH_MS
    return limits.REST_MS
