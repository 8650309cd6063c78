"""What the rest of the system does with the store: get, put, delete.

``store`` is the address of the descriptor, ``p`` the number of the calling participant, which has entered an epoch
(``splinter.store.epochs``). Keys and values are addresses and lengths in bytes; they may lie anywhere, and are
copied. Every function is safe to be killed in, at any instruction.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load64, load64_acquire
from splinter.store.accounts import account_of
from splinter.store.changes import log_room
from splinter.store.classes import class_bytes, class_for
from splinter.store.clients import claim_begin, client_leaves
from splinter.store.clock import moment_in
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import find_entry, prefetch_bucket, prefetch_object, word_object
from splinter.store.journal import lock_tenant, participant_at, unlock
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import LARGE_FORM, O_KEY
from splinter.store.objects import (
    fill_header,
    is_over,
    object_bytes,
    object_form,
    object_key,
    object_key_length,
    object_value,
    object_value_length,
    set_expires,
)
from splinter.store.outcomes import Outcome, outcome_kind
from splinter.store.parts import are_whole
from splinter.store.publication import drop_unnamed, remove_key
from splinter.store.records import Account, Claim, Object, Participant
from splinter.store.room import place_with_room, publish_with_room
from splinter.store.roster import NO_PLACE
from splinter.store.settling import claim_refusal
from splinter.store.slots import peek_slot
from splinter.store.snapshots import committed, find_at
from splinter.store.turns import turn_is_others

_KEY_BYTES_MAX = limits.KEY_BYTES_MAX
_VALUE_BYTES_MAX = limits.VALUE_BYTES_MAX
_TABLES_MAX = limits.TABLES_MAX
_TENANTS_MAX = limits.TENANTS_MAX
_LENGTH_MASK = LARGE_FORM - 1


# --- get -------------------------------------------------------------------------------------------------------------------


@njit(cache=True, forceinline=True)
def store_find(store: int, tenant: int, table: int, key: int, key_length: int, hashed: int = 0) -> int:
    """Address of the object of a key of 1 … KEY_BYTES_MAX bytes, or 0. ``hashed``: the key's hash, where it is known.

    The object stays as it is as long as the caller's epoch is not newer than it was at this call.
    """
    identity = identity_of(tenant, table, key_length)
    if hashed == 0:
        hashed = store_hash(store, identity, key, key_length)
    word = find_entry(store, hashed, identity, key, key_length)[1]
    found = word_object(store, word) if word != 0 else 0
    if found != 0 and Object(found).version & 1 == 0:
        return found
    return committed(store, tenant, identity, key, key_length, hashed, found)


@njit(cache=True)
def store_find_at(store: int, tenant: int, table: int, key: int, key_length: int, hashed: int, snapshot: int) -> int:
    """As :func:`store_find`, of a snapshot that the caller took in its present epoch; or UNKNOWN
    (:mod:`splinter.store.snapshots`)."""
    identity = identity_of(tenant, table, key_length)
    if hashed == 0:
        hashed = store_hash(store, identity, key, key_length)
    return find_at(store, tenant, identity, key, key_length, hashed, snapshot)


@njit(cache=True, forceinline=True)
def store_key_hash(store: int, tenant: int, table: int, key: int, key_length: int) -> int:
    """A key's hash, for :func:`store_prefetch` and for whoever looks it up."""
    return store_hash(store, identity_of(tenant, table, key_length), key, key_length)


@njit(cache=True)
def store_prefetch(store: int, first: int, last: int, step: int) -> None:
    """Ask for the memory that look-ups of several keys need: their hashes (0: there is none) stand at address ``first`` and
    every ``step`` bytes behind it, before ``last``.

    All buckets are asked for in a row: each is in a page that the processor has to find first, and it looks for several at a
    time only where nothing else stands between. Then come the objects that these name.
    """
    for at in range(first, last, step):
        if load64(at) != 0:
            prefetch_bucket(store, load64(at))
    for at in range(first, last, step):
        if load64(at) != 0:
            prefetch_object(store, load64(at))


# --- put, expire, delete ----------------------------------------------------------------------------------------------


@njit(cache=True)
def lock_active(store: int, me: int, tenant: int) -> int:
    """Take the lock of an active tenant. Returns OK, and otherwise holds nothing."""
    if tenant < 1 or tenant >= _TENANTS_MAX:
        return Status.UNKNOWN_TENANT
    account = Account(account_of(store, tenant))
    if not lock_tenant(store, me, account.at.lock):
        return Status.BUSY
    if load64_acquire(account.at.active) == 0:
        unlock(store, account.at.lock)
        return Status.UNKNOWN_TENANT
    return Status.OK


