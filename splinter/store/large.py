"""Values of more than VALUE_BYTES_MAX: put as a head, once all their parts are there (:mod:`splinter.store.parts`)."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.store.accounts import account_of
from splinter.store.journal import participant_at, unlock
from splinter.store.layout import LARGE_FORM
from splinter.store.operations import lock_to_write, put_form
from splinter.store.parts import is_length
from splinter.store.publication import drop_unnamed
from splinter.store.records import Account, Large
from splinter.wire import LARGE_BYTES


@njit(cache=True)
def store_put_large(
    store: int, p: int, tenant: int, table: int, key: int, key_length: int, large: int, expected_version: int, claim: int,
    hashed: int, expires: int,
) -> int:  # fmt: skip
    """Make the value whose LARGE is at ``large`` the object of ``key``. Arguments and statuses as of
    :func:`splinter.store.operations.store_put`; also BAD_LENGTH: it is no LARGE; NOT_FOUND: not all of its parts are there."""
    if key_length < 1 or key_length > limits.KEY_BYTES_MAX:
        return Status.BAD_KEY
    length = Large(large).length
    if length > limits.LARGE_BYTES_MAX or length < 0:
        return Status.VALUE_TOO_LARGE
    if not is_length(length):
        return Status.BAD_LENGTH
    form = LARGE_FORM | LARGE_BYTES
    return put_form(store, p, tenant, table, key, key_length, large, form, expected_version, claim, hashed, expires)


@njit(cache=True)
def store_drop_large(store: int, p: int, tenant: int, table: int, large: int) -> None:
    """Remove the parts of the value whose LARGE is at ``large``, if no object has it: nobody will put that. Where the tenant
    cannot be written to now, the sweep does it."""
    if not is_length(Large(large).length):
        return
    me = participant_at(store, p)
    if lock_to_write(store, me, tenant, table, 0) == Status.OK:
        drop_unnamed(store, me, tenant, large)
        unlock(store, Account(account_of(store, tenant)).at.lock)
