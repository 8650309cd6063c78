"""Puts whose value comes in fragments: collected in a slot that is not published, published when whole.

The staging entries are their participant's, in shared memory, so its successor goes on with them. An entry is told by
the client's id, its sequence number and the tenant, with its generation: what a removed tenant staged is nobody's, and
dropped at the next look (:func:`stage_drop`). A fragment that comes twice is ignored; so is one of a put that
was published already, but it begins a new entry, which is dropped when its client has the reply, or ages out.

**Shares.** Entries are few, and each keeps memory from others. When all are taken, the tenant that has most gives way to one
that has fewer: its oldest is dropped, and its client begins anew. So each tenant can have one, whoever else sends fragments;
and where each entry is another tenant's, the oldest gives way to a tenant that has none when it has had STAGING_TURN_NS. What
is staged is counted in the tenant's account, and has to fit into its quota beside its objects, but for STAGING_FREE_BYTES.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load64, load64_acquire, store64, store64_release
from splinter.store.accounts import account_of
from splinter.store.changes import log_room
from splinter.store.classes import class_bytes, class_for
from splinter.store.clients import claim_begin
from splinter.store.clock import moment_in
from splinter.store.eviction import evict_for
from splinter.store.expiry import make_room
from splinter.store.hashing import identity_of, store_hash
from splinter.store.journal import commit, lock_tenant, note, participant_at, unlock
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import ARRIVED_WORDS, O_KEY, SLAB_UNITS
from splinter.store.objects import fill_header, object_bytes, object_key_length, object_value, set_expires, set_value_length
from splinter.store.operations import lock_active, lock_to_write, store_last_version
from splinter.store.reclaim import begin_free, end_free, note_free
from splinter.store.records import Account, Object, Stage
from splinter.store.room import publish_with_room
from splinter.store.settling import claim_refusal
from splinter.store.slabs import class_at, slab_record, slot_at, unit_of
from splinter.store.slots import note_take, peek_slot
from splinter.store.staging_entries import clock_ns, entries_owned, is_ownerless, stage_at, tenant_generation, unused_entry

_KEY_BYTES_MAX = limits.KEY_BYTES_MAX
_VALUE_BYTES_MAX = limits.VALUE_BYTES_MAX
_FRAGMENT_BYTES, _FRAGMENT_BYTES_MIN = limits.FRAGMENT_BYTES, limits.FRAGMENT_BYTES_MIN
_STAGING_ENTRIES = limits.STAGING_ENTRIES
_STAGING_ENTRIES_PER_TENANT = limits.STAGING_ENTRIES_PER_TENANT
_STAGING_TURN_NS = limits.STAGING_TURN_NS
_STAGING_FREE_BYTES = limits.STAGING_FREE_BYTES
_STAGING_AGE_NS_MAX = limits.STAGING_AGE_NS_MAX


@njit(cache=True)
def _entry_for(store: int, p: int, tenant: int, now_ns: int) -> int:
    """Index of an entry for one put more of a tenant, or -BUSY; another one may have to give way."""
    owned = entries_owned(store, p, tenant)
    if owned >= _STAGING_ENTRIES_PER_TENANT:
        return -Status.BUSY
    entry = unused_entry(store, p)
    if entry >= 0:
        return entry
    most, oldest = 0, -1
    for other in range(_STAGING_ENTRIES):
        stage = Stage(stage_at(store, p, other))
        held = entries_owned(store, p, stage.tenant)
        since = stage.since_ns
        if held > most or (held == most and since < Stage(stage_at(store, p, oldest)).since_ns):
            most, oldest = held, other
    since = Stage(stage_at(store, p, oldest)).since_ns
    has_had_turn = owned == 0 and now_ns - since >= _STAGING_TURN_NS
    if most <= owned + 1 and not has_had_turn:
        return -Status.BUSY
    stage_abandon(store, p, oldest)
    return unused_entry(store, p)


@njit(cache=True)
def _charge(store: int, tenant: int, size: int) -> int:
    """What is staged for a tenant with ``size`` bytes more, or -QUOTA_EXCEEDED. The caller holds the tenant's lock."""
    account = Account(account_of(store, tenant))
    staged = account.staged_bytes + size
    if staged > _STAGING_FREE_BYTES and account.bytes_used + staged > account.quota_bytes:
        return -Status.QUOTA_EXCEEDED
    return staged


