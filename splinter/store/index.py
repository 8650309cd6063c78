"""The index: chains of buckets of seven entries, each one word that names an object.

**Growing and shrinking.** A chain grows by an overflow bucket of the pool, or a never used one. Where those are short, chains
are looked at one after the other (:func:`buckets_step`), and overflow buckets without an object leave them: the entries
are *sealed*, each by compare-and-swap from empty, so that no insert fills them; one step then leads the chain past the bucket.
A reader that stands in it goes on by its ``next``, which stays. It is dated with the epoch, as a retired object is, and goes to
the pool when nobody can be in it any more. An insert that wants to grow a chain behind such a bucket begins anew.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import cas64, fence, load32_acquire, load64, load64_acquire, prefetch, shift_right, store64_release
from splinter.store.epochs import epoch_advance, epoch_oldest
from splinter.store.hashing import identity_key_length, keys_equal, store_hash
from splinter.store.journal import commit, lock_inner, note, try_lock_inner, unlock
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import (
    BUCKET_UNLINKED_SHIFT,
    CACHE_LINE_BYTES,
    ENTRY_BYTES,
    ENTRY_CLASS_MASK,
    ENTRY_CLASS_SHIFT,
    ENTRY_SEALED,
    ENTRY_TAG_SHIFT,
    O_KEY,
    UNIT_BYTES,
    UNIT_MASK,
    UNLINKED_BYTES,
)
from splinter.store.objects import is_identity
from splinter.store.records import Bucket, Descriptor, Leaving, Participant

_BUCKET_BYTES = limits.BUCKET_BYTES
_OBJECT_LINES = 3  # header, a key of 30 bytes and a value of 100
_BUCKET_ENTRIES = limits.BUCKET_ENTRIES
_CHAIN_BUCKETS_MAX = limits.CHAIN_BUCKETS_MAX
_BUCKET_HASH_BITS = 32
_INSERT_TRIES_MAX = limits.INSERT_TRIES_MAX
_RESERVE_SHARE = limits.BUCKETS_RESERVE_SHARE
_LEAVING_MAX = limits.BUCKETS_LEAVING_MAX
_LOOKS = limits.BUCKETS_LOOKS
_UNLINKED = -1  # _grow: the bucket is in no chain any more


@njit(cache=True)
def entry_word(hashed: int, size_class: int, unit: int) -> int:
    """The word of an entry for the object at ``unit``; never 0."""
    return shift_right(hashed, ENTRY_TAG_SHIFT) << ENTRY_TAG_SHIFT | size_class << ENTRY_CLASS_SHIFT | unit


@njit(cache=True)
def word_unit(word: int) -> int:
    """The unit of an entry's object."""
    return word & UNIT_MASK


@njit(cache=True)
def word_class(word: int) -> int:
    """The size class of an entry's object."""
    return (word >> ENTRY_CLASS_SHIFT) & ENTRY_CLASS_MASK


@njit(cache=True, forceinline=True)
def word_object(store: int, word: int) -> int:
    """The address of an entry's object."""
    return Descriptor(store).slabs + (word & UNIT_MASK) * UNIT_BYTES


@njit(cache=True, forceinline=True)
def bucket_at(store: int, index: int) -> int:
    """Address of a bucket."""
    return Descriptor(store).index + index * _BUCKET_BYTES


@njit(cache=True, forceinline=True)
def bucket_number(store: int, hashed: int) -> int:
    """The main bucket of a hash: its low 32 bits, scaled to the number of main buckets (which is no power of two)."""
    return shift_right((hashed & 0xFFFFFFFF) * Descriptor(store).buckets, _BUCKET_HASH_BITS)


@njit(cache=True, forceinline=True)
def prefetch_bucket(store: int, hashed: int) -> None:
    """Ask for the cache line of a hash's main bucket."""
    prefetch(bucket_at(store, bucket_number(store, hashed)))


@njit(cache=True, forceinline=True)
def prefetch_object(store: int, hashed: int) -> None:
    """Ask for the first cache lines of the object that a hash's main bucket names, if it names one (or another of its tag)."""
    tag = shift_right(hashed, ENTRY_TAG_SHIFT)
    bucket = Bucket(bucket_at(store, bucket_number(store, hashed)))
    for i in range(_BUCKET_ENTRIES):
        word = load64_acquire(bucket.entries + i * ENTRY_BYTES)
        if shift_right(word, ENTRY_TAG_SHIFT) == tag and word != 0:
            found = word_object(store, word)
            for line in range(_OBJECT_LINES):
                prefetch(found + line * CACHE_LINE_BYTES)
            return


