"""One slice of a task: its extension's coroutine is resumed, and goes on later or ends.

The first slice is an invoke's own (:mod:`splinter.worker.tasks.invoke`); for the others :mod:`splinter.worker.tasks.fair`
picks a task.
"""

from __future__ import annotations

from numba import njit

from splinter.ext.abi import RESUME_ERROR, RESUME_YIELD, ExtensionError, Isolation
from splinter.native.atomics import call_resume, store32_release, store64_release
from splinter.worker.accounts import end_resume
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.records import Counters, Frame, Worker
from splinter.worker.replay import begin_slice, end_slice
from splinter.worker.reply import PENDING
from splinter.worker.stages import EXTENSION, SERVE, stage
from splinter.worker.tasks import fair
from splinter.worker.tasks.ending import dismiss_task, reply_task
from splinter.worker.tasks.layout import TASK_RUNNING
from splinter.worker.tasks.records import ExtensionCounters, Task
from splinter.worker.tasks.terms import is_orphan, is_overdue
from splinter.worker.transaction import begin_transaction

_SHORT_SHIFT = 2  # a short slice has a quarter of the budget


@njit(cache=True, forceinline=True)
def resume(w: int, t: int, tenant: int, budget: int) -> tuple[int, int]:
    """Run one slice of a task, whose state is RUNNING; returns its outcome and time in ticks."""
    worker, frame_at = Worker(w), Task(t).frame
    frame = Frame(frame_at)
    if frame.isolation == Isolation.NONE_WRITES:
        begin_slice(frame_at)
    elif frame.state == 0 and frame.isolation >= Isolation.READS:
        begin_transaction(worker.store, worker.index, frame_at)
    return resume_begun(w, t, tenant, budget)


@njit(cache=True, forceinline=True)
def resume_begun(w: int, t: int, tenant: int, budget: int) -> tuple[int, int]:
    """The same of a task whose transaction, or slice, has begun."""
    task, worker, counters = Task(t), Worker(w), Counters(w)
    frame_at = task.frame
    frame = Frame(frame_at)
    frame.budget = budget
    store64_release(worker.at.running_task, t)
    worker_point(w, WorkerPoint.TASK_RUNNING)
    stage(w, SERVE)
    outcome = call_resume(task.code, frame_at, worker.context)
    stage(w, EXTENSION)
    used = end_resume(w, tenant)
    counters.resumes += 1
    tally = ExtensionCounters(task.counters)
    tally.cycles += used
    task.cycles += used
    if outcome == RESUME_YIELD:
        store64_release(worker.at.running_task, 0)  # of one that ended, when its reply is written: it comes from the extension
        counters.yields += 1
        tally.yields += 1
        if frame.isolation == Isolation.NONE_WRITES:
            end_slice(frame_at)
    return outcome, used


@njit(cache=True, forceinline=True)
def run_slice(w: int, t: int) -> int:
    """Resume the task that :func:`splinter.worker.tasks.fair.pick` gave; :func:`begin_resumes` before the first of a row.

    Returns its reply's length when it ended: the caller sends the reply and calls :func:`end_task`. Returns
    :data:`PENDING` when it yielded and waits again.
    """
    task = Task(t)
    frame = Frame(task.frame)
    tenant, budget = frame.tenant, Worker(w).task_budget
    if is_orphan(w, t):
        fair.remove(w, t, tenant, 0)
        return dismiss_task(w, t)
    store32_release(task.at.state, TASK_RUNNING)
    outcome, used = resume(w, t, tenant, budget >> _SHORT_SHIFT if fair.is_short_slice(w) else budget)
    if outcome == RESUME_YIELD:
        yields = task.yields + 1
        task.yields = yields
        has_budget = yields < task.yields_max and task.cycles < task.cycles_max
        is_late = is_overdue(w, t)
        if has_budget and not is_late:
            fair.go_on(w, t, tenant, used)
            return PENDING
        if is_late:
            Counters(w).overdue += 1
        frame.error = ExtensionError.TIME if has_budget else ExtensionError.BUDGET
        outcome = RESUME_ERROR
    fair.remove(w, t, tenant, used)
    length = reply_task(w, t, outcome)
    if length == PENDING:
        fair.enqueue(w, t, tenant)
    return length


@njit(cache=True)
def cut_short(w: int, t: int) -> int:
    """End a waiting task that :func:`splinter.worker.tasks.review.next_to_end` named. Returns what :func:`run_slice` does."""
    frame, counters = Frame(Task(t).frame), Counters(w)
    fair.take_out(w, t, frame.tenant)
    worker_point(w, WorkerPoint.TASK_OUT)
    if is_orphan(w, t):
        return dismiss_task(w, t)
    is_late = is_overdue(w, t)
    if is_late:
        counters.overdue += 1
        frame.error = ExtensionError.TIME
    else:
        counters.gave_way += 1
        frame.error = ExtensionError.MEMORY_HELD
    return reply_task(w, t, RESUME_ERROR)
