"""Which waiting tasks must end though they would go on: what the scheduler may not come to for long, or never.

A task that runs is looked at with each slice. Those that wait are looked at here, some in each turn, so that one ends within
milliseconds when

* its tenant was removed: its client is told UNKNOWN_TENANT, if it still listens;
* it has been there for longer than its tenant's tasks may;
* it holds the oldest epoch of all, and the memory that waits for that epoch is short (:mod:`splinter.store.limbo`).
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load32, load64, store64
from splinter.store.limbo import must_give_way
from splinter.worker.layout import W_GIVE_WAY, W_OLDEST_EPOCH, W_REVIEW_CURSOR, W_STORE, W_TASKS, W_TASKS_COUNT, W_TASKS_LIVE
from splinter.worker.tasks.layout import T_EPOCH, T_STATE, TASK_BYTES, TASK_READY
from splinter.worker.tasks.terms import is_orphan, is_overdue

ENDED_PER_TURN = 8  # tasks, so that no turn gets long
_LOOKS = 8  # at tasks of which none must end


@njit(cache=True)
def look_at_memory(w: int) -> None:
    """Find out whether the oldest tasks must give way."""
    oldest = load64(w + W_OLDEST_EPOCH)
    gives = load32(w + W_TASKS_LIVE) > 0 and must_give_way(load64(w + W_STORE), oldest)
    store64(w + W_GIVE_WAY, oldest if gives else 0)


@njit(cache=True)
def next_to_end(w: int) -> int:
    """A waiting task that must end now, for :func:`splinter.worker.tasks.slices.cut_short`; 0: none of those looked at."""
    if load32(w + W_TASKS_LIVE) == 0:
        return 0
    tasks, total = load64(w + W_TASKS), load32(w + W_TASKS_COUNT)
    give_way = load64(w + W_GIVE_WAY)
    cursor = load64(w + W_REVIEW_CURSOR)
    for _ in range(total if give_way != 0 else min(_LOOKS, total)):
        cursor = cursor + 1 if cursor + 1 < total else 0
        task = tasks + cursor * TASK_BYTES
        if load32(task + T_STATE) != TASK_READY:
            continue
        if load64(task + T_EPOCH) <= give_way or is_orphan(w, task) or is_overdue(w, task):
            store64(w + W_REVIEW_CURSOR, cursor)
            return task
    store64(w + W_REVIEW_CURSOR, cursor)
    store64(w + W_GIVE_WAY, 0)
    return 0
