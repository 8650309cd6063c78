"""Tasks: invocations of extensions, run as coroutines.

An invoke is resumed at once; most end there. One that yields waits in its tenant's queue, keeps the packet it came in, and
is resumed again when :mod:`splinter.worker.tasks.fair` picks it, one slice at a time.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import (
    F_ACKNOWLEDGED,
    F_ARGUMENTS,
    F_ARGUMENTS_LENGTH,
    F_BUDGET,
    F_ERROR,
    F_GENERATION,
    F_LINE,
    F_PUT_BYTES,
    F_RESULT,
    F_RESULT_LENGTH,
    F_STATE,
    F_TENANT,
    R_ARGUMENTS_BYTES_MIN,
    R_CODE,
    R_RESULT_KIND,
    R_SIGNATURE_HASH,
    R_STATISTICS,
    R_WRITES,
    RESUME_DONE,
    RESUME_ERROR,
    RESUME_YIELD,
    ExtensionError,
    ResultKind,
)
from splinter.native.atomics import (
    call_resume,
    load8,
    load16,
    load32,
    load64,
    load64_acquire,
    move_bytes,
    store32,
    store32_release,
    store64,
    store64_release,
)
from splinter.net.tenants import T_TASK_MILLISECONDS_MAX, T_TASK_WALL_MILLISECONDS_MAX, T_TASK_YIELDS_MAX, TENANT
from splinter.store.layout import A_ACTIVE
from splinter.store.operations import object_value, store_find
from splinter.store.outcomes import Outcome
from splinter.store.publication import account_of
from splinter.wire import H_ACKNOWLEDGED, H_KEY_LENGTH, H_OBJECT_VERSION, H_TENANT
from splinter.worker.accounts import add, begin_resumes, end_resume
from splinter.worker.kill_points import WorkerPoint, worker_point
from splinter.worker.layout import (
    EXTENSION_COUNTERS_BYTES,
    FRAME_BYTES,
    N_GAVE_WAY,
    N_ORPHANS,
    N_OVERDUE,
    N_RESUMES,
    N_YIELDS,
    T_CHUNK,
    T_CODE,
    T_COUNTERS,
    T_CYCLES,
    T_CYCLES_MAX,
    T_EPOCH,
    T_FRAME,
    T_HEADER,
    T_ORIGIN,
    T_REFUSAL,
    T_RESTARTS,
    T_RESULT_KIND,
    T_STARTED,
    T_STATE,
    T_WALL_CYCLES_MAX,
    T_YIELDS,
    T_YIELDS_MAX,
    TASK_BYTES,
    TASK_FREE,
    TASK_READY,
    TASK_REPLYING,
    TASK_RUNNING,
    W_CONTEXT,
    W_CYCLES_PER_MILLISECOND,
    W_EXTENSION_COUNTERS,
    W_FIRST_YIELDS,
    W_FRAMES,
    W_FREE_LENGTH,
    W_FREE_TASKS,
    W_HEARTBEAT,
    W_OLDEST_EPOCH,
    W_QUARANTINE_AFTER,
    W_RUNNING_TASK,
    W_STORE,
    W_TASK_BUDGET,
    W_TASK_MILLISECONDS_MAX,
    W_TASK_WALL_MILLISECONDS_MAX,
    W_TASK_YIELDS_MAX,
    W_TASKS,
    W_TASKS_COUNT,
    W_TASKS_LIVE,
    W_TENANTS,
    W_TURN_EPOCH,
    X_CYCLES,
    X_ERRORS,
    X_INVOCATIONS,
    X_KILLS,
    X_RELEASED,
    X_YIELDS,
)
from splinter.worker.reply import HEADER_BYTES, body_bytes_max, count, finish, refuse, refuse_extension_error
from splinter.worker.stages import EXTENSION, SERVE, stage
from splinter.worker.tasks import fair
from splinter.worker.tasks.once import answer, begin_task, recall, refuse_once, settle_task

PENDING = -1  # the task lives on; its reply comes later

_TENANT_BYTES = TENANT.itemsize
_SLOT_MASK = limits.EXTENSIONS_MAX - 1
_FIRST_SHIFT_MAX = 3  # a first slice has at least an eighth of the budget: one read
_SHORT_SHIFT = 2  # a short slice has a quarter of the budget
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
def invoke(w: int, header: int, key_length: int, value_length: int, origin: int, chunk: int, known: int) -> int:
    """Start the extension that the request's key names. Returns the reply's length or :data:`PENDING`.

    ``known``: address of its record, when this turn has found it already, else 0.
    """
    if key_length > limits.EXTENSION_NAME_BYTES_MAX:
        return refuse(w, header, Status.NO_EXTENSION)
    name = header + HEADER_BYTES
    tenant = load32(header + H_TENANT)
    record = known if known != 0 else _find_record(w, tenant, name, key_length)
    if record == 0:
        return refuse_once(w, header, Status.NO_EXTENSION)
    wanted = load64(header + H_OBJECT_VERSION)
    if wanted != 0 and wanted != load64(record + R_SIGNATURE_HASH):
        return refuse_once(w, header, Status.BAD_SIGNATURE)
    if value_length < load32(record + R_ARGUMENTS_BYTES_MIN):
        return refuse_once(w, header, Status.BAD_ARGUMENTS)
    slot = load32(record + R_STATISTICS) & _SLOT_MASK
    counters = load64(w + W_EXTENSION_COUNTERS) + slot * EXTENSION_COUNTERS_BYTES
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
            return answer(w, header, recorded)
    free_length = load32(w + W_FREE_LENGTH)
    must_queue = fair.must_queue(w, tenant)
    # What is told to try again has written nothing: what may write is not begun where it could not go on.
    if free_length == 0 or ((must_queue or writes) and not fair.has_room(w, tenant, free_length - 1)):
        return refuse(w, header, Status.BUSY)
    task = load64(w + W_TASKS) + load32(load64(w + W_FREE_TASKS) + (free_length - 1) * 4) * TASK_BYTES
    store32(w + W_FREE_LENGTH, free_length - 1)
    worker_point(w, WorkerPoint.TASK_TAKEN)

    frame = load64(task + T_FRAME)
    start_frame(frame)
    store64(frame + F_ARGUMENTS, name + key_length)
    store32(frame + F_ARGUMENTS_LENGTH, value_length)
    store32(frame + F_TENANT, tenant)
    store64(frame + F_GENERATION, generation)
    begin_task(w, header, frame, is_once)
    store64(task + T_CODE, load64(record + R_CODE))
    store32(task + T_RESULT_KIND, load32(record + R_RESULT_KIND))
    store64(task + T_HEADER, header)
    store32(task + T_ORIGIN, origin)
    store64(task + T_CHUNK, chunk)
    store64(task + T_CYCLES, 0)
    store64(task + T_STARTED, load64(w + W_HEARTBEAT))
    store64(task + T_COUNTERS, counters)
    store32(task + T_RESTARTS, 0)
    # A newer epoch than this turn's would not cover what the task read in it; the worker's published one may be another
    # task's, and would never move on.
    store64(task + T_EPOCH, load64(w + W_TURN_EPOCH))
    if must_queue:
        store32(task + T_YIELDS, 0)
        return _wait(w, task, tenant)
    begin_resumes(w)
    store32_release(task + T_STATE, TASK_RUNNING)
    # What others of this batch wait for is short, also when many invokes of it turn out to be long.
    first_yields = load32(w + W_FIRST_YIELDS)
    outcome = _resume(w, task, tenant, load64(w + W_TASK_BUDGET) >> min(first_yields, _FIRST_SHIFT_MAX))[0]
    if outcome == RESUME_YIELD:
        store32(w + W_FIRST_YIELDS, first_yields + 1)
        if writes or fair.has_room(w, tenant, free_length - 1):
            store32(task + T_YIELDS, 1)
            return _wait(w, task, tenant)
        count(load64(task + T_COUNTERS) + X_INVOCATIONS)
        store32_release(task + T_STATE, TASK_REPLYING)
        length = refuse(w, header, Status.BUSY)
    else:
        length = _reply(w, task, outcome)
    release_task(w, task)
    return length


@njit(cache=True)
def _wait(w: int, task: int, tenant: int) -> int:
    """Queue a new task. Only now does it outlive this turn of the loop: from here on it holds the turn's epoch."""
    set_limits(w, task, tenant)
    if load32(w + W_TASKS_LIVE) == 0:
        store64(w + W_OLDEST_EPOCH, load64(task + T_EPOCH))
    store32(w + W_TASKS_LIVE, load32(w + W_TASKS_LIVE) + 1)
    fair.enqueue(w, task, tenant)
    worker_point(w, WorkerPoint.TASK_WAITS)
    return PENDING