@njit(cache=True, forceinline=True)
def find_entry(store: int, hashed: int, identity: int, key: int, key_length: int) -> tuple[int, int]:
    """(address, word) of the entry of a key; (0, 0) when there is none.

    The word is loaded once, with acquire: the object that it names is complete. The address may hold another word by
    now, unless the caller holds the tenant's lock.
    """
    tag = shift_right(hashed, ENTRY_TAG_SHIFT)
    slabs = Descriptor(store).slabs
    bucket = Bucket(bucket_at(store, bucket_number(store, hashed)))
    for _ in range(_CHAIN_BUCKETS_MAX):
        for i in range(_BUCKET_ENTRIES):
            entry = bucket.entries + i * ENTRY_BYTES
            word = load64_acquire(entry)
            if shift_right(word, ENTRY_TAG_SHIFT) == tag and word != 0:
                found = slabs + (word & UNIT_MASK) * UNIT_BYTES
                if is_identity(found, identity) and keys_equal(found + O_KEY, key, key_length):
                    return entry, word
        following = load32_acquire(bucket.at.next)
        if following == 0:
            break
        bucket = Bucket(bucket_at(store, following))
    return 0, 0


@njit(cache=True)
def find_hashed(store: int, hashed: int, identity: int) -> int:
    """Address of the object that has this hash and identity, whatever its key, or 0. The caller holds the tenant's lock."""
    tag = shift_right(hashed, ENTRY_TAG_SHIFT)
    bucket = Bucket(bucket_at(store, bucket_number(store, hashed)))
    for _ in range(_CHAIN_BUCKETS_MAX):
        for i in range(_BUCKET_ENTRIES):
            word = load64_acquire(bucket.entries + i * ENTRY_BYTES)
            if shift_right(word, ENTRY_TAG_SHIFT) == tag and word != 0:
                found = word_object(store, word)
                # A look at the identity first: another tenant's object may have a key of any length.
                if is_identity(found, identity) and hashed == store_hash(
                    store, identity, found + O_KEY, identity_key_length(identity)
                ):
                    return found
        following = load32_acquire(bucket.at.next)
        if following == 0:
            break
        bucket = Bucket(bucket_at(store, following))
    return 0


@njit(cache=True)
def empty_entry(store: int, me: int, hashed: int) -> int:
    """Address of an empty entry in a hash's chain, which grows if it must; or -OUT_OF_MEMORY, -BUSY.

    Anybody may fill the entry first: the caller claims it by compare-and-swap and asks again when that fails.
    """
    for _ in range(_INSERT_TRIES_MAX):
        entry = _empty_entry(store, me, bucket_at(store, bucket_number(store, hashed)))
        if entry != 0:
            return entry
    return -Status.BUSY


@njit(cache=True)
def _empty_entry(store: int, me: int, bucket: int) -> int:
    """The same; 0 when a bucket left the chain meanwhile."""
    for depth in range(_CHAIN_BUCKETS_MAX):
        each = Bucket(bucket)
        for i in range(_BUCKET_ENTRIES):
            entry = each.entries + i * ENTRY_BYTES
            if load64_acquire(entry) == 0:
                return entry
        if load32_acquire(each.at.next) == 0:
            status = Status.OUT_OF_MEMORY if depth == _CHAIN_BUCKETS_MAX - 1 else _grow(store, me, bucket)
            if status == _UNLINKED:
                return 0
            if status != Status.OK:
                return -status
        bucket = bucket_at(store, load32_acquire(each.at.next))
    return -Status.OUT_OF_MEMORY


@njit(cache=True)
def _grow(store: int, me: int, bucket: int) -> int:
    """Link an overflow bucket, all zero, behind ``bucket`` unless another participant has done so. Returns a status, or
    _UNLINKED."""
    descriptor, before = Descriptor(store), Bucket(bucket)
    if not lock_inner(store, me, descriptor.at.buckets_lock):
        return Status.BUSY
    status: int = Status.OK
    links = load64_acquire(before.at.next)
    if links >> BUCKET_UNLINKED_SHIFT != 0:
        status = _UNLINKED
    elif links == 0:
        unused, pooled = descriptor.buckets_used, descriptor.buckets_pool
        if pooled != 0:
            taken = Bucket(bucket_at(store, pooled))
            count = note(store, me, 0, descriptor.at.buckets_pool, load64(taken.at.next))
            count = note(store, me, count, descriptor.at.buckets_pooled, descriptor.buckets_pooled - 1)
            count = note(store, me, count, taken.at.next, 0)  # before readers can come to it
            commit(store, me, note(store, me, count, before.at.next, pooled))
        elif unused == descriptor.buckets_total:
            status = Status.OUT_OF_MEMORY
        else:
            count = note(store, me, 0, before.at.next, unused)
            count = note(store, me, count, descriptor.at.buckets_used, unused + 1)
            commit(store, me, count)
    unlock(store, descriptor.at.buckets_lock)
    return status


# --- overflow buckets that are not needed any more ---------------------------------------------------------------------------


