"""A turn: for one task all others that would write for its tenant are held back, so that it ends.

A transaction that others have disturbed CONFLICTS_MAX times takes the tenant's turn. From then on whoever else asks for the
tenant's lock to write gets BUSY at once. The lock itself is held for commits alone: the task may yield. What has the turn is
named by its worker, the worker's incarnation, and its number; so a turn whose worker died without a successor is void.
"""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import cas64, load64_acquire, store64_release
from splinter.store.accounts import account_of
from splinter.store.journal import lock_tenant, participant_at, unlock
from splinter.store.outcomes import is_alive, owner_of
from splinter.store.records import Account, Participant

_NUMBER_BITS = 16


@njit(cache=True)
def turn_is_others(store: int, me: int, account: int) -> bool:
    """Whether another one has the turn. The caller holds the tenant's lock."""
    turn = load64_acquire(Account(account).at.turn)
    return turn != 0 and turn != Participant(me).turn and is_alive(store, turn >> _NUMBER_BITS)


@njit(cache=True)
def take_turn(store: int, p: int, tenant: int, number: int) -> int:
    """Take the turn for the task ``number``, 1 … 65535, of a worker. Returns what names it; 0: it was not to be had."""
    me = participant_at(store, p)
    account_at = account_of(store, tenant)
    account = Account(account_at)
    if not lock_tenant(store, me, account.at.lock):
        return 0
    turn = 0
    if not turn_is_others(store, me, account_at):
        turn = owner_of(me) << _NUMBER_BITS | number
        store64_release(account.at.turn, turn)
    unlock(store, account.at.lock)
    return turn


@njit(cache=True)
def leave_turn(store: int, tenant: int, turn: int) -> None:
    """Let the others write."""
    cas64(Account(account_of(store, tenant)).at.turn, turn, 0)
