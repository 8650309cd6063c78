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
from splinter.native.atomics import load64, load64_acquire, store64, store64_release
from splinter.store.accounts import account_of, system_version
from splinter.store.changes import CHANGE_CLIENT, log_change
from splinter.store.classes import class_bytes
from splinter.store.eviction import evict_for
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import empty_entry, entry_word, find_entry, word_object
from splinter.store.journal import commit, note, participant_at, try_lock_tenant, unlock
from splinter.store.layout import (
    BODY_KEY_BYTES,
    CLASS_BYTES,
    CLASSES,
    CLIENT_AT,
    CLIENT_BYTES,
    CLIENT_KEY_BYTES,
    O_KEY,
    RESULT_BYTES,
)
from splinter.store.objects import fill_header
from splinter.store.outcomes import (
    RECORDED,
    STALE,
    Outcome,
    is_alive,
    outcome_is_of,
    outcome_kind,
)
from splinter.store.publication import INSERT_TRIES_MAX, insert, remove, remove_key
from splinter.store.records import Account, Claim, Client, Participant, Result
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
def claim_begin(store: int, me: int, tenant: int, claim: int, refusal: int) -> int:
    """Look up what is recorded of the claim's request. The caller holds the tenant's lock, and executes the request under
    it if this returns OK. ``refusal``: what is returned in place of OK, and why no request is executed now; OK: it may be.

    RECORDED: it was executed; the claim holds what came of it. STALE: its client no longer waits for it. BUSY: its number
    is beyond the client's window, or the tenant has too many clients. OUT_OF_MEMORY, QUOTA_EXCEEDED: no memory for the
    record of a client that has none.
    """
    claimed = Claim(claim)
    claimed.entry = 0
    if claimed.acknowledged == 0:
        return refusal
    record = find_client(store, tenant, claimed.at.client)
    if record == 0:
        status = _create(store, me, tenant, claim) if refusal == Status.OK else refusal
        if status != Status.OK:
            return status
        record = find_client(store, tenant, claimed.at.client)
    client = Client(record)
    acknowledged = client.acknowledged
    if claimed.acknowledged - acknowledged > 0:
        acknowledged = claimed.acknowledged
        store64_release(client.at.acknowledged, acknowledged)
    now_ns = claimed.now_ns
    if now_ns - client.used_ns >= _ORDER_NS:
        _to_end(store, me, tenant, unit_of(store, record - CLIENT_AT))
    store64_release(client.at.used_ns, now_ns)
    sequence = claimed.sequence
    ahead = sequence - acknowledged
    if ahead < 0:
        return STALE
    if ahead >= _WINDOW:
        return Status.BUSY if refusal == Status.OK else refusal
    place = sequence % _WINDOW
    entry = result_at(record, place)
    result = Result(entry)
    word = result.word
    _set_key(claimed.key, claimed.client, place)
    if outcome_is_of(word, sequence):
        claimed.word = word
        claimed.value = result.value
        claimed.body = _find_body(store, tenant, claimed.key) if outcome_kind(word) == Outcome.BODY else 0
        claimed.entry = entry
        return RECORDED
    if refusal == Status.OK and outcome_kind(word) == Outcome.BODY:  # of an older request, whose reply the client has
        _remove_body(store, me, tenant, claimed.key)
        store64_release(result.at.word, 0)
    claimed.entry = entry
    return refusal


# --- records -------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def find_client(store: int, tenant: int, key: int) -> int:
    """Address of a client's CLIENT, or 0."""
    identity = identity_of(tenant, _TABLE, _KEY_BYTES)
    word = find_entry(store, store_hash(store, identity, key, _KEY_BYTES), identity, key, _KEY_BYTES)[1]
    return word_object(store, word) + CLIENT_AT if word != 0 else 0


@njit(cache=True)
def body_key(claim: int) -> int:
    """Address of the key of the object that keeps the body of what is replied to the claim's request: BODY_KEY_BYTES."""
    claimed = Claim(claim)
    _set_key(claimed.key, claimed.client, claimed.sequence % _WINDOW)
    return claimed.key


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
def result_at(record: int, place: int) -> int:
    """Address of a RESULT of a client."""
    return Client(record).results + place * RESULT_BYTES


@njit(cache=True)
def _set_key(key: int, client: int, place: int) -> None:
    """Write the key of the body of a reply."""
    store64(key, client)
    store64(key + _WORD_BYTES, place)


