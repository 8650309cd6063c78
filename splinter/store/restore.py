"""Putting back what was brought to disk: entries of the change log, and slots that a walk has copied.

Done before anybody is served, by one participant that has no ring itself, so that nothing is logged again. Every change is
absolute. So what a snapshot shows of a change that is also in the log does no harm: it is made once more. Quotas are not asked:
whoever restores opens the tenants without any, and sets those afterwards.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, less_unsigned, load64, store64
from splinter.store.accounts import account_of
from splinter.store.classes import class_for
from splinter.store.clients import claim_begin, find_client, forget_client, make_record, result_at
from splinter.store.commit_layout import CHANGED_BYTES, CHANGED_CLIENT, CHANGED_DELETED, LOGGED_BYTES
from splinter.store.hashing import identity_of, store_hash
from splinter.store.index import find_entry, word_object
from splinter.store.journal import lock_tenant, participant_at, unlock
from splinter.store.layout import (
    BODY_KEY_BYTES,
    CLIENT_AT,
    CLIENT_KEY_BYTES,
    LARGE_FORM,
    O_IDENTITY,
    O_KEY,
    OBJECT_BYTES,
    RESULT_BYTES,
)
from splinter.store.objects import (
    copy_size,
    is_counted,
    is_large,
    object_bytes,
    object_expires,
    object_form,
    object_key_length,
    object_table,
    object_tenant,
    object_value,
    object_value_length,
)
from splinter.store.operations import fill_object
from splinter.store.outcomes import Outcome, outcome_kind, record_outcome
from splinter.store.parts import is_sound
from splinter.store.publication import place, unlink
from splinter.store.records import Account, Changed, Claim, Client, Descriptor, Logged, Object, Participant, Result
from splinter.store.roster import roster_prepare
from splinter.store.slabs import unit_of
from splinter.store.slots import peek_slot
from splinter.store.staging_entries import clock_ns

_TABLE_CLIENTS = limits.TABLE_CLIENTS
_TABLE_EXTENSIONS = limits.TABLE_EXTENSIONS
_WINDOW = limits.CLIENT_WINDOW
_LENGTH_MASK = LARGE_FORM - 1
_WORD_BYTES = 8
FOUND_BYTES = 3 * _WORD_BYTES  # of what find_entries() writes about an entry
ROW_BYTES = 2 * _WORD_BYTES  # of what restore_entries() is told about one


@njit(cache=True)
def restore_entry(store: int, p: int, entry: int) -> int:
    """Make what an entry of the log says so. Its lengths are known to be sound (:func:`is_entry`), and its tenant to be open.

    Returns OK; OUT_OF_MEMORY or BUSY where the store has no room for it: some of it may be done then.
    """
    logged, me = Logged(entry), participant_at(store, p)
    tenant = logged.tenant
    account = Account(account_of(store, tenant))
    if not lock_tenant(store, me, account.at.lock):
        return Status.BUSY
    status: int = Status.OK
    if logged.word != 0:  # first: it may remove the body of an older reply, in the place of which there is a new one
        status = _record(store, me, tenant, entry)
    at = entry + LOGGED_BYTES
    for _ in range(logged.changes if status == Status.OK else 0):
        part = Changed(at)
        table, key, key_length, value_length = part.table, at + CHANGED_BYTES, part.key_length, part.value_length
        is_put = value_length != CHANGED_DELETED and value_length != CHANGED_CLIENT
        form, value_length = value_length, value_length & _LENGTH_MASK
        if table == _TABLE_EXTENSIONS:
            pass  # they name machine code of another server: the control process installs them again
        elif is_put:
            value = key + key_length
            status = _put(store, me, tenant, table, key, key_length, value, form, part.expires, logged.sequence)
        elif form == CHANGED_CLIENT:
            status = _begin(store, me, tenant, _claim(me, load64(key), logged.acknowledged, logged.acknowledged))
        else:
            _delete(store, me, tenant, table, key, key_length, logged.sequence)
        if status != Status.OK:
            break
        at += CHANGED_BYTES + (key_length + (value_length if is_put else 0) + 7 & -8)
    unlock(store, account.at.lock)
    return status


@njit(cache=True)
def _record(store: int, me: int, tenant: int, entry: int) -> int:
    """Record what an entry says was recorded of a client's request. Returns a status as :func:`_begin`."""
    logged = Logged(entry)
    claim = _claim(me, logged.client, logged.request, logged.acknowledged)
    status = _begin(store, me, tenant, claim)
    if status == Status.OK and Claim(claim).entry != 0:  # else the client waits for it no longer
        record_outcome(Claim(claim).entry, logged.word, logged.value)
    return status