@njit(cache=True)
def _find_record(w: int, tenant: int, name: int, name_length: int) -> int:
    """Address of the abi.RECORD of a tenant's extension, or 0."""
    found = store_find(load64(w + W_STORE), tenant, limits.TABLE_EXTENSIONS, name, name_length, 0)
    return object_value(found) if found != 0 else 0


@njit(cache=True)
def start_frame(frame: int) -> None:
    """Set a frame's coroutine to its beginning; arguments and tenant are the caller's to set."""
    store32(frame + F_STATE, 0)
    store32(frame + F_LINE, 0)
    store32(frame + F_ERROR, 0)
    store32(frame + F_RESULT_LENGTH, 0)
    store64(frame + F_PUT_BYTES, 0)


@njit(cache=True, forceinline=True)
def _resume(w: int, task: int, tenant: int, budget: int) -> tuple[int, int]:
    """Run one slice of a task, whose state is RUNNING; returns its outcome and time in ticks."""
    frame = load64(task + T_FRAME)
    store64(frame + F_BUDGET, budget)
    store64_release(w + W_RUNNING_TASK, task)
    worker_point(w, WorkerPoint.TASK_RUNNING)
    stage(w, SERVE)
    outcome = call_resume(load64(task + T_CODE), frame, load64(w + W_CONTEXT))
    stage(w, EXTENSION)
    used = end_resume(w, tenant)
    count(w + N_RESUMES)
    counters = load64(task + T_COUNTERS)
    add(counters + X_CYCLES, used)
    add(task + T_CYCLES, used)
    if outcome == RESUME_YIELD:
        store64_release(w + W_RUNNING_TASK, 0)  # of one that ended, when its reply is written: it comes from the extension
        count(w + N_YIELDS)
        count(counters + X_YIELDS)
    return outcome, used