@njit(cache=True)
def stage_begin(
    store: int, p: int, client: int, sequence: int, tenant: int, table: int, key: int, key_length: int,
    fragment_count: int, fragment_bytes: int = _FRAGMENT_BYTES, ttl: int = 0
) -> int:  # fmt: skip
    """Begin a put of ``fragment_count`` fragments of ``fragment_bytes``; ``ttl``: as in store_put.

    Entries older than STAGING_AGE_NS_MAX give way, and others of a tenant that has more.
    Returns the entry's index, or -status: BAD_KEY, BAD_FRAGMENT, VALUE_TOO_LARGE, OUT_OF_MEMORY, QUOTA_EXCEEDED,
    UNKNOWN_TENANT, BUSY (too many are under way).
    """
    if key_length < 1 or key_length > _KEY_BYTES_MAX:
        return -Status.BAD_KEY
    if fragment_count < 1:
        return -Status.BAD_FRAGMENT
    if (fragment_count - 1) * fragment_bytes >= _VALUE_BYTES_MAX:
        return -Status.VALUE_TOO_LARGE
    generation = tenant_generation(store, tenant)
    if generation == 0:
        return -Status.UNKNOWN_TENANT
    me = participant_at(store, p)
    now_ns = clock_ns(me)
    entry = _entry_for(store, p, tenant, now_ns)
    if entry < 0 and stage_expire(store, p, now_ns, _STAGING_AGE_NS_MAX) > 0:
        entry = _entry_for(store, p, tenant, now_ns)
    if entry < 0:
        return entry
    size_class = class_for(object_bytes(key_length, min(fragment_count * fragment_bytes, _VALUE_BYTES_MAX), ttl))
    slot = peek_slot(store, me, size_class)
    if slot < 0:
        return slot
    fill_header(slot, tenant, table, key, key_length, 0)
    stage = Stage(stage_at(store, p, entry))
    stage.client = client
    stage.sequence = sequence
    stage.tenant = tenant
    for word in range(ARRIVED_WORDS):
        store64(stage.arrived + word * 8, 0)
    stage.fragment_count = fragment_count
    stage.fragment_bytes = fragment_bytes
    stage.ttl = ttl
    stage.since_ns = now_ns
    stage.generation = generation
    kill_point(store, KillPoint.SLOT_FILLED)
    status = lock_active(store, me, tenant)
    if status != Status.OK:
        return -status
    staged = _charge(store, tenant, class_bytes(size_class))
    if staged < 0 and make_room(store, me, tenant):
        staged = _charge(store, tenant, class_bytes(size_class))
    if staged < 0 and evict_for(
        store, me, tenant, Account(account_of(store, tenant)).staged_bytes + class_bytes(size_class), 0
    ):
        staged = _charge(store, tenant, class_bytes(size_class))
        staged = -Status.BUSY if staged == -Status.QUOTA_EXCEEDED else staged
    if staged >= 0:
        account = Account(account_of(store, tenant))
        count = note_take(store, me, 0, size_class)
        count = note(store, me, count, account.at.staged_bytes, staged)
        commit(store, me, note(store, me, count, stage.at.slot, unit_of(store, slot)))
        staged = entry
    unlock(store, Account(account_of(store, tenant)).at.lock)
    return staged


@njit(cache=True)
def stage_find(store: int, p: int, client: int, sequence: int, tenant: int) -> int:
    """Index of the entry of a put under way, or -NOT_FOUND."""
    for entry in range(_STAGING_ENTRIES):
        stage = Stage(stage_at(store, p, entry))
        if (
            stage.slot != 0
            and stage.sequence == sequence
            and stage.client == client
            and stage.tenant == tenant
            and stage.generation == tenant_generation(store, tenant)
        ):
            return entry
    return -Status.NOT_FOUND


