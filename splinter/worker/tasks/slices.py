"""One slice of a task: its extension's coroutine is resumed, and goes on later or ends.

The first slice is an invoke's own (:mod:`splinter.worker.tasks.invoke`); for the others :mod:`splinter.worker.tasks.fair`
picks a task.
"""

from __future__ import annotations

from numba import njit

from splinter.ext.abi import (
    F_BUDGET,
    F_ERROR,
    F_TENANT,
    RESUME_ERROR,
    RESUME_YIELD,
    ExtensionError,
)
from splinter.native.atomics import (
    call_resume,
    load32,
    load64,
    store32,
    store32_release,
    store64,
    store64_release,
)
from splinter.worker.accounts import end_resume
from splinter.worker.counters import add, count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    N_GAVE_WAY,
    N_OVERDUE,
    N_RESUMES,
    N_YIELDS,
    W_CONTEXT,
    W_RUNNING_TASK,
    W_TASK_BUDGET,
)
from splinter.worker.stages import EXTENSION, SERVE, stage
from splinter.worker.tasks import fair
from splinter.worker.tasks.ending import dismiss_task, reply_task
from splinter.worker.tasks.layout import (
    T_CODE,
    T_COUNTERS,
    T_CYCLES,
    T_CYCLES_MAX,
    T_FRAME,
    T_STATE,
    T_YIELDS,
    T_YIELDS_MAX,
    TASK_RUNNING,
    X_CYCLES,
    X_YIELDS,
)
from splinter.worker.tasks.terms import is_orphan, is_overdue

PENDING = -1  # the task lives on; its reply comes later
_SHORT_SHIFT = 2  # a short slice has a quarter of the budget


@njit(cache=True, forceinline=True)
def resume(w: int, task: int, tenant: int, budget: int) -> tuple[int, int]:
    """Run one slice of a task, whose state is RUNNING; returns its outcome and time in ticks."""
    frame = load64(task + T_FRAME)
    store64(frame + F_BUDGET, budget)
    store64_release(w + W_RUNNING_TASK, task)
    worker_point(w, WorkerPoint.TASK_RUNNING)
    stage(w, SERVE)
    outcome = call_resume(load64(task + T_CODE), frame, load64(w + W_CONTEXT))
    stage(w, EXTENSION)
    used = end_resume(w, tenant)
    count(w + N_RESUMES)
    counters = load64(task + T_COUNTERS)
    add(counters + X_CYCLES, used)
    add(task + T_CYCLES, used)
    if outcome == RESUME_YIELD:
        store64_release(w + W_RUNNING_TASK, 0)  # of one that ended, when its reply is written: it comes from the extension
        count(w + N_YIELDS)
        count(counters + X_YIELDS)
    return outcome, used


@njit(cache=True, forceinline=True)
def run_slice(w: int, task: int) -> int:
    """Resume the task that :func:`splinter.worker.tasks.fair.pick` gave; :func:`begin_resumes` before the first of a row.

    Returns its reply's length when it ended: the caller sends the reply and calls :func:`end_task`. Returns
    :data:`PENDING` when it yielded and waits again.
    """
    frame = load64(task + T_FRAME)
    tenant, budget = load32(frame + F_TENANT), load64(w + W_TASK_BUDGET)
    if is_orphan(w, task):
        fair.remove(w, task, tenant, 0)
        return dismiss_task(w, task)
    store32_release(task + T_STATE, TASK_RUNNING)
    outcome, used = resume(w, task, tenant, budget >> _SHORT_SHIFT if fair.is_short_slice(w) else budget)
    if outcome == RESUME_YIELD:
        yields = load32(task + T_YIELDS) + 1
        store32(task + T_YIELDS, yields)
        has_budget = yields < load32(task + T_YIELDS_MAX) and load64(task + T_CYCLES) < load64(task + T_CYCLES_MAX)
        is_late = is_overdue(w, task)
        if has_budget and not is_late:
            fair.go_on(w, task, tenant, used)
            return PENDING
        if is_late:
            count(w + N_OVERDUE)
        store32(frame + F_ERROR, ExtensionError.TIME if has_budget else ExtensionError.BUDGET)
        outcome = RESUME_ERROR
    fair.remove(w, task, tenant, used)
    return reply_task(w, task, outcome)


@njit(cache=True)
def cut_short(w: int, task: int) -> int:
    """End a waiting task that :func:`splinter.worker.tasks.review.next_to_end` named. Returns what :func:`run_slice` does."""
    frame = load64(task + T_FRAME)
    fair.take_out(w, task, load32(frame + F_TENANT))
    worker_point(w, WorkerPoint.TASK_OUT)
    if is_orphan(w, task):
        return dismiss_task(w, task)
    is_late = is_overdue(w, task)
    count(w + (N_OVERDUE if is_late else N_GAVE_WAY))
    store32(frame + F_ERROR, ExtensionError.TIME if is_late else ExtensionError.MEMORY_HELD)
    return reply_task(w, task, RESUME_ERROR)
