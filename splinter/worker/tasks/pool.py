"""A worker's tasks: which are free, how many live, and the oldest epoch that they hold."""

from __future__ import annotations

from numba import njit

from splinter.ext.abi import (
    F_ERROR,
    F_LINE,
    F_PUT_BYTES,
    F_RESULT_LENGTH,
    F_STATE,
    F_TENANT,
)
from splinter.native.atomics import (
    load32,
    load64,
    store32,
    store32_release,
    store64,
)
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    W_FRAMES,
    W_FREE_LENGTH,
    W_FREE_TASKS,
    W_OLDEST_EPOCH,
    W_RUNNING_TASK,
    W_TASKS,
    W_TASKS_COUNT,
    W_TASKS_LIVE,
)
from splinter.worker.tasks import fair
from splinter.worker.tasks.layout import (
    FRAME_BYTES,
    T_EPOCH,
    T_FRAME,
    T_STATE,
    TASK_BYTES,
    TASK_FREE,
    TASK_READY,
)

OLDEST_NONE = (1 << 63) - 1  # no task holds an epoch


@njit(cache=True)
def take_over_tasks(w: int) -> None:
    """At a worker's start: make the lists of tasks anew from their states, which a predecessor may have left.

    Tasks at a yield point go on. Everything here can be done again, should this process die as well.
    """
    tasks, frames = load64(w + W_TASKS), load64(w + W_FRAMES)
    total = load32(w + W_TASKS_COUNT)
    store32(w + W_FREE_LENGTH, 0)
    store64(w + W_RUNNING_TASK, 0)
    fair.reset(w)
    oldest, live = OLDEST_NONE, 0
    for index in range(total - 1, -1, -1):
        task, frame = tasks + index * TASK_BYTES, frames + index * FRAME_BYTES
        store64(task + T_FRAME, frame)
        state = load32(task + T_STATE)
        if state == TASK_FREE:
            release_task(w, task)
            continue
        live += 1
        oldest = min(oldest, load64(task + T_EPOCH))
        if state == TASK_READY:
            fair.enqueue(w, task, load32(frame + F_TENANT))
    store32(w + W_TASKS_LIVE, live)
    store64(w + W_OLDEST_EPOCH, oldest)


@njit(cache=True, forceinline=True)
def take_task(w: int) -> int:
    """A free task, of which there must be one: its address. Until something says otherwise it still is FREE."""
    free_length = load32(w + W_FREE_LENGTH) - 1
    task = load64(w + W_TASKS) + load32(load64(w + W_FREE_TASKS) + free_length * 4) * TASK_BYTES
    store32(w + W_FREE_LENGTH, free_length)
    worker_point(w, WorkerPoint.TASK_TAKEN)
    return task


@njit(cache=True)
def hold_epoch(w: int, task: int) -> None:
    """A new task outlives this turn of the loop: from here on the worker holds the task's epoch."""
    if load32(w + W_TASKS_LIVE) == 0:
        store64(w + W_OLDEST_EPOCH, load64(task + T_EPOCH))
    store32(w + W_TASKS_LIVE, load32(w + W_TASKS_LIVE) + 1)


@njit(cache=True)
def start_frame(frame: int) -> None:
    """Set a frame's coroutine to its beginning; arguments and tenant are the caller's to set."""
    store32(frame + F_STATE, 0)
    store32(frame + F_LINE, 0)
    store32(frame + F_ERROR, 0)
    store32(frame + F_RESULT_LENGTH, 0)
    store64(frame + F_PUT_BYTES, 0)


@njit(cache=True)
def release_task(w: int, task: int) -> None:
    """Give a task back; it is in no queue."""
    store32_release(task + T_STATE, TASK_FREE)
    worker_point(w, WorkerPoint.TASK_RELEASED)
    free_length = load32(w + W_FREE_LENGTH)
    store32(load64(w + W_FREE_TASKS) + free_length * 4, (task - load64(w + W_TASKS)) // TASK_BYTES)
    store32(w + W_FREE_LENGTH, free_length + 1)


@njit(cache=True)
def end_task(w: int, task: int) -> None:
    """Release a task that :func:`run_slice` reported as ended; its epoch is no longer held."""
    live = load32(w + W_TASKS_LIVE) - 1
    store32(w + W_TASKS_LIVE, live)
    release_task(w, task)
    if live == 0:
        store64(w + W_OLDEST_EPOCH, OLDEST_NONE)
    elif load64(task + T_EPOCH) <= load64(w + W_OLDEST_EPOCH):
        _find_oldest(w)


@njit(cache=True)
def _find_oldest(w: int) -> None:
    """The oldest epoch that a live task holds; only called when the oldest task ended."""
    oldest = OLDEST_NONE
    tasks = load64(w + W_TASKS)
    for index in range(load32(w + W_TASKS_COUNT)):
        task = tasks + index * TASK_BYTES
        if load32(task + T_STATE) != TASK_FREE:
            oldest = min(oldest, load64(task + T_EPOCH))
    store64(w + W_OLDEST_EPOCH, oldest)
