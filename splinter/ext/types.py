"""Types of the extension language.

Integers have three types. ``u64`` and ``i64`` are what authors write. ``nat`` is what the checker infers for constants,
lengths and reads of up to 32 bits: an integer from 0 to 2**63 - 1, which fits both of the others. It lets
``steps = 0; steps += 1`` become whatever the rest of the function needs without a word from the author.
"""

from __future__ import annotations

from dataclasses import dataclass

I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1
U64_MAX = (1 << 64) - 1
WORD_BITS = 64
WORD_BYTES = 8


@dataclass(frozen=True)
class Type:
    """A type; ``name`` is what diagnostics call it."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class IntegerType(Type):
    """Integers from ``low`` to ``high``, both included."""

    low: int
    high: int

    @property
    def is_signed(self) -> bool:
        """Whether the upper bit of the word is a sign (which is never set in a ``nat``)."""
        return self.high == I64_MAX


NAT = IntegerType("nat", 0, I64_MAX)
I64 = IntegerType("i64", I64_MIN, I64_MAX)
U64 = IntegerType("u64", 0, U64_MAX)
BOOL = Type("bool")
BYTES = Type("bytes")  # a view: an address and a length in bytes
OPTIONAL_BYTES = Type("bytes or None")  # what db.get returns; None has address 0
NONE = Type("None")
STORE = Type("Store")
INVALID = Type("?")  # of an expression already complained about: fits everything, so that one mistake gives one message

PARAMETER_TYPES: dict[str, Type] = {"u64": U64, "i64": I64, "bool": BOOL, "bytes": BYTES, "View": BYTES}
RESULT_TYPES: dict[str, Type] = {**PARAMETER_TYPES, "None": NONE}


def is_integer(kind: Type) -> bool:
    return isinstance(kind, IntegerType)


def is_view(kind: Type) -> bool:
    """Whether values are views, None perhaps among them."""
    return kind in (BYTES, OPTIONAL_BYTES)


def integer_type_of(value: int) -> IntegerType | None:
    """The type of an integer constant; None when it does not fit 64 bits."""
    for kind in (NAT, I64, U64):
        if kind.low <= value <= kind.high:
            return kind
    return None


def join(left: Type, right: Type) -> Type | None:
    """The smallest type that holds the values of both, or None when there is none."""
    if left == right or right == INVALID:
        return left
    if left == INVALID:
        return right
    if is_integer(left) and is_integer(right):
        if left == NAT:
            return right
        return left if right == NAT else None
    if {left, right} <= {NONE, BYTES, OPTIONAL_BYTES}:
        return OPTIONAL_BYTES
    return None


def converts(source: Type, target: Type) -> bool:
    """Whether a value may be given where ``target`` is declared. Integers are range-checked when the program runs."""
    if INVALID in (source, target) or source == target:
        return True
    if is_integer(source) and is_integer(target):
        return True
    return is_view(target) and (is_view(source) or (source == NONE and target == OPTIONAL_BYTES))
