"""How a participant changes several words so that its death at any instruction leaves all of them changed, or none.

A step first *notes* what it will store where: addresses and absolute values, in the participant's intent record. Then
it either

* *commits*: the state says COMMITTED, the words are stored, the state is cleared (steps that only the participant or
  the holder of a lock can see); or
* *publishes*: the state says PUBLISHING, the slot's version is set, one atomic store to an index entry makes it so,
  the words are stored, the state is cleared.

Whoever recovers a dead participant stores the words of a committed step again (storing absolute values twice is
harmless), and those of a publication if the index entry shows that it happened; else it clears the journal, and
nothing was changed. While the state is not clear the participant holds the tenant's lock (for publications), so
nobody else changes the entry or the account in between.

**Order.** A killed process leaves a prefix of its instructions, and its stores reach memory. So what matters is the
order the compiler emits: every store of the protocol is a release store, which is not moved before any earlier store.

**Locks** name their holder, participant + 1, and are named in the intent before they are taken; so the locks of a
dead participant are known: those named that hold its number. A participant holds at most that of compaction, inside it one
tenant's, inside it one class's or that of the overflow buckets, and inside it that of the slabs.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import cas64, fence, load64, load64_acquire, pause, store64, store64_release
from splinter.store.classes import class_bytes
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import (
    D_EPOCH,
    D_PARTICIPANTS,
    D_SLABS,
    ENTRY_CLASS_MASK,
    ENTRY_CLASS_SHIFT,
    O_RETIRED,
    O_VERSION,
    P_HOLDER,
    P_INTENT_COMPACT_LOCK,
    P_INTENT_COUNT,
    P_INTENT_ENTRY,
    P_INTENT_INNER_LOCK,
    P_INTENT_NEW,
    P_INTENT_OLD,
    P_INTENT_POOL_LOCK,
    P_INTENT_SLOT,
    P_INTENT_STATE,
    P_INTENT_TENANT_LOCK,
    P_INTENT_WORDS,
    P_LIMBO_BYTES,
    P_WAITS,
    PARTICIPANT_BYTES,
    UNIT_BYTES,
    UNIT_MASK,
    WORD_BYTES,
)

JOURNAL_CLEAR = 0
JOURNAL_COMMITTED = 1
JOURNAL_PUBLISHING = 2

_TENANT_LOCK_SPINS_MAX = limits.TENANT_LOCK_SPINS_MAX
_STORE_LOCK_SPINS_MAX = limits.STORE_LOCK_SPINS_MAX
_SPINS_PER_YIELD = 256  # then the holder may need this very CPU


@njit(cache=True)
def participant_at(store: int, p: int) -> int:
    """Address of a participant's record."""
    return load64(store + D_PARTICIPANTS) + p * PARTICIPANT_BYTES


# --- locks -----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _lock(store: int, me: int, intent: int, lock: int, spins_max: int) -> bool:
    store64_release(intent, lock)
    kill_point(store, KillPoint.LOCK_ANNOUNCED)
    holder = load64(me + P_HOLDER)
    for spin in range(1, spins_max + 1):
        if load64_acquire(lock) == 0 and cas64(lock, 0, holder):
            kill_point(store, KillPoint.LOCK_TAKEN)
            if spin > 1:
                store64_release(me + P_WAITS, 0)
            return True
        if spin == 1:
            store64_release(me + P_WAITS, lock)
        pause()
        if spin % _SPINS_PER_YIELD == 0:
            libc.sched_yield()
    store64_release(me + P_WAITS, 0)
    return False


@njit(cache=True)
def lock_tenant(store: int, me: int, lock: int) -> bool:
    """Take a tenant's lock; false when it was not to be had in TENANT_LOCK_SPINS_MAX tries."""
    return _lock(store, me, me + P_INTENT_TENANT_LOCK, lock, _TENANT_LOCK_SPINS_MAX)


@njit(cache=True)
def try_lock_tenant(store: int, me: int, lock: int) -> bool:
    """Take a tenant's lock if it is free."""
    return _lock(store, me, me + P_INTENT_TENANT_LOCK, lock, 1)


@njit(cache=True)
def lock_inner(store: int, me: int, lock: int) -> bool:
    """Take the lock of a class or of the overflow buckets; false when it was not to be had."""
    return _lock(store, me, me + P_INTENT_INNER_LOCK, lock, _STORE_LOCK_SPINS_MAX)


@njit(cache=True)
def try_lock_inner(store: int, me: int, lock: int) -> bool:
    """Take such a lock if it is free."""
    return _lock(store, me, me + P_INTENT_INNER_LOCK, lock, 1)


@njit(cache=True)
def lock_pool(store: int, me: int, lock: int) -> bool:
    """Take the lock of the slabs, the innermost; false when it was not to be had."""
    return _lock(store, me, me + P_INTENT_POOL_LOCK, lock, _STORE_LOCK_SPINS_MAX)


@njit(cache=True)
def try_lock_compact(store: int, me: int, lock: int) -> bool:
    """Take the lock of compaction, the outermost, if it is free."""
    return _lock(store, me, me + P_INTENT_COMPACT_LOCK, lock, 1)


@njit(cache=True)
def unlock(store: int, lock: int) -> None:
    """Release either kind."""
    store64_release(lock, 0)
    kill_point(store, KillPoint.LOCK_RELEASED)


