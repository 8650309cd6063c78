"""Who used a worker's time: each tenant's share of it, in ticks of the time-stamp counter.

The counter is read once for each batch of packets and once for each resume of a task (a reading costs as much as resuming
does). A batch's time, without that of the extensions which it started, is divided among its packets evenly. Turns that found
nothing to do are idle time, which is nobody's. Each reading is also the worker's heartbeat.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import cycles, store64_release
from splinter.worker.latencies import record_batch
from splinter.worker.layout import BATCH_BYTES, TENANT_COUNTERS_BYTES
from splinter.worker.records import Counters, Packet, TenantCounters, Worker

_BATCHES_PER_MILLISECOND = 1000 // limits.BATCH_US
_LEARN_SHIFT = 2  # a new batch counts a quarter


@njit(cache=True)
def beat(w: int) -> int:
    """Read the counter and publish it: this worker goes on. Nothing may take longer than a millisecond between two of these."""
    now = cycles()
    store64_release(Worker(w).at.heartbeat, now)
    return now


@njit(cache=True, forceinline=True)
def _charge(w: int, payer: int, used: int) -> None:
    """Add to a tenant's time, in all and in this window. ``payer``: address of its counters."""
    usage, worker = TenantCounters(payer), Worker(w)
    before = usage.cycles
    usage.cycles = before + used
    if usage.window != worker.window:
        usage.window = worker.window
        usage.window_start = before
        worker.active += 1


@njit(cache=True, forceinline=True)
def _begin_window(w: int, now: int) -> None:
    worker = Worker(w)
    worker.window += 1
    worker.window_end = now + worker.window_cycles
    worker.active_before = worker.active
    worker.active = 0


@njit(cache=True, forceinline=True)
def window_cycles(w: int, tenant: int) -> int:
    """Time that a tenant used in the current window."""
    worker = Worker(w)
    usage = TenantCounters(worker.tenant_counters + tenant * TENANT_COUNTERS_BYTES)
    if usage.window != worker.window:
        return 0
    return usage.cycles - usage.window_start


@njit(cache=True)
def idle_until_now(w: int) -> None:
    """The time since the last account was idle."""
    worker = Worker(w)
    now = beat(w)
    worker.accounted_until = now
    worker.resumed_until = now


@njit(cache=True, forceinline=True)
def begin_batch(w: int) -> int:
    """Call it before a batch is served; what it returns is for :func:`end_batch`."""
    worker = Worker(w)
    worker.resumed_until = 0
    worker.first_yields = 0
    return Counters(w).task_cycles


@njit(cache=True, forceinline=True)
def end_batch(w: int, received: int, tasks_before: int) -> None:
    """Charge the time since the last account to the tenants of the batch's packets, but for that of tasks."""
    worker, counters = Worker(w), Counters(w)
    now = beat(w)
    used = now - worker.accounted_until
    worker.accounted_until = now
    worker.resumed_until = now
    counters.busy_cycles += used
    if now >= worker.window_end:
        _begin_window(w, now)
    _learn(w, used // received)
    each = (used - (counters.task_cycles - tasks_before)) // received
    batch, tenants = worker.batch, worker.tenant_counters
    for entry in range(batch, batch + received * BATCH_BYTES, BATCH_BYTES):
        payer = tenants + Packet(entry).tenant * TENANT_COUNTERS_BYTES
        TenantCounters(payer).requests += 1
        _charge(w, payer, each)
    if worker.latencies != 0:
        record_batch(w, received, used)


@njit(cache=True)
def charge_connection(w: int, tenant: int, requests: int, tasks_before: int) -> None:
    """Charge the time since the last account, but for that of tasks, to a tenant whose connection was served; 0: to nobody.
    ``tasks_before``: what ``task_cycles`` of the counters was."""
    worker = Worker(w)
    now = beat(w)
    used = now - worker.accounted_until
    worker.accounted_until = now
    worker.resumed_until = now
    Counters(w).busy_cycles += used
    if now >= worker.window_end:
        _begin_window(w, now)
    if tenant != 0:
        payer = worker.tenant_counters + tenant * TENANT_COUNTERS_BYTES
        TenantCounters(payer).requests += requests
        _charge(w, payer, used - (Counters(w).task_cycles - tasks_before))


@njit(cache=True, forceinline=True)
def owe(w: int, used: int) -> None:
    """Have what is charged next pay for time that was spent on it before, and that nobody has paid for."""
    Worker(w).accounted_until -= used


@njit(cache=True, forceinline=True)
def _learn(w: int, each: int) -> None:
    """What a packet takes, its first slice included, as a moving average. A packet that took very long counts as one that
    fills a batch: it may have been the host that took the time."""
    worker = Worker(w)
    before = worker.packet_cycles
    worker.packet_cycles = before + ((min(each, _batch_cycles(w)) - before) >> _LEARN_SHIFT)


@njit(cache=True)
def _batch_cycles(w: int) -> int:
    return Worker(w).cycles_per_millisecond // _BATCHES_PER_MILLISECOND


@njit(cache=True)
def packets_in_batch(w: int) -> int:
    """How many packets a worker is expected to serve within ``BATCH_US``: at least 1, at most ``RX_BATCH``."""
    each, time = Worker(w).packet_cycles, _batch_cycles(w)
    return limits.RX_BATCH if each * limits.RX_BATCH <= time else max(time // each, 1)


@njit(cache=True, forceinline=True)
def resumed_nothing(w: int) -> None:
    """Something other than a task took time in a batch: the next task's begins later."""
    Worker(w).resumed_until = 0


@njit(cache=True, forceinline=True)
def begin_resumes(w: int) -> None:
    """Call it before tasks are resumed in a row: the end of one resume is the start of the next."""
    worker = Worker(w)
    if worker.resumed_until == 0:
        worker.resumed_until = beat(w)


@njit(cache=True, forceinline=True)
def end_resume(w: int, tenant: int) -> int:
    """Charge a resume to its tenant; returns its time."""
    worker = Worker(w)
    now = beat(w)
    used = now - worker.resumed_until
    worker.resumed_until = now
    payer = worker.tenant_counters + tenant * TENANT_COUNTERS_BYTES
    if now >= worker.window_end:
        _begin_window(w, now)
    _charge(w, payer, used)
    TenantCounters(payer).task_cycles += used
    Counters(w).task_cycles += used
    return used


@njit(cache=True)
def end_resumes(w: int) -> None:
    """Call it when tasks were resumed outside of a batch."""
    worker = Worker(w)
    until = worker.resumed_until
    Counters(w).busy_cycles += until - worker.accounted_until
    worker.accounted_until = until
