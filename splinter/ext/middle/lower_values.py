"""Third stage: values of a function as registers, converted, and moved between registers and memory."""

from __future__ import annotations

import ast
import math
import struct

from splinter.ext.abi import ExtensionError
from splinter.ext.front.checked import Checked
from splinter.ext.middle import ir
from splinter.ext.middle.builder import NO_VIEW, Builder, Memory, Value, View, Work
from splinter.ext.middle.ir import Kind, Op
from splinter.ext.types import (
    BOOL,
    BYTES,
    F64,
    I64,
    NAT,
    NONE,
    OPTIONAL_BYTES,
    U64,
    WORD_BITS,
    WORD_BYTES,
    Element,
    TupleType,
    Type,
    integer_type_of,
    is_integer,
    is_memory,
)

Typed = tuple[ir.Operand, Type]  # a number and its type
_SIGN_BIT = 1 << 63  # of a float's pattern
_F32_BEYOND = int.from_bytes(struct.pack("<d", 2.0**128 - 2.0**103), "little")  # patterns from here on round to no binary32 …
_F32_INFINITE = int.from_bytes(struct.pack("<d", math.inf), "little")  # … and from here on they are one of themselves


def float_constant(value: float) -> ir.Constant:
    """A float as a constant."""
    return ir.Constant(int.from_bytes(struct.pack("<d", value), "little"), Kind.FLOAT)