@njit(cache=True)
def waits_for_other(store: int, p: int) -> bool:
    """Whether a participant spins for a lock that another one holds: it goes on when that one does, or is dead."""
    me = participant_at(store, p)
    lock = load64_acquire(me + P_WAITS)
    return lock != 0 and load64_acquire(lock) not in (0, load64(me + P_HOLDER))


@njit(cache=True)
def _lock_intents(me: int) -> tuple[int, int, int, int]:
    return me + P_INTENT_POOL_LOCK, me + P_INTENT_INNER_LOCK, me + P_INTENT_TENANT_LOCK, me + P_INTENT_COMPACT_LOCK


@njit(cache=True)
def locks_held(me: int) -> int:
    """How many locks a dead participant holds."""
    holder, held = load64(me + P_HOLDER), 0
    for intent in _lock_intents(me):
        lock = load64(intent)
        if lock != 0 and load64_acquire(lock) == holder:
            held += 1
    return held


@njit(cache=True)
def break_locks(me: int) -> None:
    """Release what a dead participant held."""
    holder = load64(me + P_HOLDER)
    for intent in _lock_intents(me):
        lock = load64(intent)
        if lock != 0 and load64_acquire(lock) == holder:
            store64_release(lock, 0)
    store64_release(me + P_WAITS, 0)


# --- steps -----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def note(store: int, me: int, count: int, address: int, value: int) -> int:
    """Note as word number ``count`` that ``value`` will be stored at ``address``; returns the new count."""
    word = me + P_INTENT_WORDS + count * WORD_BYTES
    store64_release(word, address)
    store64_release(word + WORD_BYTES // 2, value)
    kill_point(store, KillPoint.WORD_NOTED)
    return count + 1


@njit(cache=True)
def _apply(store: int, me: int) -> None:
    word = me + P_INTENT_WORDS
    end = word + load64(me + P_INTENT_COUNT) * WORD_BYTES
    while word < end:
        store64_release(load64(word), load64(word + WORD_BYTES // 2))
        kill_point(store, KillPoint.WORD_APPLIED)
        word += WORD_BYTES
    kill_point(store, KillPoint.APPLIED)
    store64_release(me + P_INTENT_STATE, JOURNAL_CLEAR)
    kill_point(store, KillPoint.CLEARED)


@njit(cache=True)
def commit(store: int, me: int, count: int) -> None:
    """Make the noted words so."""
    store64_release(me + P_INTENT_COUNT, count)
    store64_release(me + P_INTENT_STATE, JOURNAL_COMMITTED)
    kill_point(store, KillPoint.COMMITTED)
    _apply(store, me)


@njit(cache=True)
def announce(store: int, me: int, count: int, entry: int, old: int, new: int, slot: int, version: int) -> None:
    """Announce that ``entry`` will go from the word ``old`` to ``new``, and set the version of the slot (0: none)."""
    store64_release(me + P_INTENT_COUNT, count)
    store64_release(me + P_INTENT_ENTRY, entry)
    store64_release(me + P_INTENT_OLD, old)
    store64_release(me + P_INTENT_NEW, new)
    store64_release(me + P_INTENT_SLOT, slot)
    store64_release(me + P_INTENT_STATE, JOURNAL_PUBLISHING)
    kill_point(store, KillPoint.PUBLISHING)
    if slot != 0:
        store64_release(slot + O_VERSION, version)
        kill_point(store, KillPoint.VERSION_SET)


@njit(cache=True)
def published(store: int, me: int) -> None:
    """The entry holds the new word: date the old object's retirement, then make the noted words so.

    The entry was written by an atomic exchange or compare-and-swap, which is a full fence: a reader who still found
    the old word had published an epoch no newer than the one read here.
    """
    kill_point(store, KillPoint.ENTRY_WRITTEN)
    old = load64(me + P_INTENT_OLD)
    if old != 0:
        retired = load64(store + D_SLABS) + (old & UNIT_MASK) * UNIT_BYTES
        store64_release(retired + O_RETIRED, load64_acquire(store + D_EPOCH))
        slot_bytes = class_bytes(old >> ENTRY_CLASS_SHIFT & ENTRY_CLASS_MASK)
        store64(me + P_LIMBO_BYTES, load64(me + P_LIMBO_BYTES) + slot_bytes)
    _apply(store, me)


@njit(cache=True)
def withdraw(store: int, me: int) -> None:
    """The announced publication did not happen: nothing was changed."""
    slot = load64(me + P_INTENT_SLOT)
    if slot != 0:
        store64_release(slot + O_VERSION, 0)
    store64_release(me + P_INTENT_STATE, JOURNAL_CLEAR)
    kill_point(store, KillPoint.CLEARED)


@njit(cache=True)
def replay(store: int, me: int) -> None:
    """Finish, or undo, what a dead participant was in the middle of. May itself die and be repeated."""
    state = load64_acquire(me + P_INTENT_STATE)
    if state == JOURNAL_COMMITTED:
        _apply(store, me)
    elif state == JOURNAL_PUBLISHING:
        old, new = load64(me + P_INTENT_OLD), load64(me + P_INTENT_NEW)
        fence()
        word = load64_acquire(load64(me + P_INTENT_ENTRY))
        # An entry emptied by the dead participant may already be another tenant's; one that it filled is still as it was.
        happened = word != old if old != 0 else word == new
        if happened:
            published(store, me)
        else:
            withdraw(store, me)
