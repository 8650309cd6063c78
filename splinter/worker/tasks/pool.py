"""A worker's tasks: which are free, how many live, and the oldest epoch that they hold."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load32, store32, store32_release
from splinter.store.outcomes import EFFECT_NONE
from splinter.store.turns import leave_turn
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.records import Frame, Worker
from splinter.worker.replay import SAVED_START, restore_frame
from splinter.worker.tasks import fair
from splinter.worker.tasks.layout import FRAME_BYTES, TASK_BYTES, TASK_FREE, TASK_READY
from splinter.worker.tasks.records import Task
from splinter.worker.transaction import TRANSACTION_AREA_BYTES

OLDEST_NONE = (1 << 63) - 1  # no task holds an epoch


@njit(cache=True)
def take_over_tasks(w: int) -> None:
    """At a worker's start: make the lists of tasks anew from their states, which a predecessor may have left.

    Tasks at a yield point go on. Everything here can be done again, should this process die as well.
    """
    worker = Worker(w)
    tasks, frames = worker.tasks, worker.frames
    total = worker.tasks_count
    worker.free_length = 0
    worker.running_task = 0
    fair.reset(w)
    oldest, live = OLDEST_NONE, 0
    for index in range(total - 1, -1, -1):
        t, frame_at = tasks + index * TASK_BYTES, frames + index * FRAME_BYTES
        task = Task(t)
        task.frame = frame_at
        Frame(frame_at).transaction = worker.transactions + index * TRANSACTION_AREA_BYTES
        state = task.state
        if state == TASK_FREE:
            release_task(w, t)
            continue
        live += 1
        oldest = min(oldest, task.epoch)
        if state == TASK_READY:
            fair.enqueue(w, t, Frame(frame_at).tenant)
    worker.tasks_live = live
    worker.oldest_epoch = oldest


@njit(cache=True, forceinline=True)
def take_task(w: int) -> int:
    """A free task, of which there must be one: its address. Until something says otherwise it still is FREE."""
    worker = Worker(w)
    free_length = worker.free_length - 1
    t = worker.tasks + load32(worker.free_tasks + free_length * 4) * TASK_BYTES
    worker.free_length = free_length
    worker_point(w, WorkerPoint.TASK_TAKEN)
    return t


@njit(cache=True, forceinline=True)
def hold_epoch(w: int, t: int) -> None:
    """A new task outlives this turn of the loop: from here on the worker holds the task's epoch."""
    worker = Worker(w)
    if worker.tasks_live == 0:
        worker.oldest_epoch = Task(t).epoch
    worker.tasks_live += 1


@njit(cache=True)
def renew_epoch(w: int, t: int) -> None:
    """A task begins anew: it holds the epoch of this turn from here on."""
    worker, task = Worker(w), Task(t)
    held = task.epoch
    task.epoch = worker.turn_epoch
    if worker.tasks_live != 0 and held <= worker.oldest_epoch:
        _find_oldest(w)


@njit(cache=True, forceinline=True)
def start_frame(frame_at: int) -> None:
    """Set a frame's coroutine to its beginning, where it has shown nothing; arguments and tenant are the caller's to set."""
    Frame(frame_at).shown = 0
    _rewind_frame(frame_at)


@njit(cache=True, forceinline=True)
def _rewind_frame(frame_at: int) -> None:
    """All of that but what it has shown."""
    frame = Frame(frame_at)
    frame.state = 0
    frame.line = 0
    frame.error = 0
    frame.result_length = 0
    frame.put_bytes = 0
    frame.writes = 0
    frame.call = 0
    frame.effect = EFFECT_NONE


@njit(cache=True)
def repeat_slice(frame_at: int) -> None:
    """Set a task that writes without isolation to the beginning of a slice that was cut off. May be repeated.

    What it has shown stays shown: calls that are answered from their notes do not look again.
    """
    if restore_frame(frame_at) == SAVED_START:
        _rewind_frame(frame_at)


@njit(cache=True)
def release_task(w: int, t: int) -> None:
    """Give a task back; it is in no queue."""
    worker, task = Worker(w), Task(t)
    if task.turn != 0:
        leave_turn(worker.store, Frame(task.frame).tenant, task.turn)
        task.turn = 0
    store32_release(task.at.state, TASK_FREE)
    worker_point(w, WorkerPoint.TASK_RELEASED)
    free_length = worker.free_length
    store32(worker.free_tasks + free_length * 4, (t - worker.tasks) // TASK_BYTES)
    worker.free_length = free_length + 1


@njit(cache=True)
def end_task(w: int, t: int) -> None:
    """Release a task that :func:`run_slice` reported as ended; its epoch is no longer held."""
    worker = Worker(w)
    live = worker.tasks_live - 1
    worker.tasks_live = live
    release_task(w, t)
    if live == 0:
        worker.oldest_epoch = OLDEST_NONE
    elif Task(t).epoch <= worker.oldest_epoch:
        _find_oldest(w)


@njit(cache=True)
def _find_oldest(w: int) -> None:
    """The oldest epoch that a live task holds; only called when the oldest task ended."""
    worker = Worker(w)
    oldest = OLDEST_NONE
    tasks = worker.tasks
    for index in range(worker.tasks_count):
        task = Task(tasks + index * TASK_BYTES)
        if task.state != TASK_FREE:
            oldest = min(oldest, task.epoch)
    worker.oldest_epoch = oldest
