"""Requests whose clients want them executed once: what the packet says, what is recorded, what to answer.

A client asks for it by ``acknowledged`` in the header (``docs/reference/protocol.md``). A put or delete is recorded with its
effect. A task that may write is looked up when it begins, claims its request with its first write, and records what it replies
when it ends; of two runs of the same request the one that records first counts, the other ends without effect and
without a reply of its own. Extensions that never write are not recorded: to run them twice does no harm.
"""

from __future__ import annotations

from numba import njit

from splinter.errors import Status
from splinter.store.accounts import account_of
from splinter.store.changes import log_room
from splinter.store.clients import claim_begin, clients_sweep
from splinter.store.journal import participant_at, unlock
from splinter.store.objects import object_value, object_value_length
from splinter.store.operations import lock_active
from splinter.store.outcomes import (
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
from splinter.store.records import Account, Claim, Participant
from splinter.store.settling import claim_refusal, claim_settle, claim_settle_body
from splinter.worker.durable import show_refusal
from splinter.worker.records import Counters, Frame, Header, Worker
from splinter.worker.reply import DROP, body_bytes_max, refuse, reply_outcome


@njit(cache=True, forceinline=True)
def claim_of(w: int, header: int) -> int:
    """The claim for a request that is one write; 0 when its client does not ask for it to be executed once."""
    request, worker = Header(header), Worker(w)
    acknowledged = request.acknowledged
    if acknowledged == 0:
        return 0
    return claim_request(worker.store, worker.index, request.client, request.sequence, acknowledged, worker.clock_ns)


@njit(cache=True, forceinline=True)
def reply_recorded(w: int, header: int, status: int) -> int:
    """Answer a request that was not executed: with what is recorded (RECORDED), not at all (STALE), or with a status.

    Returns the reply's length, or DROP. The packet still is as it came. What it tells of may have to wait for the disk.
    """
    worker, counters = Worker(w), Counters(w)
    show_refusal(w, Header(header).tenant, status)
    if status == STALE:
        counters.stale += 1
        return DROP
    if status != RECORDED:
        return refuse(w, header, status)
    store = worker.store
    claimed = Claim(Participant(participant_at(store, worker.index)).claim)
    word, value = claimed.word, claimed.value
    kind, recorded = outcome_kind(word), outcome_status(word)
    if kind == Outcome.EFFECT and is_alive(store, value):  # it will reply when it has ended
        counters.stale += 1
        return DROP
    counters.duplicates += 1
    if kind == Outcome.EFFECT:  # it went with all processes of the server: what it wrote stands, and nobody goes on with it
        return refuse(w, header, Status.KILLED)
    body, length = 0, 0
    if kind == Outcome.BODY:
        kept = claimed.body
        body, length = object_value(kept), object_value_length(kept)
        if length > body_bytes_max(w, header):  # it was written when the MTU was greater
            return refuse(w, header, Status.REPLY_TOO_LARGE)
    return reply_outcome(w, header, kind, recorded, outcome_line(word), value, body, length)


@njit(cache=True)
def forget_clients(w: int, tenants: int, now_ns: int) -> None:
    """Go on with the round through the tenants that forgets clients which have been idle for too long."""
    worker = Worker(w)
    worker.clients_cursor = clients_sweep(worker.store, worker.index, worker.clients_cursor, tenants, now_ns)


# --- tasks ---------------------------------------------------------------------------------------------------------------


@njit(cache=True, forceinline=True)
def recall(w: int, header: int, refusal: int) -> int:
    """Check whether this invoke ran before. Returns OK if it may start, else the status for :func:`reply_recorded`.

    If it may start and ``refusal`` is not OK, the refusal is recorded as its outcome. The client has a record from here on,
    which will hold the outcome; when there is no memory for the record, or the disk cannot keep it, the invoke is refused.
    """
    worker = Worker(w)
    store, tenant = worker.store, Header(header).tenant
    me = participant_at(store, worker.index)
    claim = claim_of(w, header)
    status = lock_active(store, me, tenant)
    if status != Status.OK:
        return status
    status = claim_begin(store, me, tenant, claim, log_room(store, me, account_of(store, tenant)))
    if status == Status.OK:
        claim_refusal(store, me, tenant, claim, refusal)
    unlock(store, Account(account_of(store, tenant)).at.lock)
    return status


@njit(cache=True, forceinline=True)
def refuse_once(w: int, header: int, status: int) -> int:
    """Refuse an invoke for good: a duplicate that comes later is refused as well, whatever has changed."""
    if Header(header).acknowledged != 0:
        recorded = recall(w, header, status)
        if recorded != Status.OK and recorded != Status.DISK_FAILED:  # which is no news of an invoke that is refused anyway
            return reply_recorded(w, header, recorded)
    return refuse(w, header, status)


@njit(cache=True, forceinline=True)
def begin_task(w: int, header: int, frame_at: int, asks: bool) -> None:
    """Write down in a new task's frame whose request it is; not ``asks``: to be run as often as it comes."""
    frame, request = Frame(frame_at), Header(header)
    frame.client = request.client
    frame.sequence = request.sequence
    frame.acknowledged = request.acknowledged if asks else 0
    frame.since_ns = Worker(w).clock_ns


@njit(cache=True, forceinline=True)
def settle_task(
    w: int, frame_at: int, kind: int, status: int, line: int, value: int, body: int, length: int
) -> int:  # fmt: skip
    """Record what a task is about to reply, where its client asked for that. Returns OK; OUT_OF_MEMORY or QUOTA_EXCEEDED, when
    there is no room for the record, or the body; else what :func:`reply_recorded` is to answer. What has written nothing is not
    told while the disk cannot keep what was told.

    ``kind`` is an Outcome; of BODY ``body`` and ``length`` tell the bytes.
    """
    frame, worker = Frame(frame_at), Worker(w)
    if frame.acknowledged == 0:
        return Status.OK
    store, p, tenant = worker.store, worker.index, frame.tenant
    me = participant_at(store, p)
    has_written = frame.effect == EFFECT_WRITTEN
    sequence = frame.sequence
    claim = claim_request(store, p, frame.client, sequence, frame.acknowledged, worker.clock_ns)
    found = lock_active(store, me, tenant)
    if found != Status.OK:
        return Status.OK if has_written else found  # what it wrote is recorded, its reply is not
    room = Status.OK if has_written else log_room(store, me, account_of(store, tenant))
    found = claim_begin(store, me, tenant, claim, room)
    is_own = found == RECORDED and outcome_kind(Claim(claim).word) == Outcome.EFFECT
    is_forgotten = found in (Status.OUT_OF_MEMORY, Status.QUOTA_EXCEEDED)  # the record was there when it wrote
    if has_written and (is_own or is_forgotten):
        found = Status.OK
    if found == Status.OK:
        if kind == Outcome.BODY:
            found, settled = claim_settle_body(store, me, tenant, claim, status, value, body, length)
        else:
            settled = claim_settle(store, me, tenant, claim, outcome_word(sequence, kind, status, line), value)
        frame.shown = max(frame.shown, settled)
    unlock(store, Account(account_of(store, tenant)).at.lock)
    return found
