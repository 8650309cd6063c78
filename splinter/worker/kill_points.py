"""The worker's numbered places to die at: see :mod:`splinter.store.kill_points`, whose mechanism and switch these are."""

from __future__ import annotations

from enum import IntEnum

from numba import njit

from splinter.store import kill_points
from splinter.worker.records import Worker


class WorkerPoint(IntEnum):
    """Where. The numbers go on behind those of :class:`splinter.store.kill_points.KillPoint`."""

    EPOCH_NOTED = 32  # the turn's epoch is read, not yet published
    EPOCH_ENTERED = 33
    RX_LOCKED = 34  # XDP: of the worker's own ring or a sibling's
    RX_MARKED = 35  # XDP: one more descriptor is read and its chunk marked
    RX_COUNTED = 36  # the batch is whole; XDP: its packets are still in the ring
    RX_RELEASED = 37  # XDP: the ring's index is moved, the lock still held
    STOLEN = 38  # a batch of a sibling's is taken
    REQUEST_BEGUN = 39
    REQUEST_SERVED = 40  # it has had its effect; no reply yet
    REPLY_WRITTEN = 41  # in the TX ring, the chunk not yet marked; UDP: in the send array
    REPLY_MARKED = 42  # XDP
    REPLY_PUBLISHED = 43  # UDP: sent, the send array not yet empty
    QUEUE_LOCKED = 44  # XDP: to refill
    COMPLETION_MARKED = 45  # XDP: one chunk more
    COMPLETION_TAKEN = 46  # XDP: the completion ring may be overwritten, no chunk is marked FILL
    FILL_MARKED = 47  # XDP: one chunk more
    FILL_PUBLISHED = 48  # XDP: the lock still held
    TASK_TAKEN = 49  # off the free list, still FREE
    TASK_RUNNING = 50  # before a resume
    TASK_WAITS = 51  # queued for the first time
    TASK_REPLYING = 52
    TASK_RECORDED = 53  # what it replies is recorded for a retry
    TASK_RELEASED = 54
    TASKS_LISTED = 55  # by a successor
    REFUSAL_SENT = 56  # a successor answered one task that its predecessor's death ended
    BATCH_GOES_ON = 57  # a successor begins one more packet of the batch
    DATAGRAMS_RECEIVED = 58  # UDP: they are in chunks, nothing says so yet
    CHUNK_ASSIGNED = 59  # UDP: a receive slot has a free chunk, in place of one that a task keeps
    CHUNK_FREED = 60  # UDP: a task's chunk is on the free list, the task not yet released
    TASK_OUT = 61  # a task that must end is out of its queue, and still READY


@njit(cache=True)
def _kill_here(w: int, point: int) -> None:
    kill_points.kill_point(Worker(w).store, point)


@njit(cache=True)
def _survive(w: int, point: int) -> None:
    pass


worker_point = _kill_here if kill_points.ENABLED else _survive