@njit(cache=True)
def _begin(store: int, me: int, tenant: int, claim: int) -> int:
    """Find the record of the claim's client, or make it, and bring it up to the claim. Which clients had to leave is in the
    log: none is refused here, and none gives way. Returns OK, or why there is no memory for the record."""
    claimed = Claim(claim)
    if claimed.acknowledged != 0 and find_client(store, tenant, claimed.at.client) == 0:
        status = make_record(store, me, tenant, claim)
        if status != Status.OK:
            return status
    claim_begin(store, me, tenant, claim, Status.OK)
    return Status.OK


@njit(cache=True)
def _claim(me: int, client: int, request: int, acknowledged: int) -> int:
    claim = Participant(me).claim
    claimed = Claim(claim)
    claimed.client = client
    claimed.sequence = request
    claimed.acknowledged = acknowledged
    claimed.now_ns = clock_ns(me)
    claimed.word = 0
    return claim


@njit(cache=True)
def _put(
    store: int, me: int, tenant: int, table: int, key: int, key_length: int, value: int, form: int, expires: int,
    sequence: int,
) -> int:  # fmt: skip
    """Put an object with the version that it had, whether it is over or not."""
    if expires != 0:
        Descriptor(store).expiring = 1
    if table < limits.TABLES_MAX:
        status = roster_prepare(store, me, tenant, 0)
        if status != Status.OK:
            return status
    size_class = class_for(object_bytes(key_length, form & _LENGTH_MASK, expires))
    slot = peek_slot(store, me, size_class)
    if slot < 0:
        return -slot
    fill_object(store, slot, tenant, table, key, key_length, value, form, expires)
    hashed = store_hash(store, identity_of(tenant, table, key_length), key, key_length)
    latest = _count_back(store, tenant, table, sequence)
    status = place(store, me, tenant, table, key, key_length, hashed, slot, size_class, 0, 0, 0)
    _count_on(store, tenant, latest, sequence)
    return status


@njit(cache=True)
def _delete(store: int, me: int, tenant: int, table: int, key: int, key_length: int, sequence: int) -> None:
    if table == _TABLE_CLIENTS and key_length == CLIENT_KEY_BYTES:
        record = find_client(store, tenant, key)
        if record != 0:
            forget_client(store, me, tenant, unit_of(store, record - CLIENT_AT))
        return
    hashed = store_hash(store, identity_of(tenant, table, key_length), key, key_length)
    latest = _count_back(store, tenant, table, sequence)
    entry, word = find_entry(store, hashed, identity_of(tenant, table, key_length), key, key_length)
    if entry != 0:
        unlink(store, me, tenant, entry, word, 0, 0)
    _count_on(store, tenant, latest, sequence)
    if table == _TABLE_CLIENTS:  # the body of a reply, of which only its client's record tells
        record = find_client(store, tenant, key)
        result = Result(result_at(record, load64(key + _WORD_BYTES)))
        if record != 0 and outcome_kind(result.word) == Outcome.BODY:
            result.word = 0


@njit(cache=True)
def _count_back(store: int, tenant: int, table: int, sequence: int) -> int:
    """Have the next commit of a tenant be number ``sequence``; returns the number that the last one had."""
    account = Account(account_of(store, tenant))
    latest = account.sequence
    account.sequence = sequence - 1 if is_counted(table) else sequence
    return latest


