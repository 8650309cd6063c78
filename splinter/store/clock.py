"""The store's clock, by which objects expire (:mod:`splinter.store.expiry`): the monotonic clock plus ``clock_base``.

The kernel's own monotonic clock, plus ``kernel_clock_base``, is the same. That word never changes: the driver may serve while
others attach the store.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numba import njit

from splinter.native.atomics import store64_release
from splinter.native.clock import now_ns
from splinter.store.journal import participant_at
from splinter.store.records import Descriptor, Participant

_WORD = 1 << 64


def set_clock(descriptor: np.void, now_ns: int) -> None:
    """Have the clock of a store that nobody uses yet show this, ns since 1970.

    Its base is not less than 0: a host may have been up for longer than its clock believes that there has been time.
    """
    base = max(0, now_ns - time.monotonic_ns())
    descriptor["clock_base"], descriptor["kernel_clock_base"] = base, (base + _ahead_ns()) % _WORD


def take_clock(descriptor: np.void) -> None:
    """Go on by the clock of a store that other processes have left, perhaps of another time namespace."""
    descriptor["clock_base"] = (int(descriptor["kernel_clock_base"]) - _ahead_ns()) % _WORD


def _ahead_ns() -> int:
    """How far this process's monotonic clock is ahead of the kernel's, which BPF programs read: time_namespaces(7)."""
    try:
        lines = Path("/proc/self/timens_offsets").read_text().splitlines()
    except OSError:  # a kernel without
        return 0
    (seconds, ns) = next((line.split()[1:] for line in lines if line.startswith("monotonic")), ("0", "0"))
    return int(seconds) * 10**9 + int(ns)


@njit(cache=True)
def store_clock(store: int, me: int) -> int:
    """The store's clock now."""
    return now_ns(Participant(me).clock) + Descriptor(store).clock_base


@njit(cache=True)
def look_at_store_clock(store: int, me: int) -> int:
    """The store's clock now, which becomes that of the participant's turn. Only where something expires: else nobody would look
    again, and the turns to come had a clock that stands still."""
    now = store_clock(store, me)
    Participant(me).now = now
    return now


@njit(cache=True, forceinline=True)
def turn_now(store: int, p: int) -> int:
    """The store's clock of a participant's turn."""
    return Participant(participant_at(store, p)).now


@njit(cache=True)
def clock_of_turn(store: int, p: int) -> int:
    """As :func:`turn_now`, and never 0: where nothing expires, or something only since this turn began, the clock now."""
    now = turn_now(store, p)
    return now if now != 0 else store_clock(store, participant_at(store, p))


@njit(cache=True)
def expect_moments(store: int) -> None:
    """Something will expire: from here on all look at the clock in each turn."""
    if Descriptor(store).expiring == 0:
        store64_release(Descriptor(store).at.expiring, 1)


@njit(cache=True)
def moment_in(store: int, me: int, ttl: int) -> int:
    """When an object expires that is to live for ``ttl`` ns from now on; 0: never, as of a ``ttl`` of 0. From the first such
    object on, all look at the clock in each turn."""
    if ttl == 0:
        return 0
    expect_moments(store)
    return look_at_store_clock(store, me) + ttl
