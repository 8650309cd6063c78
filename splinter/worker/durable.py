"""Replies that are held back until what they tell of is on the disk: for tenants whose durability is "always".

A reply may tell of a change that this request made, or of one that it saw. Both are in the change log, in shared memory; the
log process brings them to the disk. A reply waits, in the chunk that its request came in, for

* ``position``: of this worker's own ring, which must be durable up to there: what the request itself changed. 0: nothing;
* ``sequence``: of its tenant's commits, the last one that it shows (``shown``). What is on the disk already is told at once.

Meanwhile the worker goes on with others. Held replies stand in a queue in the order in which they came; the log process makes
groups of all rings, so that they become durable in about that order. A tenant has HELD_PER_TENANT of them at most in a worker:
a reply beyond them is dropped, and its client asks again. With the worker's death all of them are lost, as other replies on
their way.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native import libc
from splinter.native.atomics import fence, load64_acquire, store64, store64_release
from splinter.store.accounts import account_of
from splinter.store.layout import DURABILITY_ALWAYS
from splinter.store.outcomes import EFFECT_NONE
from splinter.store.records import Account, Descriptor, LogRing
from splinter.store.snapshots import last_deletion
from splinter.worker.latencies import record_since
from splinter.worker.layout import HELD_BYTES, OPCODES, TENANT_COUNTERS_BYTES
from splinter.worker.records import Counters, Frame, Header, Held, TenantCounters, Worker
from splinter.worker.reply import DROP
from splinter.worker.tasks.records import Task

HELD = -2  # in place of a reply's length: it waits for the disk

_HELD_MAX = limits.HELD_MAX
_HELD_PER_TENANT = limits.HELD_PER_TENANT


@njit(cache=True, forceinline=True)
def begin_showing(w: int) -> int:
    """Before a request is served: it has shown nothing. Returns the tail of the worker's ring, 0 where nothing is logged."""
    worker = Worker(w)
    worker.shown = 0
    return LogRing(worker.log).tail if worker.log != 0 else 0


@njit(cache=True, forceinline=True)
def show(w: int, version: int) -> None:
    """The reply will show an object of this version."""
    worker = Worker(w)
    worker.shown = max(worker.shown, version >> 1)


@njit(cache=True, forceinline=True)
def show_missing(w: int, tenant: int) -> None:
    """The reply will tell that there is no such object: so it shows the last deletion."""
    worker = Worker(w)
    if worker.log != 0 and tenant < limits.TENANTS_MAX:
        worker.shown = max(worker.shown, last_deletion(worker.store, tenant))


@njit(cache=True, forceinline=True)
def show_all(w: int, tenant: int) -> None:
    """The reply may tell of any commit of the tenant."""
    worker = Worker(w)
    if worker.log != 0 and tenant < limits.TENANTS_MAX:
        worker.shown = max(worker.shown, load64_acquire(Account(account_of(worker.store, tenant)).at.sequence))


@njit(cache=True, forceinline=True)
def show_refusal(w: int, tenant: int, status: int) -> None:
    """The reply will tell of this status: of any commit of the tenant, unless the request was not looked at."""
    if status != Status.BUSY and status != Status.DISK_FAILED:
        show_all(w, tenant)


@njit(cache=True)
def is_durable(w: int, tenant: int, position: int, sequence: int) -> bool:
    """Whether this worker's ring up to ``position``, and a tenant's commits up to ``sequence``, are on the disk."""
    worker = Worker(w)
    if position > load64_acquire(LogRing(worker.log).at.durable):
        return False
    return sequence <= load64_acquire(Account(account_of(worker.store, tenant)).at.durable)


@njit(cache=True)
def hold_back(w: int, header: int, chunk: int, reply: int, tail_before: int) -> int:
    """What becomes of a reply of a request that was served at once: its length, :data:`HELD`, or DROP.

    ``chunk``: as in the batch; ``tail_before``: what :func:`begin_showing` returned.
    """
    tail = LogRing(Worker(w).log).tail
    position = tail if tail != tail_before else 0
    return _hold(w, header, chunk, reply, position, Worker(w).shown, Worker(w).accounted_until)


