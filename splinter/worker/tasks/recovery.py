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
from splinter.native.atomics import store32_release
from splinter.store.outcomes import EFFECT_NONE
from splinter.worker.chunks import is_unanswered
from splinter.worker.records import Frame, Worker
from splinter.worker.tasks.layout import TASK_BYTES, TASK_FREE, TASK_READY, TASK_REFUSED, TASK_REPLYING, TASK_RUNNING
from splinter.worker.tasks.pool import start_frame
from splinter.worker.tasks.records import Task
from splinter.worker.tasks.terms import set_limits

# What became of a task. The first four are counted.
GOES_ON, BEGUN_ANEW, ABORTED, KILLED, OTHERWISE = range(5)


@njit(cache=True)
def _refuse(t: int, status: int) -> None:
    task = Task(t)
    task.refusal = status
    store32_release(task.at.state, TASK_REFUSED)


@njit(cache=True)
def _kill(t: int) -> int:
    _refuse(t, Status.KILLED)
    return KILLED


@njit(cache=True)
def _abort(t: int) -> int:
    _refuse(t, Status.ABORTED)
    return ABORTED


@njit(cache=True)
def _free(t: int) -> int:
    store32_release(Task(t).at.state, TASK_FREE)
    return OTHERWISE


@njit(cache=True)
def _begin_anew(w: int, t: int) -> int:
    task = Task(t)
    start_frame(task.frame)
    set_limits(w, t, Frame(task.frame).tenant)
    task.yields = 0
    task.restarts += 1
    store32_release(task.at.state, TASK_READY)
    return BEGUN_ANEW


@njit(cache=True)
def blamed_task(w: int, stuck: bool, crashed: bool) -> int:
    """Address of the task that is to blame for a worker's death, 0: none. Ask before :func:`recover_tasks`.

    ``stuck``: it was killed because it made no progress; ``crashed``: it died of a fault of its own, such as SIGSEGV.

    One that was running may have been there by chance, when somebody killed the worker: it has another try. One whose
    outcome was being recorded or copied has none, its arguments are written over: it is blamed for a fault, which what its
    extension left has caused, and not for a signal from outside.
    """
    t = Worker(w).running_task
    if t == 0:
        return 0
    task = Task(t)
    state = task.state
    if state == TASK_RUNNING and (stuck or task.restarts >= limits.TASK_RESTARTS_MAX):
        return t
    return t if state == TASK_REPLYING and (stuck or crashed) else 0


@njit(cache=True)
def _recover_task(w: int, t: int, blamed: int) -> int:
    """Decide about one task, by the table above; what became of it."""
    task = Task(t)
    state = task.state
    if state == TASK_FREE:
        return OTHERWISE
    if state == TASK_READY:
        return GOES_ON
    if t == blamed:
        return _kill(t)
    has_written = Frame(task.frame).effect != EFFECT_NONE
    if state == TASK_RUNNING:
        return _abort(t) if has_written else _begin_anew(w, t)
    if Worker(w).chunks != 0 and not is_unanswered(w, task.chunk):  # of UDP nobody can tell
        return _free(t)
    if state == TASK_REFUSED:
        return OTHERWISE
    return _abort(t) if has_written else _free(t)


@njit(cache=True)
def recover_tasks(w: int, blamed: int) -> tuple[int, int, int, int]:
    """Decide about every task of a dead worker; ``blamed`` is what :func:`blamed_task` returned.

    Returns how many go on, begin anew, are refused with ABORTED, and with KILLED.
    """
    worker = Worker(w)
    go_on, anew, aborted, killed = 0, 0, 0, 0
    tasks = worker.tasks
    for index in range(worker.tasks_count):
        became = _recover_task(w, tasks + index * TASK_BYTES, blamed)
        go_on += became == GOES_ON
        anew += became == BEGUN_ANEW
        aborted += became == ABORTED
        killed += became == KILLED
    return go_on, anew, aborted, killed
