"""Several small requests in one packet: executed in their order, each as if it had come by itself.

The packet (:data:`splinter.wire.BATCHED`) comes from a tenant. Its lengths are checked as a whole before anything is executed.
Then each request is put together in the worker's own memory, as the packet that it would be, and served there; its answer
(:data:`splinter.wire.ANSWER`) is gathered beside it, as the requests that follow still stand where the reply goes.

Each request has a sequence number of its own, and what comes of it is recorded under that. So nothing is kept of the packet:
one that comes again, to whichever worker, is answered from what was recorded, and executed from where the first run ended.

An invoke gets one slice. What does not end in it, or has to wait, is taken back: the answers end before it, and when it is the
first there is none. Then its client sends it by itself, under the same number.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import MAY_WRITE
from splinter.native.atomics import copy_bytes, load64, store64
from splinter.store.operations import store_key_hash, store_prefetch
from splinter.wire import (
    ANSWER,
    BATCH_NAMES_VERSION,
    BATCH_OPCODES,
    BATCH_REQUESTS_MAX,
    BATCHED,
    FLAG_EXPIRES,
    Opcode,
)
from splinter.worker.accounts import resumed_nothing
from splinter.worker.counters import count
from splinter.worker.objects import serve_object
from splinter.worker.records import Answer, Batched, Counters, Extension, Header, Worker
from splinter.worker.reply import ALONE, DROP, HEADER_BYTES, body_bytes_max, finish, refuse
from splinter.worker.tasks.invoke import find_record, invoke
from splinter.worker.tasks.layout import NO_CHUNK

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
    What was executed for such a value is a read, or recorded.
    """
    worker, request, counters = Worker(w), Header(header), Counters(w)
    scratch = worker.scratch
    if key_length != 0:
        return refuse(w, header, Status.BAD_KEY)
    if request.fragment_index != 0 or request.fragment_count > 1:
        return refuse(w, header, Status.BAD_FRAGMENT)
    at = header + HEADER_BYTES
    refusal, requests = _look_ahead(w, header, at, at + value_length)
    if refusal != Status.OK:
        return refuse(w, header, refusal)
    alone, answers, most = scratch + _REQUEST_AT, scratch + _ANSWERS_AT, body_bytes_max(w, header)
    used, has_looked = 0, False
    task_cycles_max = counters.task_cycles + worker.cycles_per_millisecond * limits.BATCH_US // 1000
    for number in range(requests):
        if used + _ANSWER_BYTES > most:
            break
        at = _put_together(header, at, alone, number)
        opcode = Header(alone).opcode
        is_invoke = opcode == Opcode.INVOKE
        if is_invoke:
            if used != 0 and counters.task_cycles > task_cycles_max:
                break
            length, looks = _invoke(w, alone, has_looked)
            has_looked = has_looked or looks
        elif has_looked and opcode != Opcode.GET and opcode != Opcode.TTL:
            break
        else:
            length = _serve(w, alone, load64(scratch + _HASHES_AT + number * 8))
        if length == ALONE:
            break
        status = Header(alone).status
        if length == DROP or status == Status.BUSY:
            if used != 0:
                break
            if length == DROP:
                return DROP
            size = length - HEADER_BYTES
            copy_bytes(header + HEADER_BYTES, alone + HEADER_BYTES, size)
            return finish(w, header, status, 0, size)  # refuse() would count its tenant as told BUSY twice
        has_value = status == Status.OK or (is_invoke and status == Status.EXTENSION_ERROR)
        size = length - HEADER_BYTES if has_value else 0
        if not is_invoke and (Header(alone).fragment_count > 1 or _ANSWER_BYTES + size > most):
            status, size = Status.VALUE_TOO_LARGE, 0  # for any reply of this kind
        elif used + _ANSWER_BYTES + size > most:
            break
        answer = Answer(answers + used)
        answer.status = status
        answer.value_length = size
        answer.object_version = Header(alone).object_version
        copy_bytes(answers + used + _ANSWER_BYTES, alone + HEADER_BYTES, size)
        used += _ANSWER_BYTES + size
        if status == Status.BAD_SIGNATURE:
            break  # its client asks for the signature, and invokes again, before what follows
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
        hashed = 0
        if batched.key_length != 0 and batched.opcode != Opcode.INVOKE:
            hashed = store_key_hash(store, tenant, batched.table, key, batched.key_length)
        store64(hashes + requests * 8, hashed)
        requests += 1
        at = key + size
    store_prefetch(store, hashes, hashes + requests * 8, 8)
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
    """Serve one request, which is of OBJECT_OPCODES and as long as it says."""
    request = Header(alone)
    refusal = _begin(w, alone)
    if refusal != Status.OK:
        return refuse(w, alone, refusal)
    resumed_nothing(w)
    return serve_object(w, alone, request.opcode, request.key_length, request.value_length, hashed)


@njit(cache=True)
def _invoke(w: int, alone: int, has_looked: bool) -> tuple[int, bool]:
    """Serve one INVOKE; ``has_looked``: behind one that only reads.

    Returns (the reply's length, DROP or ALONE; whether it only reads). A packet that comes again executes such a one again: it
    must not see what a write behind it in the packet has made, so there is none. Only the server knows which those are.
    """
    request = Header(alone)
    refusal = _begin(w, alone)
    if refusal != Status.OK:
        return refuse(w, alone, refusal), False
    record = find_record(w, request.tenant, alone + HEADER_BYTES, request.key_length)
    writes = record != 0 and Extension(record).isolation & MAY_WRITE != 0
    if writes and has_looked:
        return ALONE, False
    return invoke(w, alone, NO_CHUNK, record), record != 0 and not writes


@njit(cache=True)
def _begin(w: int, alone: int) -> int:
    """Count a request. Returns OK, or why it is refused whatever it is."""
    request = Header(alone)
    count(Counters(w).opcodes + request.opcode * 8)
    if request.table >= limits.TABLES_MAX:
        return Status.BAD_TABLE
    return Status.OK if request.key_length != 0 else Status.BAD_KEY
