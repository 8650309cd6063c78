"""Opening and closing of a tenant's account, and walks over the index."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import load32_acquire, load64_acquire, store64, store64_release
from splinter.store.account_layout import EVICTION_NONE
from splinter.store.accounts import account_of, call_durable
from splinter.store.index import bucket_at, word_object, word_unit
from splinter.store.journal import commit, lock_tenant, note, participant_at, unlock
from splinter.store.layout import DURABILITY_NONE, ENTRY_BYTES
from splinter.store.publication import remove
from splinter.store.records import Account, Bucket, Descriptor, Object
from splinter.store.snapshots import seen_at, snapshot_of

UNCHANGED = -1  # of what tenant_set_modes may change
_TENANTS_MAX = limits.TENANTS_MAX
_BUCKET_ENTRIES = limits.BUCKET_ENTRIES
_CHAIN_BUCKETS_MAX = limits.CHAIN_BUCKETS_MAX
_CHAIN_ENTRIES_MAX = limits.CHAIN_BUCKETS_MAX * limits.BUCKET_ENTRIES
_SCAN_BUCKETS_MAX = limits.SCAN_BUCKETS_MAX


def first_commit(store_ns: int) -> int:
    """The number from which commits of a tenant go on in a store that is new at that time, ns since 1970: one for each µs.

    What an earlier store has told of may be gone without a trace, and no version is to come twice.
    """
    return store_ns // 1000


@njit(cache=True)
def tenant_open(store: int, tenant: int, quota_bytes: int, generation: int, first: int) -> int:
    """Let a tenant write, or change the quota of one that does. Called by the control process only.

    ``generation``, not 0, tells it from those that had its id before: what names one of those is void. The numbers of its
    commits go on from ``first`` or, if that is more, from those of others that had the id (:func:`first_commit`).

    Returns OK; UNKNOWN_TENANT for an id out of range; BUSY while objects of a closed tenant of this id have not been
    swept away.
    """
    if tenant < 1 or tenant >= _TENANTS_MAX:
        return Status.UNKNOWN_TENANT
    account = Account(account_of(store, tenant))
    if load64_acquire(account.at.active) == 0:
        if load64_acquire(account.at.objects) != 0 or load64_acquire(account.at.roster_chunks) != 0:
            return Status.BUSY
        store64_release(account.at.roster_end, 0)
        store64_release(account.at.roster_hand, 0)
        store64_release(account.at.roster_next, 0)
        store64_release(account.at.room_next, 0)
        store64_release(account.at.eviction_hand, 0)
        store64_release(account.at.evictions, 0)
        store64_release(account.at.clients, 0)  # their records were swept away with all other objects
        store64_release(account.at.clients_hand, 0)
        store64_release(account.at.sequence, max(account.sequence, first, 1))  # versions are not 0
        call_durable(store, tenant, account.sequence)  # those who had the id, and the sweep, have counted what nobody waits for
    store64_release(account.at.quota_bytes, quota_bytes)
    store64_release(account.at.active, generation)
    return Status.OK


@njit(cache=True)
def tenant_close(store: int, p: int, tenant: int) -> int:
    """End a tenant's writes: none is under way when this returns, and later ones get UNKNOWN_TENANT. Returns a status.

    The objects are still there until :func:`tenant_sweep` has removed them.
    """
    if tenant < 1 or tenant >= _TENANTS_MAX:
        return Status.UNKNOWN_TENANT
    account = Account(account_of(store, tenant))
    if not lock_tenant(store, participant_at(store, p), account.at.lock):
        return Status.BUSY
    store64_release(account.at.active, 0)
    store64_release(account.at.eviction, EVICTION_NONE)  # another tenant may have the id one day
    unlock(store, account.at.lock)
    return Status.OK


@njit(cache=True)
def tenant_set_modes(store: int, p: int, tenant: int, durability: int, void_until: int, eviction: int) -> int:
    """Say how durable (DURABILITY_…) a tenant's changes are from now on, and by which policy (EVICTION_…) its objects are
    evicted; either may be UNCHANGED. Called by the control process only.

    ``void_until``: what of the log is void, if they were not logged (:class:`splinter.durable.catalog.TenantRow`): its next
    entry has a later number.

    Where they were not logged, and there are objects, the log lacks those until a snapshot is taken: that is counted. Where
    there are none it lacks nothing, and nothing that was done comes to the disk. Returns OK, or BUSY: nothing has changed.
    """
    me = participant_at(store, p)
    account, descriptor = Account(account_of(store, tenant)), Descriptor(store)
    if not lock_tenant(store, me, account.at.lock):
        return Status.BUSY
    if eviction != UNCHANGED:
        store64_release(account.at.eviction, eviction)
    if durability == UNCHANGED:
        unlock(store, account.at.lock)
        return Status.OK
    if account.durability == DURABILITY_NONE and durability != DURABILITY_NONE:
        store64_release(account.at.number, max(account.number, void_until))
        if account.objects != 0:
            store64_release(descriptor.at.log_gaps, descriptor.log_gaps + 1)
        else:
            call_durable(store, tenant, account.sequence)
    store64_release(account.at.durability, durability)
    unlock(store, account.at.lock)
    return Status.OK


@njit(cache=True)
def tenant_charge_code(store: int, p: int, tenant: int, code_bytes: int, forced: bool) -> int:
    """Charge a tenant for ``code_bytes`` of machine code in place of what it was charged for. Called by the control
    process only.

    Returns OK; BUSY; QUOTA_EXCEEDED when that is more than before, and too much, unless it is ``forced``.
    """
    me = participant_at(store, p)
    account = Account(account_of(store, tenant))
    if not lock_tenant(store, me, account.at.lock):
        return Status.BUSY
    more = code_bytes - account.code_bytes
    used = account.bytes_used + more
    status = Status.OK
    if more > 0 and used > account.quota_bytes and not forced:
        status = Status.QUOTA_EXCEEDED
    else:
        count = note(store, me, 0, account.at.code_bytes, code_bytes)
        commit(store, me, note(store, me, count, account.at.bytes_used, used))
    unlock(store, account.at.lock)
    return status


@njit(cache=True)
def tenant_sweep(store: int, p: int, tenant: int, cursor: int, buckets: int) -> int:
    """Remove a closed tenant's objects from ``buckets`` chains, from main bucket ``cursor`` on (0 to begin with).

    Returns the next cursor; -1 when all is done; -BUSY - 1 when the tenant's lock was not to be had (try again).
    """
    me = participant_at(store, p)
    account, main_buckets = Account(account_of(store, tenant)), Descriptor(store).buckets
    if not lock_tenant(store, me, account.at.lock):
        return -Status.BUSY - 1
    end = min(cursor + buckets, main_buckets)
    for number in range(cursor, end):
        bucket = Bucket(bucket_at(store, number))
        for _ in range(_CHAIN_BUCKETS_MAX):
            for i in range(_BUCKET_ENTRIES):
                entry = bucket.entries + i * ENTRY_BYTES
                word = load64_acquire(entry)
                if word_unit(word) != 0 and Object(word_object(store, word)).tenant == tenant:
                    remove(store, me, tenant, entry, word, 0, 0)
            following = load32_acquire(bucket.at.next)
            if following == 0:
                break
            bucket = Bucket(bucket_at(store, following))
    unlock(store, account.at.lock)
    if end == main_buckets or load64_acquire(account.at.objects) == load64_acquire(account.at.roster_chunks) == 0:
        return -1
    return end


@njit(cache=True)
def scan_table(store: int, tenant: int, table: int, cursor: int, addresses: int, capacity: int) -> tuple[int, int]:
    """List objects of a table, of one tenant or (0) of all, from main bucket ``cursor`` on (0 to begin with).

    Writes at most ``capacity`` object addresses, 8 bytes each, to ``addresses``; capacity is at least
    CHAIN_BUCKETS_MAX × BUCKET_ENTRIES. Returns (how many, next cursor), cursor -1 at the end. What is there during
    the whole scan is listed exactly once if it is not replaced meanwhile.
    """
    count = 0
    buckets = Descriptor(store).buckets
    end = min(cursor + _SCAN_BUCKETS_MAX, buckets)
    while cursor < end and capacity - count >= _CHAIN_ENTRIES_MAX:
        bucket = Bucket(bucket_at(store, cursor))
        for _ in range(_CHAIN_BUCKETS_MAX):
            for i in range(_BUCKET_ENTRIES):
                word = load64_acquire(bucket.entries + i * ENTRY_BYTES)
                if word_unit(word) != 0:
                    address = word_object(store, word)
                    found = Object(address)
                    if found.table != table or (tenant != 0 and found.tenant != tenant):
                        continue
                    if found.version & 1 != 0:
                        address = seen_at(store, address, snapshot_of(store, found.tenant))
                    if address > 0:
                        store64(addresses + count * 8, address)
                        count += 1
            following = load32_acquire(bucket.at.next)
            if following == 0:
                break
            bucket = Bucket(bucket_at(store, following))
        cursor += 1
    return count, cursor if cursor < buckets else -1
