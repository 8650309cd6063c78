"""What becomes of a dead worker's tasks: decided once, by the supervisor, before chunks are sorted out and a successor starts.

======== ===================================== ==============================================================
state    found                                 becomes
======== ===================================== ==============================================================
READY    at a yield point                      goes on in the successor
RUNNING  the worker was killed as stuck in it  refused with KILLED
RUNNING  it has written                        refused with ABORTED: what it had written by then stands
RUNNING  it was begun anew before              refused with KILLED: it may be what kills workers
RUNNING  otherwise                             begun anew: its arguments still stand in the packet
REPLYING its own outcome killed the worker     refused with KILLED
REPLYING the reply is in the TX ring           free: it was sent, or will be
REPLYING it has written                        refused with ABORTED
REPLYING otherwise                             free, and its chunk goes back: the client asks again
REFUSED  the reply is in the TX ring           free
REFUSED  otherwise                             stays: the next successor answers it
======== ===================================== ==============================================================

On the UDP transport nobody can tell whether a reply was sent; a client that gets a second one ignores it.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import F_EFFECT, F_TENANT
from splinter.native.atomics import load32, load64, store32, store32_release
from splinter.store.outcomes import EFFECT_NONE
from splinter.worker.chunks import is_unanswered
from splinter.worker.layout import W_CHUNKS, W_RUNNING_TASK, W_TASKS, W_TASKS_COUNT
from splinter.worker.tasks.layout import (
    T_CHUNK,
    T_FRAME,
    T_REFUSAL,
    T_RESTARTS,
    T_STATE,
    T_YIELDS,
    TASK_BYTES,
    TASK_FREE,
    TASK_READY,
    TASK_REFUSED,
    TASK_REPLYING,
    TASK_RUNNING,
)
from splinter.worker.tasks.pool import start_frame
from splinter.worker.tasks.terms import set_limits

# What became of a task. The first four are counted.
GOES_ON, BEGUN_ANEW, ABORTED, KILLED, OTHERWISE = range(5)


@njit(cache=True)
def _refuse(task: int, status: int) -> None:
    store32(task + T_REFUSAL, status)
    store32_release(task + T_STATE, TASK_REFUSED)


@njit(cache=True)
def _kill(task: int) -> int:
    _refuse(task, Status.KILLED)
    return KILLED


@njit(cache=True)
def _abort(task: int) -> int:
    _refuse(task, Status.ABORTED)
    return ABORTED


@njit(cache=True)
def _free(task: int) -> int:
    store32_release(task + T_STATE, TASK_FREE)
    return OTHERWISE


@njit(cache=True)
def _begin_anew(w: int, task: int) -> int:
    frame = load64(task + T_FRAME)
    start_frame(frame)
    set_limits(w, task, load32(frame + F_TENANT))
    store32(task + T_YIELDS, 0)
    store32(task + T_RESTARTS, load32(task + T_RESTARTS) + 1)
    store32_release(task + T_STATE, TASK_READY)
    return BEGUN_ANEW


@njit(cache=True)
def blamed_task(w: int, stuck: bool, crashed: bool) -> int:
    """Address of the task that is to blame for a worker's death, 0: none. Ask before :func:`recover_tasks`.

    ``stuck``: it was killed because it made no progress; ``crashed``: it died of a fault of its own, such as SIGSEGV.

    One that was running may have been there by chance, when somebody killed the worker: it has another try. One whose
    outcome was being recorded or copied has none, its arguments are written over: it is blamed for a fault, which what its
    extension left has caused, and not for a signal from outside.
    """
    task = load64(w + W_RUNNING_TASK)
    if task == 0:
        return 0
    state = load32(task + T_STATE)
    if state == TASK_RUNNING and (stuck or load32(task + T_RESTARTS) >= limits.TASK_RESTARTS_MAX):
        return task
    return task if state == TASK_REPLYING and (stuck or crashed) else 0


@njit(cache=True)
def _recover_task(w: int, task: int, blamed: int) -> int:
    """Decide about one task, by the table above; what became of it."""
    state = load32(task + T_STATE)
    if state == TASK_FREE:
        return OTHERWISE
    if state == TASK_READY:
        return GOES_ON
    if task == blamed:
        return _kill(task)
    has_written = load64(load64(task + T_FRAME) + F_EFFECT) != EFFECT_NONE
    if state == TASK_RUNNING:
        return _abort(task) if has_written else _begin_anew(w, task)
    if load64(w + W_CHUNKS) != 0 and not is_unanswered(w, load64(task + T_CHUNK)):  # of UDP nobody can tell
        return _free(task)
    if state == TASK_REFUSED:
        return OTHERWISE
    return _abort(task) if has_written else _free(task)


@njit(cache=True)
def recover_tasks(w: int, blamed: int) -> tuple[int, int, int, int]:
    """Decide about every task of a dead worker; ``blamed`` is what :func:`blamed_task` returned.

    Returns how many go on, begin anew, are refused with ABORTED, and with KILLED.
    """
    go_on, anew, aborted, killed = 0, 0, 0, 0
    tasks = load64(w + W_TASKS)
    for index in range(load32(w + W_TASKS_COUNT)):
        became = _recover_task(w, tasks + index * TASK_BYTES, blamed)
        go_on += became == GOES_ON
        anew += became == BEGUN_ANEW
        aborted += became == ABORTED
        killed += became == KILLED
    return go_on, anew, aborted, killed
