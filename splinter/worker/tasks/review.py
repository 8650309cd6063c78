"""Which waiting tasks must end though they would go on: what the scheduler may not come to for long, or never.

A task that runs is looked at with each slice. Those that wait are looked at here, some in each turn, so that one ends within
milliseconds when

* its tenant was removed: its client is told UNKNOWN_TENANT, if it still listens;
* it has been there for longer than its tenant's tasks may;
* it holds the oldest epoch of all, and the memory that waits for that epoch is short (:mod:`splinter.store.limbo`).
"""

from __future__ import annotations

from numba import njit

from splinter.store.limbo import must_give_way
from splinter.worker.records import Worker
from splinter.worker.tasks.layout import TASK_BYTES, TASK_READY
from splinter.worker.tasks.records import Task
from splinter.worker.tasks.terms import is_orphan, is_overdue

ENDED_PER_TURN = 8  # tasks, so that no turn gets long
_LOOKS = 8  # at tasks of which none must end


@njit(cache=True)
def look_at_memory(w: int) -> None:
    """Find out whether the oldest tasks must give way."""
    worker = Worker(w)
    oldest = worker.oldest_epoch
    gives = worker.tasks_live > 0 and must_give_way(worker.store, oldest)
    worker.give_way = oldest if gives else 0


@njit(cache=True)
def next_to_end(w: int) -> int:
    """A waiting task that must end now, for :func:`splinter.worker.tasks.slices.cut_short`; 0: none of those looked at."""
    worker = Worker(w)
    if worker.tasks_live == 0:
        return 0
    tasks, total, give_way = worker.tasks, worker.tasks_count, worker.give_way
    cursor = worker.review_cursor
    for _ in range(total if give_way != 0 else min(_LOOKS, total)):
        cursor = cursor + 1 if cursor + 1 < total else 0
        t = tasks + cursor * TASK_BYTES
        task = Task(t)
        if task.state != TASK_READY:
            continue
        if task.epoch <= give_way or is_orphan(w, t) or is_overdue(w, t):
            worker.review_cursor = cursor
            return t
    worker.review_cursor = cursor
    worker.give_way = 0
    return 0
