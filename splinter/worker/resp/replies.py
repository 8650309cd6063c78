"""Writing replies, in RESP2 or RESP3, where the door's next one goes. What has no room is not written, and told by
``overflow``."""

from __future__ import annotations

import math

from numba import njit

from splinter.native import libc
from splinter.native.atomics import copy_bytes, load8, shift_right, store8, store16, store32
from splinter.worker.resp.lines import line_text
from splinter.worker.resp.records import Door

_CRLF = 0x0A0D
_TXT = 0x3A747874  # txt:
_DIGITS_MAX = 20  # of a 64-bit number, with its sign
_ZERO, _MINUS, _APOSTROPHE = 48, 45, 39
ARRAY, MAP, INTEGER, BULK, VERBATIM, BOOLEAN, DOUBLE, BIG = 42, 37, 58, 36, 61, 35, 44, 40  # first bytes
_TRUE, _FALSE = 116, 102
_NAN = 0x6E616E
_DECIMALS = 17  # of a real number, as Redis writes them
_LOWEST = -(1 << 63)
_REST_OF_LOWEST = (1 << 63) - 9 * 10**18


@njit(cache=True)
def put_digits(at: int, number: int) -> int:
    """Write a signed number in decimal to ``at``, where _DIGITS_MAX bytes are. Returns its end."""
    if number < 0:
        store8(at, _MINUS)
        at += 1
        if number == _LOWEST:  # the only one that has no positive: 9, and the rest
            store8(at, _ZERO + 9)
            at, number = at + 1, -_REST_OF_LOWEST
        number = -number
    size, rest = 1, number // 10
    while rest != 0:
        size, rest = size + 1, rest // 10
    for place in range(size - 1, -1, -1):
        store8(at + place, _ZERO + number % 10)
        number //= 10
    return at + size


@njit(cache=True, forceinline=True)
def has_room(d: int, size: int) -> bool:
    """Whether a reply has ``size`` bytes left; says so if not."""
    door = Door(d)
    if door.out_at + size <= door.out_end:
        return True
    door.overflow = 1
    return False


@njit(cache=True)
def put_number(d: int, kind: int, number: int) -> None:
    """A line of a first byte and a number: an integer, or how many elements an array has."""
    if has_room(d, _DIGITS_MAX + 3):
        door = Door(d)
        store8(door.out_at, kind)
        end = put_digits(door.out_at + 1, number)
        store16(end, _CRLF)
        door.out_at = end + 2


@njit(cache=True)
def put_integer(d: int, number: int) -> None:
    """An integer."""
    put_number(d, INTEGER, number)


@njit(cache=True)
def put_array(d: int, elements: int) -> None:
    """The head of an array."""
    put_number(d, ARRAY, elements)


@njit(cache=True)
def put_map(d: int, pairs: int) -> None:
    """The head of a map; in RESP2 of an array of as many keys and values."""
    if Door(d).protocol >= 3:
        put_number(d, MAP, pairs)
    else:
        put_number(d, ARRAY, 2 * pairs)


@njit(cache=True)
def put_null(d: int) -> None:
    """Nothing where a bulk string could be."""
    if has_room(d, 5):
        door = Door(d)
        at = door.out_at
        if door.protocol >= 3:
            store8(at, 95)  # _
            store16(at + 1, _CRLF)
            door.out_at = at + 3
        else:
            store8(at, BULK)
            store8(at + 1, _MINUS)
            store8(at + 2, _ZERO + 1)
            store16(at + 3, _CRLF)
            door.out_at = at + 5


@njit(cache=True)
def put_null_array(d: int) -> None:
    """Nothing where an array could be."""
    door = Door(d)
    if door.protocol >= 3:
        put_null(d)
    elif has_room(d, 5):
        put_null(d)
        store8(door.out_at - 5, ARRAY)


@njit(cache=True)
def put_bulk(d: int, address: int, length: int) -> None:
    """A bulk string."""
    if has_room(d, _DIGITS_MAX + 5 + length):
        put_number(d, BULK, length)
        door = Door(d)
        at = door.out_at
        copy_bytes(at, address, length)
        store16(at + length, _CRLF)
        door.out_at = at + length + 2