@njit(cache=True)
def set_limits(w: int, task: int, tenant: int) -> None:
    """What a task that yielded may use in all: its tenant's limits, where it has any, else the server's."""
    record = load64(w + W_TENANTS) + tenant * _TENANT_BYTES
    yields_max = load32(record + T_TASK_YIELDS_MAX)
    milliseconds_max = load32(record + T_TASK_MILLISECONDS_MAX)
    if yields_max == 0:
        yields_max = load64(w + W_TASK_YIELDS_MAX)
    wall_milliseconds_max = load32(record + T_TASK_WALL_MILLISECONDS_MAX)
    if milliseconds_max == 0:
        milliseconds_max = load64(w + W_TASK_MILLISECONDS_MAX)
    if wall_milliseconds_max == 0:
        wall_milliseconds_max = load64(w + W_TASK_WALL_MILLISECONDS_MAX)
    a_millisecond = load64(w + W_CYCLES_PER_MILLISECOND)
    store32(task + T_YIELDS_MAX, yields_max)
    store64(task + T_CYCLES_MAX, milliseconds_max * a_millisecond)
    store64(task + T_WALL_CYCLES_MAX, wall_milliseconds_max * a_millisecond)


@njit(cache=True)
def generation_of(w: int, tenant: int) -> int:
    """Of the tenant that has this id; 0: there is none."""
    return load64_acquire(account_of(load64(w + W_STORE), tenant) + A_ACTIVE)


