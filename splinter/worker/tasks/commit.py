"""The end of an isolated task that has something to write: all of it happens, with the record of its reply, or it begins
anew."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.ext.abi import ExtensionError, Isolation
from splinter.store.clients import body_key
from splinter.store.hashing import identity_of, store_hash
from splinter.store.layout import BODY_KEY_BYTES
from splinter.store.outcomes import Outcome, claim_request, outcome_word
from splinter.store.records import Claim
from splinter.store.transactions import note_write, store_transact
from splinter.store.turns import take_turn
from splinter.worker.records import Counters, Frame, Worker
from splinter.worker.tasks.layout import TASK_BYTES
from splinter.worker.tasks.pool import renew_epoch, repeat_slice, start_frame
from splinter.worker.tasks.records import Task
from splinter.worker.transaction import TRANSACTION_READS_BYTES

_TABLE_CLIENTS = limits.TABLE_CLIENTS
_CONFLICTS_LAST = 8 * limits.CONFLICTS_MAX  # that are not for want of a turn: then the task ends with CONFLICT


@njit(cache=True)
def commit_task(w: int, frame_at: int, kind: int, value: int, body: int, length: int) -> int:
    """Commit what a task has noted to write, and record what it replies where its client asked for that.

    ``kind`` (an Outcome), ``value``, ``body`` and ``length`` as :func:`splinter.worker.reply.reply_outcome` takes them. Returns
    what :func:`splinter.store.transactions.store_transact` does.
    """
    frame, worker = Frame(frame_at), Worker(w)
    store, p, tenant, claim = worker.store, worker.index, frame.tenant, 0
    writes, end = frame.transaction + TRANSACTION_READS_BYTES, frame.writes_end
    if frame.acknowledged != 0:
        claim = claim_request(store, p, frame.client, frame.sequence, frame.acknowledged, worker.clock_ns)
        claimed = Claim(claim)
        claimed.word = outcome_word(frame.sequence, kind, 0, 0)
        claimed.value = value
        if kind == Outcome.BODY:
            key = body_key(claim)
            identity = identity_of(tenant, _TABLE_CLIENTS, BODY_KEY_BYTES)
            hashed = store_hash(store, identity, key, BODY_KEY_BYTES)
            end = note_write(end, hashed, identity, key, body, length)
    return store_transact(store, p, tenant, frame.snapshot, frame.transaction, frame.reads_end, writes, end, claim)


@njit(cache=True)
def begin_anew(w: int, t: int, reason: int) -> bool:
    """Set a task whose transaction was in vain to its beginning; one without isolation to that of its slice. ``reason``: the
    ExtensionError CONFLICT, or BUSY, which is not counted. False: it has been in vain too often."""
    task, worker = Task(t), Worker(w)
    frame = Frame(task.frame)
    Counters(w).conflicts += 1
    if frame.isolation < Isolation.READS:
        repeat_slice(task.frame)
        return True
    if reason == ExtensionError.CONFLICT:
        task.conflicts += 1
        if task.conflicts > _CONFLICTS_LAST:
            return False
        if task.conflicts >= limits.CONFLICTS_MAX and task.turn == 0 and frame.isolation == Isolation.WRITES:
            task.turn = take_turn(worker.store, worker.index, frame.tenant, (t - worker.tasks) // TASK_BYTES + 1)
    start_frame(task.frame)
    renew_epoch(w, t)
    return True
