"""What only the control process can do, such as to compile a function: the door asks it, and goes on with others.

A message goes out by the worker's socket pair, and pieces of the reply come back, as they go to the client. Or what comes back
is that the command can be executed now. The connection is not read meanwhile. Both messages name it and the ask, so what comes
for one that has ended, or for a predecessor, is nobody's. What a control process had taken when it died is lost, and who asked
is told so by its successor. Numbers grow with time, so that one tells all before it.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native import libc
from splinter.native.atomics import copy_bytes, cycles, load32, move_bytes, store32
from splinter.worker.records import Counters, Worker
from splinter.worker.resp.buffers import append
from splinter.worker.resp.connections import answer, count_late, end, go_on
from splinter.worker.resp.isolated import WAIT, argument
from splinter.worker.resp.layout import (
    ANSWER_BYTES,
    ANSWER_LOST,
    ASK_BYTES,
    STATE_ANSWERED,
    STATE_WAITS,
    VALUE_AREA_BYTES,
)
from splinter.worker.resp.lines import Line
from splinter.worker.resp.queues import GONE, connection_at, name_of, named
from splinter.worker.resp.records import Answer, Ask, Connection, Door
from splinter.worker.resp.replies import put_line

_ANSWERS = 16  # that are taken at a time
_U32 = 4
_ADDRESS_AT, _ADDRESS_BYTES = 4, 4  # in a struct sockaddr_in


@njit(cache=True)
def ask(d: int, count: int, outcome: int) -> int:
    """Ask the control process by the first ``count`` arguments. Returns ``outcome``, one of CALLS and WAITS; WAIT, with nothing
    asked, as it has too much to do; 0: it will not be asked, and why is replied."""
    door, at = Door(d), Door(d).value
    connection = Connection(door.connection)
    asked = door.tenant_asks + connection.tenant * _U32
    if load32(asked) >= limits.RESP_ASKS_PER_TENANT:
        return WAIT
    end_at = at + ASK_BYTES
    for number in range(count):
        address, length = argument(d, number)
        if length > limits.SOURCE_BYTES_MAX or end_at + 4 + length > at + VALUE_AREA_BYTES:
            put_line(d, Line.ASK_BYTES)
            return 0
        store32(end_at, length)
        copy_bytes(end_at + 4, address, length)
        end_at += 4 + length
    message = Ask(at)
    message.number = max(cycles(), door.last_ask + 1)
    message.connection = name_of(d, door.index)
    message.token = connection.token
    message.tenant = connection.tenant
    message.protocol = door.protocol
    message.count = count
    copy_bytes(message.peer, connection.peer + _ADDRESS_AT, _ADDRESS_BYTES)
    if libc.send(door.control, at, end_at - at, libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL) < 0:
        return WAIT
    store32(asked, load32(asked) + 1)
    door.last_ask = message.number
    connection.ask = message.number
    connection.ask_bytes = 0
    connection.state = connection.state | STATE_WAITS
    return outcome


@njit(cache=True)
def take_answers(w: int, d: int) -> None:
    """Read what the control process says."""
    door = Door(d)
    for _ in range(_ANSWERS):
        size = libc.recv(door.control, door.input, limits.RESP_RECEIVE_BYTES, libc.MSG_DONTWAIT)
        if size < ANSWER_BYTES:
            return
        told = Answer(door.input)
        if told.number == ANSWER_LOST:
            _tell_lost(w, d, told.connection)
            continue
        if told.has_more == 0:
            _forget(d, told.tenant)
        index = named(d, told.connection)
        if index == GONE or Connection(connection_at(d, index)).ask != told.number:
            continue
        if told.is_done != 0:
            connection = Connection(connection_at(d, index))
            connection.ask = 0
            connection.state = connection.state & ~STATE_WAITS
            go_on(d, index)
        else:
            _take_piece(w, d, index, door.input + ANSWER_BYTES, size - ANSWER_BYTES, told.has_more != 0)


@njit(cache=True)
def _take_piece(w: int, d: int, index: int, address: int, length: int, has_more: bool) -> None:
    """Keep a piece of a connection's reply; send it when it is whole."""
    c = connection_at(d, index)
    connection, at = Connection(c), Connection(c).at
    if not append(d, c, at.output, at.output_length, at.output_size, address, length):
        Counters(w).redis_refused += 1
        end(w, d, index)
        return
    connection.output_since = Worker(w).clock_ns
    if has_more:
        connection.state = connection.state | STATE_ANSWERED
        return
    connection.ask = 0
    _drop_command(c)
    count_late(w, c)
    answer(w, d, index)


@njit(cache=True)
def _forget(d: int, tenant: int) -> None:
    """An ask of a tenant is done with."""
    asked = Door(d).tenant_asks + tenant * _U32
    if tenant < limits.TENANTS_MAX and load32(asked) > 0:  # else a predecessor has asked
        store32(asked, load32(asked) - 1)


@njit(cache=True)
def _drop_command(c: int) -> None:
    """A command that was to be executed when the answer came is answered with an error."""
    connection, size = Connection(c), Connection(c).ask_bytes
    if size != 0:
        connection.input_length = connection.input_length - size
        move_bytes(connection.input, connection.input + size, connection.input_length)
        connection.ask_bytes = 0


@njit(cache=True)
def _tell_lost(w: int, d: int, first: int) -> None:
    """The control process was replaced: nobody answers what was asked before number ``first``, which its successor has."""
    door = Door(d)
    for tenant in range(limits.TENANTS_MAX):
        store32(door.tenant_asks + tenant * _U32, 0)
    for index in range(limits.RESP_CONNECTIONS_MAX):
        c = connection_at(d, index)
        connection = Connection(c)
        if connection.fd < 0 or connection.ask == 0:
            continue
        if connection.ask >= first:
            asked = door.tenant_asks + connection.tenant * _U32
            store32(asked, load32(asked) + 1)
            continue
        connection.ask = 0
        _drop_command(c)
        if connection.state & STATE_ANSWERED != 0:  # in the midst of a reply
            end(w, d, index)
            continue
        door.out_at = door.output
        put_line(d, Line.ASK_LOST)
        count_late(w, c)
        answer(w, d, index)