@njit(cache=True)
def _check_fragment(fragment_index: int, fragment_count: int, fragment_bytes: int, length: int) -> int:
    last = fragment_count - 1
    if fragment_bytes < _FRAGMENT_BYTES_MIN or fragment_bytes > _FRAGMENT_BYTES:
        return Status.BAD_FRAGMENT
    if fragment_index < 0 or fragment_index > last or length < 1 or length > fragment_bytes:
        return Status.BAD_FRAGMENT
    if fragment_index < last and length != fragment_bytes:
        return Status.BAD_FRAGMENT
    if fragment_index * fragment_bytes + length > _VALUE_BYTES_MAX:
        return Status.VALUE_TOO_LARGE
    return Status.OK


@njit(cache=True)
def stage_write(
    store: int, p: int, entry: int, fragment_index: int, fragment_count: int, data: int, length: int,
    fragment_bytes: int = _FRAGMENT_BYTES, ttl: int = 0
) -> int:  # fmt: skip
    """Put a fragment's bytes in place; one that has arrived before is ignored.

    Every fragment but the last has exactly ``fragment_bytes``, from FRAGMENT_BYTES_MIN to FRAGMENT_BYTES, and the last at
    most as many. Returns OK, BAD_FRAGMENT or VALUE_TOO_LARGE.
    """
    stage = Stage(stage_at(store, p, entry))
    if fragment_count != stage.fragment_count or fragment_bytes != stage.fragment_bytes or ttl != stage.ttl:
        return Status.BAD_FRAGMENT
    status = _check_fragment(fragment_index, fragment_count, fragment_bytes, length)
    if status != Status.OK:
        return status
    word = stage.arrived + (fragment_index >> 6) * 8
    arrived = load64(word)
    bit = 1 << (fragment_index & 63)
    if arrived & bit != 0:
        return Status.OK
    start = fragment_index * fragment_bytes
    slot = slot_at(store, stage.slot)
    copy_bytes(object_value(slot) + start, data, length)
    if fragment_index == fragment_count - 1:
        set_value_length(slot, start + length)
    kill_point(store, KillPoint.FRAGMENT_COPIED)
    store64_release(word, arrived | bit)
    kill_point(store, KillPoint.FRAGMENT_ARRIVED)
    return Status.OK


@njit(cache=True)
def stage_is_complete(store: int, p: int, entry: int) -> bool:
    """Whether all fragments have arrived."""
    stage = Stage(stage_at(store, p, entry))
    missing = stage.fragment_count
    for word in range(ARRIVED_WORDS):
        bits = load64_acquire(stage.arrived + word * 8)
        wanted = -1 if missing >= 64 else (1 << max(missing, 0)) - 1
        if bits != wanted:
            return False
        missing -= 64
    return True


@njit(cache=True)
def stage_publish(store: int, p: int, entry: int, expected_version: int, claim: int = 0) -> int:
    """Publish a complete put, as store_put does. Returns a status as store_put does.

    The entry is unused afterwards, except when the status is BUSY: then the caller may try again.
    """
    me = participant_at(store, p)
    address = stage_at(store, p, entry)
    stage = Stage(address)
    unit = stage.slot
    slot = slot_at(store, unit)
    tenant, table, key_length = stage.tenant, Object(slot).table, object_key_length(slot)
    hashed = store_hash(store, identity_of(tenant, table, key_length), slot + O_KEY, key_length)
    status = lock_to_write(store, me, tenant, table, claim)
    if status == Status.OK:
        set_expires(slot, moment_in(store, me, stage.ttl))
        status = publish_with_room(
            store, me, tenant, table, slot + O_KEY, key_length, hashed, slot, class_at(store, unit), address,
            expected_version, claim, True,
        )  # fmt: skip
        claim_refusal(store, me, tenant, claim, status)
        unlock(store, Account(account_of(store, tenant)).at.lock)
    if status != Status.OK and status != Status.BUSY:
        stage_abandon(store, p, entry)
    return status


