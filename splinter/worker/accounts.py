"""Who used a worker's time: each tenant's share of it, in ticks of the time-stamp counter.

The counter is read once for each batch of packets and once for each resume of a task (a reading costs as much as resuming
does). A batch's time, without that of the extensions which it started, is divided among its packets evenly. Turns that found
nothing to do are idle time, which is nobody's. Each reading is also the worker's heartbeat.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import cycles, load32, load64, store32, store64, store64_release
from splinter.worker.counters import add, count
from splinter.worker.layout import (
    B_TENANT,
    BATCH_BYTES,
    N_BUSY_CYCLES,
    N_TASK_CYCLES,
    TC_CYCLES,
    TC_REQUESTS,
    TC_TASK_CYCLES,
    TC_WINDOW,
    TC_WINDOW_START,
    TENANT_COUNTERS_BYTES,
    W_ACCOUNTED_UNTIL,
    W_ACTIVE,
    W_ACTIVE_BEFORE,
    W_BATCH,
    W_CYCLES_PER_MILLISECOND,
    W_FIRST_YIELDS,
    W_HEARTBEAT,
    W_PACKET_CYCLES,
    W_RESUMED_UNTIL,
    W_TENANT_COUNTERS,
    W_WINDOW,
    W_WINDOW_CYCLES,
    W_WINDOW_END,
)

_BATCHES_PER_MILLISECOND = 1000 // limits.BATCH_US
_LEARN_SHIFT = 2  # a new batch counts a quarter


@njit(cache=True)
def beat(w: int) -> int:
    """Read the counter and publish it: this worker goes on. Nothing may take longer than a millisecond between two of these."""
    now = cycles()
    store64_release(w + W_HEARTBEAT, now)
    return now


@njit(cache=True)
def _charge(w: int, counters: int, used: int) -> None:
    """Add to a tenant's time, in all and in this window."""
    before = load64(counters + TC_CYCLES)
    store64(counters + TC_CYCLES, before + used)
    if load64(counters + TC_WINDOW) != load64(w + W_WINDOW):
        store64(counters + TC_WINDOW, load64(w + W_WINDOW))
        store64(counters + TC_WINDOW_START, before)
        store32(w + W_ACTIVE, load32(w + W_ACTIVE) + 1)


@njit(cache=True)
def _begin_window(w: int, now: int) -> None:
    count(w + W_WINDOW)
    store64(w + W_WINDOW_END, now + load64(w + W_WINDOW_CYCLES))
    store32(w + W_ACTIVE_BEFORE, load32(w + W_ACTIVE))
    store32(w + W_ACTIVE, 0)


@njit(cache=True)
def window_cycles(w: int, tenant: int) -> int:
    """Time that a tenant used in the current window."""
    counters = load64(w + W_TENANT_COUNTERS) + tenant * TENANT_COUNTERS_BYTES
    if load64(counters + TC_WINDOW) != load64(w + W_WINDOW):
        return 0
    return load64(counters + TC_CYCLES) - load64(counters + TC_WINDOW_START)


@njit(cache=True)
def idle_until_now(w: int) -> None:
    """The time since the last account was idle."""
    now = beat(w)
    store64(w + W_ACCOUNTED_UNTIL, now)
    store64(w + W_RESUMED_UNTIL, now)


@njit(cache=True)
def begin_batch(w: int) -> int:
    """Call it before a batch is served; what it returns is for :func:`end_batch`."""
    store64(w + W_RESUMED_UNTIL, 0)
    store32(w + W_FIRST_YIELDS, 0)
    return load64(w + N_TASK_CYCLES)


@njit(cache=True)
def end_batch(w: int, received: int, tasks_before: int) -> None:
    """Charge the time since the last account to the tenants of the batch's packets, but for that of tasks."""
    now = beat(w)
    used = now - load64(w + W_ACCOUNTED_UNTIL)
    store64(w + W_ACCOUNTED_UNTIL, now)
    store64(w + W_RESUMED_UNTIL, now)
    add(w + N_BUSY_CYCLES, used)
    if now >= load64(w + W_WINDOW_END):
        _begin_window(w, now)
    _learn(w, used // received)
    each = (used - (load64(w + N_TASK_CYCLES) - tasks_before)) // received
    batch, all_counters = load64(w + W_BATCH), load64(w + W_TENANT_COUNTERS)
    for entry in range(batch, batch + received * BATCH_BYTES, BATCH_BYTES):
        counters = all_counters + load64(entry + B_TENANT) * TENANT_COUNTERS_BYTES
        count(counters + TC_REQUESTS)
        _charge(w, counters, each)


@njit(cache=True)
def _learn(w: int, each: int) -> None:
    """What a packet takes, its first slice included, as a moving average. A packet that took very long counts as one that
    fills a batch: it may have been the host that took the time."""
    before = load64(w + W_PACKET_CYCLES)
    store64(w + W_PACKET_CYCLES, before + ((min(each, _batch_cycles(w)) - before) >> _LEARN_SHIFT))


@njit(cache=True)
def _batch_cycles(w: int) -> int:
    return load64(w + W_CYCLES_PER_MILLISECOND) // _BATCHES_PER_MILLISECOND


@njit(cache=True)
def packets_in_batch(w: int) -> int:
    """How many packets a worker is expected to serve within ``BATCH_US``: at least 1, at most ``RX_BATCH``."""
    each, time = load64(w + W_PACKET_CYCLES), _batch_cycles(w)
    return limits.RX_BATCH if each * limits.RX_BATCH <= time else max(time // each, 1)


@njit(cache=True)
def resumed_nothing(w: int) -> None:
    """Something other than a task took time in a batch: the next task's begins later."""
    store64(w + W_RESUMED_UNTIL, 0)


@njit(cache=True)
def begin_resumes(w: int) -> None:
    """Call it before tasks are resumed in a row: the end of one resume is the start of the next."""
    if load64(w + W_RESUMED_UNTIL) == 0:
        store64(w + W_RESUMED_UNTIL, beat(w))


@njit(cache=True)
def end_resume(w: int, tenant: int) -> int:
    """Charge a resume to its tenant; returns its time."""
    now = beat(w)
    used = now - load64(w + W_RESUMED_UNTIL)
    store64(w + W_RESUMED_UNTIL, now)
    counters = load64(w + W_TENANT_COUNTERS) + tenant * TENANT_COUNTERS_BYTES
    if now >= load64(w + W_WINDOW_END):
        _begin_window(w, now)
    _charge(w, counters, used)
    add(counters + TC_TASK_CYCLES, used)
    add(w + N_TASK_CYCLES, used)
    return used


@njit(cache=True)
def end_resumes(w: int) -> None:
    """Call it when tasks were resumed outside of a batch."""
    until = load64(w + W_RESUMED_UNTIL)
    add(w + N_BUSY_CYCLES, until - load64(w + W_ACCOUNTED_UNTIL))
    store64(w + W_ACCOUNTED_UNTIL, until)
