"""Telling all objects while others write, and putting told ones back: what the control process does for a dump and a restore.

**By the index, a chain at a time.** A walk over the slabs would miss, or tell twice, what a put moves to another slot. An entry
stays where it is as long as its key has an object: a put, an expire, a move by compaction change its word in place, and of a
chain only buckets without entries leave. So a walk over the entries finds each key that is there all the time, once. A key that
is deleted and made again meanwhile may take another entry of the same chain, which its hash names: of a key that a chain shows
twice the later look counts, and no other chain can show it.

**A commit of several objects** hides what it deletes behind ENTRY_DELETING until it is finished or taken back. Such an entry
does not tell whose it is. What is taken back was there all the time, so a chain with such an entry is not told: the caller
comes again. An object whose commit is not counted yet is told as readers see it (:func:`splinter.store.snapshots.shown`).

The caller has entered an epoch, and leaves it after each call: a dump holds up the re-use of memory no longer than a scan does.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load32_acquire, load64, load64_acquire, store64
from splinter.store.accounts import account_of
from splinter.store.clock import moment_in
from splinter.store.hashing import keys_equal
from splinter.store.index import bucket_at, word_object, word_unit
from splinter.store.journal import participant_at
from splinter.store.large import store_drop_large, store_put_large
from splinter.store.layout import ENTRY_BYTES, ENTRY_DELETING
from splinter.store.objects import (
    is_identity,
    is_large,
    is_over,
    object_expires,
    object_identity,
    object_key,
    object_key_length,
    object_value,
    object_value_length,
)
from splinter.store.operations import store_delete, store_find, store_put
from splinter.store.parts import part_size, parts_of, sound_part
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.reclaim import reclaim
from splinter.store.records import Account, Bucket, Descriptor, Dumped, Large, Object
from splinter.store.snapshots import shown
from splinter.wire import (
    DUMPED_BYTES,
    DUMPED_LARGE,
    DUMPED_OBJECT,
    DUMPED_PART,
    LARGE_BYTES,
    PART_HEAD_BYTES,
    PART_KEY_BYTES,
)

# Of all objects of a chain of the index, and of the addresses where they are.
CHAIN_BYTES_MAX = (
    limits.CHAIN_BUCKETS_MAX * limits.BUCKET_ENTRIES * (DUMPED_BYTES + (limits.KEY_BYTES_MAX + limits.VALUE_BYTES_MAX + 7 & -8))
)
CHAIN_ADDRESSES_BYTES = limits.CHAIN_BUCKETS_MAX * limits.BUCKET_ENTRIES * 8
ONE_BYTES_MAX = DUMPED_BYTES + (limits.KEY_BYTES_MAX + limits.VALUE_BYTES_MAX + 7 & -8) + limits.LARGE_BYTES_MAX  # of dump_key
ONE_ADDRESSES_BYTES = limits.PARTS_MAX * 8
UNSOUND = -1  # in place of a count, or of bytes

_CONTROL = limits.PARTICIPANT_CONTROL
_HIDDEN = -1  # in place of a count: somebody is in the middle of a deletion


@njit(cache=True)
def dumped_size(key_length: int, value_length: int) -> int:
    """Bytes of a DUMPED with its key and value."""
    return DUMPED_BYTES + (key_length + value_length + 7 & -8)


# --- telling -----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def dump_chains(
    store: int, tenant: int, first: int, end: int, now: int, ahead: int, target: int, enough: int, addresses: int
) -> tuple[int, int]:  # fmt: skip
    """Copy the objects of one tenant, or (0) of all, in the chains of the main buckets ``first`` to ``end`` to ``target``, each
    as a DUMPED, whole chains only. Objects of the system, and what is over at ``now``, are left out.

    Ends before a chain with which there would be more than ``enough`` bytes, but for a first one: that takes up to
    CHAIN_BYTES_MAX. ``addresses``: room for CHAIN_ADDRESSES_BYTES. ``ahead``: how far (ns) the host's clock is ahead of the
    store's. Returns the bytes that were written and the main bucket to go on with. That is ``first``, with nothing written,
    when somebody is in the middle of a commit that deletes: come again.
    """
    written = 0
    end = min(end, Descriptor(store).buckets)
    for number in range(first, end):
        count = _chain_objects(store, tenant, number, now, addresses)
        if count == _HIDDEN:
            return written, number
        size = 0
        for i in range(count):
            found = load64(addresses + i * 8)
            size += dumped_size(object_key_length(found), object_value_length(found))
        if written != 0 and written + size > enough:
            return written, number
        for i in range(count):
            written += _copy(store, load64(addresses + i * 8), ahead, target + written)
    return written, end


@njit(cache=True)
def _chain_objects(store: int, tenant: int, number: int, now: int, addresses: int) -> int:
    """Write the addresses of a chain's objects, no key twice. Returns how many, or _HIDDEN."""
    count = 0
    bucket = Bucket(bucket_at(store, number))
    for _ in range(limits.CHAIN_BUCKETS_MAX):
        for i in range(limits.BUCKET_ENTRIES):
            word = load64_acquire(bucket.entries + i * ENTRY_BYTES)
            if word == ENTRY_DELETING:
                return _HIDDEN
            if word_unit(word) == 0:
                continue
            found = _told(store, tenant, word_object(store, word), now)
            if found != 0:
                place = _place_of(found, addresses, count)
                store64(addresses + place * 8, found)
                count = max(count, place + 1)
        following = load32_acquire(bucket.at.next)
        if following == 0:
            break
        bucket = Bucket(bucket_at(store, following))
    return count


