"""Third stage: expressions of a checked function to intermediate code.

The order of evaluation is Python's, since errors and effects show it.
"""

from __future__ import annotations

import ast

from splinter.ext import abi, ir
from splinter.ext.abi import ExtensionError
from splinter.ext.builder import NO_VIEW, Builder, Value, View
from splinter.ext.checked import Checked
from splinter.ext.expressions import READS, STORE_METHODS
from splinter.ext.ir import Kind, Op
from splinter.ext.types import (
    BOOL,
    I64,
    I64_MIN,
    NAT,
    NONE,
    OPTIONAL_BYTES,
    U64,
    WORD_BITS,
    WORD_BYTES,
    IntegerType,
    Type,
    integer_type_of,
    is_integer,
    is_view,
)  # fmt: skip
from splinter.limits import HELPER_COST, TABLES_MAX

Typed = tuple[ir.Operand, Type]  # an integer and its type

_SIGNED = {ast.Add: Op.SADD, ast.Sub: Op.SSUB, ast.Mult: Op.SMUL}
_UNSIGNED = {ast.Add: Op.UADD, ast.Sub: Op.USUB, ast.Mult: Op.UMUL}
_MODULAR = {ast.Add: Op.ADD, ast.Sub: Op.SUB, ast.Mult: Op.MUL}
_BITWISE = {ast.BitAnd: Op.AND, ast.BitOr: Op.OR, ast.BitXor: Op.XOR}
_HELPERS = {"get": abi.C_GET, "exists": abi.C_GET, "put": abi.C_PUT, "delete": abi.C_DELETE}


