"""Requests for one object: get, put, delete, expire, ttl; each by itself in its packet, or one of several
(:mod:`splinter.worker.batched`).

Every function takes the worker's block ``w``, the address of the request's header, and lengths in bytes, which are checked
against the packet; it returns the reply's length, or DROP.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load64, store64
from splinter.store.clock import clock_of_turn, moment_in, turn_now
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
from splinter.store.operations import store_delete, store_expire, store_find, store_last_version, store_put
from splinter.store.staging import stage_put
from splinter.wire import FLAG_EXPIRES, TTL_BYTES, TTL_NONE, Opcode
from splinter.worker.durable import show, show_missing
from splinter.worker.records import Header, Worker
from splinter.worker.reply import HEADER_BYTES, body_bytes_max, finish, refuse
from splinter.worker.tasks.once import claim_of, reply_recorded


@njit(cache=True, forceinline=True)
def serve_object(w: int, header: int, opcode: int, key_length: int, value_length: int, hashed: int) -> int:
    """``opcode`` is GET, PUT, DELETE or EXPIRE, else it is taken for TTL. ``hashed``: hash of the key; 0: not known yet."""
    if opcode == Opcode.GET:
        return _get(w, header, key_length, hashed)
    if opcode == Opcode.PUT:
        request = Header(header)
        ttl = ttl_of(header, key_length, value_length)
        if ttl < 0:
            return refuse(w, header, -ttl)
        value_length -= TTL_BYTES if ttl != 0 else 0
        return put(w, header, request.table, key_length, value_length, hashed, request.object_version, ttl)
    if opcode == Opcode.DELETE:
        return _delete(w, header, key_length, hashed)
    if opcode == Opcode.EXPIRE:
        return _expire(w, header, key_length, value_length, hashed)
    return _ttl(w, header, key_length, hashed)


@njit(cache=True, forceinline=True)
def _get(w: int, header: int, key_length: int, hashed: int) -> int:
    request = Header(header)
    store, key = Worker(w).store, header + HEADER_BYTES
    found = store_find(store, request.tenant, request.table, key, key_length, hashed)
    if found == 0:
        show_missing(w, request.tenant)
        return refuse(w, header, Status.NOT_FOUND)
    version = object_version(found)
    show(w, version)
    if is_over(found, turn_now(store, Worker(w).index)):
        return refuse(w, header, Status.NOT_FOUND)
    wanted = request.object_version
    if wanted != 0 and wanted != version:
        return refuse(w, header, Status.VERSION_CHANGED)
    mark_used(found)
    if is_large(found):
        return refuse(w, header, Status.VALUE_TOO_LARGE)  # for one reply: GET_LARGE tells of its parts
    return tell_value(w, header, found)


@njit(cache=True, forceinline=True)
def tell_value(w: int, header: int, found: int) -> int:
    """Reply the value of an object, or the fragment of it that is asked for."""
    request = Header(header)
    version, size = object_version(found), object_value_length(found)
    index = request.fragment_index
    most = body_bytes_max(w, header)
    if size <= most:
        if index != 0:
            return refuse(w, header, Status.BAD_FRAGMENT)
        copy_bytes(header + HEADER_BYTES, object_value(found), size)
        request.fragment_count = 1
        return finish(w, header, Status.OK, version, size)
    most = min(most, limits.FRAGMENT_BYTES) & -limits.ROOM_UNIT_BYTES
    fragments = (size + most - 1) // most
    if index >= fragments:
        return refuse(w, header, Status.BAD_FRAGMENT)
    start = index * most
    piece = min(size - start, most)
    copy_bytes(header + HEADER_BYTES, object_value(found) + start, piece)
    request.fragment_count = fragments
    return finish(w, header, Status.OK, version, piece)


@njit(cache=True)
def ttl_of(header: int, key_length: int, value_length: int) -> int:
    """How long the object of a put is to live, ns, which then stands behind the value; 0: for ever; < 0: -status."""
    if Header(header).flags & FLAG_EXPIRES == 0:
        return 0
    if value_length < TTL_BYTES:
        return -Status.BAD_LENGTH
    ttl = load64(header + HEADER_BYTES + key_length + value_length - TTL_BYTES)
    return ttl if 1 <= ttl <= limits.TTL_NS_MAX else -Status.BAD_TTL


@njit(cache=True)
def put(w: int, header: int, table: int, key_length: int, value_length: int, hashed: int, wanted: int, ttl: int) -> int:
    worker, request = Worker(w), Header(header)
    store = worker.store
    participant = worker.index
    tenant = request.tenant
    key = header + HEADER_BYTES
    fragments = request.fragment_count
    index = request.fragment_index
    claim = claim_of(w, header)
    if fragments <= 1:
        if index != 0:
            return refuse(w, header, Status.BAD_FRAGMENT)
        expires = moment_in(store, participant_at(store, participant), ttl)
        status = store_put(
            store, participant, tenant, table, key, key_length, key + key_length, value_length, wanted, claim, hashed, expires
        )
        if status != Status.OK:
            return reply_recorded(w, header, status)
        return finish(w, header, Status.OK, store_last_version(store, participant), 0)
    if fragments > limits.FRAGMENTS_MAX:
        return refuse(w, header, Status.VALUE_TOO_LARGE)
    status, version = stage_put(
        store, participant, request.client, request.sequence, tenant, table, key, key_length,
        fragments, index, key + key_length, value_length, wanted, claim, request.acknowledged,
        request.status * limits.ROOM_UNIT_BYTES if request.status != 0 else limits.FRAGMENT_BYTES, ttl,
    )  # fmt: skip
    if status != Status.OK:
        return reply_recorded(w, header, status)
    return finish(w, header, Status.OK, version, 0)


@njit(cache=True)
def _expire(w: int, header: int, key_length: int, value_length: int, hashed: int) -> int:
    worker, request = Worker(w), Header(header)
    store, participant, key = worker.store, worker.index, header + HEADER_BYTES
    if value_length != TTL_BYTES:
        return refuse(w, header, Status.BAD_LENGTH)
    ttl = load64(key + key_length)
    if ttl < 0 or ttl > limits.TTL_NS_MAX:
        return refuse(w, header, Status.BAD_TTL)
    status = store_expire(
        store,
        participant,
        request.tenant,
        request.table,
        key,
        key_length,
        ttl,
        request.object_version,
        claim_of(w, header),
        hashed,
    )
    if status != Status.OK:
        return reply_recorded(w, header, status)
    return finish(w, header, Status.OK, store_last_version(store, participant), 0)


@njit(cache=True)
def _ttl(w: int, header: int, key_length: int, hashed: int) -> int:
    worker, request = Worker(w), Header(header)
    store, now = worker.store, clock_of_turn(worker.store, worker.index)
    found = store_find(store, request.tenant, request.table, header + HEADER_BYTES, key_length, hashed)
    if found == 0:
        show_missing(w, request.tenant)
        return refuse(w, header, Status.NOT_FOUND)
    show(w, object_version(found))
    if is_over(found, now):
        return refuse(w, header, Status.NOT_FOUND)
    expires = object_expires(found)
    store64(header + HEADER_BYTES, expires - now if expires != 0 else TTL_NONE)
    return finish(w, header, Status.OK, object_version(found), TTL_BYTES)


@njit(cache=True)
def _delete(w: int, header: int, key_length: int, hashed: int) -> int:
    worker, request = Worker(w), Header(header)
    status = store_delete(
        worker.store, worker.index, request.tenant, request.table,
        header + HEADER_BYTES, key_length, request.object_version, claim_of(w, header), hashed,
    )  # fmt: skip
    if status != Status.OK:
        return reply_recorded(w, header, status)
    return finish(w, header, Status.OK, 0, 0)
