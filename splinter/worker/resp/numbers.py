"""Numbers as clients write them: whole ones, strictly as Redis reads them, and decimal ones."""

from __future__ import annotations

import math

from numba import njit

from splinter.native import libc
from splinter.native.atomics import copy_bytes, load8, load64, store8
from splinter.worker.resp.replies import put_digits

_DIGITS_MAX = 19  # of a signed 64-bit number
_LARGEST = (1 << 63) - 1
_LARGEST_TENTH, _LARGEST_DIGIT = divmod((1 << 64) - 1, 10)  # of an unsigned number
_DECIMALS_MAX = 17  # as Redis writes them
_EXACT_MAX = 10**17  # below it a sum of two mantissas, and the next digit, fit 63 bits
_TEXT_MAX = 256  # bytes of a number that are looked at
_MINUS, _PLUS, _POINT, _ZERO, _NINE = 45, 43, 46, 48, 57


@njit(cache=True)
def parse_integer(address: int, length: int) -> tuple[bool, int]:
    """(whether these bytes are a signed 64-bit number, and nothing else; the number). No plus, and no zeros in front."""
    if length < 1 or length > _DIGITS_MAX + 1:
        return False, 0
    at, end = address, address + length
    is_negative = load8(at) == _MINUS
    if is_negative:
        at += 1
    if at == end:
        return False, 0
    first = load8(at)
    if first == _ZERO:
        return length == 1, 0
    number = 0
    while at < end:
        digit = load8(at) - _ZERO
        if digit < 0 or digit > 9:
            return False, 0
        # The lowest number has one more than the largest.
        if number > (_LARGEST - digit) // 10 and not (
            is_negative and number == _LARGEST // 10 and digit == 8 and at == end - 1
        ):
            return False, 0
        number = number * 10 + digit
        at += 1
    return True, -number if is_negative else number


@njit(cache=True)
def parse_decimal(address: int, length: int) -> tuple[bool, int, int]:
    """(whether these bytes are a decimal number of at most 17 digits; its digits as a whole number; how many of them stand
    behind the point). Less than 0 digits behind the point: zeros follow."""
    at, end = address, address + length
    if length < 1 or length > _TEXT_MAX:
        return False, 0, 0
    is_negative = load8(at) == _MINUS
    if is_negative or load8(at) == _PLUS:
        at += 1
    mantissa, decimals, digits, has_point = 0, 0, 0, False
    while at < end:
        byte = load8(at)
        if byte == _POINT and not has_point:
            has_point = True
        elif _ZERO <= byte <= _NINE:
            if mantissa >= _EXACT_MAX // 10:
                return False, 0, 0
            mantissa = mantissa * 10 + byte - _ZERO
            decimals += has_point
            digits += 1
        else:
            break
        at += 1
    if digits == 0:
        return False, 0, 0
    if at < end:
        if load8(at) | 32 != 101:  # e
            return False, 0, 0
        at += 1
        if at < end and load8(at) == _PLUS:
            at += 1
        is_number, exponent = parse_integer(at, end - at)
        if not is_number or exponent > _DECIMALS_MAX or exponent < -_DECIMALS_MAX:
            return False, 0, 0
        decimals -= exponent
    return True, -mantissa if is_negative else mantissa, decimals


@njit(cache=True)
def _scaled(mantissa: int, by: int) -> int:
    """``mantissa × 10 ** by``; _LARGEST where that has too many digits."""
    for _ in range(by):
        if mantissa >= _EXACT_MAX or mantissa <= -_EXACT_MAX:
            return _LARGEST
        mantissa *= 10
    return mantissa


@njit(cache=True)
def _put_decimal(at: int, mantissa: int, decimals: int) -> int:
    """Write a number without needless zeros; ``decimals`` is not negative. Returns its end."""
    while decimals > 0 and mantissa % 10 == 0:
        mantissa //= 10
        decimals -= 1
    if mantissa < 0:
        store8(at, _MINUS)
        at, mantissa = at + 1, -mantissa
    unit = 1
    for _ in range(decimals):
        unit *= 10
    at = put_digits(at, mantissa // unit)
    if decimals == 0:
        return at
    store8(at, _POINT)
    rest = mantissa % unit
    for place in range(decimals - 1, -1, -1):
        store8(at + 1 + place, _ZERO + rest % 10)
        rest //= 10
    return at + 1 + decimals


SUM_BYTES = 1024  # that add_decimals needs at its target
NO_NUMBER, NOT_FINITE, TOO_LONG = -1, -2, -3


@njit(cache=True)
def parse_unsigned(address: int, length: int) -> tuple[bool, int]:
    """The same of an unsigned 64-bit number; those from 2**63 on are negative, as words are."""
    is_number, number = parse_integer(address, length)
    if is_number or length < _DIGITS_MAX or length > _DIGITS_MAX + 1:
        return is_number and number >= 0, number
    is_number, number = parse_integer(address, length - 1)
    digit = load8(address + length - 1) - _ZERO
    is_number = is_number and number > 0 and 0 <= digit <= 9
    if not is_number or number > _LARGEST_TENTH or (number == _LARGEST_TENTH and digit > _LARGEST_DIGIT):
        return False, 0
    return True, number * 10 + digit


@njit(cache=True)
def parse_float(address: int, length: int, scratch: int) -> tuple[bool, float]:
    """(whether these bytes are a number; the nearest float64). ``scratch``: 8 bytes, and a copy of the text."""
    if length < 1 or length > _TEXT_MAX or load8(address) == 32:
        return False, 0.0
    copy_bytes(scratch + 8, address, length)
    store8(scratch + 8 + length, 0)
    value = libc.strtod(scratch + 8, scratch)
    return load64(scratch) == scratch + 8 + length and not math.isnan(value), value


@njit(cache=True)
def add_decimals(one: int, one_length: int, other: int, other_length: int, target: int) -> int:
    """Write the sum of two decimal numbers to ``target``: exact where both and the sum have no more than 17 digits, else that
    of the nearest float64s. Returns its length, or NO_NUMBER, NOT_FINITE, TOO_LONG."""
    is_first, first, first_decimals = parse_decimal(one, one_length)
    is_second, second, second_decimals = parse_decimal(other, other_length)
    if is_first and is_second:
        decimals = max(first_decimals, second_decimals, 0)
        left, right = _scaled(first, decimals - first_decimals), _scaled(second, decimals - second_decimals)
        if left != _LARGEST and right != _LARGEST and decimals <= _DECIMALS_MAX:
            return _put_decimal(target, left + right, decimals) - target
    is_first, left_value = parse_float(one, one_length, target)
    if not is_first:
        return NO_NUMBER
    is_second, right_value = parse_float(other, other_length, target)
    if not is_second:
        return NO_NUMBER
    total = left_value + right_value
    if math.isnan(total) or math.isinf(total):
        return NOT_FINITE
    if abs(total) < _LARGEST and abs(total) >= _EXACT_MAX:
        return put_digits(target, int(total)) - target
    if abs(total) >= _EXACT_MAX or (total != 0 and abs(total) < 1e-4):
        return TOO_LONG  # the C library would write it with an exponent
    libc.gcvt(total, _DECIMALS_MAX, target)
    length = 0
    while load8(target + length) != 0:
        length += 1
    return length


@njit(cache=True)
def fill_bytes(at: int, byte: int, count: int) -> None:
    """Write the same byte ``count`` times."""
    for place in range(count):
        store8(at + place, byte)