@njit(cache=True)
def _told(store: int, tenant: int, found: int, now: int) -> int:
    """The address of the object that is told where an entry names ``found``; 0: none."""
    owner = Object(found).tenant
    if Object(found).table >= limits.TABLES_MAX or (tenant != 0 and owner != tenant):
        return 0
    if Account(account_of(store, owner)).active == 0:
        return 0
    return shown(store, found, now)


@njit(cache=True)
def _place_of(found: int, addresses: int, count: int) -> int:
    """Which of the ``count`` objects has the key of ``found``; ``count``: none."""
    identity, key, key_length = object_identity(found), object_key(found), object_key_length(found)
    for i in range(count):
        other = load64(addresses + i * 8)
        if is_identity(other, identity) and keys_equal(object_key(other), key, key_length):
            return i
    return count


@njit(cache=True)
def _copy(store: int, found: int, ahead: int, target: int) -> int:
    """Write an object as a DUMPED; returns its bytes."""
    told, content = Dumped(target), object_key_length(found) + object_value_length(found)
    size, expires = dumped_size(content, 0), object_expires(found)
    told.tenant = Object(found).tenant
    told.table = Object(found).table
    told.key_length = object_key_length(found)
    told.kind = DUMPED_LARGE if is_large(found) else DUMPED_OBJECT
    told.value_length = object_value_length(found)
    told.generation = Account(account_of(store, Object(found).tenant)).active
    told.expires = max(expires + ahead, 1) if expires != 0 else 0
    store64(target + size - 8, 0)
    copy_bytes(target + DUMPED_BYTES, object_key(found), content)
    return size


@njit(cache=True)
def dump_key(
    store: int, tenant: int, table: int, key: int, key_length: int, now: int, ahead: int, target: int, addresses: int
) -> tuple[int, int]:  # fmt: skip
    """Copy the object of a key to ``target``, as a DUMPED, and behind it, if the value is large, all of that: ONE_BYTES_MAX.
    ``addresses``: room for ONE_ADDRESSES_BYTES.

    Returns the bytes of both; 0: there is no object; value of 0 bytes: it is not large; UNSOUND: a part is not there, or not
    what it should be. So it is when the object is replaced meanwhile: then the next look finds another one. All parts are found
    before any is copied, as the epoch keeps what was found: who replaces the value has that much less time to do it in.
    """
    found = store_find(store, tenant, table, key, key_length, 0)
    if found == 0 or is_over(found, now):
        return 0, 0
    written = _copy(store, found, ahead, target)
    if not is_large(found):
        return written, 0
    large, me = object_value(found), participant_at(store, _CONTROL)
    count = parts_of(Large(large).length)
    for number in range(count):
        part = sound_part(store, me, tenant, table, key, key_length, large, number)
        if part == 0:
            return written, UNSOUND
        store64(addresses + number * 8, object_value(part) + PART_HEAD_BYTES + key_length)
    end = target + written
    for number in range(count):
        copy_bytes(end, load64(addresses + number * 8), part_size(large, number))
        end += part_size(large, number)
    return written, Large(large).length


