"""How a task ends: its outcome is recorded, where its client asked for that, and replied."""

from __future__ import annotations

from numba import njit

from splinter.errors import Status
from splinter.ext.abi import (
    F_ACKNOWLEDGED,
    F_ERROR,
    F_LINE,
    F_RESULT,
    F_RESULT_LENGTH,
    RESUME_DONE,
    ExtensionError,
    ResultKind,
)
from splinter.native.atomics import (
    load32,
    load64,
    store32_release,
    store64_release,
)
from splinter.store.outcomes import Outcome
from splinter.worker.counters import count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    N_ORPHANS,
    W_RUNNING_TASK,
)
from splinter.worker.reply import body_bytes_max, refuse, reply_outcome
from splinter.worker.tasks.layout import (
    T_COUNTERS,
    T_FRAME,
    T_HEADER,
    T_REFUSAL,
    T_RESULT_KIND,
    T_STATE,
    TASK_REPLYING,
    X_ERRORS,
    X_INVOCATIONS,
)
from splinter.worker.tasks.once import reply_recorded, settle_task


@njit(cache=True)
def reply_task(w: int, task: int, ended: int) -> int:
    """Write the reply of a task that ended over its request; returns its length, or DROP.

    ``ended``: what its last resume returned, RESUME_DONE or RESUME_ERROR. The task is blamed for what goes wrong
    until that is done: result, error and line are what its extension left.
    """
    store32_release(task + T_STATE, TASK_REPLYING)  # from here on it cannot be begun anew
    worker_point(w, WorkerPoint.TASK_REPLYING)
    length = _record_and_reply(w, task, ended)
    store64_release(w + W_RUNNING_TASK, 0)
    return length


@njit(cache=True, forceinline=True)
def _record_and_reply(w: int, task: int, ended: int) -> int:
    frame, header = load64(task + T_FRAME), load64(task + T_HEADER)
    count(load64(task + T_COUNTERS) + X_INVOCATIONS)
    if ended != RESUME_DONE:
        count(load64(task + T_COUNTERS) + X_ERRORS)
    kind, status, line, value, body, length = _outcome(w, task, ended)
    if load64(frame + F_ACKNOWLEDGED) != 0:
        recorded = settle_task(w, frame, kind, status, line, value, body, length)
        worker_point(w, WorkerPoint.TASK_RECORDED)
        if recorded != Status.OK:
            return reply_recorded(w, header, recorded)
    return reply_outcome(w, header, kind, status, line, value, body, length)


@njit(cache=True, forceinline=True)
def _outcome(w: int, task: int, ended: int) -> tuple[int, int, int, int, int, int]:
    """What became of a task whose last resume returned ``ended``: what is recorded and replied.

    Returns (kind, status, line, value, body, length) as :func:`splinter.worker.reply.reply_outcome` takes them.
    """
    frame = load64(task + T_FRAME)
    if ended != RESUME_DONE:
        error = load32(frame + F_ERROR)
        if error == ExtensionError.ARGUMENTS:
            return Outcome.STATUS, Status.BAD_ARGUMENTS, 0, 0, 0, 0
        code = load64(frame + F_RESULT) if error == ExtensionError.RAISED else 0
        return Outcome.ERROR, error, load32(frame + F_LINE), code, 0, 0
    kind = load32(task + T_RESULT_KIND)
    if kind == ResultKind.SCALAR:
        return Outcome.SCALAR, Status.OK, 0, load64(frame + F_RESULT), 0, 0
    length = load32(frame + F_RESULT_LENGTH) if kind == ResultKind.BYTES else 0
    if length > body_bytes_max(w, load64(task + T_HEADER)):
        return Outcome.STATUS, Status.REPLY_TOO_LARGE, 0, 0, 0, 0
    if length > 0:
        return Outcome.BODY, Status.OK, 0, 0, load64(frame + F_RESULT), length
    return Outcome.STATUS, Status.OK, 0, 0, 0, 0


@njit(cache=True)
def refuse_task(w: int, task: int) -> int:
    """Write the reply to a task that a predecessor's death has ended; returns its length, or DROP."""
    frame, header, status = load64(task + T_FRAME), load64(task + T_HEADER), load32(task + T_REFUSAL)
    if load64(frame + F_ACKNOWLEDGED) != 0:
        recorded = settle_task(w, frame, Outcome.STATUS, status, 0, 0, 0, 0)
        if recorded != Status.OK:
            return reply_recorded(w, header, recorded)
    return refuse(w, header, status)


@njit(cache=True)
def dismiss_task(w: int, task: int) -> int:
    """End a task, which is in no queue any more, because its tenant was removed; returns its reply's length."""
    store32_release(task + T_STATE, TASK_REPLYING)
    worker_point(w, WorkerPoint.TASK_REPLYING)
    count(w + N_ORPHANS)
    count(load64(task + T_COUNTERS) + X_INVOCATIONS)
    return refuse(w, load64(task + T_HEADER), Status.UNKNOWN_TENANT)
