"""Commands on values: each runs within a transaction, writes its reply, and returns 0, or < 0 as
:mod:`splinter.worker.resp.isolated` says. What is wrong with the arguments is replied before anything is noted to be
written."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.ext.abi import ExtensionError
from splinter.native.atomics import copy_bytes
from splinter.store.layout import LARGE_FORM
from splinter.store.records import Large
from splinter.worker.records import Frame
from splinter.worker.resp.commands import Number
from splinter.worker.resp.errors import put_arity_error
from splinter.worker.resp.isolated import (
    argument,
    can_be_read,
    delete,
    find,
    is_key,
    is_value,
    put,
)
from splinter.worker.resp.large import put_found, put_large_piece
from splinter.worker.resp.lifetimes import NEVER, NO_TIME, PAST, expiry_at, expiry_of
from splinter.worker.resp.lines import Line
from splinter.worker.resp.moments import put_again
from splinter.worker.resp.numbers import NO_NUMBER, NOT_FINITE, SUM_BYTES, add_decimals, fill_bytes, parse_integer
from splinter.worker.resp.options import SET_KEEPS, SET_NEW, SET_OLD, SET_TELLS, is_time, set_options
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.records import Door
from splinter.worker.resp.replies import (
    put_array,
    put_bulk,
    put_digits,
    put_integer,
    put_line,
    put_null,
)
from splinter.worker.resp.words import PERSIST

_KEY, _VALUE = 1, 2  # arguments
_LOWEST, _LARGEST = -(1 << 63), (1 << 63) - 1


@njit(cache=True)
def get(w: int, d: int) -> int:
    """GET key."""
    found = find(w, d, _KEY)
    if found < 0:
        return found
    if found == 0:
        put_null(d)
        return 0
    return put_found(w, d)


@njit(cache=True)
def mget(w: int, d: int) -> int:
    """MGET key …"""
    door = Door(d)
    put_array(d, door.argc - 1)
    for number in range(1, door.argc):
        found = find(w, d, number)
        if found < 0:
            return found
        if found == 0:
            put_null(d)
        elif put_found(w, d) < 0:
            return -ExtensionError.CONFLICT
    return 0


@njit(cache=True)
def put_value(w: int, d: int, value: int, expires: int) -> int:
    """Note a put of the argument ``value``; what is over already is deleted."""
    if expires == PAST:
        found = find(w, d, _KEY)
        return delete(w, d, _KEY) if found > 0 else found
    at, length = argument(d, value)
    return put(w, d, _KEY, at, length, expires)


@njit(cache=True)
def set_value(w: int, d: int) -> int:
    """SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT … | PXAT … | KEEPTTL]."""
    frame = Frame(Door(d).frame)
    bits, time = set_options(d)
    if bits < 0:
        return 0
    expires = expiry_of(w, d, time) if time != 0 else NEVER
    if expires == NO_TIME or not is_key(d, _KEY) or not is_value(d, argument(d, _VALUE)[1]):
        return 0
    found = find(w, d, _KEY) if bits != 0 else 0
    if found < 0:
        return found
    if bits & SET_TELLS != 0:
        if found == 0:
            put_null(d)
        elif put_found(w, d) < 0:
            return -ExtensionError.CONFLICT
    if (bits & SET_NEW != 0 and found != 0) or (bits & SET_OLD != 0 and found == 0):
        if bits & SET_TELLS == 0:
            put_null(d)
        return 0
    if bits & SET_KEEPS != 0 and found != 0:
        expires = frame.expires
    if bits & SET_TELLS == 0:
        put_line(d, Line.OK)
    return put_value(w, d, _VALUE, expires)


@njit(cache=True)
def set_for(w: int, d: int, command: int) -> int:
    """SETEX key seconds value, PSETEX key milliseconds value."""
    expires = expiry_at(w, d, 2, command == Number.PSETEX, False)
    if expires == NO_TIME or not is_key(d, _KEY) or not is_value(d, argument(d, 3)[1]):
        return 0
    put_line(d, Line.OK)
    return put_value(w, d, 3, expires)


@njit(cache=True)
def set_new(w: int, d: int) -> int:
    """SETNX key value."""
    if not is_key(d, _KEY) or not is_value(d, argument(d, _VALUE)[1]):
        return 0
    found = find(w, d, _KEY)
    if found < 0:
        return found
    put_integer(d, 1 - found)
    return put_value(w, d, _VALUE, NEVER) if found == 0 else 0


@njit(cache=True)
def get_set(w: int, d: int) -> int:
    """GETSET key value."""
    if not is_key(d, _KEY) or not is_value(d, argument(d, _VALUE)[1]):
        return 0
    failed = get(w, d)
    return failed if failed < 0 else put_value(w, d, _VALUE, NEVER)


@njit(cache=True)
def get_delete(w: int, d: int) -> int:
    """GETDEL key."""
    found = find(w, d, _KEY)
    if found <= 0:
        if found == 0:
            put_null(d)
        return found
    failed = put_found(w, d)
    return failed if failed < 0 else delete(w, d, _KEY)


@njit(cache=True)
def get_expire(w: int, d: int) -> int:
    """GETEX key [EX seconds | PX … | EXAT … | PXAT … | PERSIST]."""
    door, frame = Door(d), Frame(Door(d).frame)
    expires, changes, persists = NEVER, door.argc > 2, False
    if changes:
        at, length = argument(d, 2)
        persists = is_word(at, length, PERSIST)
        if door.argc != (3 if persists else 4) or not (persists or is_time(d, 2)):
            put_line(d, Line.SYNTAX)
            return 0
    found = find(w, d, _KEY)
    if found <= 0:
        if found == 0:
            put_null(d)
        return found
    if changes and not persists:
        expires = expiry_of(w, d, 2)
        if expires == NO_TIME:
            return 0
    failed = put_found(w, d)
    if failed < 0 or not changes or frame.expires == expires:
        return failed
    if expires == PAST:
        return delete(w, d, _KEY)
    return put_again(w, d, expires)


@njit(cache=True)
def mset(w: int, d: int, only_new: bool) -> int:
    """MSET key value …, MSETNX."""
    door = Door(d)
    if door.argc % 2 == 0:
        put_arity_error(d)
        return 0
    for number in range(1, door.argc, 2):
        if not is_key(d, number) or not is_value(d, argument(d, number + 1)[1]):
            return 0
    if only_new:
        for number in range(1, door.argc, 2):
            found = find(w, d, number)
            if found < 0:
                return found
            if found > 0:
                put_integer(d, 0)
                return 0
        put_integer(d, 1)
    else:
        put_line(d, Line.OK)
    for number in range(1, door.argc, 2):
        at, length = argument(d, number + 1)
        failed = put(w, d, number, at, length, NEVER)
        if failed < 0:
            return failed
    return 0


@njit(cache=True)
def append_value(w: int, d: int) -> int:
    """APPEND key value."""
    door, frame = Door(d), Frame(Door(d).frame)
    if not is_key(d, _KEY):
        return 0
    found = find(w, d, _KEY)
    if found < 0:
        return found
    at, length = argument(d, _VALUE)
    size = frame.out_length if found != 0 else 0
    if size >= LARGE_FORM or not is_value(d, size + length):
        if size >= LARGE_FORM:
            put_line(d, Line.LARGE)
        return 0
    put_integer(d, size + length)
    if found != 0 and length == 0:
        return 0
    value = door.value
    if found != 0:
        copy_bytes(value, frame.out_address, size)
    copy_bytes(value + size, at, length)
    return put(w, d, _KEY, value, size + length, frame.expires if found != 0 else NEVER)


@njit(cache=True)
def string_length(w: int, d: int) -> int:
    """STRLEN key."""
    frame = Frame(Door(d).frame)
    found = find(w, d, _KEY)
    if found < 0:
        return found
    if found == 0:
        put_integer(d, 0)
    else:
        put_integer(d, frame.out_length if can_be_read(d) else Large(frame.out_address).length)
    return 0


@njit(cache=True)
def get_range(w: int, d: int) -> int:
    """GETRANGE key start end: both count from the end where they are less than 0."""
    frame = Frame(Door(d).frame)
    at, length = argument(d, 2)
    is_first, first = parse_integer(at, length)
    at, length = argument(d, 3)
    is_last, last = parse_integer(at, length)
    if not is_first or not is_last:
        put_line(d, Line.NOT_INTEGER)
        return 0
    found = find(w, d, _KEY)
    if found < 0:
        return found
    is_large = found != 0 and not can_be_read(d)
    size = Large(frame.out_address).length if is_large else frame.out_length if found != 0 else 0
    is_turned = first < 0 and last < 0 and first > last
    first = max(first + size, 0) if first < 0 else first
    last = max(last + size, 0) if last < 0 else last
    last = min(last, size - 1)
    if is_turned or first > last or size == 0:
        put_bulk(d, frame.out_address, 0)
    elif is_large:
        return put_large_piece(w, d, frame.out_address, first, last - first + 1)
    else:
        put_bulk(d, frame.out_address + first, last - first + 1)
    return 0


@njit(cache=True)
def set_range(w: int, d: int) -> int:
    """SETRANGE key offset value: what is between the value's end and the offset becomes zeros."""
    door, frame = Door(d), Frame(Door(d).frame)
    at, length = argument(d, 2)
    is_number, offset = parse_integer(at, length)
    if not is_number:
        put_line(d, Line.NOT_INTEGER)
        return 0
    if offset < 0:
        put_line(d, Line.OFFSET)
        return 0
    if not is_key(d, _KEY):
        return 0
    at, length = argument(d, 3)
    found = find(w, d, _KEY)
    if found < 0:
        return found
    size = frame.out_length if found != 0 else 0
    if size >= LARGE_FORM:
        put_line(d, Line.LARGE)
        return 0
    if length == 0:
        put_integer(d, size)
        return 0
    if offset > limits.VALUE_BYTES_MAX or not is_value(d, offset + length):
        if offset > limits.VALUE_BYTES_MAX:
            put_line(d, Line.TOO_LONG)
        return 0
    value, whole = door.value, max(size, offset + length)
    if found != 0:
        copy_bytes(value, frame.out_address, size)
    fill_bytes(value + size, 0, max(offset - size, 0))
    copy_bytes(value + offset, at, length)
    put_integer(d, whole)
    return put(w, d, _KEY, value, whole, frame.expires if found != 0 else NEVER)