# --- putting back ----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def count_dumped(at: int, end: int) -> int:
    """How many DUMPED stand from ``at`` to ``end``; UNSOUND when that is not what stands there."""
    count = 0
    while at < end:
        if end - at < DUMPED_BYTES:
            return UNSOUND
        told = Dumped(at)
        key_length, value_length = told.key_length, told.value_length
        if key_length < 1 or key_length > limits.KEY_BYTES_MAX or value_length > limits.VALUE_BYTES_MAX:
            return UNSOUND
        if not _is_kind(told.kind, key_length, value_length) or told.table >= limits.TABLES_MAX or told.expires < 0:
            return UNSOUND
        if dumped_size(key_length, value_length) > end - at:
            return UNSOUND
        at += dumped_size(key_length, value_length)
        count += 1
    return count


@njit(cache=True)
def _is_kind(kind: int, key_length: int, value_length: int) -> bool:
    if kind == DUMPED_LARGE:
        return value_length == LARGE_BYTES
    return kind == DUMPED_OBJECT or (kind == DUMPED_PART and key_length == PART_KEY_BYTES)


@njit(cache=True)
def put_dumped(
    store: int, p: int, tenant: int, at: int, end: int, most: int, now: int, deletes: bool
) -> tuple[int, int, int, int]:  # fmt: skip
    """Put the DUMPED from ``at`` to ``end`` (sound: :func:`count_dumped`), ``most`` at a time, each as a put of its tenant's;
    or delete their keys. What is over by ``now``, ns since 1970, is left out.

    Returns a status, where to go on, and how many were done, and were over. The status is of the one that it stands at; OK:
    there is no more, or ``most`` is used up.
    """
    done, over = 0, 0
    status: int = Status.OK
    while at < end and done + over < most:
        told = Dumped(at)
        key, key_length, value_length = at + DUMPED_BYTES, told.key_length, told.value_length
        if deletes:
            status = store_delete(store, p, tenant, told.table, key, key_length, 0, 0, 0)
            status = Status.OK if status == Status.NOT_FOUND else status
        elif told.expires == 0 or told.expires > now:
            status = _put(store, p, tenant, at, now)
        else:
            if told.kind == DUMPED_LARGE:  # some of its parts may not have been over
                store_drop_large(store, p, tenant, told.table, key + key_length)
            over += 1
            at += dumped_size(key_length, value_length)
            continue
        reclaim(store, p, limits.RECLAIM_SLOTS_MAX)
        if status != Status.OK:
            break
        done += 1
        at += dumped_size(key_length, value_length)
    return status, at, done, over


@njit(cache=True)
def _put(store: int, p: int, tenant: int, at: int, now: int) -> int:
    """Put a DUMPED that is not over. Returns a status."""
    told, key = Dumped(at), at + DUMPED_BYTES
    key_length, table = told.key_length, told.table
    value = key + key_length
    ttl = min(told.expires - now, limits.TTL_NS_MAX) if told.expires != 0 else 0
    expected = 0
    if told.kind == DUMPED_PART:
        table, ttl, expected = limits.TABLE_PARTS, limits.PART_NS, EXPECT_ABSENT
    expires = moment_in(store, participant_at(store, p), ttl)
    if told.kind == DUMPED_LARGE:
        return store_put_large(store, p, tenant, table, key, key_length, value, 0, 0, 0, expires)
    return store_put(store, p, tenant, table, key, key_length, value, told.value_length, expected, 0, 0, expires)