@njit(cache=True)
def stage_abandon(store: int, p: int, entry: int) -> bool:
    """Drop a put under way. Nobody has seen its slot, which is free again at once. False: the tenant's lock, and so the
    account, was not to be had; then it is still there."""
    me = participant_at(store, p)
    stage = Stage(stage_at(store, p, entry))
    unit = stage.slot
    account = Account(account_of(store, stage.tenant))
    if not lock_tenant(store, me, account.at.lock):
        return False
    size_class = class_at(store, unit)
    draining = begin_free(store, me, load64(slab_record(store, unit // SLAB_UNITS)))
    count = note(store, me, 0, stage.at.slot, 0)
    count = note(store, me, count, account.at.staged_bytes, account.staged_bytes - class_bytes(size_class))
    commit(store, me, note_free(store, me, count, unit, size_class, draining))
    if draining:
        end_free(store, me, unit, size_class)
    unlock(store, account.at.lock)
    return True


@njit(cache=True)
def stage_expire(store: int, p: int, now_ns: int, age_ns: int) -> int:
    """Drop the puts whose first fragment came ``age_ns`` or longer before ``now_ns`` (monotonic clock), and those of removed
    tenants; returns how many."""
    dropped = 0
    for entry in range(_STAGING_ENTRIES):
        address = stage_at(store, p, entry)
        stage = Stage(address)
        is_old = stage.slot != 0 and now_ns - stage.since_ns >= age_ns
        if (is_old or is_ownerless(store, address)) and stage_abandon(store, p, entry):
            dropped += 1
    return dropped


@njit(cache=True)
def stage_drop(store: int, p: int, look: int) -> None:
    """Drop one put under way if its tenant was removed: which entry is looked at follows from the number of the ``look``."""
    entry = look % _STAGING_ENTRIES
    if is_ownerless(store, stage_at(store, p, entry)):
        stage_abandon(store, p, entry)


@njit(cache=True)
def stage_forget(store: int, p: int, client: int, tenant: int, acknowledged: int) -> None:
    """Drop the client's puts with a sequence number below ``acknowledged``: it has their replies and asks no more.

    They are what siblings collected of values that another worker had whole first. Kept till they age out, they would
    fill the tenant's share of entries, and its next large value would wait for that.
    """
    for entry in range(_STAGING_ENTRIES):
        stage = Stage(stage_at(store, p, entry))
        if stage.slot != 0 and stage.sequence < acknowledged and stage.client == client and stage.tenant == tenant:
            stage_abandon(store, p, entry)


@njit(cache=True)
def _claim(store: int, p: int, tenant: int, claim: int, refusal: int) -> int:
    """Whether the request was executed already, and if not, whether it may be: a status as of lock_to_write. If it may,
    ``refusal`` (OK: none) is recorded."""
    me = participant_at(store, p)
    status = lock_active(store, me, tenant)
    if status == Status.OK:
        status = claim_begin(store, me, tenant, claim, log_room(store, me, account_of(store, tenant)))
        if status == Status.OK:
            claim_refusal(store, me, tenant, claim, refusal)
        unlock(store, Account(account_of(store, tenant)).at.lock)
    return status


@njit(cache=True)
def stage_put(
    store: int, p: int, client: int, sequence: int, tenant: int, table: int, key: int, key_length: int,
    fragment_count: int, fragment_index: int, data: int, length: int, expected_version: int, claim: int = 0,
    acknowledged: int = 0, fragment_bytes: int = _FRAGMENT_BYTES, ttl: int = 0,
) -> tuple[int, int]:  # fmt: skip
    """One fragment of a put, from first to last step: find or begin its entry, write, publish when it was the last
    one missing. ``claim`` and ``ttl`` as in store_put; ``acknowledged`` as in stage_forget; ``fragment_bytes`` as in
    stage_write.

    Returns (status, version): version is 0 while fragments are missing and the object's version once it is published.
    """
    status = _check_fragment(fragment_index, fragment_count, fragment_bytes, length)  # before memory is spent on it
    if status == Status.OK and claim != 0:
        status = _claim(store, p, tenant, claim, Status.OK)
    if status != Status.OK:
        return status, 0
    entry = stage_find(store, p, client, sequence, tenant)
    if entry < 0:
        stage_forget(store, p, client, tenant, acknowledged)
        entry = stage_begin(store, p, client, sequence, tenant, table, key, key_length, fragment_count, fragment_bytes, ttl)
        if entry < 0:
            if claim != 0:
                _claim(store, p, tenant, claim, -entry)
            return -entry, 0
    status = stage_write(store, p, entry, fragment_index, fragment_count, data, length, fragment_bytes, ttl)
    if status != Status.OK or not stage_is_complete(store, p, entry):
        return status, 0
    status = stage_publish(store, p, entry, expected_version, claim)
    return status, store_last_version(store, p) if status == Status.OK else 0