@njit(cache=True)
def increment(w: int, d: int, command: int) -> int:
    """INCR, DECR, INCRBY, DECRBY."""
    door, frame = Door(d), Frame(Door(d).frame)
    by = 1
    if command in (Number.INCRBY, Number.DECRBY):
        at, length = argument(d, _VALUE)
        is_number, by = parse_integer(at, length)
        if not is_number:
            put_line(d, Line.NOT_INTEGER)
            return 0
    if command in (Number.DECR, Number.DECRBY):
        if by == _LOWEST:
            put_line(d, Line.DECREMENT)  # there is no such number to add
            return 0
        by = -by
    if not is_key(d, _KEY):
        return 0
    found = find(w, d, _KEY)
    if found < 0:
        return found
    number = 0
    if found != 0:
        is_number, number = parse_integer(frame.out_address, frame.out_length) if can_be_read(d) else (False, 0)
        if not is_number:
            put_line(d, Line.NOT_INTEGER)
            return 0
    if (by > 0 and number > _LARGEST - by) or (by < 0 and number < _LOWEST - by):
        put_line(d, Line.OVERFLOW)
        return 0
    size = put_digits(door.value, number + by) - door.value
    put_integer(d, number + by)
    return put(w, d, _KEY, door.value, size, frame.expires if found != 0 else NEVER)


@njit(cache=True)
def increment_decimal(w: int, d: int) -> int:
    """INCRBYFLOAT key increment."""
    door, frame = Door(d), Frame(Door(d).frame)
    if not is_key(d, _KEY):
        return 0
    found = find(w, d, _KEY)
    if found < 0:
        return found
    at, length = argument(d, _VALUE)
    zero = door.value + SUM_BYTES
    fill_bytes(zero, 48, 1)  # "0"
    if found != 0 and can_be_read(d):
        size = add_decimals(frame.out_address, frame.out_length, at, length, door.value)
    else:
        size = add_decimals(zero, 1, at, length, door.value) if found == 0 else NO_NUMBER
    if size < 0:
        put_line(d, Line.NOT_FLOAT if size == NO_NUMBER else Line.NOT_FINITE if size == NOT_FINITE else Line.FLOAT_RANGE)
        return 0
    put_bulk(d, door.value, size)
    return put(w, d, _KEY, door.value, size, frame.expires if found != 0 else NEVER)
