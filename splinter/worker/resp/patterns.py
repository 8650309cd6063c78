"""Patterns of keys, as KEYS and SCAN take them: ``*``, ``?``, ``[…]`` with ranges and ``^``, and a backslash."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import load8

_STAR, _ANY, _OPEN, _CLOSE, _NOT, _BACKSLASH, _TO = 42, 63, 91, 93, 94, 92, 45


@njit(cache=True)
def matches(pattern: int, pattern_length: int, text: int, length: int) -> bool:
    """Whether a text matches. Only the last star is ever gone back to: the time is at most the product of both lengths."""
    at, place = 0, 0
    star, star_place = -1, 0  # what follows the last star, and where in the text that was tried last
    while place < length:
        if at < pattern_length and load8(pattern + at) == _STAR:
            at += 1
            star, star_place = at, place
            continue
        following = _matches_one(pattern, at, pattern_length, load8(text + place)) if at < pattern_length else -1
        if following >= 0:
            at = following
            place += 1
        elif star < 0:
            return False
        else:
            star_place += 1
            at, place = star, star_place
    while at < pattern_length and load8(pattern + at) == _STAR:
        at += 1
    return at == pattern_length


@njit(cache=True)
def _matches_one(pattern: int, at: int, end: int, byte: int) -> int:
    """Where the pattern goes on behind what matches a byte; -1: it does not."""
    wanted = load8(pattern + at)
    if wanted == _ANY:
        return at + 1
    if wanted == _OPEN:
        return _matches_class(pattern, at + 1, end, byte)
    if wanted == _BACKSLASH and at + 1 < end:
        at += 1
        wanted = load8(pattern + at)
    return at + 1 if wanted == byte else -1


@njit(cache=True)
def _matches_class(pattern: int, at: int, end: int, byte: int) -> int:
    is_not = at < end and load8(pattern + at) == _NOT
    if is_not:
        at += 1
    found = False
    while at < end and load8(pattern + at) != _CLOSE:
        low = load8(pattern + at)
        if low == _BACKSLASH and at + 1 < end:
            at += 1
            low = load8(pattern + at)
            found = found or low == byte
        elif at + 2 < end and load8(pattern + at + 1) == _TO:
            high = load8(pattern + at + 2)
            found = found or min(low, high) <= byte <= max(low, high)
            at += 2
        else:
            found = found or low == byte
        at += 1
    following = min(at + 1, end)  # behind the bracket; Redis takes a class without one to end with the pattern
    return following if found != is_not else -1
