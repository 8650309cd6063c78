"""Commands that go over a table: SCAN a part of it, KEYS, DBSIZE and FLUSHDB all of it, in as many turns as that takes.

They are no transactions. A key that is there all the time is found; one that comes or goes meanwhile may be, or not.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.native.atomics import cycles, load8, load64_acquire, shift_right, store8, store16
from splinter.store.accounts import account_of
from splinter.store.clock import clock_of_turn
from splinter.store.keys import KEYS_END, store_keys
from splinter.store.operations import store_delete
from splinter.store.records import Account
from splinter.store.roster import chunk_cells
from splinter.store.roster_layout import CELL_BITS
from splinter.worker.durable import show_all
from splinter.worker.records import Worker
from splinter.worker.resp.buffers import append
from splinter.worker.resp.commands import Number
from splinter.worker.resp.connections import stop_walking
from splinter.worker.resp.isolated import WAIT, WALKS, argument, refusal
from splinter.worker.resp.layout import STATE_WALKS, VALUE_AREA_BYTES
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_integer
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.patterns import matches
from splinter.worker.resp.records import Connection, Door
from splinter.worker.resp.replies import (
    BULK,
    put_array,
    put_bulk,
    put_bulk_number,
    put_bytes,
    put_digits,
    put_integer,
    put_line,
    put_null,
)
from splinter.worker.resp.words import ASYNC, COUNT, MATCH, STRING, SYNC, TYPE

_SCAN_COUNT = 10
_SCAN_MORE = 64  # positions that are looked at beside COUNT: a small table is told at once
_DIGITS_MAX = 20
_CRLF = 0x0A0D


@njit(cache=True)
def _keys(w: int, d: int, cursor: int, looks: int, room: int) -> tuple[int, int]:
    """Write keys of the table to the door's ``value``, as of :func:`splinter.store.keys.store_keys`."""
    worker, door = Worker(w), Door(d)
    return store_keys(
        worker.store, worker.index, Connection(door.connection).tenant, door.table, 0, 0, cursor, looks,
        clock_of_turn(worker.store, worker.index), door.value, room,
    )  # fmt: skip


