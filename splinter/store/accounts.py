"""A tenant's account."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import cas64, load64_acquire
from splinter.store.account_layout import ACCOUNT_BYTES
from splinter.store.records import Account, Descriptor


@njit(cache=True)
def account_of(store: int, tenant: int) -> int:
    """Address of a tenant's account, 0 … TENANTS_MAX - 1."""
    return Descriptor(store).accounts + tenant * ACCOUNT_BYTES


@njit(cache=True)
def system_version(account: int) -> int:
    """The version of an object of the system that no reader of a snapshot looks at: it is published without a commit."""
    return Account(account).sequence * 2


@njit(cache=True)
def raise_word(word: int, number: int) -> None:
    """Raise a word to a number. Others may raise it at the same time: it never falls."""
    before = load64_acquire(word)
    while number > before and not cas64(word, before, number):
        before = load64_acquire(word)


@njit(cache=True)
def call_durable(store: int, tenant: int, sequence: int) -> None:
    """Say that a tenant's commits up to this one wait for no disk (any more)."""
    raise_word(Account(account_of(store, tenant)).at.durable, sequence)
