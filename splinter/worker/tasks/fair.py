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

from splinter.ext.abi import F_TENANT
from splinter.native.atomics import load32, load64, store32, store32_release, store64
from splinter.worker.accounts import window_cycles
from splinter.worker.layout import (
    W_ACTIVE,
    W_ACTIVE_BEFORE,
    W_ALLOWANCE,
    W_CYCLES_PER_MILLISECOND,
    W_FRAMES,
    W_OLD_CREDIT,
    W_OLD_NEXT,
    W_PICKED,
    W_QUANTUM,
    W_RING_HEAD,
    W_RING_LENGTH,
    W_RING_TAIL,
    W_RUN_LENGTH,
    W_SHARES,
    W_TASKS,
    W_TASKS_COUNT,
    W_TASKS_PER_TENANT,
    W_WINDOW_CYCLES,
    W_YOUNG_CYCLES,
)
from splinter.worker.tasks.layout import (
    FRAME_BYTES,
    S_CREDIT,
    S_HEAD,
    S_NEXT,
    S_TAIL,
    S_WAITING,
    T_CYCLES,
    T_NEXT,
    T_STATE,
    TASK_BYTES,
    TASK_READY,
    TENANT_SHARE_BYTES,
)

YOUNG, OLD = 0, 1  # levels
_QUANTUM_SHIFT = 8  # of a millisecond: 4 µs
_YOUNG_SHIFT = 3  # of a millisecond: 125 µs, more than 128 reads of cold objects take
_WINDOW_SHIFT = 5  # times a millisecond: 32 ms
_OLD_SHIFT = 6  # old tasks get 1/64 of the time that others take
_VISITS_MAX = 16  # tenants in debt that one decision passes over
_DEBT_QUANTA_MAX = 256  # a millisecond: what one slice without a yield may cost its tenant later
_BY_TIME, _BY_SHARE, _BY_CREDIT, _IDLE = 0, 1, 2, 3  # why a task was picked


@njit(cache=True)
def reset(w: int) -> None:
    """No task is queued. A tenant that had any queued still has a task's record, so its queue is found."""
    a_millisecond = load64(w + W_CYCLES_PER_MILLISECOND)
    store64(w + W_QUANTUM, a_millisecond >> _QUANTUM_SHIFT)
    store64(w + W_YOUNG_CYCLES, a_millisecond >> _YOUNG_SHIFT)
    store64(w + W_WINDOW_CYCLES, a_millisecond << _WINDOW_SHIFT)
    for level in range(2):
        store32(w + W_RING_HEAD + level * 4, 0)
        store32(w + W_RING_TAIL + level * 4, 0)
        store32(w + W_RING_LENGTH + level * 4, 0)
    store32(w + W_RUN_LENGTH, 0)
    frames = load64(w + W_FRAMES)
    for index in range(load32(w + W_TASKS_COUNT)):
        share = _share(w, load32(frames + index * FRAME_BYTES + F_TENANT))
        for word in range(0, TENANT_SHARE_BYTES, 8):
            store64(share + word, 0)


@njit(cache=True)
def _share(w: int, tenant: int) -> int:
    return load64(w + W_SHARES) + tenant * TENANT_SHARE_BYTES


@njit(cache=True)
def has_room(w: int, tenant: int, tasks_free: int) -> bool:
    """Whether one more of a tenant's tasks may wait, where so many are free: the last is left to those that never wait."""
    return tasks_free > 0 and load32(_share(w, tenant) + S_WAITING) < load64(w + W_TASKS_PER_TENANT)


@njit(cache=True)
def is_over_share(w: int, tenant: int) -> bool:
    """Whether a tenant has used more of the current window than an equal share of a whole one."""
    active = max(load32(w + W_ACTIVE), load32(w + W_ACTIVE_BEFORE))
    return window_cycles(w, tenant) * active > load64(w + W_WINDOW_CYCLES)


@njit(cache=True)
def must_queue(w: int, tenant: int) -> bool:
    """Whether an invoke of this tenant's waits for its turn: others' young tasks wait, and it has had its share."""
    tenants = load32(w + W_RING_LENGTH)
    if tenants == 0 or (tenants == 1 and load32(w + W_RING_HEAD) == tenant):
        return False
    return is_over_share(w, tenant)


# --- rings of tenants and queues of tasks ------------------------------------------------------------------------------


@njit(cache=True)
def enqueue(w: int, task: int, tenant: int) -> None:
    """A task waits for its next slice, as the last of its tenant's that are as young or old."""
    level = YOUNG if load64(task + T_CYCLES) < load64(w + W_YOUNG_CYCLES) else OLD
    share, tasks = _share(w, tenant), load64(w + W_TASKS)
    number = (task - tasks) // TASK_BYTES + 1
    store32(task + T_NEXT, 0)
    store32_release(task + T_STATE, TASK_READY)
    last = load32(share + S_TAIL + level * 4)
    store32(share + S_TAIL + level * 4, number)
    if last != 0:
        store32(tasks + (last - 1) * TASK_BYTES + T_NEXT, number)
    else:
        store32(share + S_HEAD + level * 4, number)
        _join(w, level, tenant, load64(share + S_CREDIT + level * 8) > 0)
    store32(share + S_WAITING, load32(share + S_WAITING) + 1)
    store32(w + W_RUN_LENGTH, load32(w + W_RUN_LENGTH) + 1)