@njit(cache=True)
def _room_for_client(tenant_account: int) -> int:
    """OK, or why a tenant may not have one record more."""
    account = Account(tenant_account)
    clients = account.clients
    if clients >= _CLIENTS_PER_TENANT_MAX:
        return Status.BUSY
    used_after = account.bytes_used + class_bytes(_CLASS)
    if used_after > account.quota_bytes and clients >= _CLIENTS_OVER_QUOTA_MAX:
        return Status.QUOTA_EXCEEDED
    return Status.OK


@njit(cache=True)
def _create(store: int, me: int, tenant: int, claim: int) -> int:
    account_at, claimed = account_of(store, tenant), Claim(claim)
    clients_expire(store, me, tenant, claimed.now_ns)
    status = _room_for_client(account_at)
    if status != Status.OK and _give_way(store, me, tenant, claimed.now_ns):
        status = _room_for_client(account_at)
    if status == Status.QUOTA_EXCEEDED and evict_for(store, me, tenant, class_bytes(_CLASS), 0):
        status = _room_for_client(account_at)
        status = Status.BUSY if status == Status.QUOTA_EXCEEDED else status
    return make_record(store, me, tenant, claim) if status == Status.OK else status


@njit(cache=True)
def make_record(store: int, me: int, tenant: int, claim: int) -> int:
    """Make the record of the claim's client, which has none, however many there are. The caller holds the tenant's lock.
    Returns OK, or why there is no memory for it."""
    account_at, claimed = account_of(store, tenant), Claim(claim)
    account = Account(account_at)
    used_after, clients = account.bytes_used + class_bytes(_CLASS), account.clients
    slot = peek_slot(store, me, _CLASS)
    if slot < 0:
        return -slot
    key = claimed.at.client
    fill_header(slot, tenant, _TABLE, key, _KEY_BYTES, CLIENT_BYTES)
    for at in range(0, CLIENT_BYTES, _WORD_BYTES):
        store64(slot + CLIENT_AT + at, 0)
    client = Client(slot + CLIENT_AT)
    client.acknowledged = claimed.acknowledged
    client.used_ns = claimed.now_ns
    unit = unit_of(store, slot)
    hand = account.clients_hand
    first = Client(_record_at(store, hand)).next if hand != 0 else unit
    client.next = first
    client.previous = hand if hand != 0 else unit
    hashed = store_hash(store, identity_of(tenant, _TABLE, _KEY_BYTES), key, _KEY_BYTES)
    word = entry_word(hashed, _CLASS, unit)
    version = system_version(account_at)
    for _ in range(INSERT_TRIES_MAX):
        entry = empty_entry(store, me, hashed)
        if entry < 0:
            return -entry
        count = note(store, me, 0, account.at.clients, clients + 1)
        count = note(store, me, count, account.at.clients_hand, unit)
        if hand != 0:
            count = note(store, me, count, Client(_record_at(store, hand)).at.next, unit)
            count = note(store, me, count, Client(_record_at(store, first)).at.previous, unit)
        count = log_change(store, me, count, tenant, account.sequence, slot, CHANGE_CLIENT, claim, 0)
        if insert(store, me, account_at, entry, word, slot, _CLASS, 0, version, used_after, count):
            return Status.OK
    return Status.BUSY


@njit(cache=True)
def _to_end(store: int, me: int, tenant: int, unit: int) -> None:
    """Make a record the last of the ring. The caller holds the tenant's lock."""
    account = Account(account_of(store, tenant))
    hand = account.clients_hand
    if unit == hand:
        return
    first = Client(_record_at(store, hand)).next
    count = note(store, me, 0, account.at.clients_hand, unit)
    if unit != first:
        client = Client(_record_at(store, unit))
        before, behind = client.previous, client.next
        count = note(store, me, count, Client(_record_at(store, before)).at.next, behind)
        count = note(store, me, count, Client(_record_at(store, behind)).at.previous, before)
        count = note(store, me, count, Client(_record_at(store, hand)).at.next, unit)
        count = note(store, me, count, Client(_record_at(store, first)).at.previous, unit)
        count = note(store, me, count, client.at.previous, hand)
        count = note(store, me, count, client.at.next, first)
    commit(store, me, count)


@njit(cache=True)
def note_ring_moved(store: int, me: int, count: int, tenant: int, unit: int, moved: int) -> int:
    """Note that the copy of a record at ``moved`` takes its place in the ring. Returns the count of words."""
    account = Account(account_of(store, tenant))
    client, copy = Client(_record_at(store, unit)), Client(_record_at(store, moved))
    before, behind = client.previous, client.next
    if account.clients_hand == unit:
        count = note(store, me, count, account.at.clients_hand, moved)
    if behind == unit:  # it is alone
        copy.next = moved
        copy.previous = moved
        return count
    count = note(store, me, count, Client(_record_at(store, before)).at.next, moved)
    return note(store, me, count, Client(_record_at(store, behind)).at.previous, moved)