@njit(cache=True)
def buckets_short(store: int) -> bool:
    """Whether few overflow buckets may be given out, or some are on their way to the pool: then
    :func:`buckets_step` has something to do."""
    descriptor = Descriptor(store)
    left = descriptor.buckets_total - descriptor.buckets_used + descriptor.buckets_pooled
    overflow = descriptor.buckets_total - descriptor.buckets
    return left < max(1, overflow // _RESERVE_SHARE) or descriptor.buckets_leaving != 0


@njit(cache=True)
def buckets_step(store: int, me: int) -> None:
    """A turn's share of it: what nobody can be in any more goes to the pool; BUCKETS_LOOKS chains are looked at."""
    descriptor = Descriptor(store)
    if not try_lock_inner(store, me, descriptor.at.buckets_lock):
        return
    if descriptor.buckets_leaving != 0:
        _pool_buckets(store, me)
    main = descriptor.buckets
    number = descriptor.buckets_cursor
    for _ in range(_LOOKS):
        _shrink(store, me, bucket_at(store, number))
        number = number + 1 if number + 1 < main else 0
    descriptor.buckets_cursor = number
    unlock(store, descriptor.at.buckets_lock)


@njit(cache=True)
def _shrink(store: int, me: int, bucket: int) -> None:
    """Take the overflow buckets without an object out of a chain; the buckets' lock is held."""
    for _ in range(_CHAIN_BUCKETS_MAX):
        following = load32_acquire(Bucket(bucket).at.next)
        if following == 0:
            return
        if _is_empty(bucket_at(store, following)) and _unlink(store, me, bucket, following):
            continue
        bucket = bucket_at(store, following)


@njit(cache=True)
def _is_empty(bucket: int) -> bool:
    entries = 0
    for i in range(_BUCKET_ENTRIES):
        entries |= load64_acquire(Bucket(bucket).entries + i * ENTRY_BYTES)
    return entries == 0


@njit(cache=True)
def _unlink(store: int, me: int, before: int, number: int) -> bool:
    """Seal an overflow bucket and lead its chain past it. False: an insert was quicker, or too many leave already."""
    descriptor, mine = Descriptor(store), Participant(me)
    place = descriptor.unlinked
    end = place + _LEAVING_MAX * UNLINKED_BYTES
    while place < end and Leaving(place).bucket != 0:
        place += UNLINKED_BYTES
    if place == end:
        return False
    address = bucket_at(store, number)
    bucket, leaving = Bucket(address), Leaving(place)
    store64_release(mine.at.sealing, address)
    for i in range(_BUCKET_ENTRIES):
        if not cas64(bucket.entries + i * ENTRY_BYTES, 0, ENTRY_SEALED):
            buckets_unseal(me)
            return False
        kill_point(store, KillPoint.BUCKET_SEALED)
    links = load64(bucket.at.next)
    count = note(store, me, 0, Bucket(before).at.next, links)
    count = note(store, me, count, bucket.at.next, links | 1 << BUCKET_UNLINKED_SHIFT)
    count = note(store, me, count, leaving.at.epoch, 0)
    count = note(store, me, count, leaving.at.bucket, number)
    count = note(store, me, count, descriptor.at.buckets_leaving, descriptor.buckets_leaving + 1)
    commit(store, me, note(store, me, count, mine.at.sealing, 0))
    return True


@njit(cache=True)
def buckets_unseal(me: int) -> None:
    """The bucket that a participant is sealing, or was when it died, stays in its chain."""
    mine = Participant(me)
    if mine.sealing == 0:
        return
    bucket = Bucket(mine.sealing)
    for i in range(_BUCKET_ENTRIES):
        entry = bucket.entries + i * ENTRY_BYTES
        if load64_acquire(entry) == ENTRY_SEALED:
            store64_release(entry, 0)
    store64_release(mine.at.sealing, 0)


@njit(cache=True)
def _pool_buckets(store: int, me: int) -> None:
    """Date what has left its chain; what was dated before every participant's epoch goes to the pool."""
    fence()  # whoever still finds one has published an epoch no newer than the one that is read next
    descriptor = Descriptor(store)
    now = load64_acquire(descriptor.at.epoch)
    oldest = epoch_oldest(store)
    must_wait = False
    for i in range(_LEAVING_MAX):
        leaving = Leaving(descriptor.unlinked + i * UNLINKED_BYTES)
        number, epoch = leaving.bucket, leaving.epoch
        if number == 0:
            continue
        if epoch == 0:
            store64_release(leaving.at.epoch, now)
            must_wait = True
        elif epoch < oldest:
            bucket = Bucket(bucket_at(store, number))
            for k in range(_BUCKET_ENTRIES):
                store64_release(bucket.entries + k * ENTRY_BYTES, 0)
            count = note(store, me, 0, bucket.at.next, descriptor.buckets_pool)
            count = note(store, me, count, descriptor.at.buckets_pool, number)
            count = note(store, me, count, descriptor.at.buckets_pooled, descriptor.buckets_pooled + 1)
            count = note(store, me, count, descriptor.at.buckets_leaving, descriptor.buckets_leaving - 1)
            commit(store, me, note(store, me, count, leaving.at.bucket, 0))
        elif epoch >= now:
            must_wait = True
    if must_wait:
        epoch_advance(store)
