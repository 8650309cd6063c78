"""An invoke: from the request to a task, and the task's first slice.

It is resumed at once; most end there. One that yields becomes a task that waits in its tenant's queue, keeps the packet it came
in, and is resumed again, one slice at a time (:mod:`splinter.worker.tasks.slices`).
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import (
    F_ARGUMENTS,
    F_ARGUMENTS_LENGTH,
    F_GENERATION,
    F_TENANT,
    R_ARGUMENTS_BYTES_MIN,
    R_CODE,
    R_RESULT_KIND,
    R_SIGNATURE_HASH,
    R_STATISTICS,
    R_WRITES,
    RESUME_YIELD,
)
from splinter.native.atomics import (
    load8,
    load16,
    load32,
    load64,
    store32,
    store32_release,
    store64,
)
from splinter.store.operations import object_value, store_find
from splinter.wire import H_ACKNOWLEDGED, H_KEY_LENGTH, H_OBJECT_VERSION, H_TENANT, H_VALUE_LENGTH
from splinter.worker.accounts import begin_resumes
from splinter.worker.counters import count
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    W_EXTENSION_COUNTERS,
    W_FIRST_YIELDS,
    W_FREE_LENGTH,
    W_HEARTBEAT,
    W_QUARANTINE_AFTER,
    W_STORE,
    W_TASK_BUDGET,
    W_TURN_EPOCH,
)
from splinter.worker.reply import HEADER_BYTES, refuse
from splinter.worker.tasks import fair
from splinter.worker.tasks.ending import reply_task
from splinter.worker.tasks.layout import (
    EXTENSION_COUNTERS_BYTES,
    T_CHUNK,
    T_CODE,
    T_COUNTERS,
    T_CYCLES,
    T_EPOCH,
    T_FRAME,
    T_HEADER,
    T_RESTARTS,
    T_RESULT_KIND,
    T_STARTED,
    T_STATE,
    T_YIELDS,
    TASK_REPLYING,
    TASK_RUNNING,
    X_INVOCATIONS,
    X_KILLS,
    X_RELEASED,
)
from splinter.worker.tasks.once import begin_task, recall, refuse_once, reply_recorded
from splinter.worker.tasks.pool import hold_epoch, release_task, start_frame, take_task
from splinter.worker.tasks.slices import PENDING, resume
from splinter.worker.tasks.terms import generation_of, set_limits

_SLOT_MASK = limits.EXTENSIONS_MAX - 1
_FIRST_SHIFT_MAX = 3  # a first slice has at least an eighth of the budget: one read


@njit(cache=True, forceinline=True)
def invoke(w: int, header: int, chunk: int, known: int) -> int:
    """Start the extension that the key of a whole request names. Returns the reply's length or :data:`PENDING`.

    ``chunk`` is kept with the task for its later reply. ``known``: address of the extension's record, when this turn has
    found it already, else 0.
    """
    name_length, tenant = load16(header + H_KEY_LENGTH), load32(header + H_TENANT)
    if name_length > limits.EXTENSION_NAME_BYTES_MAX:
        return refuse(w, header, Status.NO_EXTENSION)
    record = known if known != 0 else _find_record(w, tenant, header + HEADER_BYTES, name_length)
    status = _compare(header, record)
    if status != Status.OK:
        return refuse_once(w, header, status)
    counters = load64(w + W_EXTENSION_COUNTERS) + (load32(record + R_STATISTICS) & _SLOT_MASK) * EXTENSION_COUNTERS_BYTES
    if load32(counters + X_KILLS) - load32(counters + X_RELEASED) >= load64(w + W_QUARANTINE_AFTER):
        return refuse(w, header, Status.QUARANTINED)
    generation = generation_of(w, tenant)
    if generation == 0:
        return refuse(w, header, Status.UNKNOWN_TENANT)
    writes = load8(record + R_WRITES) != 0
    is_once = writes and load64(header + H_ACKNOWLEDGED) != 0
    if is_once:
        recorded = recall(w, header, Status.OK)
        if recorded != Status.OK:
            return reply_recorded(w, header, recorded)
    must_queue = fair.must_queue(w, tenant)
    if not _has_place(w, tenant, must_queue or writes):
        return refuse(w, header, Status.BUSY)
    task = take_task(w)
    _fill_frame(w, load64(task + T_FRAME), header, generation, is_once)
    _fill_task(w, task, header, chunk, record)
    store64(task + T_COUNTERS, counters)
    if must_queue:
        store32(task + T_YIELDS, 0)
        return _wait(w, task, tenant)
    return _run_first_slice(w, task, tenant, writes)


@njit(cache=True, forceinline=True)
def _compare(header: int, record: int) -> int:
    """Whether the extension of this record (0: there is none) takes the request: OK, or why never."""
    if record == 0:
        return Status.NO_EXTENSION
    wanted = load64(header + H_OBJECT_VERSION)
    if wanted != 0 and wanted != load64(record + R_SIGNATURE_HASH):
        return Status.BAD_SIGNATURE
    if load32(header + H_VALUE_LENGTH) < load32(record + R_ARGUMENTS_BYTES_MIN):
        return Status.BAD_ARGUMENTS
    return Status.OK


@njit(cache=True, forceinline=True)
def _has_place(w: int, tenant: int, may_wait: bool) -> bool:
    """Whether there is a task for an invoke, and, for one that ``may_wait``, room in its tenant's queue.

    What is told to try again has written nothing: what may write is not begun where it could not go on.
    """
    free_length = load32(w + W_FREE_LENGTH)
    return free_length != 0 and (not may_wait or fair.has_room(w, tenant, free_length - 1))


@njit(cache=True, forceinline=True)
def _fill_frame(w: int, frame: int, header: int, generation: int, is_once: bool) -> None:
    """What the extension sees of its request, and whose it is."""
    start_frame(frame)
    store64(frame + F_ARGUMENTS, header + HEADER_BYTES + load16(header + H_KEY_LENGTH))
    store32(frame + F_ARGUMENTS_LENGTH, load32(header + H_VALUE_LENGTH))
    store32(frame + F_TENANT, load32(header + H_TENANT))
    store64(frame + F_GENERATION, generation)
    begin_task(w, header, frame, is_once)


@njit(cache=True, forceinline=True)
def _fill_task(w: int, task: int, header: int, chunk: int, record: int) -> None:
    """What runs, and where its reply goes."""
    store64(task + T_CODE, load64(record + R_CODE))
    store32(task + T_RESULT_KIND, load32(record + R_RESULT_KIND))
    store64(task + T_HEADER, header)
    store64(task + T_CHUNK, chunk)
    store64(task + T_CYCLES, 0)
    store64(task + T_STARTED, load64(w + W_HEARTBEAT))
    store32(task + T_RESTARTS, 0)
    # A newer epoch than this turn's would not cover what the task read in it; the worker's published one may be another
    # task's, and would never move on.
    store64(task + T_EPOCH, load64(w + W_TURN_EPOCH))


@njit(cache=True, forceinline=True)
def _run_first_slice(w: int, task: int, tenant: int, writes: bool) -> int:
    """Run a task that need not queue; what :func:`invoke` returns. Most end here."""
    begin_resumes(w)
    store32_release(task + T_STATE, TASK_RUNNING)
    # What others of this batch wait for is short, also when many invokes of it turn out to be long.
    first_yields = load32(w + W_FIRST_YIELDS)
    ended = resume(w, task, tenant, load64(w + W_TASK_BUDGET) >> min(first_yields, _FIRST_SHIFT_MAX))[0]
    if ended == RESUME_YIELD:
        store32(w + W_FIRST_YIELDS, first_yields + 1)
        if writes or fair.has_room(w, tenant, load32(w + W_FREE_LENGTH)):
            store32(task + T_YIELDS, 1)
            return _wait(w, task, tenant)
        count(load64(task + T_COUNTERS) + X_INVOCATIONS)
        store32_release(task + T_STATE, TASK_REPLYING)
        length = refuse(w, load64(task + T_HEADER), Status.BUSY)
    else:
        length = reply_task(w, task, ended)
    release_task(w, task)
    return length


@njit(cache=True)
def _wait(w: int, task: int, tenant: int) -> int:
    """Queue a new task."""
    set_limits(w, task, tenant)
    hold_epoch(w, task)
    fair.enqueue(w, task, tenant)
    worker_point(w, WorkerPoint.TASK_WAITS)
    return PENDING


@njit(cache=True)
def _find_record(w: int, tenant: int, name: int, name_length: int) -> int:
    """Address of the abi.RECORD of a tenant's extension, or 0."""
    found = store_find(load64(w + W_STORE), tenant, limits.TABLE_EXTENSIONS, name, name_length, 0)
    return object_value(found) if found != 0 else 0
