"""Listing a tenant's keys: so many positions of its roster for each request, and nothing kept in between."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load64, store64
from splinter.store.clock import clock_of_turn
from splinter.store.keys import store_keys
from splinter.store.records import Descriptor
from splinter.wire import SCAN_BYTES
from splinter.worker.durable import show_all
from splinter.worker.records import Header, Worker
from splinter.worker.reply import HEADER_BYTES, body_bytes_max, finish, refuse

_WORD_BYTES = 8


@njit(cache=True)
def scan(w: int, header: int, key_length: int, value_length: int) -> int:
    """Reply the keys that begin with the request's key, which may be empty, from its cursor on, as many as fit.

    VERSION_CHANGED: the cursor is another store's, in which keys have other positions.
    """
    request, worker = Header(header), Worker(w)
    store, tenant = worker.store, request.tenant
    if value_length != SCAN_BYTES:
        return refuse(w, header, Status.BAD_LENGTH)
    if key_length > limits.KEY_BYTES_MAX:
        return refuse(w, header, Status.BAD_KEY)
    prefix = header + HEADER_BYTES
    cursor, of = load64(prefix + key_length), load64(prefix + key_length + _WORD_BYTES)
    identity = Descriptor(store).identity
    if of != identity and (of != 0 or cursor != 0):
        return refuse(w, header, Status.VERSION_CHANGED)
    reply = worker.scratch  # the prefix still stands where the reply goes
    following, used = store_keys(
        store, worker.index, tenant, request.table, prefix, key_length, cursor, limits.SCAN_POSITIONS,
        clock_of_turn(store, worker.index), reply + SCAN_BYTES, body_bytes_max(w, header) - SCAN_BYTES,
    )  # fmt: skip
    show_all(w, tenant)  # a key may be there, or not, by its last commit
    store64(reply, following)
    store64(reply + _WORD_BYTES, identity)
    copy_bytes(prefix, reply, SCAN_BYTES + used)
    return finish(w, header, Status.OK, 0, SCAN_BYTES + used)
