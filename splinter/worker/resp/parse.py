"""The parser: from bytes of a connection to commands. The bytes are a client's, and may end anywhere.

A command is an array of bulk strings, or a line as people type it. What is parsed are addresses and lengths of its arguments,
in the bytes themselves; those of a line with quotes are copied.
"""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.native.atomics import load8, load64, store8
from splinter.worker.resp.commands import HASH_SHIFT, MULTIPLIERS
from splinter.worker.resp.layout import ARGUMENT_BYTES, COMMAND_BYTES, COMMANDS_SLOTS, NAME_BYTES_MAX
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_integer
from splinter.worker.resp.records import Argument, Command, Door
from splinter.worker.resp.replies import ARRAY, BULK

_ZERO = 48
_CR, _LF, _SPACE, _QUOTE, _APOSTROPHE, _BACKSLASH = 13, 10, 32, 34, 39, 92
_NUMBER_BYTES_MAX = 32  # of a length in a line
_INCOMPLETE, _TOO_LONG, _NO_NUMBER = 0, -1, -2
_FIRST, _SECOND, _THIRD = MULTIPLIERS
_ARGUMENTS_MAX = limits.RESP_ARGUMENTS_MAX
_COMMAND_BYTES_MAX = limits.RESP_COMMAND_BYTES_MAX


@njit(cache=True)
def argument_at(d: int, place: int) -> int:
    """Address of an ARGUMENT of those that were parsed."""
    return Door(d).arguments + place * ARGUMENT_BYTES


@njit(cache=True)
def parse_command(d: int, at: int, end: int, is_stranger: bool) -> int:
    """Parse the command at ``at``, of bytes that end at ``end`` and of which there is one at least. Its arguments are noted
    from ``arguments_used`` on, and counted in ``argc``: 0 of a line without any.

    Returns the address behind it; 0: it is not whole, and ``needed`` tells how many bytes it has at least; < 0: -Line, an error
    after which nothing can be understood.
    """
    door = Door(d)
    door.argc = 0
    door.scan_left = 0
    if load8(at) != ARRAY:
        return _parse_line(d, at, end, is_stranger)
    following = _parse_length(d, at + 1, end)
    if following == _INCOMPLETE:
        door.needed = end - at + 1
        return 0
    if following < 0:
        return -Line.MULTIBULK_LINE if following == _TOO_LONG else -Line.MULTIBULK
    count = door.number
    if count > _ARGUMENTS_MAX:
        return -Line.MULTIBULK
    if is_stranger and count > limits.RESP_STRANGER_ARGUMENTS_MAX:
        return -Line.STRANGER_MULTIBULK
    if count <= 0:
        return following
    parsed = _parse_arguments(d, at, following, end, count, is_stranger, True)
    if parsed > 0:
        door.argc = count
    return parsed


@njit(cache=True)
def is_whole(d: int, at: int, end: int, scanned: int, left: int, is_stranger: bool) -> int:
    """Go on to look through a command, of which ``scanned`` bytes were looked through and ``left`` arguments were not. Returns
    as :func:`parse_command`, and notes nothing."""
    return _parse_arguments(d, at, at + scanned, end, left, is_stranger, False)


@njit(cache=True)
def _parse_arguments(d: int, start: int, at: int, end: int, count: int, is_stranger: bool, notes: bool) -> int:
    door = Door(d)
    bulk_max = limits.RESP_STRANGER_BYTES_MAX if is_stranger else _COMMAND_BYTES_MAX
    noted = argument_at(d, door.arguments_used)
    for number in range(count):
        door.scan_at = at - start
        door.scan_left = count - number
        if at >= end:
            door.needed = at - start + 4
            return 0
        if load8(at) != BULK:
            door.number = load8(at)
            return -Line.DOLLAR
        body = _parse_length(d, at + 1, end)
        if body == _INCOMPLETE:
            door.needed = end - start + 1
            return 0
        if body < 0:
            return -Line.BULK_LINE if body == _TOO_LONG else -Line.BULK
        length = door.number
        if length < 0 or length > bulk_max:
            return -Line.STRANGER_BULK if is_stranger and length > bulk_max else -Line.BULK
        following = body + length + 2
        if following - start > _COMMAND_BYTES_MAX:
            return -Line.COMMAND_BYTES
        if following > end:
            door.needed = following - start
            return 0
        if notes:
            argument = Argument(noted + number * ARGUMENT_BYTES)
            argument.address = body
            argument.length = length
        at = following
    return at


@njit(cache=True)
def _parse_length(d: int, at: int, end: int) -> int:
    """Parse a number with the end of its line. Returns the address behind it, and leaves it in ``number``; or _INCOMPLETE,
    _TOO_LONG, _NO_NUMBER."""
    if at + 4 <= end:  # most have one digit or two
        tens, ones = load8(at) - _ZERO, load8(at + 1) - _ZERO
        if 0 <= tens <= 9 and ones == _CR - _ZERO:
            Door(d).number = tens
            return at + 3
        if 1 <= tens <= 9 and 0 <= ones <= 9 and load8(at + 2) == _CR:
            Door(d).number = 10 * tens + ones
            return at + 4
    last = min(end, at + _NUMBER_BYTES_MAX)
    place = at
    while place < last and load8(place) != _CR:
        place += 1
    if place == last:
        return _TOO_LONG if last < end else _INCOMPLETE
    if place + 2 > end:
        return _INCOMPLETE
    is_number, number = parse_integer(at, place - at)
    if not is_number:
        return _NO_NUMBER
    Door(d).number = number
    return place + 2


