"""How long objects live, as commands say and ask it. Times of the host's clock become those of the store's, by what both show
now."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.worker.resp.errors import put_expire_error
from splinter.worker.resp.isolated import MILLISECOND_NS, argument, now, wall_ahead
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_integer
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.replies import put_line
from splinter.worker.resp.words import EXAT, PX, PXAT

NEVER, PAST, NO_TIME = 0, -1, -2  # in place of a moment of the store's clock; NO_TIME: an error was replied
SECOND_MS = 1000
_MOMENT_MS_MAX = (1 << 63) // MILLISECOND_NS - 1
LARGEST = (1 << 63) - 1


@njit(cache=True)
def moment_of(w: int, d: int, ms: int, is_absolute: bool) -> int:
    """A moment of the store's clock, PAST, or NO_TIME, of milliseconds from now, or since 1970."""
    if ms > _MOMENT_MS_MAX or ms < -_MOMENT_MS_MAX:
        return NO_TIME if ms > 0 else PAST
    moment = ms * MILLISECOND_NS + (-wall_ahead(w, d) if is_absolute else now(w, d))
    if moment <= now(w, d):
        return PAST
    return moment if moment - now(w, d) <= limits.TTL_NS_MAX else NO_TIME


@njit(cache=True)
def wall_ms(w: int, d: int, moment: int) -> int:
    """A moment of the store's clock in milliseconds of the host's, since 1970."""
    return (moment + wall_ahead(w, d) + MILLISECOND_NS // 2) // MILLISECOND_NS


@njit(cache=True)
def expiry_at(w: int, d: int, number: int, in_ms: bool, is_absolute: bool) -> int:
    """When an object is to expire, by an argument that must be more than 0; PAST, or NO_TIME with an error."""
    at, length = argument(d, number)
    is_number, time = parse_integer(at, length)
    if not is_number:
        put_line(d, Line.NOT_INTEGER)
        return NO_TIME
    moment = NO_TIME
    if time > 0 and (in_ms or time <= LARGEST // SECOND_MS):
        moment = moment_of(w, d, time if in_ms else time * SECOND_MS, is_absolute)
    if moment == NO_TIME:
        put_expire_error(d)
    return moment


@njit(cache=True)
def expiry_of(w: int, d: int, number: int) -> int:
    """The same, where the argument is one of EX, PX, EXAT and PXAT, and the time the one behind it."""
    at, length = argument(d, number)
    in_ms = is_word(at, length, PX) or is_word(at, length, PXAT)
    return expiry_at(w, d, number + 1, in_ms, is_word(at, length, EXAT) or is_word(at, length, PXAT))
