"""How long a task may go on: its tenant's limits, and the tenant itself."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load64_acquire
from splinter.store.accounts import account_of
from splinter.store.records import Account
from splinter.worker.admission import tenant_record
from splinter.worker.records import Frame, Tenant, Worker
from splinter.worker.tasks.records import Task


@njit(cache=True, forceinline=True)
def set_limits(w: int, t: int, tenant: int) -> None:
    """What a task that yielded may use in all: its tenant's limits, where it has any, else the server's."""
    worker, task = Worker(w), Task(t)
    own = Tenant(tenant_record(w, tenant))
    yields_max = own.task_yields_max
    milliseconds_max = own.task_milliseconds_max
    wall_milliseconds_max = own.task_wall_milliseconds_max
    if yields_max == 0:
        yields_max = worker.task_yields_max
    if milliseconds_max == 0:
        milliseconds_max = worker.task_milliseconds_max
    if wall_milliseconds_max == 0:
        wall_milliseconds_max = worker.task_wall_milliseconds_max
    a_millisecond = worker.cycles_per_millisecond
    task.yields_max = yields_max
    task.cycles_max = milliseconds_max * a_millisecond
    task.wall_cycles_max = wall_milliseconds_max * a_millisecond


@njit(cache=True, forceinline=True)
def generation_of(w: int, tenant: int) -> int:
    """Of the tenant that has this id; 0: there is none."""
    return load64_acquire(Account(account_of(Worker(w).store, tenant)).at.active)


@njit(cache=True, forceinline=True)
def is_orphan(w: int, t: int) -> bool:
    """Whether the tenant whose task it is has been removed."""
    frame = Frame(Task(t).frame)
    return frame.generation != generation_of(w, frame.tenant)


@njit(cache=True, forceinline=True)
def is_overdue(w: int, t: int) -> bool:
    """Whether a task that has yielded has been there for longer than a task may, as of the last heartbeat."""
    task = Task(t)
    return Worker(w).heartbeat - task.started >= task.wall_cycles_max
