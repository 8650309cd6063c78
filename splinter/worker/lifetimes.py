"""How long objects live, as extensions ask and say it: their helpers, and the clock of a task.

A transaction has one moment, that of its snapshot (``frame.now``): objects that it puts expire so long after that, and it is
told of that moment how long others live. Without isolation each call has its own. Seconds come and go as the bits of a float64:
they are the code's own, and are checked here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import ExtensionError, Isolation
from splinter.store.clock import clock_of_turn, expect_moments, look_at_store_clock
from splinter.store.journal import participant_at
from splinter.store.objects import is_over, object_expires, object_value_length, object_version
from splinter.store.operations import store_expire, store_find
from splinter.worker.calls import claim_write, end_write, may_put, refuse_place
from splinter.worker.records import Context, Frame
from splinter.worker.replay import answer_of, note_call, recall_call
from splinter.worker.transaction import show_to_task, transaction_find, transaction_get, transaction_write

FOR_EVER, BAD = 0, -1  # in place of ns
_NS_PER_SECOND = 1e9
_NS_MAX = limits.TTL_NS_MAX


@njit(cache=True)
def ttl_ns(bits: int) -> int:
    """ns that an object is to live, of seconds as the bits of a float64; BAD. As :func:`splinter.ext.lifetimes.ttl_ns`."""
    ns = np.int64(bits).view(np.float64) * _NS_PER_SECOND
    return max(1, round(ns)) if ns > 0 and ns <= _NS_MAX else BAD


@njit(cache=True)
def _tell_left(frame_at: int, is_there: bool, expires: int, now: int) -> int:
    """Leave in the frame's out_version how many seconds an object still lives; 0."""
    left = math.inf if is_there and expires == 0 else 0.0
    if is_there and expires > now:
        left = (expires - now) / _NS_PER_SECOND
    Frame(frame_at).out_version = int(np.float64(left).view(np.int64))
    return 0


@njit(cache=True)
def moment_of_task(store: int, p: int, frame_at: int, ttl: int) -> int:
    """When an object of a transaction expires that is to live for ``ttl`` ns, or FOR_EVER: 0."""
    if ttl == FOR_EVER:
        return 0
    frame = Frame(frame_at)
    if frame.now == 0:  # so far nothing expires in this store: this is its moment
        expect_moments(store)
        frame.now = look_at_store_clock(store, participant_at(store, p))
    return frame.now + ttl


@njit(cache=True)
def _live(context_at: int, frame_at: int, table: int, key: int, key_length: int, ttl: int) -> int:
    """1 when the object was there, and now lives for ``ttl`` ns, or FOR_EVER; 0 when not; < 0: -ExtensionError."""
    frame, context = Frame(frame_at), Context(context_at)
    refused = refuse_place(table, key_length)
    if refused < 0:
        return refused
    if ttl == BAD:
        return -ExtensionError.TTL
    store, p = context.store, context.participant
    if frame.isolation >= Isolation.READS:
        found = transaction_get(store, frame_at, table, key, key_length)
        if found <= 0:
            return found
        if not may_put(frame_at, key_length, frame.out_length):
            return -ExtensionError.QUOTA
        expires = moment_of_task(store, p, frame_at, ttl)
        failed = transaction_write(store, frame_at, table, key, key_length, frame.out_address, frame.out_length, expires)
        return failed if failed < 0 else 1
    noted = recall_call(frame_at)
    if noted != 0:
        answer = answer_of(noted)
        if answer == 1:
            may_put(frame_at, key_length, frame.out_length)
        return answer
    status: int = Status.VERSION_CHANGED
    for _ in range(limits.ADD_TRIES_MAX):
        found = store_find(store, frame.tenant, table, key, key_length, 0)
        show_to_task(store, frame_at, found)
        if found == 0 or is_over(found, clock_of_turn(store, p)):
            return note_call(frame_at, 0)
        frame.out_length = object_value_length(found)  # for the note
        if not may_put(frame_at, key_length, frame.out_length):
            return -ExtensionError.QUOTA
        status = store_expire(
            store, p, frame.tenant, table, key, key_length, ttl, object_version(found),
            claim_write(context_at, frame_at, 1), 0,
        )  # fmt: skip
        if status != Status.VERSION_CHANGED:
            break
    return end_write(store, frame_at, status, Status.NOT_FOUND, 1)


def helper_expire(context_at: int, frame_at: int, table: int, key: int, key_length: int, ttl: int) -> int:
    """1 when the object lives for ``ttl`` seconds from now on, the bits of a float64; 0 when there is none; < 0:
    -ExtensionError."""
    return _live(context_at, frame_at, table, key, key_length, ttl_ns(ttl))


def helper_persist(context_at: int, frame_at: int, table: int, key: int, key_length: int) -> int:
    """1 when the object lives for ever from now on, 0 when there is none; < 0: -ExtensionError."""
    return _live(context_at, frame_at, table, key, key_length, FOR_EVER)


def helper_ttl(context_at: int, frame_at: int, table: int, key: int, key_length: int) -> int:
    """0, and in the frame's out_version the seconds that an object still lives, the bits of a float64: 0 when there is none,
    infinite when it is for ever; < 0: -ExtensionError."""
    frame, context = Frame(frame_at), Context(context_at)
    refused = refuse_place(table, key_length)
    if refused < 0:
        return refused
    store, p = context.store, context.participant
    if frame.isolation >= Isolation.READS:
        found = transaction_find(store, frame_at, table, key, key_length)
        return found if found < 0 else _tell_left(frame_at, found != 0, frame.expires, frame.now)
    if frame.isolation == Isolation.NONE_WRITES:
        noted = recall_call(frame_at)
        if noted != 0:
            return answer_of(noted)
    found = store_find(store, frame.tenant, table, key, key_length, 0)
    show_to_task(store, frame_at, found)
    now = clock_of_turn(store, p)
    is_there = found != 0 and not is_over(found, now)
    _tell_left(frame_at, is_there, object_expires(found) if is_there else 0, now)
    return note_call(frame_at, 0) if frame.isolation == Isolation.NONE_WRITES else 0