@njit(cache=True)
def is_orphan(w: int, task: int) -> bool:
    """Whether the tenant whose task it is has been removed."""
    frame = load64(task + T_FRAME)
    return load64(frame + F_GENERATION) != generation_of(w, load32(frame + F_TENANT))


@njit(cache=True)
def is_overdue(w: int, task: int) -> bool:
    """Whether a task that has yielded has been there for longer than a task may, as of the last heartbeat."""
    return load64(w + W_HEARTBEAT) - load64(task + T_STARTED) >= load64(task + T_WALL_CYCLES_MAX)


@njit(cache=True)
def _reply(w: int, task: int, outcome: int) -> int:
    """Write the reply of a task that ended over its request; returns its length, or DROP.

    The task is blamed for what goes wrong until that is done: result, error and line are what its extension left.
    """
    store32_release(task + T_STATE, TASK_REPLYING)  # from here on it cannot be begun anew
    worker_point(w, WorkerPoint.TASK_REPLYING)
    length = _write_reply(w, task, outcome)
    store64_release(w + W_RUNNING_TASK, 0)
    return length


@njit(cache=True, forceinline=True)
def _write_reply(w: int, task: int, outcome: int) -> int:
    frame, header = load64(task + T_FRAME), load64(task + T_HEADER)
    count(load64(task + T_COUNTERS) + X_INVOCATIONS)
    if outcome != RESUME_DONE:
        count(load64(task + T_COUNTERS) + X_ERRORS)
    if load64(frame + F_ACKNOWLEDGED) != 0:
        recorded = _settle(w, task, outcome)
        worker_point(w, WorkerPoint.TASK_RECORDED)
        if recorded != Status.OK:
            return answer(w, header, recorded)
    if outcome != RESUME_DONE:
        error = load32(frame + F_ERROR)
        if error == ExtensionError.ARGUMENTS:
            return refuse(w, header, Status.BAD_ARGUMENTS)
        code = load64(frame + F_RESULT) if error == ExtensionError.RAISED else 0
        return refuse_extension_error(w, header, load16(header + H_KEY_LENGTH), error, load32(frame + F_LINE), code)
    kind = load32(task + T_RESULT_KIND)
    if kind == ResultKind.SCALAR:
        store64(header + HEADER_BYTES, load64(frame + F_RESULT))
        return finish(w, header, Status.OK, 0, 8)
    if kind == ResultKind.BYTES:
        length = load32(frame + F_RESULT_LENGTH)
        if length > body_bytes_max(w, header):
            return refuse(w, header, Status.REPLY_TOO_LARGE)
        move_bytes(header + HEADER_BYTES, load64(frame + F_RESULT), length)  # it may be a slice of the arguments
        return finish(w, header, Status.OK, 0, length)
    return finish(w, header, Status.OK, 0, 0)


@njit(cache=True)
def _settle(w: int, task: int, outcome: int) -> int:
    """Record what :func:`_reply` is about to reply. Returns what settle_task does."""
    frame = load64(task + T_FRAME)
    if outcome != RESUME_DONE:
        error = load32(frame + F_ERROR)
        if error == ExtensionError.ARGUMENTS:
            return settle_task(w, frame, Outcome.STATUS, Status.BAD_ARGUMENTS, 0, 0, 0, 0)
        code = load64(frame + F_RESULT) if error == ExtensionError.RAISED else 0
        return settle_task(w, frame, Outcome.ERROR, error, load32(frame + F_LINE), code, 0, 0)
    kind = load32(task + T_RESULT_KIND)
    if kind == ResultKind.SCALAR:
        return settle_task(w, frame, Outcome.SCALAR, Status.OK, 0, load64(frame + F_RESULT), 0, 0)
    length = load32(frame + F_RESULT_LENGTH) if kind == ResultKind.BYTES else 0
    if length > body_bytes_max(w, load64(task + T_HEADER)):
        return settle_task(w, frame, Outcome.STATUS, Status.REPLY_TOO_LARGE, 0, 0, 0, 0)
    if length > 0:
        return settle_task(w, frame, Outcome.BODY, Status.OK, 0, 0, load64(frame + F_RESULT), length)
    return settle_task(w, frame, Outcome.STATUS, Status.OK, 0, 0, 0, 0)


