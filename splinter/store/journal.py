"""How a participant changes several words so that its death at any instruction leaves all of them changed, or none.

A step first *notes* what it will store where: addresses and absolute values, in the participant's intent record. Then
it either

* *commits*: the state says COMMITTED, the words are stored, the state is cleared (steps that only the participant or
  the holder of a lock can see); or
* *publishes*: the state says PUBLISHING, the slot's version is set, one atomic store to an index entry makes it so,
  the words are stored, the object that was replaced is dated, the state is cleared.

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
from splinter.native.atomics import cas64, fence, load64, load64_acquire, pause, store64_release
from splinter.store.classes import class_bytes
from splinter.store.kill_points import KillPoint, kill_point
from splinter.store.layout import ENTRY_CLASS_MASK, ENTRY_CLASS_SHIFT, PARTICIPANT_BYTES, UNIT_BYTES, UNIT_MASK, WORD_BYTES
from splinter.store.objects import dated_word
from splinter.store.records import Descriptor, Intent, Object, Participant, Word

JOURNAL_CLEAR = 0
JOURNAL_COMMITTED = 1
JOURNAL_PUBLISHING = 2

_TENANT_LOCK_SPINS_MAX = limits.TENANT_LOCK_SPINS_MAX
_STORE_LOCK_SPINS_MAX = limits.STORE_LOCK_SPINS_MAX
_SPINS_PER_YIELD = 256  # then the holder may need this very CPU


@njit(cache=True)
def participant_at(store: int, p: int) -> int:
    """Address of a participant's record."""
    return Descriptor(store).participants + p * PARTICIPANT_BYTES


# --- locks -----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _lock(store: int, me: int, intent: int, lock: int, spins_max: int) -> bool:
    store64_release(intent, lock)
    kill_point(store, KillPoint.LOCK_ANNOUNCED)
    mine = Participant(me)
    holder = mine.holder
    for spin in range(1, spins_max + 1):
        if load64_acquire(lock) == 0 and cas64(lock, 0, holder):
            kill_point(store, KillPoint.LOCK_TAKEN)
            if spin > 1:
                store64_release(mine.at.waits, 0)
            return True
        if spin == 1:
            store64_release(mine.at.waits, lock)
        pause()
        if spin % _SPINS_PER_YIELD == 0:
            libc.sched_yield()
    store64_release(mine.at.waits, 0)
    return False


@njit(cache=True)
def lock_tenant(store: int, me: int, lock: int) -> bool:
    """Take a tenant's lock; false when it was not to be had in TENANT_LOCK_SPINS_MAX tries."""
    return _lock(store, me, Intent(Participant(me).intent).at.tenant_lock, lock, _TENANT_LOCK_SPINS_MAX)


@njit(cache=True)
def try_lock_tenant(store: int, me: int, lock: int) -> bool:
    """Take a tenant's lock if it is free."""
    return _lock(store, me, Intent(Participant(me).intent).at.tenant_lock, lock, 1)


@njit(cache=True)
def lock_inner(store: int, me: int, lock: int) -> bool:
    """Take the lock of a class or of the overflow buckets; false when it was not to be had."""
    return _lock(store, me, Intent(Participant(me).intent).at.inner_lock, lock, _STORE_LOCK_SPINS_MAX)


@njit(cache=True)
def try_lock_inner(store: int, me: int, lock: int) -> bool:
    """Take such a lock if it is free."""
    return _lock(store, me, Intent(Participant(me).intent).at.inner_lock, lock, 1)


@njit(cache=True)
def lock_pool(store: int, me: int, lock: int) -> bool:
    """Take the lock of the slabs, the innermost; false when it was not to be had."""
    return _lock(store, me, Intent(Participant(me).intent).at.pool_lock, lock, _STORE_LOCK_SPINS_MAX)


@njit(cache=True)
def try_lock_compact(store: int, me: int, lock: int) -> bool:
    """Take the lock of compaction, the outermost, if it is free."""
    return _lock(store, me, Intent(Participant(me).intent).at.compact_lock, lock, 1)


@njit(cache=True)
def unlock(store: int, lock: int) -> None:
    """Release either kind."""
    store64_release(lock, 0)
    kill_point(store, KillPoint.LOCK_RELEASED)


@njit(cache=True)
def waits_for_other(store: int, p: int) -> bool:
    """Whether a participant spins for a lock that another one holds: it goes on when that one does, or is dead."""
    mine = Participant(participant_at(store, p))
    lock = load64_acquire(mine.at.waits)
    return lock != 0 and load64_acquire(lock) not in (0, mine.holder)


@njit(cache=True)
def _lock_intents(me: int) -> tuple[int, int, int, int]:
    intent = Intent(Participant(me).intent)
    return intent.at.pool_lock, intent.at.inner_lock, intent.at.tenant_lock, intent.at.compact_lock


@njit(cache=True)
def locks_held(me: int) -> int:
    """How many locks a dead participant holds."""
    holder, held = Participant(me).holder, 0
    for intent in _lock_intents(me):
        lock = load64(intent)
        if lock != 0 and load64_acquire(lock) == holder:
            held += 1
    return held


