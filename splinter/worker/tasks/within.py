"""An invoke within a transaction that is under way: EXEC of the Redis protocol calls extensions so.

It runs to its end at once, as a task that is in no queue, and neither begins nor ends a transaction. It sees what the
transaction around it has written so far. What it has read becomes part of that, and so does what it has written, unless it
fails: an invoke is all or nothing here, too.

What is written lies in the task's own area meanwhile: a copy of what was there, and the extension's behind it. So the
transaction around it is as it was until the extension has ended, and a worker that dies leaves a task like any other.
"""

from __future__ import annotations

from numba import njit

from splinter.errors import Status
from splinter.ext.abi import RESUME_DONE, RESUME_ERROR, RESUME_YIELD, ExtensionError, Isolation
from splinter.limits import BYTES_PER_COST, HELPER_COST
from splinter.native.atomics import copy_bytes, store32_release, store64_release
from splinter.worker.accounts import begin_resumes
from splinter.worker.records import Frame, Header, Worker
from splinter.worker.reply import refuse, reply_outcome
from splinter.worker.tasks.ending import outcome_of
from splinter.worker.tasks.invoke import counters_of, fill_frame, fill_task, is_quarantined
from splinter.worker.tasks.layout import TASK_REPLYING, TASK_RUNNING
from splinter.worker.tasks.pool import release_task, take_task
from splinter.worker.tasks.records import ExtensionCounters, Task
from splinter.worker.tasks.slices import resume_begun
from splinter.worker.tasks.terms import generation_of
from splinter.worker.transaction import TRANSACTION_READS_BYTES

SPENT = -2000  # in place of -ExtensionError: the budget is


@njit(cache=True)
def invoke_within(w: int, header: int, chunk: int, record: int, around: int, budget: int) -> tuple[int, int]:
    """Run the isolated extension of an abi.RECORD, for the request at ``header``, within the transaction of a frame ``around``.

    Returns (0, left of the ``budget``) when there is a reply, over the request. In place of 0: -ExtensionError of what ends the
    transaction around it as well (CONFLICT: it may be begun anew; BUSY: try again), or :data:`SPENT`.
    """
    worker, tenant, counters = Worker(w), Header(header).tenant, counters_of(w, record)
    if is_quarantined(w, counters):
        refuse(w, header, Status.QUARANTINED)
        return 0, budget - HELPER_COST
    generation = generation_of(w, tenant)
    if generation == 0:
        refuse(w, header, Status.UNKNOWN_TENANT)
        return 0, budget - HELPER_COST
    if worker.free_length == 0:
        return -ExtensionError.BUSY, budget
    t = take_task(w)
    task = Task(t)
    frame = Frame(task.frame)
    fill_frame(w, task.frame, header, generation, False)
    fill_task(w, t, header, chunk, record)
    task.counters = counters
    budget -= HELPER_COST + 2 * _take_over(task.frame, around) // BYTES_PER_COST  # and back
    begin_resumes(w)
    store32_release(task.at.state, TASK_RUNNING)
    ended = RESUME_YIELD
    while ended == RESUME_YIELD and budget > 0:
        ended = resume_begun(w, t, tenant, budget)[0]
        budget = frame.budget
    failed: int = SPENT
    if ended == RESUME_ERROR and _ends_all(frame.error):
        failed = -int(frame.error)
    elif ended != RESUME_YIELD:
        failed = _reply(w, t, ended, around)
    store64_release(worker.at.running_task, 0)
    release_task(w, t)
    return failed, budget


@njit(cache=True)
def _ends_all(error: int) -> bool:
    """Whether an error of an extension is none of its own: the transaction around it cannot be, or not now."""
    return (
        error == ExtensionError.CONFLICT
        or error == ExtensionError.BUSY
        or error == ExtensionError.DISK
        or error == ExtensionError.TRANSACTION
    )


@njit(cache=True)
def _take_over(frame_at: int, around: int) -> int:
    """Have a task that begins see what the transaction around it sees. Returns the bytes of its WRITEs."""
    frame, outer = Frame(frame_at), Frame(around)
    frame.isolation = Isolation.WRITES  # what it reads is noted, whether it may write or not
    frame.snapshot = outer.snapshot
    frame.now = outer.now
    frame.reads_end = frame.transaction
    writes, copied = outer.transaction + TRANSACTION_READS_BYTES, frame.transaction + TRANSACTION_READS_BYTES
    size = outer.writes_end - writes
    copy_bytes(copied, writes, size)
    frame.writes_end = copied + size
    frame.writes = outer.writes
    frame.written = outer.written
    return size


@njit(cache=True)
def _reply(w: int, t: int, ended: int, around: int) -> int:
    """The end of a task: its reply, and what it has read and written becomes part of the transaction around it. Returns 0; or
    -ExtensionError, when that has no room for it."""
    task = Task(t)
    kind, status, line, value, body, length = outcome_of(w, t, ended)
    is_done = ended == RESUME_DONE and status == Status.OK
    if not _hand_over(task.frame, around, is_done):
        return -ExtensionError.TRANSACTION
    store32_release(task.at.state, TASK_REPLYING)
    tally = ExtensionCounters(task.counters)
    tally.invocations += 1
    if ended != RESUME_DONE:
        tally.errors += 1
    reply_outcome(w, task.header, kind, status, line, value, body, length)
    return 0


@njit(cache=True)
def _hand_over(frame_at: int, around: int, with_writes: bool) -> bool:
    """Add what a task has read to the transaction around it, and what it has written. False: there is no room."""
    frame, outer = Frame(frame_at), Frame(around)
    size = frame.reads_end - frame.transaction
    if outer.reads_end + size > outer.transaction + TRANSACTION_READS_BYTES:
        return False
    copy_bytes(outer.reads_end, frame.transaction, size)
    outer.reads_end += size
    outer.now = frame.now
    outer.shown = max(outer.shown, frame.shown)
    if with_writes:
        writes = outer.transaction + TRANSACTION_READS_BYTES
        size = frame.writes_end - frame.transaction - TRANSACTION_READS_BYTES
        copy_bytes(writes, frame.transaction + TRANSACTION_READS_BYTES, size)
        outer.writes_end = writes + size
        outer.writes = frame.writes
        outer.written = frame.written
    return True