@njit(cache=True)
def refuse_task(w: int, task: int) -> int:
    """Write the reply to a task that a predecessor's death has ended; returns its length, or DROP."""
    frame, header, status = load64(task + T_FRAME), load64(task + T_HEADER), load32(task + T_REFUSAL)
    if load64(frame + F_ACKNOWLEDGED) != 0:
        recorded = settle_task(w, frame, Outcome.STATUS, status, 0, 0, 0, 0)
        if recorded != Status.OK:
            return answer(w, header, recorded)
    return refuse(w, header, status)


@njit(cache=True)
def release_task(w: int, task: int) -> None:
    """Give a task back; it is in no queue."""
    store32_release(task + T_STATE, TASK_FREE)
    worker_point(w, WorkerPoint.TASK_RELEASED)
    free_length = load32(w + W_FREE_LENGTH)
    store32(load64(w + W_FREE_TASKS) + free_length * 4, (task - load64(w + W_TASKS)) // TASK_BYTES)
    store32(w + W_FREE_LENGTH, free_length + 1)


@njit(cache=True, forceinline=True)
def run_slice(w: int, task: int) -> int:
    """Resume the task that :func:`splinter.worker.tasks.fair.pick` gave; :func:`begin_resumes` before the first of a row.

    Returns its reply's length when it ended: the caller sends the reply and calls :func:`end_task`. Returns
    :data:`PENDING` when it yielded and waits again.
    """
    frame = load64(task + T_FRAME)
    tenant, budget = load32(frame + F_TENANT), load64(w + W_TASK_BUDGET)
    if is_orphan(w, task):
        fair.remove(w, task, tenant, 0)
        return _dismiss(w, task)
    store32_release(task + T_STATE, TASK_RUNNING)
    outcome, used = _resume(w, task, tenant, budget >> _SHORT_SHIFT if fair.is_short_slice(w) else budget)
    if outcome == RESUME_YIELD:
        yields = load32(task + T_YIELDS) + 1
        store32(task + T_YIELDS, yields)
        has_budget = yields < load32(task + T_YIELDS_MAX) and load64(task + T_CYCLES) < load64(task + T_CYCLES_MAX)
        is_late = is_overdue(w, task)
        if has_budget and not is_late:
            fair.go_on(w, task, tenant, used)
            return PENDING
        if is_late:
            count(w + N_OVERDUE)
        store32(frame + F_ERROR, ExtensionError.TIME if has_budget else ExtensionError.BUDGET)
        outcome = RESUME_ERROR
    fair.remove(w, task, tenant, used)
    return _reply(w, task, outcome)


@njit(cache=True)
def _dismiss(w: int, task: int) -> int:
    """End a task, which is in no queue any more, because its tenant was removed; returns its reply's length."""
    store32_release(task + T_STATE, TASK_REPLYING)
    worker_point(w, WorkerPoint.TASK_REPLYING)
    count(w + N_ORPHANS)
    count(load64(task + T_COUNTERS) + X_INVOCATIONS)
    return refuse(w, load64(task + T_HEADER), Status.UNKNOWN_TENANT)


@njit(cache=True)
def cut_short(w: int, task: int) -> int:
    """End a waiting task that :func:`splinter.worker.tasks.review.next_to_end` named. Returns what :func:`run_slice` does."""
    frame = load64(task + T_FRAME)
    fair.take_out(w, task, load32(frame + F_TENANT))
    worker_point(w, WorkerPoint.TASK_OUT)
    if is_orphan(w, task):
        return _dismiss(w, task)
    is_late = is_overdue(w, task)
    count(w + (N_OVERDUE if is_late else N_GAVE_WAY))
    store32(frame + F_ERROR, ExtensionError.TIME if is_late else ExtensionError.MEMORY_HELD)
    return _reply(w, task, RESUME_ERROR)


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
