"""Which requests of which client were executed, and what came of them: so that one that comes twice has its effect once.

As RIFL does it (Lee et al., "Implementing Linearizability at Large Scale and Low Latency", SOSP 2015): a client numbers
its requests and says below which number it waits for no reply; what came of the others is kept here, recorded in the same
step as the effect. A client's record is an object of its tenant, in TABLE_CLIENTS, with room for CLIENT_WINDOW results. It
is changed in place, by the holder of the tenant's lock, for whom alone it is.

A tenant's records form a ring in the order of last use, exact to CLIENT_ORDER_NS: a record that is used goes to its end.
Those that were idle for CLIENT_IDLE_NS_MAX are removed by whoever makes one, and by workers now and then
(:func:`clients_sweep`). A client that says goodbye takes its record along. Where a tenant has as many as it may, the one that
was idle longest gives way to a new one, unless it was used within CLIENT_KEPT_NS_MIN, or a task of its runs.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load64, load64_acquire, store32, store64, store64_release
from splinter.store.classes import class_bytes, class_for
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import empty_entry, entry_word, find_entry, word_object
from splinter.store.journal import commit, note, participant_at, try_lock_tenant, unlock
from splinter.store.layout import (
    A_ACTIVE,
    A_BYTES_USED,
    A_CLIENTS,
    A_CLIENTS_HAND,
    A_LOCK,
    A_QUOTA_BYTES,
    BODY_KEY_BYTES,
    C_ACKNOWLEDGED,
    C_NEXT,
    C_PREVIOUS,
    C_RESULTS,
    C_USED_NS,
    CLASS_BYTES,
    CLASSES,
    CLIENT_AT,
    CLIENT_BYTES,
    CLIENT_KEY_BYTES,
    E_VALUE,
    E_WORD,
    K_ACKNOWLEDGED,
    K_BODY,
    K_CLIENT,
    K_EFFECT,
    K_ENTRY,
    K_FORGET_KEY,
    K_KEY,
    K_NOW_NS,
    K_SEQUENCE,
    K_VALUE,
    K_WORD,
    O_KEY,
    O_VALUE_LENGTH,
    OBJECT_BYTES,
    P_CLAIM,
    RESULT_BYTES,
)
from splinter.store.outcomes import (
    RECORDED,
    STALE,
    Outcome,
    is_alive,
    outcome_is_of,
    outcome_kind,
    outcome_word,
    record_outcome,
)
from splinter.store.publication import (
    INSERT_TRIES_MAX,
    account_of,
    fill_header,
    insert,
    next_version,
    publish,
    remove,
    remove_key,
)
from splinter.store.slabs import slot_at, unit_of
from splinter.store.slots import peek_slot

_TABLE = limits.TABLE_CLIENTS
_TENANTS_MAX = limits.TENANTS_MAX
_WINDOW = limits.CLIENT_WINDOW
_CLIENTS_PER_TENANT_MAX = limits.CLIENTS_PER_TENANT_MAX
_CLIENTS_OVER_QUOTA_MAX = limits.CLIENTS_OVER_QUOTA_MAX
_IDLE_NS_MAX = limits.CLIENT_IDLE_NS_MAX
_EXPIRE_STEPS = limits.CLIENT_EXPIRE_STEPS
_KEPT_NS_MIN = limits.CLIENT_KEPT_NS_MIN
_ORDER_NS = limits.CLIENT_ORDER_NS
_KEY_BYTES = CLIENT_KEY_BYTES
_CLASS = next(c for c in range(CLASSES) if CLASS_BYTES[c] >= CLIENT_AT + CLIENT_BYTES)
_WORD_BYTES = 8


@njit(cache=True)
def claim_begin(store: int, me: int, tenant: int, claim: int) -> int:
    """Look up what is recorded of the claim's request. The caller holds the tenant's lock, and executes the request under
    it if this returns OK.

    RECORDED: it was executed; the claim holds what came of it. STALE: its client no longer waits for it. BUSY: its number
    is beyond the client's window, or the tenant has too many clients. OUT_OF_MEMORY, QUOTA_EXCEEDED: no memory for the
    record of a client that has none.
    """
    store64(claim + K_ENTRY, 0)
    if load64(claim + K_ACKNOWLEDGED) == 0:
        return Status.OK
    record = _find(store, tenant, claim + K_CLIENT)
    if record == 0:
        status = _create(store, me, tenant, claim)
        if status != Status.OK:
            return status
        record = _find(store, tenant, claim + K_CLIENT)
    acknowledged = load64(record + C_ACKNOWLEDGED)
    if load64(claim + K_ACKNOWLEDGED) - acknowledged > 0:
        acknowledged = load64(claim + K_ACKNOWLEDGED)
        store64_release(record + C_ACKNOWLEDGED, acknowledged)
    now_ns = load64(claim + K_NOW_NS)
    if now_ns - load64(record + C_USED_NS) >= _ORDER_NS:
        _to_end(store, me, tenant, unit_of(store, record - CLIENT_AT))
    store64_release(record + C_USED_NS, now_ns)
    sequence = load64(claim + K_SEQUENCE)
    ahead = sequence - acknowledged
    if ahead < 0:
        return STALE
    if ahead >= _WINDOW:
        return Status.BUSY
    place = sequence % _WINDOW
    entry = record + C_RESULTS + place * RESULT_BYTES
    word = load64(entry + E_WORD)
    store64(claim + K_KEY, load64(claim + K_CLIENT))
    store64(claim + K_KEY + _WORD_BYTES, place)
    if outcome_is_of(word, sequence):
        store64(claim + K_WORD, word)
        store64(claim + K_VALUE, load64(entry + E_VALUE))
        store64(claim + K_BODY, 0)
        if outcome_kind(word) == Outcome.BODY:
            store64(claim + K_BODY, _find_body(store, tenant, claim + K_KEY))
        store64(claim + K_ENTRY, entry)
        return RECORDED
    if outcome_kind(word) == Outcome.BODY:  # of an older request, whose reply the client has
        _remove_body(store, me, tenant, claim + K_KEY)
        store64_release(entry + E_WORD, 0)
    store64(claim + K_ENTRY, entry)
    return Status.OK


@njit(cache=True)
def claim_settle(store: int, me: int, claim: int, word: int, value: int) -> None:
    """Record the end of the claim's request that has no effect of its own, after :func:`claim_begin` and under the same
    lock. Over an EFFECT it is the task's end, or its death's."""
    entry = load64(claim + K_ENTRY)
    if entry == 0:
        return
    if outcome_kind(load64(entry + E_WORD)) == Outcome.EFFECT:
        count = note(store, me, 0, entry + E_VALUE, value)
        commit(store, me, note(store, me, count, entry + E_WORD, word))
    else:
        record_outcome(entry, word, value)


@njit(cache=True)
def claim_settle_body(
    store: int, me: int, tenant: int, claim: int, status: int, value: int, body: int, length: int
) -> None:  # fmt: skip
    """As :func:`claim_settle`, for a reply whose body is to be kept, and charged to the tenant. When there is no memory
    for it, LOST is recorded."""
    if load64(claim + K_ENTRY) == 0:
        return
    sequence = load64(claim + K_SEQUENCE)
    key = claim + K_KEY
    size_class = class_for(OBJECT_BYTES + BODY_KEY_BYTES + length)
    slot = peek_slot(store, me, size_class)
    kept = slot > 0
    if kept:
        fill_header(slot, tenant, _TABLE, key, BODY_KEY_BYTES)
        store32(slot + O_VALUE_LENGTH, length)
        copy_bytes(slot + O_KEY + BODY_KEY_BYTES, body, length)
        store64(claim + K_WORD, outcome_word(sequence, Outcome.BODY, status, 0))
        store64(claim + K_VALUE, value)
        store64(claim + K_EFFECT, 0)
        hashed = store_hash(store, identity_of(tenant, _TABLE, BODY_KEY_BYTES), key, BODY_KEY_BYTES)
        kept = publish(store, me, tenant, _TABLE, key, BODY_KEY_BYTES, hashed, slot, size_class, 0, 0, claim) == Status.OK
    if not kept:
        claim_settle(store, me, claim, outcome_word(sequence, Outcome.LOST, status, 0), 0)


# --- records -------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _find(store: int, tenant: int, key: int) -> int:
    """Address of a client's CLIENT, or 0."""
    identity = identity_of(tenant, _TABLE, _KEY_BYTES)
    word = find_entry(store, store_hash(store, identity, key, _KEY_BYTES), identity, key, _KEY_BYTES)[1]
    return word_object(store, word) + CLIENT_AT if word != 0 else 0


