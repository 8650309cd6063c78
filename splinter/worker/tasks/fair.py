"""Which task runs next: fair among tenants by the time they use, and short before long.

What is served first, and why:

* **Packets before tasks, but never only packets.** Between two batches of packets tasks get as long as the batch took, at
  least one slice. While no packet waits they run slice after slice, with a look at the receive rings between.
* **Young before old** (least attained service, as in multi-level feedback queues; Corbató 1962, Nuyens & Wierman 2008). A
  task that has used 125 µs of CPU time is old: it will probably take long again, and who waits for it does not notice. An
  old task runs when nothing else is to be done, or when its tenant has used less than its share, and in any case for 1/64
  of the time.
* **Tenants in turn, by deficit round robin** (Shreedhar & Varghese, SIGCOMM 1995): each tenant with ready tasks gets a
  quantum of cycles a round, however many tasks it has and however long their slices are. Each step is O(1).
* **A share is counted in windows** of 32 ms: time over the number of tenants that used any. A tenant beyond its share does
  not start extensions at once while others' tasks wait: they queue. One below it has its old tasks run as if they were
  young. All time counts, that of native requests too.

Considered and rejected: one queue by virtual time (a heap: not O(1), and native requests would need a place in it); queues
by expected length (extensions do not say; one extension may be both short and long).

All of it is the worker's own and is made anew from the ``TASK`` records by a successor.
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load64, store32_release, store64
from splinter.worker.accounts import window_cycles
from splinter.worker.records import Frame, Worker
from splinter.worker.tasks.layout import FRAME_BYTES, TASK_BYTES, TASK_READY, TENANT_SHARE_BYTES
from splinter.worker.tasks.records import LEVEL_BYTES, Queue, Ring, Share, Task

YOUNG, OLD = 0, 1  # levels
_QUANTUM_SHIFT = 8  # of a millisecond: 4 µs
_YOUNG_SHIFT = 3  # of a millisecond: 125 µs, more than 128 reads of cold objects take
_WINDOW_SHIFT = 5  # times a millisecond: 32 ms
_OLD_SHIFT = 6  # old tasks get 1/64 of the time that others take
_VISITS_MAX = 16  # tenants in debt that one decision passes over
_DEBT_QUANTA_MAX = 256  # a millisecond: what one slice without a yield may cost its tenant later
_WORD_BYTES = 8
_BY_TIME, _BY_SHARE, _BY_CREDIT, _IDLE = 0, 1, 2, 3  # why a task was picked


@njit(cache=True)
def reset(w: int) -> None:
    """No task is queued. A tenant that had any queued still has a task's record, so its queue is found."""
    worker = Worker(w)
    a_millisecond = worker.cycles_per_millisecond
    worker.quantum = a_millisecond >> _QUANTUM_SHIFT
    worker.young_cycles = a_millisecond >> _YOUNG_SHIFT
    worker.window_cycles = a_millisecond << _WINDOW_SHIFT
    for level in range(2):
        ring = Ring(w + level * LEVEL_BYTES)
        ring.head = 0
        ring.tail = 0
        ring.length = 0
    worker.run_length = 0
    frames = worker.frames
    for index in range(worker.tasks_count):
        share = _share(w, Frame(frames + index * FRAME_BYTES).tenant)
        for word in range(0, TENANT_SHARE_BYTES, _WORD_BYTES):
            store64(share + word, 0)


@njit(cache=True)
def _share(w: int, tenant: int) -> int:
    return Worker(w).shares + tenant * TENANT_SHARE_BYTES


@njit(cache=True)
def _queue(w: int, tenant: int, level: int) -> int:
    return _share(w, tenant) + level * LEVEL_BYTES


@njit(cache=True)
def _credit(w: int, tenant: int, level: int) -> int:
    """Address of the cycles that a tenant may still use in this round."""
    return Share(_share(w, tenant)).credit + level * _WORD_BYTES


@njit(cache=True, forceinline=True)
def has_room(w: int, tenant: int, tasks_free: int) -> bool:
    """Whether one more of a tenant's tasks may wait, where so many are free: the last is left to those that never wait."""
    return tasks_free > 0 and Share(_share(w, tenant)).waiting < Worker(w).tasks_per_tenant


@njit(cache=True, forceinline=True)
def is_over_share(w: int, tenant: int) -> bool:
    """Whether a tenant has used more of the current window than an equal share of a whole one."""
    worker = Worker(w)
    active = max(worker.active, worker.active_before)
    return window_cycles(w, tenant) * active > worker.window_cycles


@njit(cache=True, forceinline=True)
def must_queue(w: int, tenant: int) -> bool:
    """Whether an invoke of this tenant's waits for its turn: others' young tasks wait, and it has had its share."""
    ring = Ring(w)
    tenants = ring.length
    if tenants == 0 or (tenants == 1 and ring.head == tenant):
        return False
    return is_over_share(w, tenant)