class ValueLowering(Builder):
    """What the lowering does with values, whatever expression they come from; appends to the current block."""

    def __init__(self, checked: Checked, name: str, work: Work) -> None:
        super().__init__(name, work)
        self.checked = checked  # of the function being lowered: a helper's while that is put in place of its call
        self.variables: dict[str, Value] = {}

    def variable(self, name: str) -> Value:
        """The registers of a variable."""
        if name not in self.variables:
            self.variables[name] = self.new_value(self.checked.variables[name])
        return self.variables[name]

    def new_value(self, kind: Type) -> Value:
        """Fresh registers for a value. None has none: nobody has to assign it, and nobody can forget to."""
        assert is_integer(kind) or kind in (BOOL, F64, BYTES, OPTIONAL_BYTES, NONE) or isinstance(kind, TupleType)
        if kind == NONE:
            return NO_VIEW
        if is_integer(kind):
            return self.function.new_register(Kind.WORD)
        if kind in (BOOL, F64):
            return self.function.new_register(Kind.BIT if kind == BOOL else Kind.FLOAT)
        if isinstance(kind, TupleType):
            return tuple(self.new_value(element) for element in kind.elements)
        return View(self.function.new_register(Kind.WORD), self.function.new_register(Kind.WORD))

    def convert(self, value: Value, source: Type, target: Type, line: int) -> Value:
        """A value of one type as another, checked where it may not fit."""
        if isinstance(value, tuple):
            assert isinstance(source, TupleType) and isinstance(target, TupleType)
            parts = zip(value, source.elements, target.elements, strict=True)
            return tuple(self.convert(part, one, other, line) for part, one, other in parts)
        if isinstance(value, Memory):
            return value if is_memory(target) else self.content(value)
        if isinstance(value, View):
            if target != OPTIONAL_BYTES:
                self.check_not_none(value, source, line)
            return value
        if is_integer(target):
            word = self.widen(value)
            # Between u64 and the signed types, what does not fit is what has the upper bit set.
            if source not in (target, NAT, BOOL):
                self.check(self.emit(Op.SLE, ir.ZERO, word), ExtensionError.OVERFLOW, line)
            return word
        return value

    def integer_constant(self, value: int) -> Typed:
        kind = integer_type_of(value)
        assert kind is not None
        return ir.word(value), kind

    def as_float(self, node: ast.expr, value: Value) -> ir.Operand:
        """The same of an expression's value; the checker lets integer constants stand for one."""
        constant = self.checked.constants.get(node)
        if isinstance(constant, int):
            return float_constant(constant)
        assert isinstance(value, ir.Operand)
        return value

    def as_integer(self, node: ast.expr, value: Value) -> Typed:
        """The same of an expression's value."""
        assert isinstance(value, ir.Operand)
        kind = self.checked.types[node]
        return self.widen(value), NAT if kind == BOOL else kind

    def as_view(self, value: Value, kind: Type, line: int) -> View:
        """Bytes that are not None: a view, or what is in a buffer."""
        if isinstance(value, Memory):
            return self.content(value)
        assert isinstance(value, View)
        self.check_not_none(value, kind, line)
        return value

    def content(self, buffer: Memory) -> View:
        """What is in a buffer so far."""
        length = self.load(self.frame(buffer.offset), WORD_BYTES)
        return View(self.frame(buffer.offset + WORD_BYTES), length)

    def check_not_none(self, view: View, kind: Type, line: int) -> None:
        if kind == OPTIONAL_BYTES:
            self.check_not_zero(view.address, ExtensionError.NONE, line)

    # --- bytes and numbers in memory --------------------------------------------------------------------------------

    def from_end(self, index: Typed, length: ir.Operand) -> Typed:
        """An index as Python counts: negative ones from the end. What is still negative is out of every range."""
        if index[1] != I64:
            return index
        is_negative = self.emit(Op.SLT, index[0], ir.ZERO)
        return self.select(is_negative, self.emit(Op.ADD, index[0], length), index[0]), I64

    def clamp(self, bound: Typed, length: ir.Operand) -> ir.Operand:
        value, kind = self.from_end(bound, length)
        if kind == I64:
            value = self.select(self.emit(Op.SLT, value, ir.ZERO), ir.ZERO, value)
        return self.select(self.emit(Op.ULT, length, value), length, value)

    def read(self, view: View, offset: Typed, element: Element, line: int) -> ir.Operand:
        """A number at an offset."""
        self.check_range(view.length, offset, element.size, line)
        return self.load_element(self.emit(Op.ADD, view.address, offset[0]), element)

    def check_range(self, length: ir.Operand, offset: Typed, size: int, line: int) -> None:
        """``size`` bytes at an offset lie inside; a negative offset is a huge unsigned one, and out of range too."""
        at, kind = offset
        if isinstance(at, ir.Constant):
            end = at.value + size
            fits: ir.Operand = self.emit(Op.ULE, ir.word(end), length) if end <= ir.WORD_MASK else ir.FALSE
        elif size == 1:
            fits = self.emit(Op.ULT, at, length)
        elif kind == NAT:  # below 2**63, so the sum cannot overflow
            fits = self.emit(Op.ULE, self.emit(Op.ADD, at, ir.word(size)), length)
        else:
            last = self.emit(Op.SUB, length, ir.word(size))
            fits = self.emit(Op.AND, self.emit(Op.ULE, ir.word(size), length), self.emit(Op.ULE, at, last))
        self.check(fits, ExtensionError.INDEX, line)

    def element_address(self, array: Memory, index: Typed, line: int) -> ir.Operand:
        """Where an element of an array lies; negative indices count from the end."""
        at, _ = self.from_end(index, ir.word(array.length))
        self.check(self.emit(Op.ULT, at, ir.word(array.length)), ExtensionError.INDEX, line)
        start = self.frame(array.offset) if array.data < 0 else self.emit(Op.DATA, size=array.data)
        return self.emit(Op.ADD, start, self.emit(Op.MUL, at, ir.word(array.element.size)))

    def load_element(self, address: ir.Operand, element: Element) -> ir.Operand:
        """A number of memory as a value of an expression."""
        if element.value != F64 and not element.is_big_endian:
            return self.load(address, element.size, element.is_signed)
        word: ir.Operand = self.load(address, element.size)
        if element.is_big_endian:
            word = self.emit(Op.SWAP, word, size=element.size)
        if element.value == F64:
            return self.emit(Op.FROM_BITS if element.size == WORD_BYTES else Op.FROM_BITS32, word)
        if element.is_signed and element.size < WORD_BYTES:
            shift = ir.word(WORD_BITS - 8 * element.size)
            word = self.emit(Op.ASHR, self.emit(Op.SHL, word, shift), shift)
        return word

    def store_element(self, address: ir.Operand, value: ir.Operand, element: Element, is_array: bool = False) -> None:
        """A number that fits, into memory. Nobody sees the bits of an array's elements."""
        if element.value == F64:
            to_bits = Op.RAW_BITS if is_array else Op.TO_BITS
            value = self.emit(to_bits if element.size == WORD_BYTES else Op.TO_BITS32, value)
        if element.is_big_endian:
            value = self.emit(Op.SWAP, value, size=element.size)
        self.store(address, value, element.size)

    def fit_value(self, node: ast.expr, value: Value, element: Element, line: int) -> ir.Operand:
        """The same of an expression's value."""
        if element.value != F64:
            return self.fit(self.as_integer(node, value), element, line)
        number = self.as_float(node, value)
        if element.size < WORD_BYTES:
            size = self.emit(Op.AND, self.emit(Op.RAW_BITS, number), ir.word(_SIGN_BIT - 1))
            beyond = self.emit(Op.SUB, size, ir.word(_F32_BEYOND))
            is_lost = self.emit(Op.ULT, beyond, ir.word(_F32_INFINITE - _F32_BEYOND))
            self.check(self.negate(is_lost), ExtensionError.OVERFLOW, line)
        return number

    def fit(self, number: Typed, element: Element, line: int) -> ir.Operand:
        """An integer, checked to be in an element's range."""
        value, kind = number
        if element.size == WORD_BYTES:
            operand = self.convert(value, kind, element.value, line)
            assert isinstance(operand, ir.Operand)
            return operand
        low, high = element.range
        if isinstance(value, ir.Constant) and value.value <= high:
            return value
        if not element.is_signed or kind == U64:  # seen as unsigned, negative integers are too large
            fits = self.emit(Op.ULE, value, ir.word(high))
        else:
            fits = self.emit(Op.AND, self.emit(Op.SLE, ir.word(low), value), self.emit(Op.SLE, value, ir.word(high)))
        self.check(fits, ExtensionError.OVERFLOW, line)
        return value
