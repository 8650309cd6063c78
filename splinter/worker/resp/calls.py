"""Extensions that are called by the Redis protocol: from words to packed arguments, and from the result to a reply.

A call is an invoke like any other (:mod:`splinter.worker.tasks.invoke`), in a packet that the door makes: memory of the
process, behind a CALL that says what the result is. Most end at once. One that has to wait keeps its packet; its connection is
not read until it has ended, so replies stay in order. The task goes with the worker, as the connection does. A connection that
ends before leaves its task to come to its end.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import Isolation, ValueKind
from splinter.native import libc
from splinter.native.atomics import copy_bytes, load8, load64, store64
from splinter.store.outcomes import EFFECT_NONE
from splinter.store.records import LogRing
from splinter.wire import Opcode
from splinter.worker.records import Extension, Frame, Header, Worker
from splinter.worker.reply import HEADER_BYTES, PENDING
from splinter.worker.resp.buffers import count_bytes
from splinter.worker.resp.connections import answer, count_late
from splinter.worker.resp.errors import put_end
from splinter.worker.resp.isolated import WAIT, argument
from splinter.worker.resp.layout import CALL_ARGUMENTS_BYTES, CALL_BYTES, CALL_HEAD_BYTES, CALLS, STATE_WAITS
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_float, parse_integer, parse_unsigned
from splinter.worker.resp.queues import connection_at
from splinter.worker.resp.records import Call, Connection, Door
from splinter.worker.resp.replies import (
    put_array,
    put_big_number,
    put_boolean,
    put_bulk,
    put_double,
    put_integer,
    put_line,
    put_null,
    put_piece,
    put_plain,
    put_quoted,
    put_text_number,
)
from splinter.worker.resp.scripts import Answers
from splinter.worker.tasks.invoke import invoke
from splinter.worker.tasks.layout import CALL_CHUNK
from splinter.worker.tasks.pool import end_task
from splinter.worker.tasks.records import Task
from splinter.worker.tasks.within import invoke_within

_WORD_BYTES = 8
_LENGTH_SHIFT = 32
_INDEX_MASK = 0xFFFFFFFF
_ZERO, _ONE = 48, 49
_FIRST = 3  # argument: the first key, or what comes where there is none


@njit(cache=True)
def call(w: int, d: int, record: int, name: int, name_length: int, is_script: bool) -> int:
    """Invoke the extension of an abi.RECORD with the keys and arguments of FCALL; ``is_script``: the connection's table comes
    before them. Returns 0 when there is a reply; CALLS: it comes later; WAIT, with nothing done. Within EXEC in place of
    both what :func:`splinter.worker.tasks.within.invoke_within` returns."""
    door = Door(d)
    connection, tenant = Connection(door.connection), Connection(door.connection).tenant
    if door.is_exec != 0 and Extension(record).isolation < Isolation.READS:
        put_line(d, Line.CALL_NO_ISOLATION)
        return 0
    at = _packet(d, tenant, record, name, name_length, is_script)
    if at == 0:
        return 0
    header = at + CALL_HEAD_BYTES
    if door.is_exec != 0:
        failed, door.budget = invoke_within(w, header, CALL_CHUNK | door.index, record, door.frame, door.budget)
        count_bytes(d, tenant, -CALL_BYTES)
        if failed == 0:
            put_result(d, at)
        return failed
    if invoke(w, header, CALL_CHUNK | door.index, record) == PENDING:
        door.call = 0
        connection.call = at
        connection.state = connection.state | STATE_WAITS
        return CALLS
    count_bytes(d, tenant, -CALL_BYTES)
    if Header(header).status == Status.BUSY:
        return WAIT
    put_result(d, at)
    return 0


def end_call(w: int, t: int) -> int:
    """A call that had to wait has ended, and its reply stands in its packet: tell it, if its connection is still there.
    Returns 0."""
    worker, d = Worker(w), Worker(w).door
    door, task = Door(d), Task(t)
    frame, at = Frame(task.frame), task.header - CALL_HEAD_BYTES
    index, tenant = task.chunk & _INDEX_MASK, frame.tenant
    c = connection_at(d, index)
    connection = Connection(c)
    if connection.fd >= 0 and connection.call == at:
        connection.call = 0
        door.index = index
        door.connection = c
        door.protocol = connection.protocol
        door.out_at = door.output
        door.overflow = 0
        put_result(d, at)
        if worker.log != 0:
            if frame.writes != 0 or frame.effect != EFFECT_NONE:
                connection.position = LogRing(worker.log).tail
            connection.sequence = max(connection.sequence, worker.shown)
        count_late(w, c)
        answer(w, d, index)
    count_bytes(d, tenant, -CALL_BYTES)
    if door.call == 0:
        door.call = at
    else:
        libc.free(at)
    end_task(w, t)
    return 0


# --- arguments --------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _packet(d: int, tenant: int, record: int, name: int, name_length: int, is_script: bool) -> int:
    """The packet of a call, which is counted for its tenant; 0, and the error is replied."""
    door = Door(d)
    if not count_bytes(d, tenant, CALL_BYTES):
        put_line(d, Line.UNREAD)
        return 0
    if door.call == 0:
        door.call = libc.malloc(CALL_BYTES)
    at = door.call
    if at == 0:
        put_line(d, Line.UNREAD)
    elif _pack(d, at, tenant, record, name, name_length, is_script):
        return at
    count_bytes(d, tenant, -CALL_BYTES)
    return 0


@njit(cache=True)
def _pack(d: int, at: int, tenant: int, record: int, name: int, name_length: int, has_table: bool) -> bool:
    """Make the packet of a call; replies the error where the arguments do not fit."""
    door, extension, told = Door(d), Extension(record), Call(at)
    parameters = extension.arguments_bytes_min // _WORD_BYTES
    if door.argc - _FIRST + has_table != parameters:
        put_piece(d, Line.CALL_COUNT)
        put_quoted(d, name, name_length)
        put_piece(d, Line.CALL_TAKES)
        put_text_number(d, parameters - has_table)
        put_end(d)
        return False
    copy_bytes(told.results, extension.results, limits.EXTENSION_RESULTS_TOLD)
    told.results_count = extension.results_count
    told.is_script = has_table
    if told.results_count > limits.EXTENSION_RESULTS_TOLD:
        put_line(d, Line.CALL_RESULTS)
        return False
    header = at + CALL_HEAD_BYTES
    copy_bytes(header + HEADER_BYTES, name, name_length)
    words = header + HEADER_BYTES + name_length
    size = parameters * _WORD_BYTES
    for number in range(parameters):
        word = words + number * _WORD_BYTES
        if has_table and number == 0:
            store64(word, door.table)
            continue
        place = _FIRST + number - has_table
        address, length = argument(d, place)
        kind = load8(extension.parameters + number)
        if kind == ValueKind.BYTES:
            if size + length > CALL_ARGUMENTS_BYTES:
                put_line(d, Line.CALL_BYTES)
                return False
            store64(word, size | length << _LENGTH_SHIFT)
            copy_bytes(words + size, address, length)
            size += length
        elif not _pack_scalar(d, word, kind, address, length):
            put_piece(d, Line.CALL_ARGUMENT)
            put_text_number(d, number + 1 - has_table)
            put_piece(d, Line.CALL_OF)
            put_quoted(d, name, name_length)
            put_line(d, Line.CALL_KINDS + kind)
            return False
    request = Header(header)
    request.magic = 0
    request.opcode = Opcode.INVOKE
    request.status = 0
    request.flags = 0
    request.tenant = tenant
    request.key_length = name_length
    request.client = 0
    request.sequence = 0
    request.acknowledged = 0
    request.object_version = 0
    request.value_length = size
    return True


@njit(cache=True)
def _pack_scalar(d: int, word: int, kind: int, address: int, length: int) -> bool:
    """Write the number that a text is. False: it is none of this kind."""
    if kind == ValueKind.F64:
        is_one, real = parse_float(address, length, Door(d).value)
        store64(word, int(np.float64(real).view(np.int64)))
        return is_one
    if kind == ValueKind.BOOL:
        is_one = length == 1 and _ZERO <= load8(address) <= _ONE
        store64(word, load8(address) - _ZERO if is_one else 0)
        return is_one
    is_one, number = parse_integer(address, length) if kind == ValueKind.I64 else parse_unsigned(address, length)
    store64(word, number)
    return is_one


# --- results ----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def put_result(d: int, at: int) -> None:
    """The reply of a call that has ended."""
    header, told = at + CALL_HEAD_BYTES, Call(at)
    reply, body = Header(header), header + HEADER_BYTES
    status, length = reply.status, reply.value_length
    if status == Status.OK:
        if told.is_script != 0 and told.results_count == 2:
            _put_answer(d, load64(body), load64(body + _WORD_BYTES))
        elif told.results_count != 0:
            put_array(d, told.results_count)
            for number in range(told.results_count):
                _put_value(d, load8(told.results + number), body + number * _WORD_BYTES, _WORD_BYTES)
        else:
            _put_value(d, load8(told.results), body, length)
    elif status == Status.UNKNOWN_TENANT:
        put_line(d, Line.GONE)
    elif status == Status.DISK_FAILED:
        put_line(d, Line.DISK)
    elif status == Status.BUSY:
        put_line(d, Line.BUSY)
    else:
        put_piece(d, Line.OOM if status == Status.OUT_OF_MEMORY or status == Status.QUOTA_EXCEEDED else Line.ERR)
        put_plain(d, body, length)
        if status == Status.EXTENSION_ERROR and reply.object_version != 0:  # what it raised
            put_piece(d, Line.CALL_RAISED)
            put_text_number(d, reply.object_version)
        put_end(d)


@njit(cache=True)
def _put_answer(d: int, kind: int, number: int) -> None:
    """What a script's extension has made: see :mod:`splinter.ext.library.redis_scripts`."""
    if kind == Answers.ANSWER:
        put_integer(d, number)
    elif kind == Answers.NOTHING:
        put_null(d)
    elif kind == Answers.DONE:
        put_line(d, Line.OK)
    elif kind == Answers.NO_INTEGER:
        put_line(d, Line.NOT_INTEGER)
    else:
        put_line(d, Line.OVERFLOW if kind == Answers.TOO_LARGE else Line.SCRIPT_TIME)


@njit(cache=True)
def _put_value(d: int, kind: int, at: int, length: int) -> None:
    if kind == ValueKind.BYTES:
        put_bulk(d, at, length)
    elif kind == ValueKind.NONE:
        put_null(d)
    elif kind == ValueKind.BOOL:
        put_boolean(d, load64(at) != 0)
    elif kind == ValueKind.F64:
        put_double(d, np.int64(load64(at)).view(np.float64))
    elif kind == ValueKind.I64 or load64(at) >= 0:
        put_integer(d, load64(at))
    else:
        put_big_number(d, load64(at))
