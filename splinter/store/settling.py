"""What came of a request that changed no object is recorded: its refusal, or a task's end.

Who is told of it may be told again after the server was started again, so it goes into the log as well, with the number of a
commit that changes nothing. Replies of a tenant with durability "always" wait for commits by their numbers
(:mod:`splinter.worker.durable`): so they wait for this one too, the first reply and those to repetitions.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes
from splinter.store.accounts import account_of
from splinter.store.changes import is_logged, log_result
from splinter.store.classes import class_for
from splinter.store.hashing import identity_of, store_hash
from splinter.store.journal import commit, note
from splinter.store.layout import BODY_KEY_BYTES, DURABILITY_ALWAYS, O_KEY, OBJECT_BYTES
from splinter.store.objects import fill_header
from splinter.store.outcomes import Outcome, outcome_kind, outcome_word, record_outcome
from splinter.store.publication import publish
from splinter.store.records import Account, Claim, Result
from splinter.store.slots import peek_slot

_TABLE = limits.TABLE_CLIENTS


@njit(cache=True)
def claim_settle(store: int, me: int, tenant: int, claim: int, word: int, value: int) -> int:
    """Record the end of the claim's request that has no effect of its own, after :func:`splinter.store.clients.claim_begin` and
    under the same lock. Over an EFFECT it is the task's end, or its death's.

    Returns the number of the commit that it counts as; 0: it is not logged.
    """
    entry = Claim(claim).entry
    if entry == 0:
        return 0
    result = Result(entry)
    if not is_logged(me, account_of(store, tenant)) and outcome_kind(result.word) != Outcome.EFFECT:
        record_outcome(entry, word, value)
        return 0
    count = note(store, me, 0, result.at.value, value)
    count = note(store, me, count, result.at.word, word)
    return _commit_result(store, me, count, tenant, claim, word, value)


@njit(cache=True)
def _commit_result(store: int, me: int, count: int, tenant: int, claim: int, word: int, value: int) -> int:
    """Commit what is noted, where the tenant is logged counted and logged as a result. Returns its number or 0."""
    account_at = account_of(store, tenant)
    account, sequence = Account(account_at), 0
    if is_logged(me, account_at):
        sequence = account.sequence + 1
        count = note(store, me, count, account.at.sequence, sequence)
        count = log_result(store, me, count, tenant, sequence, claim, word, value)
    commit(store, me, count)
    return sequence


@njit(cache=True)
def claim_settle_body(
    store: int, me: int, tenant: int, claim: int, status: int, value: int, body: int, length: int
) -> tuple[int, int]:  # fmt: skip
    """As :func:`claim_settle`, for a reply whose body is to be kept, and charged to the tenant. Returns (OK, as claim_settle);
    or OUT_OF_MEMORY, QUOTA_EXCEEDED, BUSY with nothing recorded."""
    claimed = Claim(claim)
    if claimed.entry == 0:
        return Status.OK, 0
    sequence, key = claimed.sequence, claimed.key
    size_class = class_for(OBJECT_BYTES + BODY_KEY_BYTES + length)
    slot = peek_slot(store, me, size_class)
    if slot < 0:
        return -slot, 0
    fill_header(slot, tenant, _TABLE, key, BODY_KEY_BYTES, length)
    copy_bytes(slot + O_KEY + BODY_KEY_BYTES, body, length)
    claimed.word = outcome_word(sequence, Outcome.BODY, status, 0)
    claimed.value = value
    claimed.count = 0
    hashed = store_hash(store, identity_of(tenant, _TABLE, BODY_KEY_BYTES), key, BODY_KEY_BYTES)
    failed = publish(store, me, tenant, _TABLE, key, BODY_KEY_BYTES, hashed, slot, size_class, 0, 0, claim)
    if failed != Status.OK or Account(account_of(store, tenant)).durability != DURABILITY_ALWAYS:
        return failed, 0
    return Status.OK, _commit_result(store, me, 0, tenant, claim, claimed.word, value)  # the body itself is no commit


@njit(cache=True)
def claim_refusal(store: int, me: int, tenant: int, claim: int, status: int) -> None:
    """Record that a request had no effect, if it had none and this is its end: with the same lock as the attempt."""
    if claim != 0 and status != Status.OK and status != Status.BUSY:
        claimed = Claim(claim)
        if outcome_kind(claimed.word) == Outcome.STATUS:  # a task goes on
            claim_settle(store, me, tenant, claim, outcome_word(claimed.sequence, Outcome.STATUS, status, 0), 0)