# --- rings of tenants and queues of tasks ------------------------------------------------------------------------------


@njit(cache=True)
def enqueue(w: int, t: int, tenant: int) -> None:
    """A task waits for its next slice, as the last of its tenant's that are as young or old."""
    task, worker = Task(t), Worker(w)
    level = YOUNG if task.cycles < worker.young_cycles else OLD
    queue, tasks = Queue(_queue(w, tenant, level)), worker.tasks
    number = (t - tasks) // TASK_BYTES + 1
    task.next = 0
    store32_release(task.at.state, TASK_READY)
    last = queue.tail
    queue.tail = number
    if last != 0:
        Task(tasks + (last - 1) * TASK_BYTES).next = number
    else:
        queue.head = number
        _join(w, level, tenant, load64(_credit(w, tenant, level)) > 0)
    Share(_share(w, tenant)).waiting += 1
    worker.run_length += 1


@njit(cache=True)
def _join(w: int, level: int, tenant: int, first: bool) -> None:
    """Put a tenant into a ring: first, when its turn is not over, else last."""
    ring, queue = Ring(w + level * LEVEL_BYTES), Queue(_queue(w, tenant, level))
    following = ring.head
    if following == 0:
        ring.head = tenant
        ring.tail = tenant
        queue.next = 0
    elif first:
        queue.next = following
        ring.head = tenant
    else:
        queue.next = 0
        Queue(_queue(w, ring.tail, level)).next = tenant
        ring.tail = tenant
    ring.length += 1


@njit(cache=True, forceinline=True)
def _leave(w: int, level: int) -> int:
    """Take the first tenant out of a ring, which is not empty."""
    ring = Ring(w + level * LEVEL_BYTES)
    tenant = ring.head
    following = Queue(_queue(w, tenant, level)).next
    ring.head = following
    if following == 0:
        ring.tail = 0
    ring.length -= 1
    return tenant


@njit(cache=True, forceinline=True)
def _rotate(w: int, level: int) -> None:
    if Ring(w + level * LEVEL_BYTES).length > 1:
        _join(w, level, _leave(w, level), False)


@njit(cache=True, forceinline=True)
def _task_at_head(w: int, level: int) -> int:
    """The next task of the ring's first tenant. It stays where it is until its slice has ended."""
    queue = Queue(_queue(w, Ring(w + level * LEVEL_BYTES).head, level))
    return Worker(w).tasks + (queue.head - 1) * TASK_BYTES


@njit(cache=True, forceinline=True)
def _first_of_ring(w: int, level: int) -> int:
    """The next task of the first tenant that is not in debt, which is brought to the ring's head. The ring is not empty."""
    ring = Ring(w + level * LEVEL_BYTES)
    if ring.length > 1:
        quantum = Worker(w).quantum
        for _ in range(_VISITS_MAX):
            place = _credit(w, ring.head, level)
            credit = load64(place)
            if credit > 0:
                break
            store64(place, credit + quantum)
            if credit + quantum > 0:
                break
            _rotate(w, level)
    return _task_at_head(w, level)


@njit(cache=True, forceinline=True)
def _first_below_share(w: int) -> int:
    """An old task of a tenant that has used less than its share, or 0. Where one tenant alone is active there is no share."""
    worker, ring = Worker(w), Ring(w + OLD * LEVEL_BYTES)
    if max(worker.active, worker.active_before) < 2:
        return 0
    for _ in range(min(ring.length, _VISITS_MAX)):
        if not is_over_share(w, ring.head):
            return _task_at_head(w, OLD)
        _rotate(w, OLD)
    return 0


# --- decisions -----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def begin_slices(w: int, packets_cycles: int) -> None:
    """Tasks may follow now; packets took so many cycles of this turn."""
    Worker(w).allowance = packets_cycles
    _accrue(w, packets_cycles)


@njit(cache=True, forceinline=True)
def _accrue(w: int, used: int) -> None:
    """Others used the time of which old tasks have their part; they do not save it up."""
    worker = Worker(w)
    worker.old_credit = min(worker.old_credit + (used >> _OLD_SHIFT), worker.quantum)


@njit(cache=True, forceinline=True)
def pick(w: int, packets_wait: bool) -> int:
    """The task that runs next, or 0: the worker has packets to serve, or there is no task.

    Each task picked is resumed, and then :func:`go_on` or :func:`remove` is called for it.
    """
    worker = Worker(w)
    young, old = Ring(w).length, Ring(w + OLD * LEVEL_BYTES).length
    has_time = not packets_wait or worker.allowance > 0
    if old > 0:
        if worker.old_credit > 0:
            worker.picked = _BY_CREDIT
            return _first_of_ring(w, OLD)
        if has_time and (young == 0 or worker.old_next != 0):
            t = _first_below_share(w)
            if t != 0:
                worker.picked = _BY_SHARE
                worker.old_next = 0
                return t
    if young > 0 and has_time:
        worker.picked = _BY_TIME
        worker.old_next = 1
        return _first_of_ring(w, YOUNG)
    if old > 0 and not packets_wait and young == 0:
        worker.picked = _IDLE
        return _first_of_ring(w, OLD)
    return 0