@njit(cache=True)
def put_verbatim(d: int, address: int, length: int) -> None:
    """A text for people: a verbatim string, in RESP2 a bulk string."""
    if Door(d).protocol < 3:
        put_bulk(d, address, length)
    elif has_room(d, _DIGITS_MAX + 9 + length):
        put_number(d, VERBATIM, length + 4)
        door = Door(d)
        at = door.out_at
        store32(at, _TXT)
        copy_bytes(at + 4, address, length)
        store16(at + 4 + length, _CRLF)
        door.out_at = at + length + 6


@njit(cache=True)
def put_bytes(d: int, address: int, length: int) -> None:
    """Bytes as they are."""
    if has_room(d, length):
        door = Door(d)
        copy_bytes(door.out_at, address, length)
        door.out_at = door.out_at + length


@njit(cache=True)
def put_bulk_number(d: int, number: int) -> None:
    """A number as a bulk string."""
    if has_room(d, 2 * _DIGITS_MAX + 6):
        door = Door(d)
        end = put_digits(door.out_at + _DIGITS_MAX, number)  # behind where its head can reach; moved by put_bulk
        size = end - door.out_at - _DIGITS_MAX
        start = door.out_at + _DIGITS_MAX
        put_number(d, BULK, size)
        at = door.out_at
        for place in range(size):
            store8(at + place, load8(start + place))
        store16(at + size, _CRLF)
        door.out_at = at + size + 2


@njit(cache=True)
def put_boolean(d: int, value: bool) -> None:
    """A boolean; in RESP2 1 or 0."""
    if Door(d).protocol < 3:
        put_integer(d, int(value))
    elif has_room(d, 4):
        door = Door(d)
        store8(door.out_at, BOOLEAN)
        store8(door.out_at + 1, _TRUE if value else _FALSE)
        store16(door.out_at + 2, _CRLF)
        door.out_at = door.out_at + 4


@njit(cache=True)
def _put_text(d: int, kind: int, text: int, length: int) -> None:
    """A line of a first byte and a text; in RESP2 the text as a bulk string."""
    if Door(d).protocol < 3:
        put_bulk(d, text, length)
    elif has_room(d, length + 3):
        door = Door(d)
        store8(door.out_at, kind)
        copy_bytes(door.out_at + 1, text, length)
        store16(door.out_at + 1 + length, _CRLF)
        door.out_at = door.out_at + length + 3


@njit(cache=True)
def put_double(d: int, value: float) -> None:
    """A real number; in RESP2 as a bulk string."""
    door = Door(d)
    text = door.value
    if math.isnan(value):
        store32(text, _NAN)
        length = 3
    else:
        libc.gcvt(value, _DECIMALS, text)
        length = 0
        while load8(text + length) != 0:
            length += 1
    _put_text(d, DOUBLE, text, length)


@njit(cache=True)
def put_big_number(d: int, word: int) -> None:
    """A number from 2**63 on, of which ``word`` has the bits: a big number, in RESP2 a bulk string."""
    door = Door(d)
    text, tens = door.value, shift_right(word, 1) // 5
    end = put_digits(text, tens)
    store8(end, _ZERO + word - tens * 10)
    _put_text(d, BIG, text, end + 1 - text)


@njit(cache=True)
def put_text_number(d: int, number: int) -> None:
    """A number within a line."""
    if has_room(d, _DIGITS_MAX):
        Door(d).out_at = put_digits(Door(d).out_at, number)


@njit(cache=True)
def put_line(d: int, number: int) -> None:
    """One of :class:`splinter.worker.resp.lines.Line`."""
    text, size = line_text(Door(d).lines, number)
    put_bytes(d, text, size)


@njit(cache=True)
def put_piece(d: int, number: int) -> None:
    """The same without its end, for an error that goes on."""
    text, size = line_text(Door(d).lines, number)
    put_bytes(d, text, size - 2)


@njit(cache=True)
def put_plain(d: int, address: int, length: int) -> None:
    """A piece of what a client sent, in an error: up to a zero, and bytes that could end the line are made spaces."""
    if has_room(d, length):
        door = Door(d)
        at = door.out_at
        for place in range(length):
            byte = load8(address + place)
            if byte == 0:
                break
            store8(at, 32 if byte in (10, 13) else byte)
            at += 1
        door.out_at = at


@njit(cache=True)
def put_quoted(d: int, address: int, length: int) -> None:
    """The same in quotes."""
    if has_room(d, length + 2):
        door = Door(d)
        store8(door.out_at, _APOSTROPHE)
        door.out_at = door.out_at + 1
        put_plain(d, address, length)
        store8(door.out_at, _APOSTROPHE)
        door.out_at = door.out_at + 1