@njit(cache=True)
def break_locks(me: int) -> None:
    """Release what a dead participant held."""
    mine = Participant(me)
    holder = mine.holder
    for intent in _lock_intents(me):
        lock = load64(intent)
        if lock != 0 and load64_acquire(lock) == holder:
            store64_release(lock, 0)
    store64_release(mine.at.waits, 0)


# --- steps -----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def note(store: int, me: int, count: int, address: int, value: int) -> int:
    """Note as word number ``count`` that ``value`` will be stored at ``address``; returns the new count."""
    word = Word(Intent(Participant(me).intent).words + count * WORD_BYTES)
    store64_release(word.at.address, address)
    store64_release(word.at.value, value)
    kill_point(store, KillPoint.WORD_NOTED)
    return count + 1


@njit(cache=True)
def _apply(store: int, me: int) -> None:
    """Store the noted words."""
    intent = Intent(Participant(me).intent)
    at = intent.words
    end = at + intent.count * WORD_BYTES
    while at < end:
        word = Word(at)
        store64_release(word.address, word.value)
        kill_point(store, KillPoint.WORD_APPLIED)
        at += WORD_BYTES
    kill_point(store, KillPoint.APPLIED)


@njit(cache=True)
def _clear(store: int, me: int) -> None:
    store64_release(Intent(Participant(me).intent).at.state, JOURNAL_CLEAR)
    kill_point(store, KillPoint.CLEARED)


@njit(cache=True)
def commit(store: int, me: int, count: int) -> None:
    """Make the noted words so."""
    intent = Intent(Participant(me).intent)
    store64_release(intent.at.count, count)
    store64_release(intent.at.state, JOURNAL_COMMITTED)
    kill_point(store, KillPoint.COMMITTED)
    _apply(store, me)
    _clear(store, me)


@njit(cache=True)
def announce(
    store: int, me: int, count: int, entry: int, old: int, new: int, slot: int, version: int, keeps_old: int
) -> None:  # fmt: skip
    """Announce that ``entry`` will go from the word ``old`` to ``new``, and set the version of the slot (0: none).

    ``keeps_old`` 1: what the old word names is not unlinked for good; else it is dated by :func:`published`.
    """
    intent = Intent(Participant(me).intent)
    store64_release(intent.at.count, count)
    store64_release(intent.at.entry, entry)
    store64_release(intent.at.old, old)
    store64_release(intent.at.new, new)
    store64_release(intent.at.slot, slot)
    store64_release(intent.at.keeps_old, keeps_old)
    store64_release(intent.at.state, JOURNAL_PUBLISHING)
    kill_point(store, KillPoint.PUBLISHING)
    if slot != 0:
        store64_release(Object(slot).at.version, version)
        kill_point(store, KillPoint.VERSION_SET)


@njit(cache=True)
def published(store: int, me: int) -> None:
    """The entry holds the new word: make the noted words so, then date the old object's retirement.

    By then the entry, and the count of the tenant's commits, are visible to all. A reader who still comes to the old object
    found the old word, or took an older snapshot; so it had published an epoch no newer than the one that is read here.
    """
    kill_point(store, KillPoint.ENTRY_WRITTEN)
    _apply(store, me)
    intent = Intent(Participant(me).intent)
    if intent.old != 0 and intent.keeps_old == 0:
        fence()
        date(store, me, intent.old)
    _clear(store, me)


@njit(cache=True)
def date(store: int, me: int, old: int) -> None:
    """Date the retirement of what an entry's word named, after a fence behind what unlinked it."""
    mine, descriptor = Participant(me), Descriptor(store)
    retired = Object(descriptor.slabs + (old & UNIT_MASK) * UNIT_BYTES)
    store64_release(retired.at.retired, dated_word(load64_acquire(descriptor.at.epoch)))
    mine.limbo_bytes += class_bytes(old >> ENTRY_CLASS_SHIFT & ENTRY_CLASS_MASK)
    mine.retired += 1


@njit(cache=True)
def withdraw(store: int, me: int) -> None:
    """The announced publication did not happen: nothing was changed."""
    intent = Intent(Participant(me).intent)
    slot = intent.slot
    if slot != 0:
        store64_release(Object(slot).at.version, 0)
    _clear(store, me)


@njit(cache=True)
def replay(store: int, me: int) -> None:
    """Finish, or undo, what a dead participant was in the middle of. May itself die and be repeated."""
    intent = Intent(Participant(me).intent)
    state = load64_acquire(intent.at.state)
    if state == JOURNAL_COMMITTED:
        _apply(store, me)
        _clear(store, me)
    elif state == JOURNAL_PUBLISHING:
        old, new = intent.old, intent.new
        fence()
        word = load64_acquire(intent.entry)
        # An entry emptied by the dead participant may already be another tenant's; one that it filled is still as it was.
        happened = word != old if old != 0 else word == new
        if happened:
            published(store, me)
        else:
            withdraw(store, me)
