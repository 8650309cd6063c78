"""Requests whose clients want them executed once: what the packet says, what is recorded, what to answer.

A client asks for it by ``acknowledged`` in the header (``docs/reference/protocol.md``). A put or delete is recorded with its
effect. A task that may write is looked up when it begins, claims its request with its first write, and records what it replies
when it ends; of two runs of the same request the one that records first counts, the other ends without effect and
without a reply of its own. Extensions that never write are not recorded: to run them twice does no harm.
"""

from __future__ import annotations

from numba import njit

from splinter.errors import Status
from splinter.ext.abi import F_ACKNOWLEDGED, F_CLIENT, F_EFFECT, F_SEQUENCE, F_SINCE_NS, F_TENANT
from splinter.native.atomics import load32, load64, store64
from splinter.store.clients import claim_begin, claim_settle, claim_settle_body, clients_sweep
from splinter.store.journal import participant_at, unlock
from splinter.store.layout import A_LOCK, K_BODY, K_VALUE, K_WORD, P_CLAIM
from splinter.store.operations import claim_refusal, lock_active, object_value, object_value_length
from splinter.store.outcomes import (
    EFFECT_NONE,
    EFFECT_WRITTEN,
    RECORDED,
    STALE,
    Outcome,
    claim_request,
    is_alive,
    outcome_kind,
    outcome_line,
    outcome_status,
    outcome_word,
)
from splinter.store.publication import account_of
from splinter.wire import H_ACKNOWLEDGED, H_CLIENT, H_SEQUENCE, H_TENANT
from splinter.worker.counters import count
from splinter.worker.layout import N_DUPLICATES, N_STALE, W_CLIENTS_CURSOR, W_CLOCK_NS, W_INDEX, W_STORE
from splinter.worker.reply import DROP, body_bytes_max, refuse, reply_outcome


@njit(cache=True)
def claim_of(w: int, header: int) -> int:
    """The claim for a request that is one write; 0 when its client does not ask for it to be executed once."""
    acknowledged = load64(header + H_ACKNOWLEDGED)
    if acknowledged == 0:
        return 0
    return claim_request(
        load64(w + W_STORE), load32(w + W_INDEX), load64(header + H_CLIENT), load64(header + H_SEQUENCE), acknowledged,
        load64(w + W_CLOCK_NS),
    )  # fmt: skip


@njit(cache=True)
def reply_recorded(w: int, header: int, status: int) -> int:
    """Answer a request that was not executed: with what is recorded (RECORDED), not at all (STALE), or with a status.

    Returns the reply's length, or DROP. The packet still is as it came.
    """
    if status == STALE:
        count(w + N_STALE)
        return DROP
    if status != RECORDED:
        return refuse(w, header, status)
    store = load64(w + W_STORE)
    claim = participant_at(store, load32(w + W_INDEX)) + P_CLAIM
    word, value = load64(claim + K_WORD), load64(claim + K_VALUE)
    kind, recorded = outcome_kind(word), outcome_status(word)
    if kind == Outcome.EFFECT and is_alive(store, value):  # it will reply when it has ended
        count(w + N_STALE)
        return DROP
    count(w + N_DUPLICATES)
    body, length = 0, 0
    if kind == Outcome.BODY:
        kept = load64(claim + K_BODY)
        if kept == 0:
            return refuse(w, header, Status.ABORTED)
        body, length = object_value(kept), object_value_length(kept)
        if length > body_bytes_max(w, header):  # it was written when the MTU was greater
            return refuse(w, header, Status.REPLY_TOO_LARGE)
    return reply_outcome(w, header, kind, recorded, outcome_line(word), value, body, length)


@njit(cache=True)
def forget_clients(w: int, tenants: int, now_ns: int) -> None:
    """Go on with the round through the tenants that forgets clients which have been idle for too long."""
    cursor = clients_sweep(load64(w + W_STORE), load32(w + W_INDEX), load64(w + W_CLIENTS_CURSOR), tenants, now_ns)
    store64(w + W_CLIENTS_CURSOR, cursor)


# --- tasks ---------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def recall(w: int, header: int, refusal: int) -> int:
    """Check whether this invoke ran before. Returns OK if it may start, else the status for :func:`reply_recorded`.

    If it may start and ``refusal`` is not OK, the refusal is recorded as its outcome. The client has a record from here on,
    which will hold the outcome; when there is no memory for the record, the invoke is refused.
    """
    store, tenant = load64(w + W_STORE), load32(header + H_TENANT)
    me = participant_at(store, load32(w + W_INDEX))
    claim = claim_of(w, header)
    status = lock_active(store, me, tenant)
    if status != Status.OK:
        return status
    status = claim_begin(store, me, tenant, claim)
    if status == Status.OK:
        claim_refusal(store, me, claim, refusal)
    unlock(store, account_of(store, tenant) + A_LOCK)
    return status


@njit(cache=True)
def refuse_once(w: int, header: int, status: int) -> int:
    """Refuse an invoke for good: a duplicate that comes later is refused as well, whatever has changed."""
    if load64(header + H_ACKNOWLEDGED) != 0:
        recorded = recall(w, header, status)
        if recorded != Status.OK:
            return reply_recorded(w, header, recorded)
    return refuse(w, header, status)


@njit(cache=True)
def begin_task(w: int, header: int, frame: int, asks: bool) -> None:
    """Write down in a new task's frame whose request it is; not ``asks``: to be run as often as it comes."""
    store64(frame + F_CLIENT, load64(header + H_CLIENT))
    store64(frame + F_SEQUENCE, load64(header + H_SEQUENCE))
    store64(frame + F_ACKNOWLEDGED, load64(header + H_ACKNOWLEDGED) if asks else 0)
    store64(frame + F_SINCE_NS, load64(w + W_CLOCK_NS))
    store64(frame + F_EFFECT, EFFECT_NONE)


@njit(cache=True)
def settle_task(
    w: int, frame: int, kind: int, status: int, line: int, value: int, body: int, length: int
) -> int:  # fmt: skip
    """Record what a task is about to reply: OK, or the status for :func:`reply_recorded`, when another run of it was quicker.

    ``kind`` is an Outcome; of BODY ``body`` and ``length`` tell the bytes.
    """
    store, p, tenant = load64(w + W_STORE), load32(w + W_INDEX), load32(frame + F_TENANT)
    me = participant_at(store, p)
    has_written = load64(frame + F_EFFECT) == EFFECT_WRITTEN
    sequence = load64(frame + F_SEQUENCE)
    claim = claim_request(store, p, load64(frame + F_CLIENT), sequence, load64(frame + F_ACKNOWLEDGED), load64(w + W_CLOCK_NS))
    found = lock_active(store, me, tenant)
    if found != Status.OK:
        return Status.OK if has_written else found  # what it wrote is recorded, its reply is not
    found = claim_begin(store, me, tenant, claim)
    is_own = found == RECORDED and outcome_kind(load64(claim + K_WORD)) == Outcome.EFFECT
    is_forgotten = found in (Status.OUT_OF_MEMORY, Status.QUOTA_EXCEEDED)  # the record was there when it wrote
    if has_written and (is_own or is_forgotten):
        found = Status.OK
    if found == Status.OK:
        if kind == Outcome.BODY:
            claim_settle_body(store, me, tenant, claim, status, value, body, length)
        else:
            claim_settle(store, me, claim, outcome_word(sequence, kind, status, line), value)
    unlock(store, account_of(store, tenant) + A_LOCK)
    return found