@njit(cache=True)
def _find_body(store: int, tenant: int, key: int) -> int:
    """Address of the object with the body of a reply, or 0."""
    identity = identity_of(tenant, _TABLE, BODY_KEY_BYTES)
    word = find_entry(store, store_hash(store, identity, key, BODY_KEY_BYTES), identity, key, BODY_KEY_BYTES)[1]
    return word_object(store, word) if word != 0 else 0


@njit(cache=True)
def _remove_body(store: int, me: int, tenant: int, key: int) -> None:
    hashed = store_hash(store, identity_of(tenant, _TABLE, BODY_KEY_BYTES), key, BODY_KEY_BYTES)
    remove_key(store, me, tenant, _TABLE, key, BODY_KEY_BYTES, hashed, 0, 0)


@njit(cache=True)
def _record_at(store: int, unit: int) -> int:
    """Address of the CLIENT in the slot at a unit."""
    return slot_at(store, unit) + CLIENT_AT


@njit(cache=True)
def _room_for_client(account: int) -> int:
    """OK, or why a tenant may not have one record more."""
    clients = load64(account + A_CLIENTS)
    if clients >= _CLIENTS_PER_TENANT_MAX:
        return Status.BUSY
    used_after = load64(account + A_BYTES_USED) + class_bytes(_CLASS)
    if used_after > load64(account + A_QUOTA_BYTES) and clients >= _CLIENTS_OVER_QUOTA_MAX:
        return Status.QUOTA_EXCEEDED
    return Status.OK


