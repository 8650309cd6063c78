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
from splinter.native.atomics import load64, load64_acquire
from splinter.store.epochs import epoch_oldest
from splinter.store.layout import (
    D_PARTICIPANTS,
    D_SLABS_POOLED,
    D_SLABS_TOTAL,
    D_SLABS_USED,
    D_WORKERS,
    P_BLOCKED_AT,
    P_BLOCKED_TURNS,
    P_LIMBO_BYTES,
    P_WANTS,
    PARTICIPANT_BYTES,
)

_BLOCKED_TURNS = limits.BLOCKED_TURNS


@njit(cache=True)
def _participant(store: int, number: int) -> int:
    """Address of a participant: the workers by number, then (``number`` = workers) the control process."""
    p = number if number < load64(store + D_WORKERS) else limits.PARTICIPANT_CONTROL
    return load64(store + D_PARTICIPANTS) + p * PARTICIPANT_BYTES


@njit(cache=True)
def is_held_up(store: int) -> bool:
    """Whether memory waits for an old epoch to be left: there will be some, so that nobody is to be told that there is none."""
    for number in range(load64(store + D_WORKERS) + 1):
        if load64_acquire(_participant(store, number) + P_BLOCKED_TURNS) >= _BLOCKED_TURNS:
            return True
    return False


@njit(cache=True)
def must_give_way(store: int, held: int) -> bool:
    """Whether who holds ``held``, an epoch, is to let it go because of the memory that waits for it."""
    oldest = epoch_oldest(store)
    if held > oldest:
        return False
    waiting, is_wanted = 0, False
    for number in range(load64(store + D_WORKERS) + 1):
        each = _participant(store, number)
        is_wanted = is_wanted or load64(each + P_WANTS) == oldest
        if load64(each + P_BLOCKED_AT) == oldest and load64(each + P_BLOCKED_TURNS) >= _BLOCKED_TURNS:
            waiting += load64(each + P_LIMBO_BYTES)
    total = load64(store + D_SLABS_TOTAL)
    used = load64_acquire(store + D_SLABS_USED) - load64_acquire(store + D_SLABS_POOLED)
    is_scarce = (total - used) * limits.SLABS_SCARCE < total
    share = limits.LIMBO_SHARE_SCARCE if is_scarce else limits.LIMBO_SHARE
    return (is_wanted and waiting > 0) or waiting * share > total * limits.SLAB_BYTES
