"""How long objects live, as commands say and ask it. Times of the host's clock become those of the store's, by what both show
now."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.worker.records import Frame
from splinter.worker.resp.commands import Number
from splinter.worker.resp.errors import put_expire_error, put_option_error
from splinter.worker.resp.isolated import MILLISECOND_NS, argument, can_be_read, delete, find, left_ns, now, put, wall_ahead
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_integer
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.records import Door
from splinter.worker.resp.replies import put_integer, put_line
from splinter.worker.resp.words import EXAT, GT, LT, NX, PX, PXAT, XX

NEVER, PAST, NO_TIME = 0, -1, -2  # in place of a moment of the store's clock; NO_TIME: an error was replied
_KEY = 1
_SECOND_MS = 1000
_HALF_SECOND_MS = 500
_MOMENT_MS_MAX = (1 << 63) // MILLISECOND_NS - 1
_LARGEST = (1 << 63) - 1


@njit(cache=True)
def _moment(w: int, d: int, ms: int, is_absolute: bool) -> int:
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
    if time > 0 and (in_ms or time <= _LARGEST // _SECOND_MS):
        moment = _moment(w, d, time if in_ms else time * _SECOND_MS, is_absolute)
    if moment == NO_TIME:
        put_expire_error(d)
    return moment


@njit(cache=True)
def expiry_of(w: int, d: int, number: int) -> int:
    """The same, where the argument is one of EX, PX, EXAT and PXAT, and the time the one behind it."""
    at, length = argument(d, number)
    in_ms = is_word(at, length, PX) or is_word(at, length, PXAT)
    return expiry_at(w, d, number + 1, in_ms, is_word(at, length, EXAT) or is_word(at, length, PXAT))


@njit(cache=True)
def expire(w: int, d: int, command: int) -> int:
    """EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT key time [NX | XX | GT | LT]."""
    door, frame = Door(d), Frame(Door(d).frame)
    in_ms = command in (Number.PEXPIRE, Number.PEXPIREAT)
    is_absolute = command in (Number.EXPIREAT, Number.PEXPIREAT)
    nx, xx, gt, lt = False, False, False, False
    for number in range(3, door.argc):
        at, length = argument(d, number)
        if is_word(at, length, NX):
            nx = True
        elif is_word(at, length, XX):
            xx = True
        elif is_word(at, length, GT):
            gt = True
        elif is_word(at, length, LT):
            lt = True
        else:
            put_option_error(d, at, length)
            return 0
    if nx and (xx or gt or lt):
        put_line(d, Line.NX_XX)
        return 0
    if gt and lt:
        put_line(d, Line.GT_LT)
        return 0
    at, length = argument(d, 2)
    is_number, time = parse_integer(at, length)
    if not is_number:
        put_line(d, Line.NOT_INTEGER)
        return 0
    if not in_ms and (time > _LARGEST // _SECOND_MS or time < -(_LARGEST // _SECOND_MS)):
        put_expire_error(d)
        return 0
    moment = _moment(w, d, time if in_ms else time * _SECOND_MS, is_absolute)
    if moment == NO_TIME:
        put_expire_error(d)
        return 0
    found = find(w, d, _KEY)
    if found < 0:
        return found
    has = frame.expires if found != 0 else 0
    # Moments are compared as clients know them. They come from different workers, whose clocks differ by less.
    wanted, has_ms = wall_ms(w, d, moment), wall_ms(w, d, has)
    if (
        found == 0
        or (nx and has != 0)
        or (xx and has == 0)
        or (gt and (has == 0 or wanted <= has_ms))
        or (lt and has != 0 and wanted >= has_ms)
    ):
        put_integer(d, 0)
        return 0
    if moment == PAST:
        put_integer(d, 1)
        return delete(w, d, _KEY)
    if not can_be_read(d):
        put_line(d, Line.LARGE)
        return 0
    put_integer(d, 1)
    return put(w, d, _KEY, frame.out_address, frame.out_length, moment)


@njit(cache=True)
def persist(w: int, d: int) -> int:
    """PERSIST key."""
    frame = Frame(Door(d).frame)
    found = find(w, d, _KEY)
    if found < 0:
        return found
    if found == 0 or frame.expires == 0:
        put_integer(d, 0)
        return 0
    if not can_be_read(d):
        put_line(d, Line.LARGE)
        return 0
    put_integer(d, 1)
    return put(w, d, _KEY, frame.out_address, frame.out_length, NEVER)


@njit(cache=True)
def tell_time(w: int, d: int, command: int) -> int:
    """TTL, PTTL, EXPIRETIME, PEXPIRETIME key: -2 where there is no object, -1 where it lives for ever."""
    frame = Frame(Door(d).frame)
    found = find(w, d, _KEY)
    if found < 0:
        return found
    if found == 0 or frame.expires == 0:
        put_integer(d, -2 if found == 0 else -1)
        return 0
    is_moment = command in (Number.EXPIRETIME, Number.PEXPIRETIME)
    ms = wall_ms(w, d, frame.expires) if is_moment else (left_ns(w, d) + MILLISECOND_NS // 2) // MILLISECOND_NS
    if command in (Number.PTTL, Number.PEXPIRETIME):
        put_integer(d, ms)
    else:
        put_integer(d, (ms + _HALF_SECOND_MS) // _SECOND_MS)
    return 0
