"""An invoke: from the request to a task, and the task's first slice.

It is resumed at once; most end there. One that yields becomes a task that waits in its tenant's queue, keeps the packet it came
in, and is resumed again, one slice at a time (:mod:`splinter.worker.tasks.slices`).
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import MAY_WRITE, RESUME_YIELD, Isolation
from splinter.native.atomics import store32_release
from splinter.store.objects import object_value
from splinter.store.operations import store_find
from splinter.worker.accounts import begin_resumes
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.records import Extension, Frame, Header, Worker
from splinter.worker.replay import forget_notes
from splinter.worker.reply import ALONE, HEADER_BYTES, PENDING, refuse
from splinter.worker.tasks import fair
from splinter.worker.tasks.ending import reply_task
from splinter.worker.tasks.layout import EXTENSION_COUNTERS_BYTES, NO_CHUNK, TASK_REPLYING, TASK_RUNNING
from splinter.worker.tasks.once import begin_task, recall, refuse_once, reply_recorded
from splinter.worker.tasks.pool import hold_epoch, release_task, start_frame, take_task
from splinter.worker.tasks.records import ExtensionCounters, Task
from splinter.worker.tasks.slices import resume
from splinter.worker.tasks.terms import generation_of, set_limits

_SLOT_MASK = limits.EXTENSIONS_MAX - 1
_FIRST_TRIES = 3  # of a transaction that others disturb, before it waits its turn
_FIRST_SHIFT_MAX = 3  # a first slice has at least an eighth of the budget: one read


@njit(cache=True, forceinline=True)
def invoke(w: int, header: int, chunk: int, known: int) -> int:
    """Start the extension that the key of a whole request names. Returns the reply's length or :data:`PENDING`.

    ``chunk`` is kept with the task for its later reply; NO_CHUNK: it is of a BATCH, and what would be pending is
    :data:`ALONE`. ``known``: address of the extension's record, when this turn has found it already, else 0.
    """
    request = Header(header)
    name_length, tenant = request.key_length, request.tenant
    if name_length > limits.EXTENSION_NAME_BYTES_MAX:
        return refuse(w, header, Status.NO_EXTENSION)
    record = known if known != 0 else find_record(w, tenant, header + HEADER_BYTES, name_length)
    extension = Extension(record)
    status = _compare(header, record)
    if status != Status.OK:
        return refuse_once(w, header, status)
    counters = counters_of(w, record)
    tally = ExtensionCounters(counters)
    if is_quarantined(w, counters):
        return refuse(w, header, Status.QUARANTINED)
    generation = generation_of(w, tenant)
    if generation == 0:
        return refuse(w, header, Status.UNKNOWN_TENANT)
    writes = extension.isolation & MAY_WRITE != 0
    is_once = writes and request.acknowledged != 0
    must_queue = fair.must_queue(w, tenant)
    if chunk == NO_CHUNK and (must_queue or not _may_be_batched(extension.isolation, tally.kills - tally.released)):
        return ALONE
    # A short transaction finds at its end whether it was executed before: one lock less.
    is_short = extension.isolation == Isolation.WRITES and not must_queue
    if is_once and not is_short:
        recorded = recall(w, header, Status.OK)
        if recorded != Status.OK:
            return reply_recorded(w, header, recorded)
    if not _has_place(w, tenant, must_queue or writes):
        return refuse(w, header, Status.BUSY)
    t = take_task(w)
    task = Task(t)
    fill_frame(w, task.frame, header, generation, is_once)
    Frame(task.frame).isolation = extension.isolation
    if extension.isolation == Isolation.NONE_WRITES:
        forget_notes(task.frame)
    fill_task(w, t, header, chunk, record)
    task.counters = counters
    if must_queue:
        task.yields = 0
        return _wait(w, t, tenant)
    return _run_first_slice(w, t, tenant, writes)


@njit(cache=True, forceinline=True)
def counters_of(w: int, record: int) -> int:
    """Address of this worker's EXTENSION_COUNTERS for the extension of an abi.RECORD."""
    return Worker(w).extension_counters + (Extension(record).statistics & _SLOT_MASK) * EXTENSION_COUNTERS_BYTES


@njit(cache=True, forceinline=True)
def is_quarantined(w: int, counters: int) -> bool:
    """Whether an extension has had too many workers killed."""
    tally = ExtensionCounters(counters)
    return tally.kills - tally.released >= Worker(w).quarantine_after


