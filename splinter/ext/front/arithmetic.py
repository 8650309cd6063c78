"""Rules of integer arithmetic: result types, and exact evaluation of constant expressions."""

from __future__ import annotations

import ast
from collections.abc import Callable

from splinter.ext.types import I64, INVALID, NAT, U64, WORD_BITS, IntegerType, Type, join

CONSTANT_BITS_MAX = 128  # of intermediate results; what is used must fit 64
_OPERATORS: dict[type[ast.operator], tuple[str, Callable[[int, int], int]]] = {
    ast.Add: ("+", lambda a, b: a + b),
    ast.Sub: ("-", lambda a, b: a - b),
    ast.Mult: ("*", lambda a, b: a * b),
    ast.FloorDiv: ("//", lambda a, b: a // b),
    ast.Mod: ("%", lambda a, b: a % b),
    ast.BitAnd: ("&", lambda a, b: a & b),
    ast.BitOr: ("|", lambda a, b: a | b),
    ast.BitXor: ("^", lambda a, b: a ^ b),
    ast.LShift: ("<<", lambda a, b: a << b),
    ast.RShift: (">>", lambda a, b: a >> b),
}
SHIFTS = (ast.LShift, ast.RShift)
# Operators for which the lower 64 bits of the result depend on the lower 64 bits of the operands only.
MODULAR_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.LShift, ast.BitAnd, ast.BitOr, ast.BitXor)
MODULAR_UNARY = (ast.USub, ast.UAdd, ast.Invert)


def symbol(operator: ast.operator) -> str | None:
    """How the operator is written; None when the language does not have it."""
    known = _OPERATORS.get(type(operator))
    return known[0] if known else None


def fold(operator: ast.operator, left: int, right: int) -> int:
    """Evaluate exactly. Raises ``ValueError`` with the reason when that cannot be."""
    if isinstance(operator, SHIFTS) and not 0 <= right < CONSTANT_BITS_MAX:
        raise ValueError("shift count out of range")
    if isinstance(operator, ast.FloorDiv | ast.Mod) and right == 0:
        raise ValueError("division by zero")
    value = _OPERATORS[type(operator)][1](left, right)
    if value.bit_length() > CONSTANT_BITS_MAX:
        raise ValueError("the constant is too large")
    return value


def binary_type(operator: ast.operator, left: Type, right: Type) -> Type | None:
    """Type of ``left operator right`` for two integer types; None when u64 and i64 meet where they cannot be mixed."""
    if INVALID in (left, right):
        return INVALID
    if isinstance(operator, SHIFTS):
        return left
    if isinstance(operator, ast.BitAnd) and NAT in (left, right):
        return NAT
    joined = join(left, right)
    if isinstance(operator, ast.Mod) and joined is not None:
        # The result has the divisor's sign and is smaller than it; of two unsigned operands it is also at most the left.
        return NAT if right == NAT or (left == NAT and right == U64) else joined
    if isinstance(operator, ast.FloorDiv) and left == NAT and right == U64:
        return NAT
    if isinstance(operator, ast.Sub) and joined == NAT:
        return I64
    return joined


def modular_type(mask: int) -> IntegerType:
    """Type of ``expression & mask``, where the expression is evaluated modulo 2**64."""
    return NAT if mask <= NAT.high else U64


def is_mask(value: object) -> bool:
    """Whether ``& value`` keeps nothing beyond 64 bits, so that only the lower 64 bits of the other side matter."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << WORD_BITS
