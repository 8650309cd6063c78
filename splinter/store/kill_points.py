"""Numbered places at which a process can be made to kill itself, to test what its death there leaves behind.

Only with ``SPLINTER_KILL_POINTS=1`` in the environment is anything compiled in (into a cache folder of its own);
otherwise :func:`kill_point` is empty. A test sets the descriptor's ``kill_at`` to the point's number and
``kill_skip`` to how many passes through it to survive.
"""

from __future__ import annotations

import os
import signal
from enum import IntEnum

from numba import njit

from splinter.native import libc
from splinter.store.records import Descriptor

ENABLED = os.environ.get("SPLINTER_KILL_POINTS") == "1"


class KillPoint(IntEnum):
    """Where; 0 is nowhere."""

    LOCK_ANNOUNCED = 1  # the lock is named in the intent, not yet taken
    LOCK_TAKEN = 2
    LOCK_RELEASED = 3
    WORD_NOTED = 4  # one word of the journal is written
    COMMITTED = 5  # a step without publication is certain to happen
    PUBLISHING = 6  # a publication is announced
    VERSION_SET = 7  # the slot is complete, the entry not yet written
    ENTRY_WRITTEN = 8  # the publication has happened
    WORD_APPLIED = 9  # one word of the journal is applied
    APPLIED = 10  # all of them, the journal still says "in progress"
    CLEARED = 11  # the journal is empty again
    SLOT_FILLED = 12  # header, key and value are in a slot that is still free
    SLOT_RIPE = 13  # a retired slot's version is cleared, the slot is still in limbo
    FRAGMENT_COPIED = 14  # bytes of a fragment are in place, its bit is not yet set
    FRAGMENT_ARRIVED = 15
    BUCKET_SEALED = 16  # one entry of an overflow bucket that will leave its chain is sealed


@njit(cache=True)
def _kill_here(store: int, point: int) -> None:
    descriptor = Descriptor(store)
    if descriptor.kill_at == point:
        if descriptor.kill_skip == 0:
            libc.kill(libc.getpid(), signal.SIGKILL)
        descriptor.kill_skip -= 1


@njit(cache=True)
def _survive(store: int, point: int) -> None:
    pass


kill_point = _kill_here if ENABLED else _survive