@njit(cache=True, forceinline=True)
def _compare(header: int, record: int) -> int:
    """Whether the extension of this record (0: there is none) takes the request: OK, or why never."""
    if record == 0:
        return Status.NO_EXTENSION
    request, extension = Header(header), Extension(record)
    wanted = request.object_version
    if wanted != 0 and wanted != extension.signature_hash:
        return Status.BAD_SIGNATURE
    if request.value_length < extension.arguments_bytes_min:
        return Status.BAD_ARGUMENTS
    return Status.OK


@njit(cache=True, forceinline=True)
def _may_be_batched(isolation: int, kills: int) -> bool:
    """Whether what it does can be taken back when it would wait; and one that has cost a worker is answered by itself."""
    return isolation != Isolation.NONE_WRITES and kills == 0


@njit(cache=True, forceinline=True)
def _has_place(w: int, tenant: int, may_wait: bool) -> bool:
    """Whether there is a task for an invoke, and, for one that ``may_wait``, room in its tenant's queue.

    What is told to try again has written nothing: what may write is not begun where it could not go on.
    """
    free_length = Worker(w).free_length
    return free_length != 0 and (not may_wait or fair.has_room(w, tenant, free_length - 1))


@njit(cache=True, forceinline=True)
def fill_frame(w: int, frame_at: int, header: int, generation: int, is_once: bool) -> None:
    """What the extension sees of its request, and whose it is."""
    frame, request = Frame(frame_at), Header(header)
    start_frame(frame_at)
    frame.arguments = header + HEADER_BYTES + request.key_length
    frame.arguments_length = request.value_length
    frame.tenant = request.tenant
    frame.generation = generation
    begin_task(w, header, frame_at, is_once)


@njit(cache=True, forceinline=True)
def fill_task(w: int, t: int, header: int, chunk: int, record: int) -> None:
    """What runs, and where its reply goes."""
    task, extension, worker = Task(t), Extension(record), Worker(w)
    task.code = extension.code
    task.result_kind = extension.result_kind
    task.header = header
    task.chunk = chunk
    task.cycles = 0
    task.started = worker.heartbeat
    task.restarts = 0
    task.conflicts = 0
    task.turn = 0
    # A newer epoch than this turn's would not cover what the task read in it; the worker's published one may be another
    # task's, and would never move on.
    task.epoch = worker.turn_epoch


@njit(cache=True, forceinline=True)
def _run_first_slice(w: int, t: int, tenant: int, writes: bool) -> int:
    """Run a task that need not queue; what :func:`invoke` returns. Most end here."""
    task, worker = Task(t), Worker(w)
    begin_resumes(w)
    store32_release(task.at.state, TASK_RUNNING)
    # What others of this batch wait for is short, also when many invokes of it turn out to be long.
    first_yields = worker.first_yields
    budget = worker.task_budget >> min(first_yields, _FIRST_SHIFT_MAX)
    length = PENDING
    for _ in range(_FIRST_TRIES):
        ended = resume(w, t, tenant, budget)[0]
        if ended == RESUME_YIELD:
            break
        length = reply_task(w, t, ended)
        if length != PENDING:
            break
    frame = Frame(task.frame)
    if length == PENDING and frame.isolation == Isolation.WRITES and frame.acknowledged != 0:  # it is not short
        recorded = recall(w, task.header, Status.OK)
        if recorded != Status.OK:
            store32_release(task.at.state, TASK_REPLYING)
            length = reply_recorded(w, task.header, recorded)
    if length == PENDING:
        worker.first_yields = first_yields + 1
        if task.chunk == NO_CHUNK:
            release_task(w, t)
            return ALONE
        if writes or fair.has_room(w, tenant, worker.free_length):
            task.yields = 1
            return _wait(w, t, tenant)
        ExtensionCounters(task.counters).invocations += 1
        store32_release(task.at.state, TASK_REPLYING)
        length = refuse(w, task.header, Status.BUSY)
    release_task(w, t)
    return length


@njit(cache=True, forceinline=True)
def _wait(w: int, t: int, tenant: int) -> int:
    """Queue a new task."""
    set_limits(w, t, tenant)
    hold_epoch(w, t)
    fair.enqueue(w, t, tenant)
    worker_point(w, WorkerPoint.TASK_WAITS)
    return PENDING


@njit(cache=True, forceinline=True)
def find_record(w: int, tenant: int, name: int, name_length: int) -> int:
    """Address of the abi.RECORD of a tenant's extension, or 0."""
    found = store_find(Worker(w).store, tenant, limits.TABLE_EXTENSIONS, name, name_length, 0)
    return object_value(found) if found != 0 else 0
