"""Whether what was just unlinked may still be referred to."""

from __future__ import annotations

from splinter.store.epochs import epoch_advance, epoch_now, epoch_oldest
from splinter.store.store import Store


def retire_stamp(store: Store) -> int:
    """Date what was just unlinked: when :func:`is_safe` says so of the stamp, nobody can refer to it any more."""
    return int(epoch_now(store.address))


def is_safe(store: Store, stamp: int) -> bool:
    """Whether every participant has left the epoch of a stamp; begins a new epoch if that is needed to get there."""
    if stamp >= epoch_now(store.address):
        epoch_advance(store.address)
    return bool(epoch_oldest(store.address) > stamp)
