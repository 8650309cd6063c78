"""Several small requests in one packet: executed in their order, each as if it had come by itself.

The packet (:data:`splinter.wire.BATCHED`) comes from a tenant. Its lengths are checked as a whole before anything is executed.
Then each request is put together in the worker's own memory, as the packet that it would be, and served there; its answer
(:data:`splinter.wire.ANSWER`) is gathered beside it, as the requests that follow still stand where the reply goes.

Each request has a sequence number of its own, and what comes of it is recorded under that. So nothing is kept of the packet:
one that comes again, to whichever worker, is answered from what was recorded, and executed from where the first run ended.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import copy_bytes, load64, store64
from splinter.store.operations import store_prefetch, store_prefetch_object
from splinter.wire import (
    ANSWER,
    BATCH_NAMES_VERSION,
    BATCH_OPCODES,
    BATCH_REQUESTS_MAX,
    BATCHED,
    FLAG_EXPIRES,
)
from splinter.worker.counters import count
from splinter.worker.objects import serve_object
from splinter.worker.records import Answer, Batched, Counters, Header, Worker
from splinter.worker.reply import DROP, HEADER_BYTES, body_bytes_max, finish, refuse

_BATCHED_BYTES = BATCHED.itemsize
_ANSWER_BYTES = ANSWER.itemsize
_VERSION_BYTES = 8
# In the worker's scratch memory, behind what others use in passing: a request and then its reply; the answers; hashes of keys.
_REQUEST_AT = 64
_ANSWERS_AT = _REQUEST_AT + limits.CHUNK_BYTES
_HASHES_AT = _ANSWERS_AT + limits.CHUNK_BYTES
BATCHED_AREA_BYTES = _HASHES_AT + BATCH_REQUESTS_MAX * 8


@njit(cache=True)
def serve_batched(w: int, header: int, key_length: int, value_length: int) -> int:
    """Serve a BATCH; returns the reply's length, or DROP.

    The answers end before a request that cannot be answered now, and before a value that has no room: its client asks again.
    What was executed for such a value is a read.
    """
    request, scratch = Header(header), Worker(w).scratch
    if key_length != 0:
        return refuse(w, header, Status.BAD_KEY)
    if request.fragment_index != 0 or request.fragment_count > 1:
        return refuse(w, header, Status.BAD_FRAGMENT)
    at = header + HEADER_BYTES
    refusal, requests = _look_ahead(w, header, at, at + value_length)
    if refusal != Status.OK:
        return refuse(w, header, refusal)
    alone, answers, most = scratch + _REQUEST_AT, scratch + _ANSWERS_AT, body_bytes_max(w, header)
    used = 0
    for number in range(requests):
        if used + _ANSWER_BYTES > most:
            break
        at = _put_together(header, at, alone, number)
        length = _serve(w, alone, load64(scratch + _HASHES_AT + number * 8))
        status = Header(alone).status
        if length == DROP or status == Status.BUSY:
            if used != 0:
                break
            if length == DROP:
                return DROP
            size = length - HEADER_BYTES
            copy_bytes(header + HEADER_BYTES, alone + HEADER_BYTES, size)
            return finish(w, header, status, 0, size)  # refuse() would count its tenant as told BUSY twice
        size = length - HEADER_BYTES if status == Status.OK else 0
        if Header(alone).fragment_count > 1 or _ANSWER_BYTES + size > most:
            status, size = Status.VALUE_TOO_LARGE, 0  # for any reply of this kind
        elif used + _ANSWER_BYTES + size > most:
            break
        answer = Answer(answers + used)
        answer.status = status
        answer.value_length = size
        answer.object_version = Header(alone).object_version
        copy_bytes(answers + used + _ANSWER_BYTES, alone + HEADER_BYTES, size)
        used += _ANSWER_BYTES + size
    copy_bytes(header + HEADER_BYTES, answers, used)
    return finish(w, header, Status.OK, 0, used)


@njit(cache=True)
def _look_ahead(w: int, header: int, at: int, end: int) -> tuple[int, int]:
    """Check that the bytes from ``at`` to ``end`` are requests, and ask for the memory that they need first.

    Returns (status, how many they are).
    """
    worker, tenant = Worker(w), Header(header).tenant
    store, hashes, requests = worker.store, worker.scratch + _HASHES_AT, 0
    if at == end:
        return Status.BAD_LENGTH, 0
    while at < end:
        if end - at < _BATCHED_BYTES or requests == BATCH_REQUESTS_MAX:
            return Status.BAD_LENGTH, 0
        batched = Batched(at)
        if batched.opcode not in BATCH_OPCODES:
            return Status.UNKNOWN_OPCODE, 0
        key = at + _BATCHED_BYTES + (_VERSION_BYTES if batched.flags & BATCH_NAMES_VERSION != 0 else 0)
        size = batched.key_length + batched.value_length
        if size > end - key:
            return Status.BAD_LENGTH, 0
        hashed = store_prefetch(store, tenant, batched.table, key, batched.key_length) if batched.key_length != 0 else 0
        store64(hashes + requests * 8, hashed)
        requests += 1
        at = key + size
    for number in range(requests):
        hashed = load64(hashes + number * 8)
        if hashed != 0:
            store_prefetch_object(store, hashed)
    return Status.OK, requests


@njit(cache=True)
def _put_together(header: int, at: int, alone: int, number: int) -> int:
    """Write at ``alone`` the packet that the request at ``at``, number ``number`` of a BATCH, would be by itself.

    Returns where the next one is.
    """
    batched, request = Batched(at), Header(alone)
    at += _BATCHED_BYTES
    copy_bytes(alone, header, HEADER_BYTES)
    request.opcode = batched.opcode
    request.flags = batched.flags & FLAG_EXPIRES
    request.table = batched.table
    request.key_length = batched.key_length
    request.value_length = batched.value_length
    request.sequence = request.sequence + number
    request.object_version = 0
    if batched.flags & BATCH_NAMES_VERSION != 0:
        request.object_version = load64(at)
        at += _VERSION_BYTES
    size = batched.key_length + batched.value_length
    copy_bytes(alone + HEADER_BYTES, at, size)
    return at + size


@njit(cache=True)
def _serve(w: int, alone: int, hashed: int) -> int:
    """Serve one request, which is of BATCH_OPCODES and as long as it says."""
    request = Header(alone)
    opcode, key_length = request.opcode, request.key_length
    count(Counters(w).opcodes + opcode * 8)
    if request.table >= limits.TABLES_MAX:
        return refuse(w, alone, Status.BAD_TABLE)
    if key_length == 0:
        return refuse(w, alone, Status.BAD_KEY)
    return serve_object(w, alone, opcode, key_length, request.value_length, hashed)
