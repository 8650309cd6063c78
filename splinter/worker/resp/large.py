"""Values of more than VALUE_BYTES_MAX, which are kept in parts (:mod:`splinter.store.parts`).

What reads one puts it together in the reply, from parts that it finds under its turn's epoch; where one is gone the value was
replaced, and the command is begun anew. What sets one puts the parts, some in each turn, and then the head, whose publication
is the commit. A connection that ends in between leaves parts that nobody names: the sweep takes them after PART_NS.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import ExtensionError
from splinter.native.atomics import copy_bytes, cycles, store16, store64
from splinter.store.clock import moment_in
from splinter.store.index import word_object
from splinter.store.journal import participant_at
from splinter.store.large import store_drop_large, store_put_large
from splinter.store.objects import object_value
from splinter.store.operations import store_delete, store_expire, store_put
from splinter.store.parts import find_part, part_size, parts_of
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.records import Large, Part
from splinter.wire import PART_HEAD_BYTES, PART_KEY_BYTES
from splinter.worker.records import Frame, Worker
from splinter.worker.resp.commands import Number
from splinter.worker.resp.connections import stop_walking
from splinter.worker.resp.isolated import WAIT, WALKS, argument, begin, end, find, is_key, now, refusal
from splinter.worker.resp.layout import STATE_WALKS
from splinter.worker.resp.lifetimes import NEVER, NO_TIME, PAST, expiry_at, expiry_of
from splinter.worker.resp.lines import Line
from splinter.worker.resp.options import SET_KEEPS, SET_NEW, SET_OLD, SET_TELLS, set_options
from splinter.worker.resp.records import Connection, Door
from splinter.worker.resp.replies import BULK, has_room, put_bulk, put_integer, put_line, put_null, put_number

_KEY = 1
_CRLF = 0x0A0D
_HEAD_BYTES = 24  # of a bulk string, with its end
_TRIES = 8
_PART_BYTES = limits.PART_BYTES
_MULTIPLIER = 0x1E3779B97F4A7C15


# --- read -------------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def copy_piece(w: int, d: int, large: int, start: int, size: int, target: int) -> bool:
    """Copy ``size`` bytes of a value from ``start`` on to ``target``. False: it was replaced meanwhile."""
    worker = Worker(w)
    me, tenant = participant_at(worker.store, worker.index), Frame(Door(d).frame).tenant
    while size > 0:
        number = start // _PART_BYTES
        word = find_part(worker.store, me, tenant, large, number)[1]
        if word == 0:
            return False
        part = object_value(word_object(worker.store, word))
        at = start - number * _PART_BYTES
        piece = min(size, part_size(large, number) - at)
        copy_bytes(target, part + PART_HEAD_BYTES + Part(part).key_length + at, piece)
        start, size, target = start + piece, size - piece, target + piece
    return True


@njit(cache=True)
def put_large_piece(w: int, d: int, large: int, start: int, size: int) -> int:
    """Reply a piece of a value as a bulk string. Returns 0, or -CONFLICT, with nothing replied."""
    door = Door(d)
    if not has_room(d, size + _HEAD_BYTES):
        return 0
    mark = door.out_at
    put_number(d, BULK, size)
    if not copy_piece(w, d, large, start, size, door.out_at):
        door.out_at = mark
        return -ExtensionError.CONFLICT
    store16(door.out_at + size, _CRLF)
    door.out_at = door.out_at + size + 2
    return 0


@njit(cache=True)
def put_found(w: int, d: int) -> int:
    """Reply the value that was found, whatever its size. Returns 0, or -CONFLICT."""
    frame = Frame(Door(d).frame)
    if frame.out_length <= limits.VALUE_BYTES_MAX:
        put_bulk(d, frame.out_address, frame.out_length)
        return 0
    return put_large_piece(w, d, frame.out_address, 0, Large(frame.out_address).length)


# --- expire -----------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def expire_large(w: int, d: int, moment: int) -> int:
    """Have the large value that was found expire then, or (NEVER) not at all: a commit of its own. Returns 0, or < 0:
    -ExtensionError, with nothing done."""
    worker, door = Worker(w), Door(d)
    frame = Frame(door.frame)
    key, key_length = argument(d, _KEY)
    ttl = 0 if moment == NEVER else max(moment - now(w, d), 1)
    status = store_expire(
        worker.store, worker.index, frame.tenant, door.table, key, key_length, ttl, frame.out_version, 0, 0
    )  # fmt: skip
    if status == Status.OK:
        return 0
    if status in (Status.VERSION_CHANGED, Status.NOT_FOUND):
        return -ExtensionError.CONFLICT
    if status == Status.QUOTA_EXCEEDED:
        return -ExtensionError.QUOTA
    if status == Status.OUT_OF_MEMORY:
        return -ExtensionError.OUT_OF_MEMORY
    return -ExtensionError.DISK if status == Status.DISK_FAILED else -ExtensionError.BUSY


# --- set --------------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def value_argument(number: int) -> int:
    """Which argument of a command that sets one value the value is; 0: it is no such command."""
    if number in (Number.SETEX, Number.PSETEX):
        return 3
    return 2 if number in (Number.SET, Number.SETNX, Number.GETSET) else 0


@njit(cache=True)
def set_large(w: int, d: int, number: int) -> int:
    """SET and its like, of a large value: a piece of it. Returns 0 at the end, WALKS, or WAIT."""
    door, c = Door(d), Door(d).connection
    connection = Connection(c)
    value, length = argument(d, value_argument(number))
    if length > limits.LARGE_BYTES_MAX:
        put_line(d, Line.TOO_LONG)
        return 0
    if connection.state & STATE_WALKS == 0:
        outcome = _look(w, d, number)
        if outcome != WALKS:
            return outcome
        connection.state = connection.state | STATE_WALKS
        connection.walk_count = cycles() * _MULTIPLIER ^ door.random ^ connection.id
        door.random = connection.walk_count
        connection.walk_cursor = 0
    large = door.frame_large
    Large(large).id = connection.walk_count
    Large(large).length = length
    parts = parts_of(length)
    for _ in range(limits.RESP_PARTS):
        part = connection.walk_cursor
        if part == parts:
            return _end_large(w, d, number, large)
        status = _put_part(w, d, large, value, part)
        if status == Status.BUSY:
            return WAIT
        if status != Status.OK:
            return _give_up(w, d, large, refusal(status))
        connection.walk_cursor = part + 1
    return WALKS


@njit(cache=True)
def _bits_of(d: int, number: int) -> tuple[int, int]:
    """(SET_… of a command, or -1 with an error; the argument that says how long it lives, 0: none)."""
    if number == Number.SET:
        return set_options(d)
    if number == Number.SETNX:
        return SET_NEW, 0
    return (SET_TELLS, 0) if number == Number.GETSET else (0, 0)


@njit(cache=True)
def _expiry(w: int, d: int, number: int, time: int) -> int:
    if number in (Number.SETEX, Number.PSETEX):
        return expiry_at(w, d, 2, number == Number.PSETEX, False)
    return expiry_of(w, d, time) if time != 0 else NEVER


@njit(cache=True)
def _look(w: int, d: int, number: int) -> int:
    """Before it takes room: whether the command is right, and would be done now. WALKS: yes; 0: it has replied; or WAIT."""
    bits, time = _bits_of(d, number)
    if bits < 0 or not is_key(d, _KEY):
        return 0
    begin(w, d, False)
    if _expiry(w, d, number, time) == NO_TIME:
        return 0
    if bits & (SET_NEW | SET_OLD) == 0:
        return WALKS
    found = find(w, d, _KEY)
    if found < 0:
        return WAIT
    if (bits & SET_NEW != 0) == (found != 0):
        end(w, d)
        return _put_undone(w, d, number, bits, found)
    return WALKS


@njit(cache=True)
def _put_undone(w: int, d: int, number: int, bits: int, found: int) -> int:
    """Reply that the condition does not hold; WAIT: the value that is to be told was replaced meanwhile."""
    if number == Number.SETNX:
        put_integer(d, 0)
    elif bits & SET_TELLS != 0 and found != 0:
        return 0 if put_found(w, d) == 0 else WAIT
    else:
        put_null(d)
    return 0


@njit(cache=True)
def _put_part(w: int, d: int, large: int, value: int, number: int) -> int:
    """Put a part; a status."""
    worker, door = Worker(w), Door(d)
    store, p = worker.store, worker.index
    key, key_length = argument(d, _KEY)
    size = part_size(large, number)
    part = Part(door.value)
    part.table = door.table
    part.key_length = key_length
    part.whole = Large(large).length
    copy_bytes(door.value + PART_HEAD_BYTES, key, key_length)
    copy_bytes(door.value + PART_HEAD_BYTES + key_length, value + number * _PART_BYTES, size)
    store64(door.upper, Large(large).id)
    store64(door.upper + 8, number)
    return store_put(
        store, p, Connection(door.connection).tenant, limits.TABLE_PARTS, door.upper, PART_KEY_BYTES, door.value,
        PART_HEAD_BYTES + key_length + size, EXPECT_ABSENT, 0, 0, moment_in(store, participant_at(store, p), limits.PART_NS),
    )  # fmt: skip


@njit(cache=True)
def _give_up(w: int, d: int, large: int, line: int) -> int:
    """Reply an error; the parts go. A Line of 0: something was replied already."""
    worker, door = Worker(w), Door(d)
    if line != 0:
        put_line(d, line)
    store_drop_large(worker.store, worker.index, Connection(door.connection).tenant, door.table, large)
    stop_walking(d, door.connection)
    return 0


@njit(cache=True)
def _end_large(w: int, d: int, number: int, large: int) -> int:
    """All parts are there: put the head."""
    worker, door = Worker(w), Door(d)
    store, p, frame, mark = worker.store, worker.index, Frame(door.frame), door.out_at
    tenant = Connection(door.connection).tenant
    key, key_length = argument(d, _KEY)
    bits, time = _bits_of(d, number)
    for _ in range(_TRIES):
        door.out_at = mark
        begin(w, d, False)
        expires, found, expected = _expiry(w, d, number, time), 0, 0
        if expires == NO_TIME:
            return _give_up(w, d, large, 0)
        if bits != 0:
            found = find(w, d, _KEY)
            if found < 0:
                continue
            expected = frame.out_version if found != 0 else EXPECT_ABSENT
            end(w, d)
            if (bits & SET_NEW != 0 and found != 0) or (bits & SET_OLD != 0 and found == 0):
                return _give_up(w, d, large, 0) if _put_undone(w, d, number, bits, found) == 0 else WAIT
            if bits & SET_KEEPS != 0 and found != 0:
                expires = frame.expires
        if bits & SET_TELLS == 0:
            if number == Number.SETNX:
                put_integer(d, 1)
            else:
                put_line(d, Line.OK)
        elif found == 0:
            put_null(d)
        elif put_found(w, d) != 0:
            continue
        if expires == PAST:
            status = store_delete(store, p, tenant, door.table, key, key_length, expected if found != 0 else 0)
            if status in (Status.OK, Status.NOT_FOUND):
                return _give_up(w, d, large, 0)
        else:
            status = store_put_large(store, p, tenant, door.table, key, key_length, large, expected, 0, 0, expires)
        if status == Status.OK:
            stop_walking(d, door.connection)
            return 0
        door.out_at = mark
        if status == Status.NOT_FOUND:  # its time was over before it had all: once more
            Connection(door.connection).walk_cursor = 0
            return WALKS
        if status == Status.BUSY:
            return WAIT
        if status != Status.VERSION_CHANGED:
            return _give_up(w, d, large, refusal(status))
    return WAIT
