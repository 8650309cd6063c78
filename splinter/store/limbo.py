"""When what waits in limbo is too much, and who gives way.

A retired slot waits until nobody can refer to it: until the oldest epoch that anybody holds is newer than its retirement.
Workers hold their turn's epoch, for microseconds; a task holds that of its start until it ends. So one long task keeps all
that anybody replaces meanwhile. Whoever holds the oldest epoch keeps most, all that waits; to end anything else would free
nothing. So it is the oldest tasks that give way, one epoch after the other, when

* what waits because of it is more than a share of the slabs, a smaller share when few slabs are unused; or
* somebody found no memory.

What counts is the limbo of participants that could free nothing for some turns *under the present oldest epoch*. When that
has moved on, each must first find out that the next one is in its way too: so no task ends for memory that is being freed.

Considered and rejected: charging what is replaced to the quota of the tenant whose task is the oldest. How much that is,
others decide, by how fast they write; they could end a modest tenant's tasks at will while there is memory enough.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import load64_acquire
from splinter.store.epochs import epoch_oldest
from splinter.store.journal import participant_at
from splinter.store.records import Descriptor, Participant

_BLOCKED_TURNS = limits.BLOCKED_TURNS


@njit(cache=True)
def _participant(store: int, number: int) -> int:
    """Address of a participant: the workers by number, then (``number`` = workers) the control process."""
    return participant_at(store, number if number < Descriptor(store).workers else limits.PARTICIPANT_CONTROL)


@njit(cache=True)
def is_held_up(store: int) -> bool:
    """Whether memory waits for an old epoch to be left: there will be some, so that nobody is to be told that there is none."""
    for number in range(Descriptor(store).workers + 1):
        if load64_acquire(Participant(_participant(store, number)).at.blocked_turns) >= _BLOCKED_TURNS:
            return True
    return False


@njit(cache=True)
def must_give_way(store: int, held: int) -> bool:
    """Whether who holds ``held``, an epoch, is to let it go because of the memory that waits for it."""
    oldest = epoch_oldest(store)
    if held > oldest:
        return False
    descriptor = Descriptor(store)
    waiting, is_wanted = 0, False
    for number in range(descriptor.workers + 1):
        each = Participant(_participant(store, number))
        is_wanted = is_wanted or each.wants == oldest
        if each.blocked_at == oldest and each.blocked_turns >= _BLOCKED_TURNS:
            waiting += each.limbo_bytes
    total = descriptor.slabs_total
    used = load64_acquire(descriptor.at.slabs_used) - load64_acquire(descriptor.at.slabs_pooled)
    is_scarce = (total - used) * limits.SLABS_SCARCE < total
    share = limits.LIMBO_SHARE_SCARCE if is_scarce else limits.LIMBO_SHARE
    return (is_wanted and waiting > 0) or waiting * share > total * limits.SLAB_BYTES
