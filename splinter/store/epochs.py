"""Epochs: when a retired object's memory may be re-used.

Quiescent-state reclamation (Fraser, "Practical lock-freedom", 2004; McKenney's QSBR). A participant publishes the
oldest epoch that it may hold references from. An object is dated with the global epoch *after* it was unlinked; a
reader that found it before had published that epoch or an older one. So once every participant's epoch is newer than
the date, nobody holds a reference. Anybody may advance the global epoch at any time; it only moves when there is
something to reclaim.

The XDP program reads the store as well. Each CPU is a participant while the program answers a packet on it; its cell is
EPOCH_OFFLINE otherwise, so that a CPU without packets holds nothing up (``bpf/epoch.h``).
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import cas64, fence, load64_acquire, store64_release
from splinter.store.journal import participant_at
from splinter.store.layout import CPU_BYTES, PARTICIPANT_BYTES
from splinter.store.records import Descriptor, Participant

EPOCH_OFFLINE = (1 << 63) - 1  # a participant that holds no reference
OLDEST_NONE = (1 << 63) - 1  # epoch_enter: nothing is held from earlier

_CONTROL = limits.PARTICIPANT_CONTROL


@njit(cache=True)
def epoch_now(store: int) -> int:
    """The global epoch. A task that starts may hold references from here on."""
    return load64_acquire(Descriptor(store).at.epoch)


@njit(cache=True)
def epoch_enter(store: int, p: int, oldest: int) -> None:
    """Declare that ``p`` holds no reference from before ``oldest`` (:data:`OLDEST_NONE`: from before this call).

    Called once per turn of a loop; also what brings a participant online.
    """
    epoch = min(load64_acquire(Descriptor(store).at.epoch), oldest)
    mine = Participant(participant_at(store, p))
    if mine.epoch != epoch:
        store64_release(mine.at.epoch, epoch)
        fence()  # no look-up of this turn may be done before the epoch is visible


@njit(cache=True)
def epoch_leave(store: int, p: int) -> None:
    """Declare that ``p`` holds no reference at all, and looks nothing up before its next :func:`epoch_enter`."""
    store64_release(Participant(participant_at(store, p)).at.epoch, EPOCH_OFFLINE)


@njit(cache=True)
def epoch_oldest(store: int) -> int:
    """No participant holds, or will ever hold, a reference to an object that was dated before the epoch returned.

    It is never newer than the global epoch, also when all are offline: what is retired later is dated no earlier than
    that.
    """
    descriptor = Descriptor(store)
    oldest = load64_acquire(descriptor.at.epoch)
    fence()
    participants = descriptor.participants
    oldest = min(oldest, load64_acquire(Participant(participants + _CONTROL * PARTICIPANT_BYTES).at.epoch))
    for worker in range(descriptor.workers):
        oldest = min(oldest, load64_acquire(Participant(participants + worker * PARTICIPANT_BYTES).at.epoch))
    cpus = descriptor.cpu_epochs
    for cpu in range(descriptor.cpus):
        oldest = min(oldest, load64_acquire(cpus + cpu * CPU_BYTES))
    return oldest


@njit(cache=True)
def epoch_advance(store: int) -> None:
    """Begin a new epoch."""
    descriptor = Descriptor(store)
    epoch = load64_acquire(descriptor.at.epoch)
    cas64(descriptor.at.epoch, epoch, epoch + 1)
