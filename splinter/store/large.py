"""Values of more than VALUE_BYTES_MAX: put as a head, once all their parts are there (:mod:`splinter.store.parts`)."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.store.layout import LARGE_FORM
from splinter.store.operations import put_form
from splinter.store.parts import is_length
from splinter.store.records import Large
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