@njit(cache=True)
def _oldest(store: int, tenant: int) -> int:
    """Unit of the record that was not used for longest, or 0."""
    hand = Account(account_of(store, tenant)).clients_hand
    return Client(_record_at(store, hand)).next if hand != 0 else 0


@njit(cache=True)
def clients_expire(store: int, me: int, tenant: int, now_ns: int) -> int:
    """Forget the records of a tenant that were idle for too long, at most CLIENT_EXPIRE_STEPS; returns how many. The
    caller holds the tenant's lock."""
    for forgotten in range(_EXPIRE_STEPS):
        unit = _oldest(store, tenant)
        if unit == 0 or now_ns - Client(_record_at(store, unit)).used_ns < _IDLE_NS_MAX:
            return forgotten
        forget_client(store, me, tenant, unit)
    return _EXPIRE_STEPS


@njit(cache=True)
def _give_way(store: int, me: int, tenant: int, now_ns: int) -> bool:
    """Forget the record that was idle longest; false when all are needed. The caller holds the tenant's lock."""
    for _ in range(_EXPIRE_STEPS):
        unit = _oldest(store, tenant)
        if unit == 0 or now_ns - Client(_record_at(store, unit)).used_ns < _KEPT_NS_MIN:
            return False
        if not _has_task(store, _record_at(store, unit)):
            forget_client(store, me, tenant, unit)
            return True
        _to_end(store, me, tenant, unit)
    return False


@njit(cache=True)
def _has_task(store: int, record: int) -> bool:
    """Whether a task runs that has written for this client: what comes of it is to be recorded yet."""
    for place in range(_WINDOW):
        result = Result(result_at(record, place))
        if outcome_kind(result.word) == Outcome.EFFECT and is_alive(store, result.value):
            return True
    return False


@njit(cache=True)
def client_leaves(store: int, me: int, tenant: int, claim: int) -> None:
    """Forget the claim's client, which waits for no reply, unless a task of its runs. The caller holds the tenant's lock."""
    record = find_client(store, tenant, Claim(claim).at.client)
    if record != 0 and not _has_task(store, record):
        forget_client(store, me, tenant, unit_of(store, record - CLIENT_AT))


@njit(cache=True)
def forget_client(store: int, me: int, tenant: int, unit: int) -> None:
    """Remove the record at ``unit``, and the bodies that belong to it."""
    account = Account(account_of(store, tenant))
    slot = slot_at(store, unit)
    key, record = slot + O_KEY, slot + CLIENT_AT
    body_key = Claim(Participant(me).claim).forget_key
    for place in range(_WINDOW):
        if outcome_kind(Result(result_at(record, place)).word) == Outcome.BODY:
            _set_key(body_key, load64(key), place)
            _remove_body(store, me, tenant, body_key)
    identity = identity_of(tenant, _TABLE, _KEY_BYTES)
    entry, word = find_entry(store, store_hash(store, identity, key, _KEY_BYTES), identity, key, _KEY_BYTES)
    client = Client(record)
    before, behind = client.previous, client.next
    count = note(store, me, 0, account.at.clients, account.clients - 1)
    if unit == account.clients_hand:
        count = note(store, me, count, account.at.clients_hand, before if before != unit else 0)
    if before != unit:
        count = note(store, me, count, Client(_record_at(store, before)).at.next, behind)
        count = note(store, me, count, Client(_record_at(store, behind)).at.previous, before)
    remove(store, me, tenant, entry, word, count, 0)


@njit(cache=True)
def clients_sweep(store: int, p: int, cursor: int, tenants: int, now_ns: int) -> int:
    """Forget clients of ``tenants`` tenants, from id ``cursor`` on, that were idle for too long; returns the next cursor.

    A tenant whose lock is taken waits for the next round. A tenant with many clients to forget takes several calls.
    """
    me = participant_at(store, p)
    for _ in range(tenants):
        cursor = cursor + 1 if cursor < _TENANTS_MAX - 1 else 1
        account = Account(account_of(store, cursor))
        if account.clients == 0 or not try_lock_tenant(store, me, account.at.lock):
            continue
        forgotten = clients_expire(store, me, cursor, now_ns) if load64_acquire(account.at.active) != 0 else 0
        unlock(store, account.at.lock)
        if forgotten == _EXPIRE_STEPS:
            return cursor - 1
    return cursor