@njit(cache=True)
def lock_to_write(store: int, me: int, tenant: int, table: int, claim: int, can_lack_record: bool = False) -> int:
    """As :func:`lock_active`, for who changes an object on behalf of ``claim`` (0: without one): BUSY also while another one
    has the tenant's turn, which is for the tenant's own tables, and while the disk is behind; DISK_FAILED.

    With a claim also what :func:`splinter.store.clients.claim_begin` says, and first whether the request was executed: whatever
    keeps others from writing now, who repeats it is told what came of it. ``can_lack_record``: no memory for the record of a
    client is no reason to refuse it.
    """
    status = lock_active(store, me, tenant)
    if status != Status.OK:
        return status
    account_at = account_of(store, tenant)
    account = Account(account_at)
    status = log_room(store, me, account_at)
    if table < _TABLES_MAX and account.turn != 0 and turn_is_others(store, me, account_at):
        status = Status.BUSY
    if claim != 0:
        status = claim_begin(store, me, tenant, claim, status)
        if can_lack_record and status in (Status.OUT_OF_MEMORY, Status.QUOTA_EXCEEDED):
            status = Status.OK
    if status != Status.OK:
        unlock(store, account.at.lock)
    return status


@njit(cache=True)
def store_put(
    store: int, p: int, tenant: int, table: int, key: int, key_length: int, value: int, value_length: int,
    expected_version: int, claim: int = 0, hashed: int = 0, expires: int = 0,
) -> int:  # fmt: skip
    """Make ``value`` the object of ``key``. ``expected_version``: of the object to be replaced; EXPECT_ABSENT: there
    must be none; 0: whatever is there, or nothing. ``claim``: of the request that this is done for
    (:mod:`splinter.store.outcomes`), so that it is done once; 0: none. ``hashed``: the key's hash, where it is known.
    ``expires``: when the object does (:func:`splinter.store.clock.moment_in`); 0: never.

    Returns a status: OK (see :func:`store_last_version`), VERSION_CHANGED, QUOTA_EXCEEDED, OUT_OF_MEMORY,
    UNKNOWN_TENANT, BAD_KEY, VALUE_TOO_LARGE, BUSY, with a claim also RECORDED and STALE; other than OK, nothing has
    changed.
    """
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        return Status.BAD_KEY
    if value_length < 0 or value_length > _VALUE_BYTES_MAX:
        return Status.VALUE_TOO_LARGE
    return put_form(
        store, p, tenant, table, key, key_length, value, value_length, expected_version, claim, hashed, expires
    )  # fmt: skip


@njit(cache=True)
def put_form(
    store: int, p: int, tenant: int, table: int, key: int, key_length: int, value: int, form: int, expected_version: int,
    claim: int, hashed: int, expires: int,
) -> int:  # fmt: skip
    """As :func:`store_put`, with sound lengths of key and value; ``form``: as of object_form. Also NOT_FOUND: parts of a large
    value are not there."""
    me = participant_at(store, p)
    size_class = class_for(object_bytes(key_length, form & _LENGTH_MASK, expires))
    slot = peek_slot(store, me, size_class)
    if slot > 0:
        fill_object(store, slot, tenant, table, key, key_length, value, form, expires)
    elif claim == 0:
        return -slot
    if hashed == 0:
        hashed = store_hash(store, identity_of(tenant, table, key_length), key, key_length)
    filled, refills = slot, Participant(me).refills
    status = lock_to_write(store, me, tenant, table, claim)
    if status != Status.OK:
        return status
    if claim != 0:
        slot = peek_slot(store, me, size_class)
        # The client's record took it, or it went away and came back when the record needed memory.
        if slot > 0 and (slot != filled or Participant(me).refills != refills):
            fill_object(store, slot, tenant, table, key, key_length, value, form, expires)
    status = -slot if slot < 0 else Status.OK
    if status == Status.OK and form & LARGE_FORM != 0:
        status = are_whole(store, me, tenant, table, key, key_length, value)
    if status == Status.OK:
        status = publish_filled(
            store, me, tenant, table, key, key_length, value, form, expires, hashed, slot, size_class, expected_version,
            claim, True,
        )  # fmt: skip
    if form & LARGE_FORM != 0 and status != Status.OK and status != Status.BUSY:
        drop_unnamed(store, me, tenant, value)
    claim_refusal(store, me, tenant, claim, status)
    unlock(store, Account(account_of(store, tenant)).at.lock)
    return status


@njit(cache=True)
def fill_object(
    store: int, slot: int, tenant: int, table: int, key: int, key_length: int, value: int, form: int, expires: int
) -> None:  # fmt: skip
    """Make a free slot, still in its list, a complete object that is not published; ``form``: as of object_form; ``expires``:
    when, or (0) never."""
    fill_header(slot, tenant, table, key, key_length, form)
    copy_bytes(slot + O_KEY + key_length, value, form & _LENGTH_MASK)
    set_expires(slot, expires)
    kill_point(store, KillPoint.SLOT_FILLED)


