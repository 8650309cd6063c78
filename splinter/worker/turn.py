"""What each turn of a worker's loop has in common on every transport: epoch, heartbeat, sleep."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import load32, load64, store32_release, store64, store64_release
from splinter.native.clock import now_ns
from splinter.store.compaction import compact
from splinter.store.epochs import epoch_enter, epoch_leave, epoch_now
from splinter.store.staging import stage_drop, stage_expire
from splinter.worker.accounts import beat
from splinter.worker.counters import count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    N_LOOPS,
    N_SLEEPS,
    STATE_RUNNING,
    STATE_SLEEPING,
    W_CLOCK_NS,
    W_INDEX,
    W_LOOKS_AT_CLOCK,
    W_OLDEST_EPOCH,
    W_POLL_FDS,
    W_SCRATCH,
    W_STARTED,
    W_STATE,
    W_STORE,
    W_TURN_EPOCH,
    W_WAKE_FD,
)
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
    store = load64(w + W_STORE)
    store64(w + W_TURN_EPOCH, epoch_now(store))
    worker_point(w, WorkerPoint.EPOCH_NOTED)
    epoch_enter(store, load32(w + W_INDEX), load64(w + W_OLDEST_EPOCH))
    worker_point(w, WorkerPoint.EPOCH_ENTERED)
    count(w + N_LOOPS)


@njit(cache=True)
def begin_serving(w: int) -> None:
    """Say that a predecessor's tasks are taken over: from here on the watchdog goes by the heartbeat."""
    store64_release(w + W_STARTED, beat(w))
    store32_release(w + W_STATE, STATE_RUNNING)


@njit(cache=True)
def look_at_clock(w: int) -> int:
    """Monotonic nanoseconds, also kept for whatever needs them less exactly. And a bit of what is to be done now and then."""
    now = now_ns(load64(w + W_SCRATCH))
    store64(w + W_CLOCK_NS, now)
    forget_clients(w, _TENANTS_PER_LOOK, now)
    looks = load64(w + W_LOOKS_AT_CLOCK)
    store64(w + W_LOOKS_AT_CLOCK, looks + 1)
    stage_drop(load64(w + W_STORE), load32(w + W_INDEX), looks)
    look_at_memory(w)
    compact(load64(w + W_STORE), load32(w + W_INDEX), now, False)
    return now


@njit(cache=True)
def sleep_in_poll(w: int, descriptors: int) -> bool:
    """Wait for a packet, for the wake-up descriptor (the last of ``descriptors``), or for the time to look at siblings.

    Returns whether there may be something to do; False when only time has passed. The worker is offline for the store's
    epochs meanwhile: it holds no reference. Before, it drops fragmented puts that were never completed, and clients that
    have been idle for long, and gives its free slots back where memory is short.
    """
    store, me = load64(w + W_STORE), load32(w + W_INDEX)
    stage_expire(store, me, load64(w + W_CLOCK_NS), limits.STAGING_AGE_NS_MAX)
    forget_clients(w, _TENANTS_PER_SLEEP, load64(w + W_CLOCK_NS))
    compact(store, me, load64(w + W_CLOCK_NS), True)
    epoch_leave(store, me)
    milliseconds = allow_waking(w)
    store32_release(w + W_STATE, STATE_SLEEPING)
    count(w + N_SLEEPS)
    poll_fds = load64(w + W_POLL_FDS)
    ended = libc.poll(poll_fds, descriptors, milliseconds)
    # Drain the eventfd; it is non-blocking, and empty unless somebody woke this worker.
    wake_fd = load32(w + W_WAKE_FD)
    libc.read(wake_fd, load64(w + W_SCRATCH), 8)
    beat(w)  # before the state: one that says "running" is judged by its heartbeat
    store32_release(w + W_STATE, STATE_RUNNING)
    return ended != 0