@njit(cache=True)
def _count_on(store: int, tenant: int, latest: int, sequence: int) -> None:
    account = Account(account_of(store, tenant))
    account.sequence = max(latest, sequence)


@njit(cache=True)
def is_tenant(tenant: int) -> bool:
    """Whether an id that was read from a disk has a place in the arrays of tenants."""
    return tenant > 0 and tenant < limits.TENANTS_MAX


@njit(cache=True)
def is_entry(entry: int, end: int) -> bool:
    """Whether what lies from ``entry`` to ``end`` begins with an entry whose lengths are sound; a filler is none."""
    if end - entry < LOGGED_BYTES:
        return False
    logged = Logged(entry)
    size, at = logged.size, entry + LOGGED_BYTES
    if size < LOGGED_BYTES or size & 7 != 0 or size > end - entry or not is_tenant(logged.tenant):
        return False
    for _ in range(logged.changes):
        if entry + size - at < CHANGED_BYTES:
            return False
        part = Changed(at)
        length = part.value_length
        if length in (CHANGED_DELETED, CHANGED_CLIENT):
            length = 0
        is_head = length & LARGE_FORM != 0
        if length & ~LARGE_FORM & ~_LENGTH_MASK != 0:
            return False
        length &= _LENGTH_MASK
        if part.key_length < 1 or part.key_length > limits.KEY_BYTES_MAX or length > limits.VALUE_BYTES_MAX or part.expires < 0:
            return False
        if part.table == _TABLE_CLIENTS and not _is_clients_key(at + CHANGED_BYTES, part.key_length, entry + size):
            return False
        value = at + CHANGED_BYTES + part.key_length
        at += CHANGED_BYTES + (part.key_length + length + 7 & -8)
        if at > entry + size:
            return False
        if is_head and (not is_sound(length, value) or not is_counted(part.table)):
            return False
    return at == entry + size


@njit(cache=True)
def _is_clients_key(key: int, key_length: int, end: int) -> bool:
    """Whether a key of TABLE_CLIENTS is of a client or of the body of a reply."""
    if key_length == CLIENT_KEY_BYTES:
        return True
    return key_length == BODY_KEY_BYTES and key + BODY_KEY_BYTES <= end and less_unsigned(load64(key + _WORD_BYTES), _WINDOW)


@njit(cache=True)
def find_entries(at: int, end: int, found: int) -> int:
    """List the entries from ``at`` to ``end``: to ``found`` go tenant, number and place behind ``at``, a word each. There is
    room for one entry in each LOGGED_BYTES. Returns how many there are, or -1 - the place of what is no entry."""
    count, base = 0, at
    while at < end:
        if end - at >= _WORD_BYTES and Logged(at).tenant == 0 and 0 < Logged(at).size <= end - at:
            at += Logged(at).size
            continue
        if not is_entry(at, end):
            return -1 - (at - base)
        logged = Logged(at)
        row = found + count * FOUND_BYTES
        store64(row, logged.tenant)
        store64(row + _WORD_BYTES, logged.number)
        store64(row + 2 * _WORD_BYTES, at - base)
        count += 1
        at += logged.size
    return count


@njit(cache=True)
def restore_entries(
    store: int, p: int, base: int, rows: int, count: int, numbers: int, generations: int, left: int
) -> tuple[int, int]:  # fmt: skip
    """Make so what entries say. ``rows`` lists them in order of tenant and number, two words each: the place behind ``base``,
    and whether nothing is waited for any more that is missing before it.

    ``numbers``: of each tenant, the last entry that was restored, or is not wanted; it is counted on. ``generations``: of each
    tenant that is wanted; what is of another one is passed over. Other entries behind one that is missing are listed in
    ``left``, by rows.
    Returns a status as :func:`restore_entry`, and how many are left.
    """
    left_count = 0
    for row in range(count):
        at = rows + row * ROW_BYTES
        entry = base + load64(at)
        logged = Logged(entry)
        tenant, number = logged.tenant, logged.number
        last = numbers + tenant * _WORD_BYTES
        if number <= load64(last):
            account = Account(account_of(store, tenant))
            account.sequence = max(account.sequence, logged.sequence)  # so that no version comes twice
            continue
        if number != load64(last) + 1 and load64(at + _WORD_BYTES) == 0:
            store64(left + left_count * _WORD_BYTES, row)
            left_count += 1
            continue
        account = Account(account_of(store, tenant))
        if logged.generation == load64(generations + tenant * _WORD_BYTES):
            status = restore_entry(store, p, entry)
            if status != Status.OK:
                return status, left_count
        store64(last, number)
        account.number = number
        account.sequence = max(account.sequence, logged.sequence)
        account.durable = account.sequence
    return Status.OK, left_count