@njit(cache=True)
def _create(store: int, me: int, tenant: int, claim: int) -> int:
    account = account_of(store, tenant)
    clients_expire(store, me, tenant, load64(claim + K_NOW_NS))
    status = _room_for_client(account)
    if status != Status.OK and _give_way(store, me, tenant, load64(claim + K_NOW_NS)):
        status = _room_for_client(account)
    if status != Status.OK:
        return status
    used_after = load64(account + A_BYTES_USED) + class_bytes(_CLASS)
    clients = load64(account + A_CLIENTS)
    slot = peek_slot(store, me, _CLASS)
    if slot < 0:
        return -slot
    key = claim + K_CLIENT
    fill_header(slot, tenant, _TABLE, key, _KEY_BYTES)
    store32(slot + O_VALUE_LENGTH, CLIENT_BYTES)
    record = slot + CLIENT_AT
    for at in range(0, CLIENT_BYTES, _WORD_BYTES):
        store64(record + at, 0)
    store64(record + C_ACKNOWLEDGED, load64(claim + K_ACKNOWLEDGED))
    store64(record + C_USED_NS, load64(claim + K_NOW_NS))
    unit = unit_of(store, slot)
    hand = load64(account + A_CLIENTS_HAND)
    first = load64(_record_at(store, hand) + C_NEXT) if hand != 0 else unit
    store64(record + C_NEXT, first)
    store64(record + C_PREVIOUS, hand if hand != 0 else unit)
    hashed = store_hash(store, identity_of(tenant, _TABLE, _KEY_BYTES), key, _KEY_BYTES)
    word = entry_word(hashed, _CLASS, unit)
    version = next_version(me)
    for _ in range(INSERT_TRIES_MAX):
        entry = empty_entry(store, me, hashed)
        if entry < 0:
            return -entry
        count = note(store, me, 0, account + A_CLIENTS, clients + 1)
        count = note(store, me, count, account + A_CLIENTS_HAND, unit)
        if hand != 0:
            count = note(store, me, count, _record_at(store, hand) + C_NEXT, unit)
            count = note(store, me, count, _record_at(store, first) + C_PREVIOUS, unit)
        if insert(store, me, account, entry, word, slot, _CLASS, 0, version, used_after, count):
            return Status.OK
    return Status.BUSY


@njit(cache=True)
def _to_end(store: int, me: int, tenant: int, unit: int) -> None:
    """Make a record the last of the ring. The caller holds the tenant's lock."""
    hand_at = account_of(store, tenant) + A_CLIENTS_HAND
    hand = load64(hand_at)
    if unit == hand:
        return
    first = load64(_record_at(store, hand) + C_NEXT)
    count = note(store, me, 0, hand_at, unit)
    if unit != first:
        record = _record_at(store, unit)
        before, behind = load64(record + C_PREVIOUS), load64(record + C_NEXT)
        count = note(store, me, count, _record_at(store, before) + C_NEXT, behind)
        count = note(store, me, count, _record_at(store, behind) + C_PREVIOUS, before)
        count = note(store, me, count, _record_at(store, hand) + C_NEXT, unit)
        count = note(store, me, count, _record_at(store, first) + C_PREVIOUS, unit)
        count = note(store, me, count, record + C_PREVIOUS, hand)
        count = note(store, me, count, record + C_NEXT, first)
    commit(store, me, count)


@njit(cache=True)
def note_ring_moved(store: int, me: int, count: int, tenant: int, unit: int, moved: int) -> int:
    """Note that the copy of a record at ``moved`` takes its place in the ring. Returns the count of words."""
    hand_at = account_of(store, tenant) + A_CLIENTS_HAND
    record, copy = _record_at(store, unit), _record_at(store, moved)
    before, behind = load64(record + C_PREVIOUS), load64(record + C_NEXT)
    if load64(hand_at) == unit:
        count = note(store, me, count, hand_at, moved)
    if behind == unit:  # it is alone
        store64(copy + C_NEXT, moved)
        store64(copy + C_PREVIOUS, moved)
        return count
    count = note(store, me, count, _record_at(store, before) + C_NEXT, moved)
    return note(store, me, count, _record_at(store, behind) + C_PREVIOUS, moved)


