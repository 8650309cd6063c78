"""What each turn of a worker's loop has in common on every transport: epoch, heartbeat, sleep."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import store32_release, store64_release
from splinter.native.clock import now_ns
from splinter.store.clock import look_at_store_clock
from splinter.store.compaction import compact
from splinter.store.epochs import epoch_enter, epoch_leave, epoch_now
from splinter.store.expiry import sweep
from splinter.store.journal import participant_at
from splinter.store.records import Descriptor
from splinter.store.staging import stage_drop, stage_expire
from splinter.worker.accounts import beat, idle_until_now
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import STATE_RUNNING, STATE_SLEEPING
from splinter.worker.records import Counters, Worker
from splinter.worker.steal import allow_waking
from splinter.worker.tasks.once import forget_clients
from splinter.worker.tasks.review import look_at_memory

# Tenants whose idle clients are looked for: each in turn, so that all are within minutes, and no turn takes long.
_TENANTS_PER_LOOK = 1
_TENANTS_PER_SLEEP = 64


@njit(cache=True)
def begin_turn(w: int) -> None:
    """Publish what this turn may hold references from. After it every reference of the turn before is gone,
    but for those of live tasks."""
    worker = Worker(w)
    store = worker.store
    worker.turn_epoch = epoch_now(store)
    worker_point(w, WorkerPoint.EPOCH_NOTED)
    epoch_enter(store, worker.index, worker.oldest_epoch)
    worker_point(w, WorkerPoint.EPOCH_ENTERED)
    if Descriptor(store).expiring != 0:
        look_at_store_clock(store, participant_at(store, worker.index))
    Counters(w).loops += 1


@njit(cache=True)
def begin_serving(w: int) -> None:
    """Say that a predecessor's tasks are taken over: from here on the watchdog goes by the heartbeat."""
    worker = Worker(w)
    store64_release(worker.at.started, beat(w))
    store32_release(worker.at.state, STATE_RUNNING)


@njit(cache=True)
def look_at_clock(w: int) -> int:
    """Monotonic nanoseconds, also kept for whatever needs them less exactly. And a bit of what is to be done now and then."""
    worker = Worker(w)
    now = now_ns(worker.scratch)
    worker.clock_ns = now
    forget_clients(w, _TENANTS_PER_LOOK, now)
    looks = worker.looks_at_clock
    worker.looks_at_clock = looks + 1
    stage_drop(worker.store, worker.index, looks)
    look_at_memory(w)
    compact(worker.store, worker.index, now, False)
    sweep(worker.store, worker.index, limits.SWEEP_SLOTS)
    return now


@njit(cache=True)
def sleep_in_poll(w: int) -> bool:
    """Wait for a packet, for the wake-up descriptor, or for the time to look at siblings.

    Returns whether there may be something to do; False when only time has passed. The worker is offline for the store's
    epochs meanwhile: it holds no reference. Before, it drops fragmented puts that were never completed, and clients that
    have been idle for long, and gives its free slots back where memory is short.
    """
    worker = Worker(w)
    store, me = worker.store, worker.index
    stage_expire(store, me, worker.clock_ns, limits.STAGING_AGE_NS_MAX)
    forget_clients(w, _TENANTS_PER_SLEEP, worker.clock_ns)
    compact(store, me, worker.clock_ns, True)
    sweep(store, me, limits.SWEEP_SLOTS_IDLE)
    epoch_leave(store, me)
    milliseconds = allow_waking(w)
    store32_release(worker.at.state, STATE_SLEEPING)
    Counters(w).sleeps += 1
    ended = libc.poll(worker.poll_fds, worker.descriptors, milliseconds)
    # Drain the eventfd; it is non-blocking, and empty unless somebody woke this worker.
    libc.read(worker.wake_fd, worker.scratch, 8)
    idle_until_now(w)  # before the state: one that says "running" is judged by its heartbeat
    store32_release(worker.at.state, STATE_RUNNING)
    return ended != 0
