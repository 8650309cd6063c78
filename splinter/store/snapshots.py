"""Reading a tenant's objects as they were at one instant, without a lock, while others write.

A tenant's commits are numbered: its account's ``sequence`` is the number of the last, and a commit has happened when it is
counted there. A *snapshot* is such a number: what the commits up to it have left.

* An object's version is twice the number of the commit that published it, plus one until that is counted. A commit of several
  objects publishes them one after the other; nobody sees one before the count, which so is the instant of all.
* An object names the one that it replaced (``previous``). A reader whose snapshot is older than the object goes on there.
* What was deleted is in the index no more; the tenant's ring of deletions names it. A reader who finds nothing looks there, if
  anything was deleted since its snapshot.

**Why what is followed is still there.** The reader has entered its epoch before it took its snapshot. It follows ``previous``
of an object, or an entry of the ring, only where that is of a later commit. So what it comes to was unlinked after that, and
dated with the reader's epoch or a later one. It stays until the reader leaves.

**What is not found any more.** A reader goes back over SNAPSHOT_STEPS_MAX objects of a key, and the ring has DELETIONS entries.
Beyond them :data:`UNKNOWN` is the answer: the reader begins anew, with a new snapshot.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import load64_acquire, store64_release
from splinter.store.accounts import account_of
from splinter.store.commit_layout import DELETION_BYTES, DELETION_RING_BYTES
from splinter.store.hashing import keys_equal, store_hash
from splinter.store.index import find_entry, word_object
from splinter.store.layout import O_KEY, UNIT_BYTES
from splinter.store.objects import is_identity, is_over, object_identity, object_key, object_key_length, object_tenant
from splinter.store.records import Account, Deletion, Descriptor, Object

UNKNOWN = -1  # in place of an object's address: whether there was one cannot be told any more

_DELETIONS = limits.DELETIONS
_STEPS_MAX = limits.SNAPSHOT_STEPS_MAX


@njit(cache=True)
def snapshot_of(store: int, tenant: int) -> int:
    """The present snapshot of a tenant. Enter an epoch first."""
    return load64_acquire(Account(account_of(store, tenant)).at.sequence)


@njit(cache=True)
def note_deletion(store: int, tenant: int, number: int, sequence: int, unit: int) -> None:
    """Write down, before an object is unlinked, that the commit ``sequence`` deletes it: as the tenant's deletion ``number``.

    The caller holds the tenant's lock. If it dies before the commit happens, the entry stays, and does no harm: it names an
    object that readers of older snapshots find in any case, in the index or behind a later one.
    """
    deletion = Deletion(_ring_of(store, tenant) + number % _DELETIONS * DELETION_BYTES)
    store64_release(deletion.at.sequence, 0)
    store64_release(deletion.at.unit, unit)
    store64_release(deletion.at.sequence, sequence)
    store64_release(Account(account_of(store, tenant)).at.deleted, sequence)


@njit(cache=True, forceinline=True)
def last_deletion(store: int, tenant: int) -> int:
    """The last commit whose deletions somebody may have seen who has just found nothing.

    That one is counted. ``deleted`` may name one that is not, or that was taken back: nobody took its objects for deleted.
    """
    account = Account(account_of(store, tenant))
    return min(load64_acquire(account.at.deleted), load64_acquire(account.at.sequence))


@njit(cache=True)
def _ring_of(store: int, tenant: int) -> int:
    return Descriptor(store).deletions + tenant * DELETION_RING_BYTES


@njit(cache=True)
def seen_at(store: int, found: int, snapshot: int) -> int:
    """Address of the object that a snapshot has in place of ``found``, an object of a key or 0; 0: none; or :data:`UNKNOWN`."""
    for _ in range(_STEPS_MAX):
        if found == 0 or Object(found).version >> 1 <= snapshot:
            return found
        previous = Object(found).previous
        found = Descriptor(store).slabs + previous * UNIT_BYTES if previous != 0 else 0
    return UNKNOWN


@njit(cache=True)
def deleted_since(store: int, tenant: int, identity: int, key: int, key_length: int, snapshot: int) -> int:
    """Address of the object of a key that a snapshot has, and that was deleted after it; 0: none; or :data:`UNKNOWN`."""
    ring = _ring_of(store, tenant)
    first, found, older, older_sequence = 0, 0, 0, 0
    for number in range(_DELETIONS):
        deletion = Deletion(ring + number * DELETION_BYTES)
        sequence = load64_acquire(deletion.at.sequence)
        unit = load64_acquire(deletion.at.unit)
        if load64_acquire(deletion.at.sequence) != sequence:
            return UNKNOWN
        if sequence <= snapshot:
            if sequence != 0 or unit == 0:
                older, older_sequence = deletion.at.sequence, sequence
            continue
        if found != 0 and sequence >= first:
            continue
        deleted = Descriptor(store).slabs + unit * UNIT_BYTES
        if is_identity(deleted, identity) and keys_equal(deleted + O_KEY, key, key_length):
            first, found = sequence, deleted
    # Entries are overwritten from the oldest on: while one that the snapshot needs no more stands, none is missing that it
    # needs.
    if older == 0 or load64_acquire(older) != older_sequence:
        return UNKNOWN
    return seen_at(store, found, snapshot)


@njit(cache=True, forceinline=True)
def find_at(store: int, tenant: int, identity: int, key: int, key_length: int, hashed: int, snapshot: int) -> int:
    """Address of the object of a key that a snapshot has, which was taken before in the present epoch; 0: none; or
    :data:`UNKNOWN`."""
    word = find_entry(store, hashed, identity, key, key_length)[1]
    found = seen_at(store, word_object(store, word), snapshot) if word != 0 else 0
    if found == 0 and load64_acquire(Account(account_of(store, tenant)).at.deleted) > snapshot:
        return deleted_since(store, tenant, identity, key, key_length, snapshot)
    return found


@njit(cache=True)
def committed(store: int, tenant: int, identity: int, key: int, key_length: int, hashed: int, found: int) -> int:
    """What :func:`splinter.store.operations.store_find` returns where a look-up found ``found``: an object whose commit may
    not have happened yet, or (0) none. Address of the object of the last commit, or 0.

    Where there was none, a commit may have hidden an object that was then taken back: it is looked for once more, with a
    snapshot from before. A commit that hides objects says so (``deleted``) with a number that is later than all snapshots.
    """
    account = Account(account_of(store, tenant))
    while True:
        version = load64_acquire(Object(found).at.version) if found != 0 else 0
        snapshot = load64_acquire(account.at.sequence)
        if found != 0 and version >> 1 <= snapshot:
            # What was taken back had its version changed before another commit got its number.
            if load64_acquire(Object(found).at.version) >> 1 == version >> 1:
                return found
            continue
        seen = find_at(store, tenant, identity, key, key_length, hashed, snapshot)
        if seen != UNKNOWN:
            return seen


@njit(cache=True)
def shown(store: int, found: int, now: int) -> int:
    """What readers see at ``now`` where an entry names the object ``found``, whose commit may not have happened yet: address of
    its key's object; 0: none."""
    if load64_acquire(Object(found).at.version) & 1 != 0:
        tenant, identity = object_tenant(found), object_identity(found)
        key, key_length = object_key(found), object_key_length(found)
        found = committed(store, tenant, identity, key, key_length, store_hash(store, identity, key, key_length), found)
    return found if found != 0 and not is_over(found, now) else 0
