"""What extensions may call: the store's operations, as C functions behind the pointers of the context.

The tenant comes from the frame, which only the worker fills; an extension cannot name another. Keys, values and table
numbers come from the extension and are checked here. A compiled extension passes addresses that its own bounds checks
have produced, so they lie in its arguments, its frame or its tenant's objects.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import CONTEXT, ExtensionError, Isolation
from splinter.native.callbacks import address_of
from splinter.native.clock import now_ns
from splinter.store.clock import moment_in, turn_now
from splinter.store.journal import participant_at
from splinter.store.objects import (
    is_large,
    is_over,
    mark_used,
    object_expires,
    object_value,
    object_value_length,
    object_version,
)
from splinter.store.operations import store_delete, store_find, store_put
from splinter.store.publication import EXPECT_ABSENT
from splinter.worker.adding import COUNTER_BYTES, add_to_counter
from splinter.worker.calls import claim_write, end_write, may_put, refuse_place
from splinter.worker.lifetimes import BAD, FOR_EVER, helper_expire, helper_persist, helper_ttl, moment_of_task, ttl_ns
from splinter.worker.log import log_append
from splinter.worker.records import Context, Frame
from splinter.worker.replay import answer_of, note_call, recall_call
from splinter.worker.transaction import (
    show_to_task,
    transaction_add,
    transaction_delete,
    transaction_get,
    transaction_put_if,
    transaction_write,
)

_NO_OBJECTS = 1  # a version that no object has: they are even
_NO_STATUS = -1


def helper_get(context_at: int, frame_at: int, table: int, key: int, key_length: int) -> int:
    """1 and the view's address, length and version in the frame, 0 and zeros when there is no object; < 0: -ExtensionError."""
    frame = Frame(frame_at)
    refused = refuse_place(table, key_length)
    if refused < 0:
        return refused
    store = Context(context_at).store
    if frame.isolation >= Isolation.READS:
        return transaction_get(store, frame_at, table, key, key_length)
    if frame.isolation == Isolation.NONE_WRITES:
        noted = recall_call(frame_at)
        if noted != 0:
            return answer_of(noted)
    found = store_find(store, frame.tenant, table, key, key_length, 0)
    show_to_task(store, frame_at, found)
    if found != 0 and is_over(found, turn_now(store, Context(context_at).participant)):
        found = 0
    if found != 0:
        mark_used(found)
        if is_large(found):
            return -ExtensionError.VALUE
    frame.out_address = object_value(found) if found != 0 else 0
    frame.out_length = object_value_length(found) if found != 0 else 0
    frame.out_version = object_version(found) if found != 0 else 0
    answer = 1 if found != 0 else 0
    return note_call(frame_at, answer) if frame.isolation == Isolation.NONE_WRITES else answer


@njit(cache=True)
def _put(
    context_at: int, frame_at: int, table: int, key: int, key_length: int, value: int, value_length: int, expected_version: int,
    answer: int, ttl: int,
) -> int:  # fmt: skip
    """``answer`` when it is done, 0 when the object has another version than expected (0: any will do), or -ExtensionError.
    ``ttl``: ns that the object lives; FOR_EVER; BAD."""
    frame, context = Frame(frame_at), Context(context_at)
    refused = refuse_place(table, key_length)
    if refused < 0:
        return refused
    if value_length < 0 or value_length > limits.VALUE_BYTES_MAX:
        return -ExtensionError.VALUE
    if ttl == BAD:
        return -ExtensionError.TTL
    if not may_put(frame_at, key_length, value_length):
        return -ExtensionError.QUOTA
    store = context.store
    if frame.isolation >= Isolation.READS:
        expires = moment_of_task(store, context.participant, frame_at, ttl)
        if expected_version == 0:
            return transaction_write(store, frame_at, table, key, key_length, value, value_length, expires)
        return transaction_put_if(store, frame_at, table, key, key_length, value, value_length, expires, expected_version)
    noted = recall_call(frame_at)
    if noted != 0:
        return answer_of(noted)
    status = store_put(
        store, context.participant, frame.tenant, table, key, key_length,
        value, value_length, expected_version, claim_write(context_at, frame_at, answer), 0,
        moment_in(store, participant_at(store, context.participant), ttl),
    )  # fmt: skip
    return end_write(store, frame_at, status, Status.VERSION_CHANGED, answer)


def helper_put(context_at: int, frame_at: int, table: int, key: int, key_length: int, value: int, value_length: int) -> int:
    """0 when done; < 0: -ExtensionError, and the old value is still in place."""
    return _put(context_at, frame_at, table, key, key_length, value, value_length, 0, 0, FOR_EVER)


def helper_put_ttl(
    context_at: int, frame_at: int, table: int, key: int, key_length: int, value: int, value_length: int, ttl: int
) -> int:
    """As :func:`helper_put`, of an object that lives for ``ttl`` seconds, the bits of a float64."""
    return _put(context_at, frame_at, table, key, key_length, value, value_length, 0, 0, ttl_ns(ttl))


@njit(cache=True)
def _expected(version: int) -> int:
    """The version that a put_if asks for, as the store takes it."""
    return EXPECT_ABSENT if version == 0 else _NO_OBJECTS if version == EXPECT_ABSENT else version


def helper_put_if(
    context_at: int, frame_at: int, table: int, key: int, key_length: int, value: int, value_length: int, version: int
) -> int:
    """1 when done, 0 when the object has another version (``version`` 0: when there is one); < 0: -ExtensionError."""
    return _put(context_at, frame_at, table, key, key_length, value, value_length, _expected(version), 1, FOR_EVER)


