"""The end of a transaction: what it read is still so, and all that it writes happens at this instant.

A transaction reads a snapshot (:func:`splinter.store.operations.store_find_at`), and notes each look-up as a READ and each
change as a WRITE, of which only the last of a key stands. One that writes nothing has happened at its snapshot, and needs no
end. One that writes ends here: under the tenant's lock nobody else commits, so that nothing may be newer than what it read.
"""

from __future__ import annotations

from numba import njit

from splinter.errors import Status
from splinter.native.atomics import copy_bytes
from splinter.store.accounts import account_of
from splinter.store.classes import class_bytes, class_for
from splinter.store.commit_layout import READ_BYTES, WRITE_BYTES, WRITE_DELETES
from splinter.store.commits import next_write
from splinter.store.eviction import evict_for
from splinter.store.hashing import identity_key_length, identity_table, keys_equal
from splinter.store.index import find_hashed
from splinter.store.journal import participant_at, unlock
from splinter.store.objects import is_over, object_bytes, object_version
from splinter.store.operations import fill_object, lock_active, lock_to_write, publish_filled
from splinter.store.outcomes import claimed_value
from splinter.store.publication import remove_key
from splinter.store.records import Account, Claim, Descriptor, Participant, Read, Write
from splinter.store.room import commit_with_room
from splinter.store.roster_layout import CHUNK_CLASS_BYTES_MAX
from splinter.store.settling import claim_refusal, claim_settle
from splinter.store.slots import peek_slot

CONFLICT = 258  # not a status: something that the transaction has read was changed since; it is to begin anew


@njit(cache=True)
def note_read(at: int, hashed: int, identity: int, version: int) -> int:
    """Write a READ to ``at``; ``version`` 0: nothing was found. Returns where it ends."""
    noted = Read(at)
    noted.hashed = hashed
    noted.identity = identity
    noted.version = version
    return at + READ_BYTES


@njit(cache=True)
def write_size(key_length: int, value_length: int) -> int:
    """Bytes of a WRITE with its key and value."""
    return WRITE_BYTES + (key_length + max(value_length, 0) + 7 & -8)


@njit(cache=True)
def note_write(at: int, hashed: int, identity: int, key: int, value: int, value_length: int, expires: int = 0) -> int:
    """Write a WRITE to ``at``; ``value_length`` WRITE_DELETES: the object is deleted; ``expires``: when it does, or (0) never.
    Returns where it ends."""
    noted, key_length = Write(at), identity_key_length(identity)
    size = write_size(key_length, value_length)
    noted.hashed = hashed
    noted.identity = identity
    noted.value_length = value_length
    noted.size = size
    noted.expires = expires
    copy_bytes(at + WRITE_BYTES, key, key_length)
    copy_bytes(at + WRITE_BYTES + key_length, value, max(value_length, 0))
    return at + size


@njit(cache=True)
def standing_write(at: int, end: int, hashed: int, identity: int, key: int, key_length: int) -> int:
    """The WRITE record of a key that stands, from ``at`` to ``end``, or 0."""
    while at < end:
        written = Write(at)
        if written.hashed == hashed and written.identity == identity and keys_equal(at + WRITE_BYTES, key, key_length):
            return at
        at += written.size
    return 0


@njit(cache=True)
def reads_hold(store: int, reads: int, end: int, now: int) -> bool:
    """Whether the READ records from ``reads`` to ``end`` tell what is there, at ``now`` of the store's clock. The caller holds
    the tenant's lock."""
    for at in range(reads, end, READ_BYTES):
        noted = Read(at)
        found = find_hashed(store, noted.hashed, noted.identity)
        if (object_version(found) if found != 0 and not is_over(found, now) else 0) != noted.version:
            return False
    return True


@njit(cache=True)
def store_transact(
    store: int, p: int, tenant: int, snapshot: int, reads: int, reads_end: int, writes: int, writes_end: int, claim: int
) -> int:  # fmt: skip
    """End a transaction that read ``snapshot``: do what its WRITE records say, and record what ``claim`` says (0: nothing).

    Records lie one behind the other, up to the ends told; at least one WRITE stands. Returns OK (see
    :func:`splinter.store.operations.store_last_version`), CONFLICT, QUOTA_EXCEEDED, OUT_OF_MEMORY, UNKNOWN_TENANT, BUSY, with a
    claim also RECORDED and STALE; other than OK, nothing has changed.
    """
    me = participant_at(store, p)
    status = lock_to_write(store, me, tenant, 0, claim)
    if status != Status.OK:
        return status
    account = Account(account_of(store, tenant))
    # Nothing was committed since its snapshot, but time has passed: what it read may have expired.
    is_later = account.sequence != snapshot or Descriptor(store).expiring != 0
    if is_later and not reads_hold(store, reads, reads_end, Participant(me).now):
        status = CONFLICT
    if status == Status.OK:
        status = _commit_evicting(store, me, tenant, reads, reads_end, writes, writes_end, claim)
    unlock(store, account.at.lock)
    return status