@njit(cache=True)
def _oldest(store: int, tenant: int) -> int:
    """Unit of the record that was not used for longest, or 0."""
    hand = load64(account_of(store, tenant) + A_CLIENTS_HAND)
    return load64(_record_at(store, hand) + C_NEXT) if hand != 0 else 0


@njit(cache=True)
def clients_expire(store: int, me: int, tenant: int, now_ns: int) -> int:
    """Forget the records of a tenant that were idle for too long, at most CLIENT_EXPIRE_STEPS; returns how many. The
    caller holds the tenant's lock."""
    for forgotten in range(_EXPIRE_STEPS):
        unit = _oldest(store, tenant)
        if unit == 0 or now_ns - load64(_record_at(store, unit) + C_USED_NS) < _IDLE_NS_MAX:
            return forgotten
        _forget(store, me, tenant, unit)
    return _EXPIRE_STEPS


@njit(cache=True)
def _give_way(store: int, me: int, tenant: int, now_ns: int) -> bool:
    """Forget the record that was idle longest; false when all are needed. The caller holds the tenant's lock."""
    for _ in range(_EXPIRE_STEPS):
        unit = _oldest(store, tenant)
        if unit == 0 or now_ns - load64(_record_at(store, unit) + C_USED_NS) < _KEPT_NS_MIN:
            return False
        if not _has_task(store, _record_at(store, unit)):
            _forget(store, me, tenant, unit)
            return True
        _to_end(store, me, tenant, unit)
    return False


@njit(cache=True)
def _has_task(store: int, record: int) -> bool:
    """Whether a task runs that has written for this client: what comes of it is to be recorded yet."""
    for place in range(_WINDOW):
        result = record + C_RESULTS + place * RESULT_BYTES
        if outcome_kind(load64(result + E_WORD)) == Outcome.EFFECT and is_alive(store, load64(result + E_VALUE)):
            return True
    return False


@njit(cache=True)
def client_leaves(store: int, me: int, tenant: int, claim: int) -> None:
    """Forget the claim's client, which waits for no reply, unless a task of its runs. The caller holds the tenant's lock."""
    record = _find(store, tenant, claim + K_CLIENT)
    if record != 0 and not _has_task(store, record):
        _forget(store, me, tenant, unit_of(store, record - CLIENT_AT))


@njit(cache=True)
def _forget(store: int, me: int, tenant: int, unit: int) -> None:
    """Remove the record at ``unit``, and the bodies that belong to it."""
    account = account_of(store, tenant)
    slot = slot_at(store, unit)
    record = slot + CLIENT_AT
    body_key = me + P_CLAIM + K_FORGET_KEY
    store64(body_key, load64(slot + O_KEY))
    for place in range(_WINDOW):
        if outcome_kind(load64(record + C_RESULTS + place * RESULT_BYTES + E_WORD)) == Outcome.BODY:
            store64(body_key + _WORD_BYTES, place)
            _remove_body(store, me, tenant, body_key)
    identity = identity_of(tenant, _TABLE, _KEY_BYTES)
    hashed = store_hash(store, identity, slot + O_KEY, _KEY_BYTES)
    entry, word = find_entry(store, hashed, identity, slot + O_KEY, _KEY_BYTES)
    before, behind = load64(record + C_PREVIOUS), load64(record + C_NEXT)
    count = note(store, me, 0, account + A_CLIENTS, load64(account + A_CLIENTS) - 1)
    if unit == load64(account + A_CLIENTS_HAND):
        count = note(store, me, count, account + A_CLIENTS_HAND, before if before != unit else 0)
    if before != unit:
        count = note(store, me, count, _record_at(store, before) + C_NEXT, behind)
        count = note(store, me, count, _record_at(store, behind) + C_PREVIOUS, before)
    remove(store, me, tenant, entry, word, count)


@njit(cache=True)
def clients_sweep(store: int, p: int, cursor: int, tenants: int, now_ns: int) -> int:
    """Forget clients of ``tenants`` tenants, from id ``cursor`` on, that were idle for too long; returns the next cursor.

    A tenant whose lock is taken waits for the next round. A tenant with many clients to forget takes several calls.
    """
    me = participant_at(store, p)
    for _ in range(tenants):
        cursor = cursor + 1 if cursor < _TENANTS_MAX - 1 else 1
        account = account_of(store, cursor)
        if load64(account + A_CLIENTS) == 0 or not try_lock_tenant(store, me, account + A_LOCK):
            continue
        forgotten = clients_expire(store, me, cursor, now_ns) if load64_acquire(account + A_ACTIVE) != 0 else 0
        unlock(store, account + A_LOCK)
        if forgotten == _EXPIRE_STEPS:
            return cursor - 1
    return cursor