# --- copied slots --------------------------------------------------------------------------------------------------------


@njit(cache=True)
def copied_bytes(at: int, end: int) -> int:
    """Bytes of the copy of a slot at ``at``; 0: what lies there, up to ``end``, is none."""
    if end - at < OBJECT_BYTES:
        return 0
    size = copy_size(load64(at + O_IDENTITY))
    if is_large(at) and (size > end - at or not is_sound(object_value_length(at), object_value(at))):
        return 0
    if object_key_length(at) < 1 or object_value_length(at) > limits.VALUE_BYTES_MAX or not is_tenant(object_tenant(at)):
        return 0
    return size if size <= end - at and object_expires(at) >= 0 else 0


@njit(cache=True)
def restore_copies(store: int, p: int, at: int, end: int, wanted: int) -> tuple[int, int, int]:
    """Put the objects whose slots were copied to ``at`` … ``end``, of tenants that have a byte other than 0 at ``wanted`` + id.

    Where a key comes twice, the later version stays. Returns a status (OK, OUT_OF_MEMORY, BUSY; BAD_LENGTH: there is no copy),
    how many objects were put, and where the work ended.
    """
    me, restored = participant_at(store, p), 0
    while at < end:
        size = copied_bytes(at, end)
        if size == 0:
            return Status.BAD_LENGTH, restored, at
        tenant = object_tenant(at)
        if load64(wanted + (tenant & -_WORD_BYTES)) >> 8 * (tenant % _WORD_BYTES) & 0xFF != 0:
            account = Account(account_of(store, tenant))
            if not lock_tenant(store, me, account.at.lock):
                return Status.BUSY, restored, at
            status = _restore_copy(store, me, tenant, at)
            unlock(store, account.at.lock)
            if status != Status.OK:
                return status, restored, at
            restored += 1
        at += size
    return Status.OK, restored, at


@njit(cache=True)
def _restore_copy(store: int, me: int, tenant: int, at: int) -> int:
    table, key, key_length = object_table(at), at + O_KEY, object_key_length(at)
    if table in (_TABLE_EXTENSIONS, limits.TABLE_ROSTER):
        return Status.OK
    if table == _TABLE_CLIENTS and key_length == CLIENT_KEY_BYTES:
        return _restore_client(store, me, tenant, at)
    identity = identity_of(tenant, table, key_length)
    word = find_entry(store, store_hash(store, identity, key, key_length), identity, key, key_length)[1]
    if word != 0 and Object(word_object(store, word)).version > Object(at).version:
        return Status.OK
    sequence = Object(at).version >> 1
    return _put(store, me, tenant, table, key, key_length, object_value(at), object_form(at), object_expires(at), sequence)


@njit(cache=True)
def _restore_client(store: int, me: int, tenant: int, copy: int) -> int:
    """Make a client's record again from the copy of its slot, or bring it up to date. Returns a status as :func:`_begin`."""
    client = Client(copy + CLIENT_AT)
    acknowledged = client.acknowledged
    status = _begin(store, me, tenant, _claim(me, load64(copy + O_KEY), acknowledged, acknowledged))
    record = find_client(store, tenant, copy + O_KEY)
    if status == Status.OK and record != 0:
        copy_bytes(Client(record).results, client.results, _WINDOW * RESULT_BYTES)
    return status
