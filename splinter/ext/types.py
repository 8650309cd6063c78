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


@dataclass(frozen=True, eq=False)
class Type:
    """A type; ``name`` is what diagnostics call it. Those without parts are made once, below, and equal only themselves."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
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
F64 = Type("f64")
BOOL = Type("bool")
BYTES = Type("bytes")  # a view: an address and a length in bytes
OPTIONAL_BYTES = Type("bytes or None")  # what db.get returns; None has address 0
NONE = Type("None")
BUFFER = Type("Buffer")  # bytes under construction, in the frame; where bytes are wanted, what is in it so far
STORE = Type("Store")
INVALID = Type("?")  # of an expression already complained about: fits everything, so that one mistake gives one message


@dataclass(frozen=True)
class Element:
    """How a number lies in memory: ``size`` bytes, and the type that its value has in an expression."""

    name: str
    size: int
    is_signed: bool
    value: Type
    is_big_endian: bool = False

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest integer that fits."""
        bits = 8 * self.size
        return (-(1 << bits - 1), (1 << bits - 1) - 1) if self.is_signed else (0, (1 << bits) - 1)


_UNSIGNED = [Element(f"u{8 * n}", n, False, U64 if n == WORD_BYTES else NAT) for n in (1, 2, 4, 8)]
_SIGNED = [Element(f"i{8 * n}", n, True, I64) for n in (1, 2, 4, 8)]
_FLOATS = [Element("f32", 4, True, F64), Element("f64", 8, True, F64)]
ELEMENTS: dict[str, Element] = {e.name: e for e in (*_UNSIGNED, *_SIGNED, *_FLOATS)}
BIG_ENDIAN: dict[str, Element] = {
    f"{e.name}_be": Element(f"{e.name}_be", e.size, e.is_signed, e.value, True)
    for e in (*_UNSIGNED, *_SIGNED, *_FLOATS)
    if e.size > 1
}


@dataclass(frozen=True)
class ArrayType(Type):
    """A local array, in the frame, or a table of constants; its length is known where it is made."""

    element: Element = ELEMENTS["u64"]
    is_constant: bool = False


@dataclass(frozen=True)
class TupleType(Type):
    """Several results."""

    elements: tuple[Type, ...] = ()


def array_type(element: Element, is_constant: bool = False) -> ArrayType:
    return ArrayType(f"array[{element.name}]", element, is_constant)


def tuple_type(elements: tuple[Type, ...]) -> TupleType:
    return TupleType(f"tuple[{', '.join(map(str, elements))}]", elements)


SCALAR_TYPES: dict[str, Type] = {"u64": U64, "i64": I64, "bool": BOOL, "f64": F64}
PARAMETER_TYPES: dict[str, Type] = {**SCALAR_TYPES, "bytes": BYTES, "View": BYTES}
RESULT_TYPES: dict[str, Type] = {**PARAMETER_TYPES, "None": NONE}


def is_integer(kind: Type) -> bool:
    return isinstance(kind, IntegerType)


def is_number(kind: Type) -> bool:
    return is_integer(kind) or kind == F64


def is_bytes(kind: Type) -> bool:
    """Whether values can be used where bytes are wanted (what is None ends the task)."""
    return kind in (BYTES, OPTIONAL_BYTES, BUFFER)


def is_memory(kind: Type) -> bool:
    """Whether values are places in the frame, to which a variable is bound for good."""
    return kind == BUFFER or isinstance(kind, ArrayType)


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
    if isinstance(left, TupleType) and isinstance(right, TupleType) and len(left.elements) == len(right.elements):
        parts = [join(a, b) for a, b in zip(left.elements, right.elements, strict=True)]
        return None if None in parts else tuple_type(tuple(part for part in parts if part is not None))
    return None


def converts(source: Type, target: Type) -> bool:
    """Whether a value may be given where ``target`` is declared. Integers are range-checked when the program runs."""
    if INVALID in (source, target) or source == target:
        return True
    if is_integer(source) and is_integer(target):
        return True
    if isinstance(source, TupleType) and isinstance(target, TupleType):
        return len(source.elements) == len(target.elements) and all(map(converts, source.elements, target.elements))
    return is_view(target) and (is_bytes(source) or (source == NONE and target == OPTIONAL_BYTES))
