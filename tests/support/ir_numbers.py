"""Arithmetic of the intermediate code, on words and on patterns of floats."""

from __future__ import annotations

import struct
from collections.abc import Callable

from splinter.ext.middle import ir
from splinter.ext.middle.ir import Op

_LOWEST, _APART = 1 << 40, 1 << 24  # regions lie far from one another: no slip out of one leads into the next


def signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def number_of(pattern: int) -> float:
    number: float = struct.unpack("<d", pattern.to_bytes(8, "little"))[0]
    return number


def pattern_of(number: float) -> int:
    return int.from_bytes(struct.pack("<d", number), "little")


def _leading_zeros(word: int) -> int:
    return 64 - word.bit_length()


def _trailing_zeros(word: int) -> int:
    return (word & -word).bit_length() - 1 if word else 64


def _sqrt(number: float) -> float:
    return number**0.5 if number > 0 else 0.0


def _floor(number: float) -> float:
    return number if number != number or abs(number) > 1e300 else float(number // 1)


def _product(left: float, right: float) -> float:
    return left * right


def _quotient(left: float, right: float) -> float:
    return left / right if right else 0.0


SIMPLE: dict[Op, Callable[..., int | bool]] = {
    Op.MOVE: lambda a: a, Op.ADD: lambda a, b: a + b, Op.SUB: lambda a, b: a - b, Op.MUL: lambda a, b: a * b,
    Op.AND: lambda a, b: a & b, Op.OR: lambda a, b: a | b, Op.XOR: lambda a, b: a ^ b,
    Op.EQ: lambda a, b: a == b, Op.NE: lambda a, b: a != b, Op.ULT: lambda a, b: a < b, Op.ULE: lambda a, b: a <= b,
    Op.SLT: lambda a, b: signed(a) < signed(b), Op.SLE: lambda a, b: signed(a) <= signed(b),
    Op.SELECT: lambda c, a, b: a if c else b, Op.WIDEN: lambda a: a,
    Op.FEQ: lambda a, b: number_of(a) == number_of(b), Op.FLT: lambda a, b: number_of(a) < number_of(b),
    Op.FLE: lambda a, b: number_of(a) <= number_of(b), Op.RAW_BITS: lambda a: a, Op.FROM_BITS: lambda a: a,
    Op.TO_BITS: lambda a: a if number_of(a) == number_of(a) else ir.NAN_BITS,
    Op.POPCOUNT: lambda a: a.bit_count(), Op.LEADING_ZEROS: _leading_zeros, Op.TRAILING_ZEROS: _trailing_zeros,
}  # fmt: skip
EXACT: dict[Op, Callable[[int, int], int]] = {
    Op.SADD: lambda a, b: a + b, Op.UADD: lambda a, b: a + b, Op.SSUB: lambda a, b: a - b, Op.USUB: lambda a, b: a - b,
    Op.SMUL: lambda a, b: a * b, Op.UMUL: lambda a, b: a * b,
}  # fmt: skip
EXACT_SIGNED = {Op.SADD, Op.SSUB, Op.SMUL}
DIVISIONS = {Op.SDIV, Op.SREM, Op.UDIV, Op.UREM}
FLOATS: dict[Op, Callable[..., float]] = {
    Op.FADD: lambda a, b: a + b, Op.FSUB: lambda a, b: a - b, Op.FMUL: _product, Op.FDIV: _quotient, Op.SQRT: _sqrt,
    Op.FLOOR: _floor,
}  # fmt: skip
