"""How a task ends: its outcome is recorded, where its client asked for that, and replied."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import RESUME_DONE, RESUME_ERROR, ExtensionError, Isolation, ResultKind
from splinter.native.atomics import store32_release, store64_release
from splinter.store.journal import participant_at
from splinter.store.outcomes import EFFECT_DUPLICATE, EFFECT_NONE, Outcome
from splinter.store.records import Participant
from splinter.store.transactions import CONFLICT
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.records import Counters, Frame, Worker
from splinter.worker.reply import PENDING, body_bytes_max, refuse, reply_outcome
from splinter.worker.tasks.commit import begin_anew, commit_task
from splinter.worker.tasks.layout import CALL_CHUNK, TASK_REPLYING
from splinter.worker.tasks.once import reply_recorded, settle_task
from splinter.worker.tasks.records import ExtensionCounters, Task


@njit(cache=True, forceinline=True)
def reply_task(w: int, t: int, ended: int) -> int:
    """End a task's transaction, and write its reply over its request; returns the reply's length, or DROP.

    ``ended``: what its last resume returned, RESUME_DONE or RESUME_ERROR. The task is blamed for what goes wrong
    until that is done: result, error and line are what its extension left. Returns :data:`PENDING` when the transaction was
    in vain: the task, which is in no queue, has been set to its beginning.
    """
    task, worker = Task(t), Worker(w)
    mine = Participant(participant_at(worker.store, worker.index))
    mine.turn = task.turn
    length = _commit_and_reply(w, t, ended)
    mine.turn = 0
    store64_release(worker.at.running_task, 0)
    return length


@njit(cache=True, forceinline=True)
def _commit_and_reply(w: int, t: int, ended: int) -> int:
    task = Task(t)
    frame_at, header, tally = task.frame, task.header, ExtensionCounters(task.counters)
    frame = Frame(frame_at)
    if ended == RESUME_ERROR and _is_held_up(frame_at):
        if begin_anew(w, t, frame.error):
            return PENDING
        frame.line = 0
    kind, status, line, value, body, length = outcome_of(w, t, ended)
    if frame.isolation == Isolation.WRITES and frame.writes != 0 and ended == RESUME_DONE and status == Status.OK:
        recorded = commit_task(w, frame_at, kind, value, body, length)
        if recorded == Status.BUSY and begin_anew(w, t, ExtensionError.BUSY):
            return PENDING
        if recorded == CONFLICT and begin_anew(w, t, ExtensionError.CONFLICT):
            return PENDING
    elif ended == RESUME_ERROR and frame.error == ExtensionError.DISK and frame.effect == EFFECT_NONE:
        recorded = Status.DISK_FAILED  # nothing was done, and nothing is decided
    else:
        recorded = settle_task(w, frame_at, kind, status, line, value, body, length)
    error: int = _error_of(recorded)
    if error != 0:  # what it wrote, or its reply, could not be kept
        frame.error = error
        frame.line = 0
        ended = RESUME_ERROR
        kind, status, line, value, body, length = outcome_of(w, t, ended)
        recorded = settle_task(w, frame_at, kind, status, line, value, body, length)
    worker_point(w, WorkerPoint.TASK_RECORDED)
    store32_release(task.at.state, TASK_REPLYING)  # from here on it cannot be begun anew
    worker_point(w, WorkerPoint.TASK_REPLYING)
    tally.invocations += 1
    if ended != RESUME_DONE:
        tally.errors += 1
    worker = Worker(w)
    worker.shown = max(worker.shown, frame.shown)
    if recorded != Status.OK:
        return reply_recorded(w, header, recorded)
    return reply_outcome(w, header, kind, status, line, value, body, length)


@njit(cache=True)
def _is_held_up(frame_at: int) -> bool:
    """Whether a task, which has ended with an error, is to be tried again: others change what it reads, or have their turn."""
    frame = Frame(frame_at)
    if frame.isolation >= Isolation.READS:
        return frame.error == ExtensionError.CONFLICT
    return frame.isolation == Isolation.NONE_WRITES and frame.error == ExtensionError.BUSY and frame.effect != EFFECT_DUPLICATE


@njit(cache=True)
def _error_of(status: int) -> int:
    """The error of an extension whose end could not be recorded; 0: it is another status."""
    if status == CONFLICT:
        return ExtensionError.CONFLICT
    if status == Status.OUT_OF_MEMORY:
        return ExtensionError.OUT_OF_MEMORY
    return ExtensionError.QUOTA if status == Status.QUOTA_EXCEEDED else 0


@njit(cache=True, forceinline=True)
def outcome_of(w: int, t: int, ended: int) -> tuple[int, int, int, int, int, int]:
    """What became of a task whose last resume returned ``ended``: what is recorded and replied.

    Returns (kind, status, line, value, body, length) as :func:`splinter.worker.reply.reply_outcome` takes them.
    """
    task = Task(t)
    frame = Frame(task.frame)
    if ended != RESUME_DONE:
        error = frame.error
        if error == ExtensionError.ARGUMENTS:
            return Outcome.STATUS, Status.BAD_ARGUMENTS, 0, 0, 0, 0
        code = frame.result if error == ExtensionError.RAISED else 0
        return Outcome.ERROR, error, frame.line, code, 0, 0
    kind = task.result_kind
    if kind == ResultKind.SCALAR:
        return Outcome.SCALAR, Status.OK, 0, frame.result, 0, 0
    length = frame.result_length if kind == ResultKind.BYTES else 0
    if length > (body_bytes_max(w, task.header) if task.chunk & CALL_CHUNK == 0 else limits.VALUE_BYTES_MAX):
        return Outcome.STATUS, Status.REPLY_TOO_LARGE, 0, 0, 0, 0
    if length > 0:
        return Outcome.BODY, Status.OK, 0, 0, frame.result, length
    return Outcome.STATUS, Status.OK, 0, 0, 0, 0


@njit(cache=True)
def refuse_task(w: int, t: int) -> int:
    """Write the reply to a task that a predecessor's death has ended; returns its length, or DROP."""
    task = Task(t)
    frame_at, header, status = task.frame, task.header, task.refusal
    if Frame(frame_at).acknowledged != 0:
        recorded = settle_task(w, frame_at, Outcome.STATUS, status, 0, 0, 0, 0)
        if recorded != Status.OK:
            return reply_recorded(w, header, recorded)
    Worker(w).shown = max(Worker(w).shown, Frame(frame_at).shown)
    return refuse(w, header, status)


@njit(cache=True, forceinline=True)
def dismiss_task(w: int, t: int) -> int:
    """End a task, which is in no queue any more, because its tenant was removed; returns its reply's length."""
    task = Task(t)
    store32_release(task.at.state, TASK_REPLYING)
    worker_point(w, WorkerPoint.TASK_REPLYING)
    Counters(w).orphans += 1
    ExtensionCounters(task.counters).invocations += 1
    return refuse(w, task.header, Status.UNKNOWN_TENANT)
