"""Commands that say or ask how long an object lives."""

from __future__ import annotations

from numba import njit

from splinter.worker.records import Frame
from splinter.worker.resp.commands import Number
from splinter.worker.resp.errors import put_expire_error, put_option_error
from splinter.worker.resp.isolated import MILLISECOND_NS, argument, can_be_read, delete, find, left_ns, put
from splinter.worker.resp.large import expire_large
from splinter.worker.resp.lifetimes import LARGEST, NEVER, NO_TIME, PAST, SECOND_MS, moment_of, wall_ms
from splinter.worker.resp.lines import Line
from splinter.worker.resp.numbers import parse_integer
from splinter.worker.resp.parse import is_word
from splinter.worker.resp.records import Door
from splinter.worker.resp.replies import put_integer, put_line
from splinter.worker.resp.words import GT, LT, NX, XX

_KEY = 1
_HALF_SECOND_MS = 500


@njit(cache=True)
def put_again(w: int, d: int, moment: int) -> int:
    """Note that the object which was found lives until then, or (NEVER) for ever; a large one does from now on. Returns 0, or
    less than 0."""
    frame = Frame(Door(d).frame)
    if can_be_read(d):
        return put(w, d, _KEY, frame.out_address, frame.out_length, moment)
    if Door(d).is_exec != 0:
        put_line(d, Line.LARGE)
        return 0
    return expire_large(w, d, moment)


@njit(cache=True)
def _can_be_put_again(d: int) -> bool:
    """Whether the object which was found may get another moment here; replies the error if not."""
    if can_be_read(d) or Door(d).is_exec == 0:
        return True
    put_line(d, Line.LARGE)
    return False


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
    if not in_ms and (time > LARGEST // SECOND_MS or time < -(LARGEST // SECOND_MS)):
        put_expire_error(d)
        return 0
    moment = moment_of(w, d, time if in_ms else time * SECOND_MS, is_absolute)
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
    if not _can_be_put_again(d):
        return 0
    put_integer(d, 1)
    return put_again(w, d, moment)


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
    if not _can_be_put_again(d):
        return 0
    put_integer(d, 1)
    return put_again(w, d, NEVER)


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
        put_integer(d, (ms + _HALF_SECOND_MS) // SECOND_MS)
    return 0