# --- a line ------------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _parse_line(d: int, at: int, end: int, is_stranger: bool) -> int:
    """Parse a command that is typed as a line: words, which may stand in quotes."""
    door = Door(d)
    most = limits.RESP_STRANGER_BYTES_MAX if is_stranger else limits.RESP_INLINE_BYTES_MAX
    last = min(end, at + most)
    line_end = at
    while line_end < last and load8(line_end) != _LF:
        line_end += 1
    if line_end == last:
        if last < end or last == at + most:
            return -Line.INLINE
        door.needed = end - at + 1
        return 0
    following = line_end + 1
    if line_end > at and load8(line_end - 1) == _CR:
        line_end -= 1
    count = 0
    while True:
        while at < line_end and _is_space(load8(at)):
            at += 1
        if at == line_end:
            door.argc = count
            return following
        if count == _ARGUMENTS_MAX or (is_stranger and count == limits.RESP_STRANGER_ARGUMENTS_MAX):
            return -Line.INLINE
        at = _parse_word(d, at, line_end, argument_at(d, door.arguments_used + count))
        if at == 0:
            return -Line.QUOTES
        count += 1


@njit(cache=True)
def _is_space(byte: int) -> bool:
    return byte == _SPACE or 9 <= byte <= 13 or byte == 0


@njit(cache=True)
def _parse_word(d: int, at: int, end: int, noted: int) -> int:
    """Copy a word to where the words of lines stand, and note it. Returns the address behind it; 0: its quotes do not match."""
    door = Door(d)
    target = door.words + door.words_used
    size, quote = 0, 0
    while at < end:
        byte = load8(at)
        if quote == 0:
            if _is_space(byte):
                break
            if byte in (_QUOTE, _APOSTROPHE):
                quote = byte
                at += 1
                continue
        elif byte == quote:
            if at + 1 < end and not _is_space(load8(at + 1)):
                return 0
            quote = 0
            at += 1
            break
        elif byte == _BACKSLASH and at + 1 < end and (quote == _QUOTE or load8(at + 1) == _APOSTROPHE):
            at += 1
            byte = load8(at)
            if quote == _QUOTE:
                if byte == 120 and at + 2 < end and _hex_digit(load8(at + 1)) >= 0 and _hex_digit(load8(at + 2)) >= 0:  # x
                    byte = _hex_digit(load8(at + 1)) * 16 + _hex_digit(load8(at + 2))
                    at += 2
                else:
                    byte = _escaped(byte)
        store8(target + size, byte)
        size += 1
        at += 1
    if quote != 0:
        return 0
    argument = Argument(noted)
    argument.address = target
    argument.length = size
    door.words_used = door.words_used + size
    return at


@njit(cache=True)
def _hex_digit(byte: int) -> int:
    if 48 <= byte <= 57:
        return byte - 48
    lower = byte | 32
    return lower - 87 if 97 <= lower <= 102 else -1


@njit(cache=True)
def _escaped(byte: int) -> int:
    """What a letter behind a backslash stands for."""
    if byte == 110:
        return 10
    if byte == 114:
        return 13
    if byte == 116:
        return 9
    if byte == 98:
        return 8
    return 7 if byte == 97 else byte


# --- names ------------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def find_command(d: int, name: int, length: int) -> int:
    """Address of the COMMAND of a name, in whatever case; 0: there is none."""
    if length < 1 or length > NAME_BYTES_MAX:
        return 0
    door = Door(d)
    first = _upper_word(name, min(length, 8))
    second = _upper_word(name + 8, min(length - 8, 8))
    third = _upper_word(name + 16, length - 16)
    if load8(name + length - 1) == 0:  # zeros stand behind a name, so one that ends with them would be another's
        return 0
    place = _slot_of(first, second, third)
    while True:
        at = door.commands + place * COMMAND_BYTES
        command = Command(at)
        if command.number == 0:
            return 0
        words = command.name
        if load64(words) == first and load64(words + 8) == second and load64(words + 16) == third:
            return at
        place = (place + 1) % COMMANDS_SLOTS


@njit(cache=True)
def _upper_word(at: int, length: int) -> int:
    """Up to 8 bytes, letters in upper case, as a word: the first in the lowest byte; 0 of none."""
    word = 0
    for place in range(length):
        byte = load8(at + place)
        word |= (byte - 32 if 97 <= byte <= 122 else byte) << place * 8
    return word


@njit(cache=True)
def _slot_of(first: int, second: int, third: int) -> int:
    """As :func:`splinter.worker.resp.commands.slot_of`."""
    return _shift(first * _FIRST ^ second * _SECOND ^ third * _THIRD)


@njit(cache=True)
def _shift(mixed: int) -> int:
    return mixed >> HASH_SHIFT & COMMANDS_SLOTS - 1


@njit(cache=True)
def is_word(address: int, length: int, upper: int) -> bool:
    """Whether an argument of up to 8 bytes is this word, in whatever case: its upper-case letters, the first in the lowest byte
    (:func:`splinter.worker.resp.words.word`)."""
    return length <= 8 and _upper_word(address, length) == upper
