"""Commands on keys, whatever their values are; conventions as in :mod:`splinter.worker.resp.strings`."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import store64
from splinter.store.hashing import keys_equal
from splinter.worker.records import Frame, Worker
from splinter.worker.resp.errors import put_arity_error, put_subcommand_error
from splinter.worker.resp.isolated import argument, can_be_read, delete, find, find_in, is_key, put
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_integer
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.records import Door
from splinter.worker.resp.replies import put_bulk, put_integer, put_line, put_null
from splinter.worker.resp.words import DB, ENCODING, FREQ, REFCOUNT, REPLACE, word
from splinter.worker.transaction import transaction_write

_KEY, _OTHER = 1, 2  # arguments
_INT, _EMBSTR, _RAW = (word(text) for text in ("int", "embstr", "raw"))
_EMBEDDED_MAX = 44  # bytes of a value that Redis calls embstr


@njit(cache=True)
def delete_keys(w: int, d: int) -> int:
    """DEL key …"""
    deleted = 0
    for number in range(1, Door(d).argc):
        found = find(w, d, number)
        if found > 0:
            deleted += 1
            found = delete(w, d, number)
        if found < 0:
            return found
    put_integer(d, deleted)
    return 0


@njit(cache=True)
def exist(w: int, d: int) -> int:
    """EXISTS key …, TOUCH: one that is named twice counts twice."""
    there = 0
    for number in range(1, Door(d).argc):
        found = find(w, d, number)
        if found < 0:
            return found
        there += found
    put_integer(d, there)
    return 0


@njit(cache=True)
def tell_type(w: int, d: int) -> int:
    """TYPE key."""
    found = find(w, d, _KEY)
    if found < 0:
        return found
    put_line(d, Line.STRING if found != 0 else Line.NONE)
    return 0


@njit(cache=True)
def rename(w: int, d: int, only_new: bool) -> int:
    """RENAME key other, RENAMENX: the object keeps its moment."""
    frame = Frame(Door(d).frame)
    if not is_key(d, _OTHER):
        return 0
    if only_new:
        taken = find(w, d, _OTHER)
        if taken < 0:
            return taken
    else:
        taken = 0
    found = find(w, d, _KEY)
    if found < 0:
        return found
    if found == 0:
        put_line(d, Line.NO_KEY)
        return 0
    if taken != 0:
        put_integer(d, 0)
        return 0
    if not can_be_read(d):
        put_line(d, Line.LARGE)
        return 0
    if only_new:
        put_integer(d, 1)
    else:
        put_line(d, Line.OK)
    key, key_length = argument(d, _KEY)
    other, other_length = argument(d, _OTHER)
    if key_length == other_length and keys_equal(key, other, key_length):
        return 0
    failed = put(w, d, _OTHER, frame.out_address, frame.out_length, frame.expires)
    return failed if failed < 0 else delete(w, d, _KEY)


@njit(cache=True)
def copy_object(w: int, d: int) -> int:
    """COPY key other [DB table] [REPLACE]."""
    door, frame = Door(d), Frame(Door(d).frame)
    replaces, table, number = False, door.table, 3
    while number < door.argc:
        at, length = argument(d, number)
        if is_word(at, length, REPLACE):
            replaces = True
        elif is_word(at, length, DB) and number + 1 < door.argc:
            number += 1
            at, length = argument(d, number)
            is_number, table = parse_integer(at, length)
            if not is_number:
                put_line(d, Line.NOT_INTEGER)
                return 0
            if table < 0 or table >= limits.TABLES_MAX:
                put_line(d, Line.TABLE)
                return 0
        else:
            put_line(d, Line.SYNTAX)
            return 0
        number += 1
    key, key_length = argument(d, _KEY)
    other, other_length = argument(d, _OTHER)
    if table == door.table and key_length == other_length and keys_equal(key, other, key_length):
        put_line(d, Line.SAME)
        return 0
    if not is_key(d, _OTHER):
        return 0
    if not replaces:
        taken = find_in(w, d, table, other, other_length)
        if taken != 0:
            if taken > 0:
                put_integer(d, 0)
            return min(taken, 0)
    found = find(w, d, _KEY)
    if found < 0:
        return found
    if found != 0 and not can_be_read(d):
        put_line(d, Line.LARGE)
        return 0
    put_integer(d, found)
    if found == 0:
        return 0
    return transaction_write(
        Worker(w).store, door.frame, table, other, other_length, frame.out_address, frame.out_length, frame.expires
    )


@njit(cache=True)
def tell_object(w: int, d: int) -> int:
    """OBJECT ENCODING | REFCOUNT | FREQ key."""
    door, frame = Door(d), Frame(Door(d).frame)
    at, length = argument(d, 1)
    tells_encoding, is_freq = is_word(at, length, ENCODING), is_word(at, length, FREQ)
    if not (tells_encoding or is_freq or is_word(at, length, REFCOUNT)):
        put_subcommand_error(d)
        return 0
    if door.argc != 3:
        put_arity_error(d)
        return 0
    found = find(w, d, 2)
    if found < 0:
        return found
    if found == 0:
        put_null(d)
    elif is_freq:
        put_line(d, Line.NO_LFU)
    elif not tells_encoding:
        put_integer(d, 1)
    else:
        _put_encoding(d, can_be_read(d) and parse_integer(frame.out_address, frame.out_length)[0], frame.out_length)
    return 0


@njit(cache=True)
def _put_encoding(d: int, is_number: bool, length: int) -> None:
    """What Redis would call the value's form. It is the same bytes here."""
    upper = Door(d).upper
    store64(upper, _INT if is_number else _EMBSTR if length <= _EMBEDDED_MAX else _RAW)
    put_bulk(d, upper, 3 if is_number or length > _EMBEDDED_MAX else 6)