@njit(cache=True)
def _join(w: int, level: int, tenant: int, first: bool) -> None:
    """Put a tenant into a ring: first, when its turn is not over, else last."""
    head, tail = w + W_RING_HEAD + level * 4, w + W_RING_TAIL + level * 4
    following = load32(head)
    if following == 0:
        store32(head, tenant)
        store32(tail, tenant)
        store32(_share(w, tenant) + S_NEXT + level * 4, 0)
    elif first:
        store32(_share(w, tenant) + S_NEXT + level * 4, following)
        store32(head, tenant)
    else:
        store32(_share(w, tenant) + S_NEXT + level * 4, 0)
        store32(_share(w, load32(tail)) + S_NEXT + level * 4, tenant)
        store32(tail, tenant)
    store32(w + W_RING_LENGTH + level * 4, load32(w + W_RING_LENGTH + level * 4) + 1)


@njit(cache=True)
def _leave(w: int, level: int) -> int:
    """Take the first tenant out of a ring, which is not empty."""
    head = w + W_RING_HEAD + level * 4
    tenant = load32(head)
    following = load32(_share(w, tenant) + S_NEXT + level * 4)
    store32(head, following)
    if following == 0:
        store32(w + W_RING_TAIL + level * 4, 0)
    store32(w + W_RING_LENGTH + level * 4, load32(w + W_RING_LENGTH + level * 4) - 1)
    return tenant


@njit(cache=True)
def _rotate(w: int, level: int) -> None:
    if load32(w + W_RING_LENGTH + level * 4) > 1:
        _join(w, level, _leave(w, level), False)


@njit(cache=True)
def _task_at_head(w: int, level: int) -> int:
    """The next task of the ring's first tenant. It stays where it is until its slice has ended."""
    share = _share(w, load32(w + W_RING_HEAD + level * 4))
    return load64(w + W_TASKS) + (load32(share + S_HEAD + level * 4) - 1) * TASK_BYTES


@njit(cache=True, forceinline=True)
def _first_of_ring(w: int, level: int) -> int:
    """The next task of the first tenant that is not in debt, which is brought to the ring's head. The ring is not empty."""
    if load32(w + W_RING_LENGTH + level * 4) > 1:
        quantum = load64(w + W_QUANTUM)
        for _ in range(_VISITS_MAX):
            place = _share(w, load32(w + W_RING_HEAD + level * 4)) + S_CREDIT + level * 8
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
    if max(load32(w + W_ACTIVE), load32(w + W_ACTIVE_BEFORE)) < 2:
        return 0
    for _ in range(min(load32(w + W_RING_LENGTH + OLD * 4), _VISITS_MAX)):
        if not is_over_share(w, load32(w + W_RING_HEAD + OLD * 4)):
            return _task_at_head(w, OLD)
        _rotate(w, OLD)
    return 0


# --- decisions -----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def begin_slices(w: int, packets_cycles: int) -> None:
    """Tasks may follow now; packets took so many cycles of this turn."""
    store64(w + W_ALLOWANCE, packets_cycles)
    _accrue(w, packets_cycles)


@njit(cache=True)
def _accrue(w: int, used: int) -> None:
    """Others used the time of which old tasks have their part; they do not save it up."""
    store64(w + W_OLD_CREDIT, min(load64(w + W_OLD_CREDIT) + (used >> _OLD_SHIFT), load64(w + W_QUANTUM)))


@njit(cache=True, forceinline=True)
def pick(w: int, packets_wait: bool) -> int:
    """The task that runs next, or 0: the worker has packets to serve, or there is no task.

    Each task picked is resumed, and then :func:`go_on` or :func:`remove` is called for it.
    """
    young, old = load32(w + W_RING_LENGTH), load32(w + W_RING_LENGTH + OLD * 4)
    has_time = not packets_wait or load64(w + W_ALLOWANCE) > 0
    if old > 0:
        if load64(w + W_OLD_CREDIT) > 0:
            store32(w + W_PICKED, _BY_CREDIT)
            return _first_of_ring(w, OLD)
        if has_time and (young == 0 or load32(w + W_OLD_NEXT) != 0):
            task = _first_below_share(w)
            if task != 0:
                store32(w + W_PICKED, _BY_SHARE)
                store32(w + W_OLD_NEXT, 0)
                return task
    if young > 0 and has_time:
        store32(w + W_PICKED, _BY_TIME)
        store32(w + W_OLD_NEXT, 1)
        return _first_of_ring(w, YOUNG)
    if old > 0 and not packets_wait and young == 0:
        store32(w + W_PICKED, _IDLE)
        return _first_of_ring(w, OLD)
    return 0