@njit(cache=True, forceinline=True)
def is_short_slice(w: int) -> bool:
    """Whether the task just picked is old: its slices are short, since what may come meanwhile matters more."""
    return Worker(w).picked != _BY_TIME


@njit(cache=True, forceinline=True)
def go_on(w: int, t: int, tenant: int, used: int) -> None:
    """The task just picked yielded: it waits behind its tenant's others, and its tenant behind others when its turn is over."""
    task, worker = Task(t), Worker(w)
    level = _charge(w, tenant, used)
    credit = _credit(w, tenant, level)  # here: asked for behind the stores below, it makes a resume 4 % longer
    if level == YOUNG and task.cycles >= worker.young_cycles:
        _pop(w, level, t, tenant)
        enqueue(w, t, tenant)
        return
    following = task.next
    if following != 0:
        queue, tasks = Queue(_queue(w, tenant, level)), worker.tasks
        number = (t - tasks) // TASK_BYTES + 1
        task.next = 0
        Task(tasks + (queue.tail - 1) * TASK_BYTES).next = number
        queue.tail = number
        queue.head = following
    store32_release(task.at.state, TASK_READY)
    if load64(credit) <= 0:
        _rotate(w, level)


@njit(cache=True, forceinline=True)
def remove(w: int, t: int, tenant: int, used: int) -> None:
    """The task just picked ended."""
    level = _charge(w, tenant, used)
    _pop(w, level, t, tenant)


@njit(cache=True, forceinline=True)
def _pop(w: int, level: int, t: int, tenant: int) -> None:
    """Take the task at the head of the queue of the ring's first tenant out of it."""
    queue, following = Queue(_queue(w, tenant, level)), Task(t).next
    queue.head = following
    if following == 0:
        queue.tail = 0
        _leave(w, level)
    elif load64(_credit(w, tenant, level)) <= 0:
        _rotate(w, level)
    Share(_share(w, tenant)).waiting -= 1
    Worker(w).run_length -= 1


@njit(cache=True)
def take_out(w: int, t: int, tenant: int) -> None:
    """A waiting task, wherever it stands, ends without another slice. Walks its tenant's queues, and the ring if it was the
    last of its level: only for what happens seldom."""
    worker = Worker(w)
    tasks, total = worker.tasks, worker.tasks_count
    number = (t - tasks) // TASK_BYTES + 1
    for level in range(2):
        queue = Queue(_queue(w, tenant, level))
        before, at = 0, queue.head
        for _ in range(total):
            if at == number or at == 0:
                break
            before, at = at, Task(tasks + (at - 1) * TASK_BYTES).next
        if at != number:
            continue
        following = Task(t).next
        if before == 0:
            queue.head = following
        else:
            Task(tasks + (before - 1) * TASK_BYTES).next = following
        if following == 0:
            queue.tail = before
            if before == 0:
                _leave_anywhere(w, level, tenant)
        Share(_share(w, tenant)).waiting -= 1
        worker.run_length -= 1
        return


@njit(cache=True)
def _leave_anywhere(w: int, level: int, tenant: int) -> None:
    """Take a tenant that has no task of this level left out of its ring."""
    ring = Ring(w + level * LEVEL_BYTES)
    before, at = 0, ring.head
    for _ in range(ring.length):
        if at == tenant:
            break
        before, at = at, Queue(_queue(w, at, level)).next
    if before == 0:
        _leave(w, level)
        return
    following = Queue(_queue(w, tenant, level)).next
    Queue(_queue(w, before, level)).next = following
    if following == 0:
        ring.tail = before
    ring.length -= 1


@njit(cache=True, forceinline=True)
def _charge(w: int, tenant: int, used: int) -> int:
    """Charge a slice of the task just picked; returns the task's level."""
    worker = Worker(w)
    reason = worker.picked
    level = YOUNG if reason == _BY_TIME else OLD
    if reason == _BY_CREDIT:
        worker.old_credit -= used
    elif reason != _IDLE:
        worker.allowance -= used
        if Ring(w + OLD * LEVEL_BYTES).length > 0:
            _accrue(w, used)
    if Ring(w + level * LEVEL_BYTES).length > 1:  # else nobody waits for this tenant's turn to end
        place = _credit(w, tenant, level)
        store64(place, max(load64(place) - used, -_DEBT_QUANTA_MAX * worker.quantum))
    return level