def helper_put_if_ttl(
    context_at: int, frame_at: int, table: int, key: int, key_length: int, value: int, value_length: int, version: int, ttl: int
) -> int:
    """As :func:`helper_put_if`, of an object that lives for ``ttl`` seconds, the bits of a float64."""
    return _put(context_at, frame_at, table, key, key_length, value, value_length, _expected(version), 1, ttl_ns(ttl))


def helper_add(context_at: int, frame_at: int, table: int, key: int, key_length: int, n: int) -> int:
    """0 when done, and the counter's new value in the frame's out_version; < 0: -ExtensionError, and it is as it was."""
    frame, context = Frame(frame_at), Context(context_at)
    refused = refuse_place(table, key_length)
    if refused < 0:
        return refused
    if not may_put(frame_at, key_length, COUNTER_BYTES):
        return -ExtensionError.QUOTA
    store = context.store
    if frame.isolation >= Isolation.READS:
        return transaction_add(store, frame_at, table, key, key_length, n)
    noted = recall_call(frame_at)
    if noted != 0:
        return answer_of(noted)
    status = _NO_STATUS
    for _ in range(limits.ADD_TRIES_MAX):
        found = store_find(store, frame.tenant, table, key, key_length, 0)
        show_to_task(store, frame_at, found)  # that it is no counter, or too large, tells of it
        expected, expires = EXPECT_ABSENT, 0
        if found != 0 and is_over(found, turn_now(store, context.participant)):
            found = 0
        if found != 0:
            frame.out_address = object_value(found)
            frame.out_length = object_value_length(found)
            expected, expires = object_version(found), object_expires(found)
        failed = add_to_counter(frame_at, 1 if found != 0 else 0, n)
        if failed < 0:
            return failed
        status = store_put(
            store, context.participant, frame.tenant, table, key, key_length,
            frame.at.out_version, COUNTER_BYTES, expected, claim_write(context_at, frame_at, 0), 0, expires,
        )  # fmt: skip
        if status != Status.VERSION_CHANGED:
            break
    return end_write(store, frame_at, status, _NO_STATUS, 0)


@njit(cache=True)
def _delete(context_at: int, frame_at: int, table: int, key: int, key_length: int, expected_version: int) -> int:
    """1 when the object was there, in the expected version (0: any will do), 0 when not; < 0: -ExtensionError."""
    context = Context(context_at)
    refused = refuse_place(table, key_length)
    if refused < 0:
        return refused
    frame = Frame(frame_at)
    if frame.isolation >= Isolation.READS:
        return transaction_delete(context.store, frame_at, table, key, key_length, expected_version)
    noted = recall_call(frame_at)
    if noted != 0:
        return answer_of(noted)
    status = store_delete(
        context.store, context.participant, frame.tenant, table, key, key_length, expected_version,
        claim_write(context_at, frame_at, 1), 0,
    )  # fmt: skip
    status = Status.NOT_FOUND if status == Status.VERSION_CHANGED else status
    return end_write(context.store, frame_at, status, Status.NOT_FOUND, 1)


def helper_delete(context_at: int, frame_at: int, table: int, key: int, key_length: int) -> int:
    """1 when the object was there, 0 when not; < 0: -ExtensionError."""
    return _delete(context_at, frame_at, table, key, key_length, 0)


def helper_delete_if(context_at: int, frame_at: int, table: int, key: int, key_length: int, version: int) -> int:
    """1 when the object had this version, and was there (``version`` 0: never), 0 when not; < 0: -ExtensionError."""
    return _delete(context_at, frame_at, table, key, key_length, _NO_OBJECTS if version == 0 else version)


def helper_now_ns(context_at: int, frame_at: int) -> int:
    """Nanoseconds of the monotonic clock."""
    frame = Frame(frame_at)
    if frame.isolation != Isolation.NONE_WRITES:
        return now_ns(frame.at.out_address)  # what a get left there, its caller has taken
    noted = recall_call(frame_at)
    return answer_of(noted) if noted != 0 else note_call(frame_at, now_ns(frame.at.out_address))


def helper_log(context_at: int, frame_at: int, text: int, length: int) -> int:
    """Write to the tenant's debug log; 0."""
    frame = Frame(frame_at)
    if frame.isolation == Isolation.NONE_WRITES:
        noted = recall_call(frame_at)
        if noted != 0:
            return answer_of(noted)
        note_call(frame_at, 0)
    time_ns = now_ns(frame.at.out_address)
    tenant, generation = frame.tenant, frame.generation
    log_append(Context(context_at).log_area, tenant, generation, time_ns, text, max(length, 0))
    return 0


HELPERS: dict[str, Callable[..., int]] = {
    "get": helper_get,
    "put": helper_put,
    "delete": helper_delete,
    "put_if": helper_put_if,
    "add": helper_add,
    "delete_if": helper_delete_if,
    "put_ttl": helper_put_ttl,
    "put_if_ttl": helper_put_if_ttl,
    "expire": helper_expire,
    "persist": helper_persist,
    "ttl": helper_ttl,
    "now_ns": helper_now_ns,
    "log": helper_log,
}


def fill_context(record: np.ndarray, *, store: int, participant: int, log_area: int) -> None:
    """Set up one worker's context (a one-element array of :data:`splinter.ext.abi.CONTEXT`).

    ``store`` and ``log_area`` are addresses of the store's descriptor and the worker's LOG.

    The helpers' addresses are this process's: they hold in every process that is forked from it.
    """
    assert record.dtype == CONTEXT
    for name, helper in HELPERS.items():
        record[name] = address_of(helper)
    mathematics = ctypes.CDLL("libm.so.6")
    record["exp"] = ctypes.cast(mathematics.exp, ctypes.c_void_p).value
    record["log_e"] = ctypes.cast(mathematics.log, ctypes.c_void_p).value
    record["log_area"] = log_area
    record["store"] = store
    record["participant"] = participant