class ExpressionLowering(Builder):
    """Lowers expressions of one function, appending to the current block."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(checked.signature.name)
        self.checked = checked
        self._variables: dict[str, Value] = {}
        self._cells: dict[str, int] = {}

    # --- variables and conversions ------------------------------------------------------------------------------------

    def variable(self, name: str) -> Value:
        """The registers of a variable."""
        if name not in self._variables:
            self._variables[name] = self._new_value(self.checked.variables[name])
        return self._variables[name]

    def _new_value(self, kind: Type) -> Value:
        if is_integer(kind):
            return self.function.new_register(Kind.WORD)
        if kind == BOOL:
            return self.function.new_register(Kind.BIT)
        return View(self.function.new_register(Kind.WORD), self.function.new_register(Kind.WORD))

    def convert(self, value: Value, source: Type, target: Type, line: int) -> Value:
        """A value of one type as another, checked where it may not fit."""
        if isinstance(value, View):
            if target != OPTIONAL_BYTES:
                self.check_not_none(value, source, line)
            return value
        if is_integer(target):
            assert isinstance(target, IntegerType)
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

    # --- entry points -------------------------------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> Value:
        """The value of an expression, of the type that the checker found."""
        if node in self.checked.constants:
            return self._constant(node)
        value: Value = getattr(self, f"_lower_{type(node).__name__}")(node)
        return value

    def expression_as(self, node: ast.expr, kind: Type, line: int) -> Value:
        """The value of an expression, converted."""
        return self.convert(self.expression(node), self.checked.types[node], kind, line)

    def operand(self, node: ast.expr) -> ir.Operand:
        """The value of an expression that is not a view."""
        value = self.expression(node)
        assert not isinstance(value, View)
        return value

    def integer(self, node: ast.expr) -> Typed:
        """An integer or bool as a word."""
        kind = self.checked.types[node]
        return self.widen(self.operand(node)), NAT if kind == BOOL else kind

    def view(self, node: ast.expr) -> View:
        """Bytes that are not None."""
        value = self.expression(node)
        assert isinstance(value, View)
        self.check_not_none(value, self.checked.types[node], node.lineno)
        return value

    def check_not_none(self, view: View, kind: Type, line: int) -> None:
        if kind == OPTIONAL_BYTES:
            self.check(self.emit(Op.NE, view.address, ir.ZERO), ExtensionError.NONE, line)

    def condition(self, node: ast.expr, yes: ir.Block, no: ir.Block) -> None:
        """End the current block by going to one of two, with short circuits as Python has them."""
        if node in self.checked.constants:
            self.end(ir.Jump(yes if self.checked.constants[node] else no))
        elif isinstance(node, ast.BoolOp):
            for part in node.values[:-1]:
                further = self.function.new_block()
                self.condition(part, *((further, no) if isinstance(node.op, ast.And) else (yes, further)))
                self.block = further
            self.condition(node.values[-1], yes, no)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, no, yes)
        else:
            value = self.operand(node)
            if value.kind is Kind.WORD:
                value = self.emit(Op.NE, value, ir.ZERO)
            self.end(ir.Branch(value, yes, no))

    # --- constants and names ------------------------------------------------------------------------------------------

    def _constant(self, node: ast.expr) -> Value:
        value = self.checked.constants[node]
        if isinstance(value, bytes):
            number = self.function.data.setdefault(value, len(self.function.data))
            return View(self.emit(Op.DATA, size=number), ir.word(len(value)))
        if isinstance(value, bool):
            return ir.TRUE if value else ir.FALSE
        assert isinstance(value, int)
        return ir.word(value)

    def _lower_Constant(self, node: ast.Constant) -> Value:
        return NO_VIEW  # None; other constants have been dealt with

    def _lower_Name(self, node: ast.Name) -> Value:
        return self.variable(node.id)  # no copy: nothing inside an expression assigns

    # --- operators ----------------------------------------------------------------------------------------------------

    def _lower_BinOp(self, node: ast.BinOp) -> ir.Operand:
        left, right = self.integer(node.left), self.integer(node.right)
        operator, line = type(node.op), node.lineno
        if node in self.checked.modular and operator in _MODULAR:
            return self.emit(_MODULAR[operator], left[0], right[0])
        if operator in _BITWISE:
            return self.emit(_BITWISE[operator], left[0], right[0])
        if operator in (ast.LShift, ast.RShift):
            return self._shift(node, left, right)
        kind = self.checked.types[node]
        if operator in _SIGNED:
            signed = U64 not in (left[1], right[1])
            value = self.emit((_SIGNED if signed else _UNSIGNED)[operator], left[0], right[0], line=line)
            return value
        self.check(self.emit(Op.NE, right[0], ir.ZERO), ExtensionError.DIVISION, line)
        if I64 not in (left[1], right[1]):
            return self.emit(Op.UDIV if operator is ast.FloorDiv else Op.UREM, left[0], right[0])
        return self._floor_division(left[0], right[0], operator is ast.FloorDiv, kind, line)

    def _shift(self, node: ast.BinOp, left: Typed, right: Typed) -> ir.Operand:
        count, line = right[0], node.lineno
        self.check(self.emit(Op.ULT, count, ir.word(WORD_BITS)), ExtensionError.SHIFT, line)
        if isinstance(node.op, ast.RShift):
            return self.emit(Op.ASHR if left[1] == I64 else Op.LSHR, left[0], count)
        shifted = self.emit(Op.SHL, left[0], count)
        if node not in self.checked.modular:
            back = self.emit(Op.LSHR if left[1] == U64 else Op.ASHR, shifted, count)
            self.check(self.emit(Op.EQ, back, left[0]), ExtensionError.OVERFLOW, line)
        return shifted

    def _floor_division(self, left: ir.Operand, right: ir.Operand, want_quotient: bool, kind: Type, line: int) -> ir.Operand:
        """Signed division rounded down, or its remainder, which has the divisor's sign."""
        is_minus_one = self.emit(Op.EQ, right, ir.word(-1))
        if want_quotient:
            is_minimum = self.emit(Op.EQ, left, ir.word(I64_MIN))
            self.check(self.negate(self.emit(Op.AND, is_minus_one, is_minimum)), ExtensionError.OVERFLOW, line)
            divisor: ir.Operand = right
        else:
            divisor = self.select(is_minus_one, ir.word(1), right)  # the same remainder, 0, without the overflow
        remainder = self.emit(Op.SREM, left, divisor)
        differs = self.emit(Op.SLT, self.emit(Op.XOR, remainder, right), ir.ZERO)
        adjust = self.emit(Op.AND, self.emit(Op.NE, remainder, ir.ZERO), differs)
        if want_quotient:
            return self.emit(Op.SUB, self.emit(Op.SDIV, left, divisor), self.emit(Op.WIDEN, adjust))
        return self.emit(Op.ADD, remainder, self.select(adjust, right, ir.ZERO))

    def _lower_UnaryOp(self, node: ast.UnaryOp) -> ir.Operand:
        if isinstance(node.op, ast.Not):
            return self._by_branches(node)
        value, _ = self.integer(node.operand)
        if isinstance(node.op, ast.UAdd):
            return value
        if isinstance(node.op, ast.Invert):
            return self.emit(Op.XOR, value, ir.word(-1))
        if node in self.checked.modular:
            return self.emit(Op.SUB, ir.ZERO, value)
        return self.emit(Op.SSUB, ir.ZERO, value, line=node.lineno)

    def _lower_BoolOp(self, node: ast.BoolOp) -> ir.Operand:
        return self._by_branches(node)

    def _by_branches(self, node: ast.expr) -> ir.Operand:
        """The truth of a condition as a bit."""
        yes, no, after = (self.function.new_block() for _ in range(3))
        result = self.function.new_register(Kind.BIT)
        self.condition(node, yes, no)
        for block, value in ((yes, ir.TRUE), (no, ir.FALSE)):
            self.block = block
            self.move(result, value)
            self.end(ir.Jump(after))
        self.block = after
        return result

    def _lower_IfExp(self, node: ast.IfExp) -> Value:
        yes, no, after = (self.function.new_block() for _ in range(3))
        kind = self.checked.types[node]
        result = self._new_value(kind)
        self.condition(node.test, yes, no)
        for block, value in ((yes, node.body), (no, node.orelse)):
            self.block = block
            self.move(result, self.expression_as(value, kind, node.lineno))
            self.end(ir.Jump(after))
        self.block = after
        return result

    # --- comparisons --------------------------------------------------------------------------------------------------

    def _lower_Compare(self, node: ast.Compare) -> ir.Operand:
        if is_view(self.checked.types[node.left]) or self.checked.types[node.left] == NONE:
            return self._compare_views(node)
        left = self.integer(node.left)
        if len(node.ops) == 1:
            return self._compare(node.ops[0], left, self.integer(node.comparators[0]))
        result = self.function.new_register(Kind.BIT)
        after = self.function.new_block()
        for index, (operator, comparator) in enumerate(zip(node.ops, node.comparators, strict=True)):
            right = self.integer(comparator)
            self.move(result, self._compare(operator, left, right))
            further = after if index == len(node.ops) - 1 else self.function.new_block()
            self.end(ir.Jump(after) if further is after else ir.Branch(result, further, after))
            self.block, left = further, right
        return result

    def _compare(self, operator: ast.cmpop, left: Typed, right: Typed) -> ir.Operand:
        match operator:
            case ast.Eq():
                return self._equal(left, right)
            case ast.NotEq():
                return self.negate(self._equal(left, right))
            case ast.Lt():
                return self.less(left, right)
            case ast.Gt():
                return self.less(right, left)
            case ast.LtE():
                return self.negate(self.less(right, left))
        return self.negate(self.less(left, right))

    def _equal(self, left: Typed, right: Typed) -> ir.Operand:
        same = self.emit(Op.EQ, left[0], right[0])
        if {left[1], right[1]} == {I64, U64}:
            return self.emit(Op.AND, same, self.emit(Op.SLE, ir.ZERO, left[0]))
        return same

    def less(self, left: Typed, right: Typed) -> ir.Operand:
        """``left < right``, exact also where u64 and i64 meet."""
        if U64 not in (left[1], right[1]):
            return self.emit(Op.SLT, left[0], right[0])
        below = self.emit(Op.ULT, left[0], right[0])
        if left[1] == I64:
            return self.emit(Op.OR, self.emit(Op.SLT, left[0], ir.ZERO), below)
        if right[1] == I64:
            return self.emit(Op.AND, self.emit(Op.SLE, ir.ZERO, right[0]), below)
        return below

    def _compare_views(self, node: ast.Compare) -> ir.Operand:
        left, right = self.expression(node.left), self.expression(node.comparators[0])
        assert isinstance(left, View) and isinstance(right, View)
        operator = node.ops[0]
        if isinstance(operator, ast.Is | ast.IsNot):
            return self.emit(Op.EQ if isinstance(operator, ast.Is) else Op.NE, left.address, ir.ZERO)
        equal: ir.Operand = self.emit(Op.BYTES_EQUAL, left.address, left.length, right.address, right.length)
        if OPTIONAL_BYTES in (self.checked.types[node.left], self.checked.types[node.comparators[0]]):
            nones = [self.emit(Op.EQ, view.address, ir.ZERO) for view in (left, right)]
            equal = self.emit(Op.AND, equal, self.negate(self.emit(Op.XOR, *nones)))
        return equal if isinstance(operator, ast.Eq) else self.negate(equal)

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _lower_Subscript(self, node: ast.Subscript) -> Value:
        view, kind, line = self.expression(node.value), self.checked.types[node.value], node.lineno
        assert isinstance(view, View)
        if not isinstance(node.slice, ast.Slice):
            index = self.integer(node.slice)
            self.check_not_none(view, kind, line)
            return self._read(view, self._from_end(index, view.length), 1, False, line)
        lower, upper = (self.integer(bound) if bound else None for bound in (node.slice.lower, node.slice.upper))
        self.check_not_none(view, kind, line)
        start = self._clamp(lower, view.length) if lower else ir.ZERO
        end = self._clamp(upper, view.length) if upper else view.length
        length = self.select(self.emit(Op.ULT, start, end), self.emit(Op.SUB, end, start), ir.ZERO)
        return View(self.emit(Op.ADD, view.address, start), length)

    def _from_end(self, index: Typed, length: ir.Operand) -> Typed:
        """An index as Python counts: negative ones from the end. What is still negative is out of every range."""
        if index[1] != I64:
            return index
        is_negative = self.emit(Op.SLT, index[0], ir.ZERO)
        return self.select(is_negative, self.emit(Op.ADD, index[0], length), index[0]), I64

    def _clamp(self, bound: Typed, length: ir.Operand) -> ir.Operand:
        value, kind = self._from_end(bound, length)
        if kind == I64:
            value = self.select(self.emit(Op.SLT, value, ir.ZERO), ir.ZERO, value)
        return self.select(self.emit(Op.ULT, length, value), length, value)

    def _read(self, view: View, offset: Typed, size: int, is_signed: bool, line: int) -> ir.Operand:
        """An integer of ``size`` bytes at an offset; a negative offset is a huge unsigned one and out of range too."""
        at = offset[0]
        if isinstance(at, ir.Constant):
            end = at.value + size
            fits: ir.Operand = self.emit(Op.ULE, ir.word(end), view.length) if end <= ir.WORD_MASK else ir.FALSE
        elif size == 1:
            fits = self.emit(Op.ULT, at, view.length)
        else:
            # Not at + size <= length, which could overflow.
            last = self.emit(Op.SUB, view.length, ir.word(size))
            fits = self.emit(Op.AND, self.emit(Op.ULE, ir.word(size), view.length), self.emit(Op.ULE, at, last))
        self.check(fits, ExtensionError.INDEX, line)
        return self.load(self.emit(Op.ADD, view.address, at), size, is_signed)

    # --- calls --------------------------------------------------------------------------------------------------------

    def _lower_Call(self, node: ast.Call) -> Value:
        function = node.func
        if isinstance(function, ast.Name):
            value: Value = getattr(self, f"_call_{function.id}")(node)
            return value
        assert isinstance(function, ast.Attribute)
        if isinstance(function.value, ast.Name) and function.value.id == self.checked.store_name:
            return self._call_store(function.attr, node)
        view = self.view(function.value)  # Python finds the method before it evaluates the argument
        size, is_signed, _ = READS[function.attr]
        return self._read(view, self.integer(node.args[0]), size, is_signed, node.lineno)

    def _call_len(self, node: ast.Call) -> ir.Operand:
        return self.view(node.args[0]).length

    def _call_abs(self, node: ast.Call) -> ir.Operand:
        value, kind = self.integer(node.args[0])
        if kind != I64:
            return value
        negative = self.emit(Op.SLT, value, ir.ZERO)
        result = self.select(negative, self.emit(Op.SUB, ir.ZERO, value), value)
        self.check(self.emit(Op.SLE, ir.ZERO, result), ExtensionError.OVERFLOW, node.lineno)
        return result

    def _call_min(self, node: ast.Call) -> ir.Operand:
        return self._extreme(node, want_less=True)

    def _call_max(self, node: ast.Call) -> ir.Operand:
        return self._extreme(node, want_less=False)

    def _extreme(self, node: ast.Call, want_less: bool) -> ir.Operand:
        kind = self.checked.types[node]
        values = [self.integer(argument)[0] for argument in node.args]
        best = values[0]
        for value in values[1:]:
            pair = ((value, kind), (best, kind))
            best = self.select(self.less(*(pair if want_less else pair[::-1])), value, best)
        return best

    def _call_u64(self, node: ast.Call) -> Value:
        value, kind = self.integer(node.args[0])
        return self.convert(value, kind, self.checked.types[node], node.lineno)

    _call_i64 = _call_int = _call_u64

    def _call_bool(self, node: ast.Call) -> ir.Operand:
        return self._by_branches(node.args[0])

    # --- the store ----------------------------------------------------------------------------------------------------

    def _call_store(self, method: str, node: ast.Call) -> Value:
        """Arguments are evaluated in the order they are written, then checked in the order of the parameters."""
        names, _ = STORE_METHODS[method]
        written = list(zip(names, node.args, strict=False)) + [(str(k.arg), k.value) for k in node.keywords]
        values = {name: (self.expression(argument), self.checked.types[argument]) for name, argument in written}
        line = node.lineno
        operands: list[ir.Operand] = []
        for name in names:
            value, kind = values[name]
            if name == "table":
                assert not isinstance(value, View)
                table = self.widen(value)
                if not isinstance(table, ir.Constant):
                    self.check(self.emit(Op.ULT, table, ir.word(TABLES_MAX)), ExtensionError.TABLE, line)
                operands.append(table)
            else:
                view = self._as_bytes(name, value, kind, line)
                operands += (view.address, view.length)
        self.spend(HELPER_COST)
        found = self.emit(Op.HELPER, *operands, size=_HELPERS[method], line=line)
        if method != "get":
            return NO_VIEW if method == "put" else self.emit(Op.NE, found, ir.ZERO)
        is_found = self.emit(Op.NE, found, ir.ZERO)
        return View(*(
            self.select(is_found, self.load(self.frame(field), 8), ir.ZERO)
            for field in (abi.F_OUT_ADDRESS, abi.F_OUT_LENGTH)
        ))  # fmt: skip

    def _as_bytes(self, name: str, value: Value, kind: Type, line: int) -> View:
        """A key or value: bytes as they are, an integer as its 8 bytes in a cell of the native stack."""
        if isinstance(value, View):
            self.check_not_none(value, kind, line)
            return value
        cell = self._cells.setdefault(name, len(self._cells))
        self.function.scratch_cells = len(self._cells)
        address = self.emit(Op.SCRATCH, size=cell)
        self.store(address, self.widen(value), WORD_BYTES)
        return View(address, ir.word(WORD_BYTES))