@njit(cache=True)
def hold_back_task(w: int, chunk: int, reply: int, t: int) -> int:
    """The same of a task that has ended."""
    worker, task = Worker(w), Task(t)
    frame = Frame(task.frame)
    if worker.log == 0:
        return reply
    has_written = frame.writes != 0 or frame.effect != EFFECT_NONE
    position = LogRing(worker.log).tail if has_written else 0
    return _hold(w, task.header, chunk, reply, position, worker.shown, task.started)


@njit(cache=True)
def _hold(w: int, header: int, chunk: int, reply: int, position: int, sequence: int, started: int) -> int:
    worker, tenant = Worker(w), Header(header).tenant
    if tenant >= limits.TENANTS_MAX or Account(account_of(worker.store, tenant)).durability != DURABILITY_ALWAYS:
        return reply
    if is_durable(w, tenant, position, sequence):
        return reply
    tally = TenantCounters(worker.tenant_counters + tenant * TENANT_COUNTERS_BYTES)
    count = worker.held_tail - worker.held_head
    if count == _HELD_MAX or tally.held == _HELD_PER_TENANT:
        Counters(w).unheld += 1
        return DROP
    held = Held(worker.held + worker.held_tail % _HELD_MAX * HELD_BYTES)
    held.chunk = chunk
    held.reply = reply
    held.tenant = tenant
    held.position = position
    held.sequence = sequence
    held.started = started
    held.opcode = min(Header(header).opcode, OPCODES - 1)
    tally.held += 1
    worker.held_tail += 1
    _ask(w)
    return HELD


@njit(cache=True)
def _tell_awaited(w: int) -> None:
    """Tell the log process how many wait."""
    worker = Worker(w)
    store64_release(LogRing(worker.log).at.awaited, worker.held_tail - worker.held_head + worker.held_connections)


@njit(cache=True)
def ask_for_connections(w: int, more: int) -> None:
    """So many more connections of the Redis protocol have replies that wait for the disk (< 0: less)."""
    worker = Worker(w)
    worker.held_connections += more
    if more > 0:
        _ask(w)
    else:
        _tell_awaited(w)


@njit(cache=True)
def _ask(w: int) -> None:
    """Have the log process know that somebody waits."""
    _tell_awaited(w)
    fence()  # it says that it sleeps, and then looks whether somebody waits
    _wake_log(w)


@njit(cache=True)
def _wake_log(w: int) -> None:
    worker = Worker(w)
    if load64_acquire(Descriptor(worker.store).at.log_sleeps) != 0:
        store64(worker.scratch, 1)
        libc.write(worker.log_wake_fd, worker.scratch, 8)


@njit(cache=True, forceinline=True)
def press_log(w: int) -> None:
    """After a turn: wake the log process when so much waits for it that the ring would be full before it wakes by itself.

    One that falls asleep just now is woken after the next turn."""
    worker = Worker(w)
    if worker.log != 0:
        ring = LogRing(worker.log)
        if ring.tail - load64_acquire(ring.at.head) >= limits.LOG_WAKE_BYTES:
            _wake_log(w)


@njit(cache=True)
def next_durable(w: int) -> int:
    """Take the oldest held reply out, if it may be told now: the address of its HELD, or 0."""
    worker = Worker(w)
    if worker.held_head == worker.held_tail:
        return 0
    at = worker.held + worker.held_head % _HELD_MAX * HELD_BYTES
    held = Held(at)
    if not is_durable(w, held.tenant, held.position, held.sequence):
        return 0
    TenantCounters(worker.tenant_counters + held.tenant * TENANT_COUNTERS_BYTES).held -= 1
    worker.held_head += 1
    _tell_awaited(w)
    record_since(w, held.opcode, held.started)
    return at


@njit(cache=True, forceinline=True)
def are_held(w: int) -> bool:
    """Whether any reply waits for the disk."""
    worker = Worker(w)
    return worker.held_head != worker.held_tail or worker.held_connections != 0


@njit(cache=True)
def forget_held(w: int) -> None:
    """A predecessor's held replies went with it: their chunks are given back, and their clients ask again."""
    worker = Worker(w)
    while worker.held_head != worker.held_tail:
        held = Held(worker.held + worker.held_head % _HELD_MAX * HELD_BYTES)
        TenantCounters(worker.tenant_counters + held.tenant * TENANT_COUNTERS_BYTES).held = 0
        worker.held_head += 1
    worker.held_connections = 0
    if worker.log != 0:
        _tell_awaited(w)