@njit(cache=True)
def publish_filled(
    store: int, me: int, tenant: int, table: int, key: int, key_length: int, value: int, form: int, expires: int,
    hashed: int, slot: int, size_class: int, expected_version: int, claim: int, may_evict: bool,
) -> int:  # fmt: skip
    """Publish what :func:`fill_object` has made in the slot of :func:`splinter.store.slots.peek_slot`, and have a place for it
    in the roster. The caller holds the tenant's lock. Returns a status."""
    status = publish_with_room(
        store, me, tenant, table, key, key_length, hashed, slot, size_class, 0, expected_version, claim, may_evict
    )  # fmt: skip
    if status != NO_PLACE:
        return status
    status = place_with_room(store, me, tenant, class_bytes(size_class), may_evict)
    if status != Status.OK:
        return status
    slot = peek_slot(store, me, size_class)  # a chunk may have taken the one before
    if slot < 0:
        return -slot
    fill_object(store, slot, tenant, table, key, key_length, value, form, expires)
    status = publish_with_room(
        store, me, tenant, table, key, key_length, hashed, slot, size_class, 0, expected_version, claim, may_evict
    )  # fmt: skip
    return Status.BUSY if status == NO_PLACE else status  # what was over in that chunk went, and the chunk with it


@njit(cache=True)
def store_expire(
    store: int, p: int, tenant: int, table: int, key: int, key_length: int, ttl: int, expected_version: int, claim: int,
    hashed: int,
) -> int:  # fmt: skip
    """Have the object of a key live for ``ttl`` ns from now, or (0) for ever: a commit that puts its value again. Other
    arguments and statuses as of :func:`store_put`; also NOT_FOUND."""
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        return Status.BAD_KEY
    me = participant_at(store, p)
    identity = identity_of(tenant, table, key_length)
    if hashed == 0:
        hashed = store_hash(store, identity, key, key_length)
    status = lock_to_write(store, me, tenant, table, claim)
    if status != Status.OK:
        return status
    word = find_entry(store, hashed, identity, key, key_length)[1]
    found = word_object(store, word) if word != 0 else 0
    if found == 0 or is_over(found, Participant(me).now):
        status = Status.NOT_FOUND
    else:
        status = _publish_again(store, me, tenant, table, found, hashed, moment_in(store, me, ttl), expected_version, claim)
    claim_refusal(store, me, tenant, claim, status)
    unlock(store, Account(account_of(store, tenant)).at.lock)
    return status


@njit(cache=True)
def _publish_again(
    store: int, me: int, tenant: int, table: int, found: int, hashed: int, expires: int, expected_version: int, claim: int
) -> int:  # fmt: skip
    """Publish a copy of an object that expires at another moment. The caller holds the tenant's lock."""
    key_length = object_key_length(found)
    size_class = class_for(object_bytes(key_length, object_value_length(found), expires))
    slot = peek_slot(store, me, size_class)
    if slot < 0:
        return -slot
    key, value = object_key(found), object_value(found)
    fill_object(store, slot, tenant, table, key, key_length, value, object_form(found), expires)
    return publish_with_room(
        store, me, tenant, table, key, key_length, hashed, slot, size_class, 0, expected_version, claim, True
    )


@njit(cache=True, forceinline=True)
def store_last_version(store: int, p: int) -> int:
    """The version of the object that the last successful put of ``p`` published."""
    return Participant(participant_at(store, p)).last_version


@njit(cache=True)
def store_delete(
    store: int, p: int, tenant: int, table: int, key: int, key_length: int, expected_version: int, claim: int = 0,
    hashed: int = 0,
) -> int:  # fmt: skip
    """Remove the object of ``key``; ``expected_version`` 0: whichever it is; ``claim`` and ``hashed`` as in
    :func:`store_put`.

    Returns a status: OK, NOT_FOUND, VERSION_CHANGED, UNKNOWN_TENANT, BAD_KEY, BUSY, with a claim also RECORDED, STALE and,
    where there is no memory for the record of a client and no version is told, OUT_OF_MEMORY and QUOTA_EXCEEDED; other
    than OK, nothing has changed.
    """
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        return Status.BAD_KEY
    me = participant_at(store, p)
    if hashed == 0:
        hashed = store_hash(store, identity_of(tenant, table, key_length), key, key_length)
    is_all = claim != 0 and outcome_kind(Claim(claim).word) == Outcome.STATUS  # of the request
    # It makes room, and needs no record where it tells the version: that comes once, so its delete has its effect once.
    status = lock_to_write(store, me, tenant, table, claim, is_all and expected_version != 0)
    if status != Status.OK:
        return status
    status = remove_key(store, me, tenant, table, key, key_length, hashed, expected_version, claim)
    claim_refusal(store, me, tenant, claim, status)
    unlock(store, Account(account_of(store, tenant)).at.lock)
    return status


@njit(cache=True)
def store_goodbye(store: int, p: int, tenant: int, claim: int) -> int:
    """Forget what is recorded of the claim's client: it waits for no reply. Returns OK, UNKNOWN_TENANT or BUSY."""
    me = participant_at(store, p)
    status = lock_active(store, me, tenant)
    if status == Status.OK:
        client_leaves(store, me, tenant, claim)
        unlock(store, Account(account_of(store, tenant)).at.lock)
    return status
