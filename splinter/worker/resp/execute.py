"""One command, from its parsed arguments to its reply."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.clock import now_ns
from splinter.store.records import LogRing
from splinter.worker.admission import tenant_record
from splinter.worker.durable import begin_showing
from splinter.worker.rates import is_within_rate
from splinter.worker.records import Counters, Tenant, Worker
from splinter.worker.resp.commands import Number
from splinter.worker.resp.connections import forget_transaction, stop_walking
from splinter.worker.resp.errors import put_arity_error, put_unknown
from splinter.worker.resp.functions import run_function
from splinter.worker.resp.isolated import WAIT
from splinter.worker.resp.layout import (
    ARGUMENT_BYTES,
    FLAG_NO_AUTH,
    FLAG_NO_MULTI,
    FLAG_NOT_QUEUED,
    FLAG_STORE,
    FLAG_WALK,
    FLAG_WRITE,
    STATE_CLOSING,
    STATE_MULTI,
    STATE_SPOILT,
)
from splinter.worker.resp.lines import Line
from splinter.worker.resp.multi import queue, run_multi
from splinter.worker.resp.plain import run_plain
from splinter.worker.resp.records import Command, Connection, Door, Parsed
from splinter.worker.resp.replies import put_line
from splinter.worker.resp.session import is_still_tenant
from splinter.worker.resp.store_commands import run_alone
from splinter.worker.resp.walks import random_key, scan, walk


@njit(cache=True)
def execute(w: int, d: int, entry: int) -> int:
    """Execute a command that was parsed. Returns 0 when it has replied; WAIT or WALKS, with no reply: come again;
    CALLS, WAITS: the connection waits, and the command is done with, or comes again."""
    door, parsed = Door(d), Parsed(entry)
    connection = Connection(door.connection)
    door.argv = door.arguments + parsed.first * ARGUMENT_BYTES
    door.argc = parsed.count
    door.command = parsed.command
    door.hashed = parsed.hashed
    door.overflow = 0
    mark, tail = door.out_at, begin_showing(w)
    if _refuses(w, d):
        connection.state = connection.state | (STATE_SPOILT if connection.state & STATE_MULTI != 0 else 0)
        outcome = 0
    elif connection.state & STATE_MULTI != 0 and Command(door.command).flags & FLAG_NOT_QUEUED == 0:
        queue(d, parsed.start, parsed.end)
        outcome = 0
    else:
        outcome = _run(w, d)
    if outcome == 0:
        _end(w, d, mark, tail)
    elif outcome == WAIT and _has_waited(w, d):
        stop_walking(d, door.connection)
        put_line(d, Line.BUSY)
        outcome = 0
        _end(w, d, mark, tail)
    elif outcome != WAIT:  # it has come further
        connection.waits_since = 0
    return outcome


@njit(cache=True)
def _end(w: int, d: int, mark: int, tail: int) -> None:
    """A reply is there: what it shows, or has changed, must be on the disk before it is sent. EXEC ends its transaction,
    whatever it replies."""
    door, worker = Door(d), Worker(w)
    connection = Connection(door.connection)
    in_multi = connection.state & STATE_MULTI != 0
    if in_multi and door.command != 0 and Command(door.command).number == Number.EXEC:
        forget_transaction(d, door.connection)
    connection.waits_since = 0
    connection.commands = connection.commands + 1
    Counters(w).redis_commands += 1
    if door.overflow != 0:
        door.out_at = mark
        door.overflow = 0
        put_line(d, Line.REPLY_LENGTH)
    if worker.log != 0:
        ring = LogRing(worker.log).tail
        if ring != tail:
            connection.position = ring
        connection.sequence = max(connection.sequence, worker.shown)


@njit(cache=True)
def _has_waited(w: int, d: int) -> bool:
    """Whether the command has waited for too long."""
    connection, now = Connection(Door(d).connection), now_ns(Worker(w).scratch)
    if connection.waits_since == 0:
        connection.waits_since = now
    return now - connection.waits_since > limits.RESP_WAIT_NS


@njit(cache=True)
def _refuses(w: int, d: int) -> bool:
    """Whether a command cannot be executed, or queued, whatever its arguments are; replies the error."""
    door = Door(d)
    connection = Connection(door.connection)
    if door.command == 0:
        put_unknown(d)
        return True
    told = Command(door.command)
    arity = told.arity
    if (arity > 0 and door.argc != arity) or door.argc < -arity:
        if told.number == Number.EXEC:
            put_line(d, Line.EXEC_ARITY)
        else:
            put_arity_error(d)
        return True
    if connection.tenant == 0:
        if told.flags & FLAG_NO_AUTH == 0:
            put_line(d, Line.EXEC_NO_AUTH if told.number == Number.EXEC else Line.NO_AUTH)
            return True
        return False
    if not is_still_tenant(w, door.connection):
        put_line(d, Line.GONE)
        connection.state = connection.state | STATE_CLOSING
        return True
    if connection.state & STATE_MULTI != 0 and told.flags & FLAG_NO_MULTI != 0:
        put_line(d, Line.NOT_IN_MULTI)
        return True
    packets_per_second = Tenant(tenant_record(w, connection.tenant)).packets_per_second
    if packets_per_second != 0:
        now = now_ns(Worker(w).scratch)
        if connection.waits_since == 0 and not is_within_rate(Worker(w).rates, connection.tenant, packets_per_second, now):
            put_line(d, Line.RATE)
            return True
    return False


@njit(cache=True)
def _run(w: int, d: int) -> int:
    told = Command(Door(d).command)
    number, flags = told.number, told.flags
    if flags & FLAG_STORE != 0:
        return run_alone(w, d, number, flags & FLAG_WRITE != 0)
    if Number.FCALL <= number <= Number.SCRIPT:
        return run_function(w, d, number)
    if number >= Number.MULTI:
        return run_multi(w, d, number)
    if number == Number.RANDOMKEY:
        return random_key(w, d)
    if number == Number.SCAN:
        return scan(w, d)
    if flags & FLAG_WALK != 0:
        return walk(w, d, number)
    run_plain(w, d, number)
    return 0
