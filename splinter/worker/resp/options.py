"""The options of SET, and those that say how long an object lives."""

from __future__ import annotations

from numba import njit

from splinter.worker.resp.isolated import argument
from splinter.worker.resp.lines import Line
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.records import Door
from splinter.worker.resp.replies import put_line
from splinter.worker.resp.words import EX, EXAT, GET, KEEPTTL, NX, PX, PXAT, XX

SET_NEW, SET_OLD, SET_TELLS, SET_KEEPS = 1, 2, 4, 8  # bits: NX, XX, GET, KEEPTTL


@njit(cache=True)
def set_options(d: int) -> tuple[int, int]:
    """(SET_… of SET, or -1 with an error; the argument that says how long it lives, 0: none)."""
    door, bits, time, number = Door(d), 0, 0, 3
    while number < door.argc:
        at, length = argument(d, number)
        if is_word(at, length, NX) and bits & SET_OLD == 0:
            bits |= SET_NEW
        elif is_word(at, length, XX) and bits & SET_NEW == 0:
            bits |= SET_OLD
        elif is_word(at, length, GET):
            bits |= SET_TELLS
        elif is_word(at, length, KEEPTTL) and time == 0:
            bits |= SET_KEEPS
        elif (
            bits & SET_KEEPS == 0
            and number + 1 < door.argc
            and is_time(d, number)
            and (time == 0 or _are_same(d, time, number))
        ):
            time = number
            number += 1
        else:
            put_line(d, Line.SYNTAX)
            return -1, 0
        number += 1
    return bits, time


@njit(cache=True)
def is_time(d: int, number: int) -> bool:
    """Whether an argument is an option that says how long, or until when, an object lives."""
    at, length = argument(d, number)
    return is_word(at, length, EX) or is_word(at, length, PX) or is_word(at, length, EXAT) or is_word(at, length, PXAT)


@njit(cache=True)
def _are_same(d: int, one: int, other: int) -> bool:
    """Whether two of these options are the same: then the later one counts."""
    at, length = argument(d, one)
    for word in (EX, PX, EXAT, PXAT):
        if is_word(at, length, word):
            at, length = argument(d, other)
            return is_word(at, length, word)
    return False