@njit(cache=True)
def is_short_slice(w: int) -> bool:
    """Whether the task just picked is old: its slices are short, since what may come meanwhile matters more."""
    return load32(w + W_PICKED) != _BY_TIME


@njit(cache=True, forceinline=True)
def go_on(w: int, task: int, tenant: int, used: int) -> None:
    """The task just picked yielded: it waits behind its tenant's others, and its tenant behind others when its turn is over."""
    level = _charge(w, tenant, used)
    share = _share(w, tenant)
    if level == YOUNG and load64(task + T_CYCLES) >= load64(w + W_YOUNG_CYCLES):
        _pop(w, level, task, share)
        enqueue(w, task, tenant)
        return
    following = load32(task + T_NEXT)
    if following != 0:
        tasks = load64(w + W_TASKS)
        store32(task + T_NEXT, 0)
        store32(tasks + (load32(share + S_TAIL + level * 4) - 1) * TASK_BYTES + T_NEXT, (task - tasks) // TASK_BYTES + 1)
        store32(share + S_TAIL + level * 4, (task - tasks) // TASK_BYTES + 1)
        store32(share + S_HEAD + level * 4, following)
    store32_release(task + T_STATE, TASK_READY)
    if load64(share + S_CREDIT + level * 8) <= 0:
        _rotate(w, level)


@njit(cache=True)
def remove(w: int, task: int, tenant: int, used: int) -> None:
    """The task just picked ended."""
    level = _charge(w, tenant, used)
    _pop(w, level, task, _share(w, tenant))


@njit(cache=True)
def _pop(w: int, level: int, task: int, share: int) -> None:
    """Take the task at the head of the ring's first tenant's queue out of it."""
    following = load32(task + T_NEXT)
    store32(share + S_HEAD + level * 4, following)
    if following == 0:
        store32(share + S_TAIL + level * 4, 0)
        _leave(w, level)
    elif load64(share + S_CREDIT + level * 8) <= 0:
        _rotate(w, level)
    store32(share + S_WAITING, load32(share + S_WAITING) - 1)
    store32(w + W_RUN_LENGTH, load32(w + W_RUN_LENGTH) - 1)


@njit(cache=True)
def take_out(w: int, task: int, tenant: int) -> None:
    """A waiting task, wherever it stands, ends without another slice. Walks its tenant's queues, and the ring if it was the
    last of its level: only for what happens seldom."""
    share, tasks, total = _share(w, tenant), load64(w + W_TASKS), load32(w + W_TASKS_COUNT)
    number = (task - tasks) // TASK_BYTES + 1
    for level in range(2):
        before, at = 0, load32(share + S_HEAD + level * 4)
        for _ in range(total):
            if at == number or at == 0:
                break
            before, at = at, load32(tasks + (at - 1) * TASK_BYTES + T_NEXT)
        if at != number:
            continue
        following = load32(task + T_NEXT)
        if before == 0:
            store32(share + S_HEAD + level * 4, following)
        else:
            store32(tasks + (before - 1) * TASK_BYTES + T_NEXT, following)
        if following == 0:
            store32(share + S_TAIL + level * 4, before)
            if before == 0:
                _leave_anywhere(w, level, tenant)
        store32(share + S_WAITING, load32(share + S_WAITING) - 1)
        store32(w + W_RUN_LENGTH, load32(w + W_RUN_LENGTH) - 1)
        return


@njit(cache=True)
def _leave_anywhere(w: int, level: int, tenant: int) -> None:
    """Take a tenant that has no task of this level left out of its ring."""
    before, at = 0, load32(w + W_RING_HEAD + level * 4)
    for _ in range(load32(w + W_RING_LENGTH + level * 4)):
        if at == tenant:
            break
        before, at = at, load32(_share(w, at) + S_NEXT + level * 4)
    if before == 0:
        _leave(w, level)
        return
    following = load32(_share(w, tenant) + S_NEXT + level * 4)
    store32(_share(w, before) + S_NEXT + level * 4, following)
    if following == 0:
        store32(w + W_RING_TAIL + level * 4, before)
    store32(w + W_RING_LENGTH + level * 4, load32(w + W_RING_LENGTH + level * 4) - 1)


@njit(cache=True, forceinline=True)
def _charge(w: int, tenant: int, used: int) -> int:
    """Charge a slice of the task just picked; returns the task's level."""
    reason = load32(w + W_PICKED)
    level = YOUNG if reason == _BY_TIME else OLD
    if reason == _BY_CREDIT:
        store64(w + W_OLD_CREDIT, load64(w + W_OLD_CREDIT) - used)
    elif reason != _IDLE:
        store64(w + W_ALLOWANCE, load64(w + W_ALLOWANCE) - used)
        if load32(w + W_RING_LENGTH + OLD * 4) > 0:
            _accrue(w, used)
    if load32(w + W_RING_LENGTH + level * 4) > 1:  # else nobody waits for this tenant's turn to end
        place = _share(w, tenant) + S_CREDIT + level * 8
        store64(place, max(load64(place) - used, -_DEBT_QUANTA_MAX * load64(w + W_QUANTUM)))
    return level