@njit(cache=True)
def store_transact_versions(
    store: int, p: int, tenant: int, reads: int, reads_end: int, writes: int, writes_end: int, claim: int
) -> int:  # fmt: skip
    """End a transaction whose READ records tell versions of any time before: all of them are compared now.

    As :func:`store_transact`, with two differences. There may be no WRITE: then it waits for nobody's turn. And it is not begun
    anew: VERSION_CHANGED in place of CONFLICT, and a refusal is recorded.
    """
    me = participant_at(store, p)
    is_writing = next_write(writes, writes_end) < writes_end
    status = lock_to_write(store, me, tenant, 0, claim) if is_writing else lock_active(store, me, tenant)
    if status != Status.OK:
        return status
    if not reads_hold(store, reads, reads_end, Participant(me).now):
        status = Status.VERSION_CHANGED
    elif is_writing:
        status = _commit_evicting(store, me, tenant, reads, reads_end, writes, writes_end, claim)
        status = Status.VERSION_CHANGED if status == CONFLICT else status
    claim_refusal(store, me, tenant, claim, status)
    unlock(store, Account(account_of(store, tenant)).at.lock)
    return status


@njit(cache=True)
def _commit_evicting(
    store: int, me: int, tenant: int, reads: int, reads_end: int, writes: int, writes_end: int, claim: int
) -> int:  # fmt: skip
    """As :func:`_commit`, and once more where the quota had no room and objects were evicted. Those are commits between what
    was read and what is written: CONFLICT when one of them changed what was read."""
    status = _commit(store, me, tenant, writes, writes_end, claim)
    if status != Status.QUOTA_EXCEEDED or not evict_for(store, me, tenant, _charged(writes, writes_end), 0):
        return status
    if not reads_hold(store, reads, reads_end, Participant(me).now):
        return CONFLICT
    status = _commit(store, me, tenant, writes, writes_end, claim)
    return Status.BUSY if status == Status.QUOTA_EXCEEDED else status


@njit(cache=True)
def _charged(writes: int, end: int) -> int:
    """The bytes of the size classes of all that is put, whatever it replaces, and of a chunk of the roster."""
    size, at = CHUNK_CLASS_BYTES_MAX, next_write(writes, end)
    while at < end:
        written = Write(at)
        if written.value_length != WRITE_DELETES:
            key_length = identity_key_length(written.identity)
            size += class_bytes(class_for(object_bytes(key_length, written.value_length, written.expires)))
        at = next_write(at + written.size, end)
    return size


@njit(cache=True)
def _commit(store: int, me: int, tenant: int, writes: int, end: int, claim: int) -> int:
    """Commit what the WRITE records say, at least one of which stands. The caller holds the tenant's lock."""
    first = next_write(writes, end)
    if next_write(first + Write(first).size, end) < end:
        return commit_with_room(store, me, tenant, first, end, claim)
    return _commit_one(store, me, tenant, first, claim)


@njit(cache=True)
def _commit_one(store: int, me: int, tenant: int, write: int, claim: int) -> int:
    """The same for one WRITE, in a single step of the journal."""
    written = Write(write)
    table, key_length = identity_table(written.identity), identity_key_length(written.identity)
    key, length = write + WRITE_BYTES, written.value_length
    if length == WRITE_DELETES:
        status = remove_key(store, me, tenant, table, key, key_length, written.hashed, 0, claim)
        Participant(me).last_version = 0
        if status == Status.NOT_FOUND and claim != 0:
            claim_settle(store, me, tenant, claim, Claim(claim).word, claimed_value(claim, 0))
        return Status.OK
    size_class = class_for(object_bytes(key_length, length, written.expires))
    slot = peek_slot(store, me, size_class)
    if slot < 0:
        return -slot
    fill_object(store, slot, tenant, table, key, key_length, key + key_length, length, written.expires)
    return publish_filled(
        store, me, tenant, table, key, key_length, key + key_length, length, written.expires, written.hashed, slot, size_class,
        0, claim, False,
    )  # fmt: skip