@njit(cache=True)
def scan(w: int, d: int) -> int:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]. The cursor is the position to go on from, and one."""
    door = Door(d)
    at, length = argument(d, 1)
    is_number, cursor = parse_integer(at, length)
    if not is_number or cursor < 0:
        put_line(d, Line.CURSOR)
        return 0
    pattern, pattern_length, count, is_string, number = 0, 0, _SCAN_COUNT, True, 2
    while number < door.argc:
        at, length = argument(d, number)
        if number + 1 == door.argc:
            put_line(d, Line.SYNTAX)
            return 0
        value, value_length = argument(d, number + 1)
        if is_word(at, length, COUNT):
            is_number, count = parse_integer(value, value_length)
            if not is_number or count < 1:
                put_line(d, Line.SYNTAX if is_number else Line.NOT_INTEGER)
                return 0
        elif is_word(at, length, MATCH):
            pattern, pattern_length = value, value_length
        elif is_word(at, length, TYPE):
            is_string = is_word(value, value_length, STRING)
        else:
            put_line(d, Line.SYNTAX)
            return 0
        number += 2
    show_all(w, Connection(door.connection).tenant)
    following, used = _keys(w, d, max(cursor - 1, 0), min(count + _SCAN_MORE, limits.RESP_SCAN_POSITIONS_MAX), VALUE_AREA_BYTES)
    put_array(d, 2)
    put_bulk_number(d, 0 if following == KEYS_END else following + 1)
    put_array(d, _count_matching(d, used, pattern, pattern_length) if is_string else 0)
    at, end = door.value, door.value + used
    while at < end and is_string:
        size = load8(at)
        if pattern == 0 or matches(pattern, pattern_length, at + 1, size):
            put_bulk(d, at + 1, size)
        at += 1 + size
    return 0


@njit(cache=True)
def _count_matching(d: int, used: int, pattern: int, pattern_length: int) -> int:
    at, found = Door(d).value, 0
    end = at + used
    while at < end:
        size = load8(at)
        found += pattern == 0 or matches(pattern, pattern_length, at + 1, size)
        at += 1 + size
    return found


@njit(cache=True)
def walk(w: int, d: int, number: int) -> int:
    """KEYS pattern, DBSIZE, FLUSHDB: a piece of it. Returns 0 at the end, WALKS, or WAIT."""
    door, c = Door(d), Door(d).connection
    connection, is_keys = Connection(c), number == Number.KEYS
    if number == Number.FLUSHDB and not _may_flush(d):
        put_line(d, Line.SYNTAX)
        return 0
    connection.state = connection.state | STATE_WALKS
    tenant, count = connection.tenant, connection.walk_count
    following, used = _keys(w, d, connection.walk_cursor, limits.RESP_WALK_POSITIONS, VALUE_AREA_BYTES)
    at, end = door.value, door.value + used
    while at < end:
        size = load8(at)
        if number == Number.FLUSHDB:
            status = store_delete(Worker(w).store, Worker(w).index, tenant, door.table, at + 1, size, 0)
            if status == Status.BUSY:
                return WAIT  # from the same place: what was deleted is not found again
            if status != Status.OK and status != Status.NOT_FOUND:
                put_line(d, refusal(status))
                stop_walking(d, c)
                return 0
        if not is_keys:
            count += 1
        elif matches(argument(d, 1)[0], argument(d, 1)[1], at + 1, size):
            count += 1
            if not _gather(d, c, at + 1, size):
                put_line(d, Line.REPLY_LENGTH)
                stop_walking(d, c)
                return 0
        at += 1 + size
    connection.walk_count = count
    if following != KEYS_END:
        connection.walk_cursor = following
        return WALKS
    show_all(w, tenant)
    if is_keys:
        put_array(d, count)
        put_bytes(d, connection.walk, connection.walk_length)
    elif number == Number.DBSIZE:
        put_integer(d, count)
    else:
        put_line(d, Line.OK)
    stop_walking(d, c)
    return 0


@njit(cache=True)
def _may_flush(d: int) -> bool:
    """Whether FLUSHDB has no option, or ASYNC or SYNC."""
    door = Door(d)
    if door.argc == 1:
        return True
    at, length = argument(d, 1)
    return door.argc == 2 and (is_word(at, length, ASYNC) or is_word(at, length, SYNC))


@njit(cache=True)
def _gather(d: int, c: int, key: int, size: int) -> bool:
    """Keep a key as the bulk string that it will be replied as."""
    at, head = Connection(c).at, Door(d).upper
    store8(head, BULK)
    end = put_digits(head + 1, size)
    store16(end, _CRLF)
    if Connection(c).walk_length + size + _DIGITS_MAX > limits.RESP_REPLY_BYTES_MAX:
        return False
    is_kept = append(d, c, at.walk, at.walk_length, at.walk_size, head, end + 2 - head)
    is_kept = is_kept and append(d, c, at.walk, at.walk_length, at.walk_size, key, size)
    store16(head, _CRLF)
    return is_kept and append(d, c, at.walk, at.walk_length, at.walk_size, head, 2)


@njit(cache=True)
def random_key(w: int, d: int) -> int:
    """RANDOMKEY: the first key behind a random position, so those behind a gap come more often. A piece of it; returns as
    :func:`walk`."""
    door, c = Door(d), Door(d).connection
    connection = Connection(c)
    if connection.state & STATE_WALKS == 0:
        connection.state = connection.state | STATE_WALKS
        connection.walk_cursor = _random_position(w, d, connection.tenant)
    room = limits.KEY_BYTES_MAX + 1
    following, used = _keys(w, d, connection.walk_cursor, limits.RESP_WALK_POSITIONS, room)
    show_all(w, connection.tenant)
    if used != 0:
        put_bulk(d, door.value + 1, load8(door.value))
        stop_walking(d, c)
        return 0
    if following != KEYS_END:
        connection.walk_cursor = following
        return WALKS
    if connection.walk_count == 0:  # once more, from the beginning
        connection.walk_count = 1
        connection.walk_cursor = 0
        return WALKS
    put_null(d)
    stop_walking(d, c)
    return 0


@njit(cache=True)
def _random_position(w: int, d: int, tenant: int) -> int:
    """A position of a tenant's roster, by xorshift."""
    door = Door(d)
    state = door.random ^ cycles()
    state ^= state << 13
    state ^= shift_right(state, 7)
    state ^= state << 17
    door.random = state
    number = shift_right(state, 32) % max(load64_acquire(Account(account_of(Worker(w).store, tenant)).at.roster_end), 1)
    return number << CELL_BITS | (state & 0xFFFF) % chunk_cells(number)
