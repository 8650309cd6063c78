"""How long a task may go on: its tenant's limits, and the tenant itself."""

from __future__ import annotations

from numba import njit

from splinter.ext.abi import (
    F_GENERATION,
    F_TENANT,
)
from splinter.native.atomics import (
    load32,
    load64,
    load64_acquire,
    store32,
    store64,
)
from splinter.net.tenants import T_TASK_MILLISECONDS_MAX, T_TASK_WALL_MILLISECONDS_MAX, T_TASK_YIELDS_MAX, TENANT
from splinter.store.layout import A_ACTIVE
from splinter.store.publication import account_of
from splinter.worker.layout import (
    W_CYCLES_PER_MILLISECOND,
    W_HEARTBEAT,
    W_STORE,
    W_TASK_MILLISECONDS_MAX,
    W_TASK_WALL_MILLISECONDS_MAX,
    W_TASK_YIELDS_MAX,
    W_TENANTS,
)
from splinter.worker.tasks.layout import (
    T_CYCLES_MAX,
    T_FRAME,
    T_STARTED,
    T_WALL_CYCLES_MAX,
    T_YIELDS_MAX,
)

_TENANT_BYTES = TENANT.itemsize


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
