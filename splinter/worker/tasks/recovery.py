"""What becomes of a dead worker's tasks: decided once, by the supervisor, before chunks are sorted out and a successor starts.

======== ===================================== ==============================================================
state    found                                 becomes
======== ===================================== ==============================================================
READY    at a yield point                      goes on in the successor
any      its chunk is CALL_CHUNK               free: the connection ended with the worker, and so did its packet
RUNNING  it is of a BATCH                      free: the client asks for the packet again. One to blame is then to come alone
REPLYING it is of a BATCH                      the same
RUNNING  the worker was killed as stuck in it  refused with KILLED
RUNNING  a second worker crashed in it         refused with KILLED: it may be what kills workers
RUNNING  it writes without isolation           repeats its slice: :mod:`splinter.worker.replay`
RUNNING  otherwise                             begun anew: nobody has seen anything of it, and its arguments still stand in
                                               the packet. If it was committed already, it finds that at its end
REPLYING its own outcome killed the worker     refused with KILLED, or answered with what is recorded
REPLYING the reply is in the TX ring           free: it was sent, or will be
REPLYING otherwise                             free, and its chunk goes back: the client asks again, and gets what is recorded
REFUSED  the reply is in the TX ring           free
REFUSED  otherwise                             stays: the next successor answers it
======== ===================================== ==============================================================

For one of a BATCH and for a connection's call the first crash decides: nothing would count a second try.

On the UDP transport nobody can tell whether a reply was sent; a client that gets a second one ignores it.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import Isolation
from splinter.native.atomics import store32_release
from splinter.store.outcomes import EFFECT_WRITTEN
from splinter.worker.chunks import is_unanswered
from splinter.worker.records import Frame, Worker
from splinter.worker.replay import has_written
from splinter.worker.tasks.layout import (
    CALL_CHUNK,
    TASK_BYTES,
    TASK_FREE,
    TASK_READY,
    TASK_REFUSED,
    TASK_REPLYING,
    TASK_RUNNING,
)
from splinter.worker.tasks.pool import repeat_slice, start_frame
from splinter.worker.tasks.records import Task
from splinter.worker.tasks.terms import set_limits

# What became of a task. The first three are counted.
GOES_ON, BEGUN_ANEW, KILLED, OTHERWISE = range(4)


@njit(cache=True)
def _kill(t: int) -> int:
    task = Task(t)
    frame = Frame(task.frame)
    if frame.isolation == Isolation.NONE_WRITES and has_written(task.frame):
        frame.effect = EFFECT_WRITTEN
    task.refusal = Status.KILLED
    store32_release(task.at.state, TASK_REFUSED)
    return KILLED


@njit(cache=True)
def _free(t: int) -> int:
    store32_release(Task(t).at.state, TASK_FREE)
    return OTHERWISE


@njit(cache=True)
def _begin_anew(w: int, t: int) -> int:
    task = Task(t)
    frame = Frame(task.frame)
    if frame.isolation == Isolation.NONE_WRITES:
        repeat_slice(task.frame)
    else:
        start_frame(task.frame)
    if frame.state == 0:
        set_limits(w, t, frame.tenant)
        task.yields = 0
    task.restarts += 1
    store32_release(task.at.state, TASK_READY)
    return BEGUN_ANEW


@njit(cache=True)
def blamed_task(w: int, stuck: bool, crashed: bool) -> int:
    """Address of the task that is to blame for a worker's death, 0: none. Ask before :func:`recover_tasks`.

    ``stuck``: it was killed because it made no progress; ``crashed``: it died of a fault of its own, such as SIGSEGV.

    A signal from outside is nobody's fault. One that was running when the worker crashed may have been there by chance: it has
    another try. One whose reply was being written has none, its arguments are written over.
    """
    t = Worker(w).running_task
    if t == 0:
        return 0
    task = Task(t)
    state = task.state
    has_tried = task.restarts >= limits.TASK_RESTARTS_MAX or task.chunk >= CALL_CHUNK
    if state == TASK_RUNNING and (stuck or (crashed and has_tried)):
        return t
    return t if state == TASK_REPLYING and (stuck or crashed) else 0


@njit(cache=True)
def _recover_task(w: int, t: int, blamed: int) -> int:
    """Decide about one task, by the table above; what became of it."""
    task = Task(t)
    state = task.state
    if state == TASK_FREE:
        return OTHERWISE
    if task.chunk >= CALL_CHUNK:  # or NO_CHUNK
        return _free(t)
    if state == TASK_READY:
        return GOES_ON
    if t == blamed:
        return _kill(t)
    if state == TASK_RUNNING:
        return _begin_anew(w, t)
    if state == TASK_REFUSED and (Worker(w).chunks == 0 or is_unanswered(w, task.chunk)):  # of UDP nobody can tell
        return OTHERWISE
    return _free(t)


@njit(cache=True)
def recover_tasks(w: int, blamed: int) -> tuple[int, int, int]:
    """Decide about every task of a dead worker; ``blamed`` is what :func:`blamed_task` returned.

    Returns how many go on, begin anew, and are refused with KILLED.
    """
    worker = Worker(w)
    go_on, anew, killed = 0, 0, 0
    tasks = worker.tasks
    for index in range(worker.tasks_count):
        became = _recover_task(w, tasks + index * TASK_BYTES, blamed)
        go_on += became == GOES_ON
        anew += became == BEGUN_ANEW
        killed += became == KILLED
    return go_on, anew, killed
