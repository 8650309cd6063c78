"""Third stage: expressions of a checked function to intermediate code.

The order of evaluation is Python's, since errors and effects show it.
"""

from __future__ import annotations

import ast

from splinter.ext.abi import ExtensionError
from splinter.ext.front.checked import Table
from splinter.ext.middle import ir
from splinter.ext.middle.builder import NO_VIEW, Memory, Value, View
from splinter.ext.middle.ir import Kind, Op
from splinter.ext.middle.lower_values import Typed, ValueLowering, float_constant
from splinter.ext.types import (
    ELEMENTS,
    F64,
    I64,
    I64_MIN,
    NAT,
    OPTIONAL_BYTES,
    U64,
    WORD_BITS,
    ArrayType,
    Element,
    Type,
    is_bytes,
)

_NAT_BITS = ir.word(NAT.high)  # a number of this type has no others: an AND with them lets the verifier see it
_Operand = tuple[ast.expr, Value]  # an expression and its value

_FLOAT = {ast.Add: Op.FADD, ast.Sub: Op.FSUB, ast.Mult: Op.FMUL, ast.Div: Op.FDIV}
_FLOAT_COMPARISONS = {  # sides of greater ones are exchanged before
    ast.Eq: Op.FEQ, ast.NotEq: Op.FEQ, ast.Lt: Op.FLT, ast.Gt: Op.FLT, ast.LtE: Op.FLE, ast.GtE: Op.FLE,
}  # fmt: skip
_SIGNED = {ast.Add: Op.SADD, ast.Sub: Op.SSUB, ast.Mult: Op.SMUL}
_UNSIGNED = {ast.Add: Op.UADD, ast.Sub: Op.USUB, ast.Mult: Op.UMUL}
_MODULAR = {ast.Add: Op.ADD, ast.Sub: Op.SUB, ast.Mult: Op.MUL}
_BITWISE = {ast.BitAnd: Op.AND, ast.BitOr: Op.OR, ast.BitXor: Op.XOR}


class ExpressionLowering(ValueLowering):
    """Lowers expressions of one function, appending to the current block."""

    # --- entry points -------------------------------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> Value:
        """The value of an expression, of the type that the checker found."""
        self.step()
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
        assert isinstance(value, ir.Operand)
        return value

    def floating(self, node: ast.expr) -> ir.Operand:
        """A float."""
        return self.as_float(node, self.expression(node))

    def integer(self, node: ast.expr) -> Typed:
        """An integer or bool as a word."""
        return self.as_integer(node, self.expression(node))

    def view(self, node: ast.expr, line: int) -> View:
        """Bytes that are not None, or it is an error of the line."""
        return self.as_view(self.expression(node), self.checked.types[node], line)

    def condition(self, node: ast.expr, yes: ir.Block, no: ir.Block) -> None:
        """End the current block by going to one of two, with short circuits as Python has them."""
        self.step()
        if node in self.checked.constants:
            self.end(ir.Jump(yes if self.checked.constants[node] else no))
        elif isinstance(node, ast.BoolOp):
            for part in node.values[:-1]:
                further = self.new_block()
                self.condition(part, *((further, no) if isinstance(node.op, ast.And) else (yes, further)))
                self.block = further
            self.condition(node.values[-1], yes, no)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, no, yes)
        else:
            value = self.operand(node)
            if value.kind is Kind.WORD:
                value = self.emit(Op.NE, value, ir.ZERO)
            if (opposite := self.take_negation(value)) is not None:
                value, yes, no = opposite, no, yes
            self.end(ir.Branch(value, yes, no))

    # --- constants and names ------------------------------------------------------------------------------------------

    def _constant(self, node: ast.expr) -> Value:
        value = self.checked.constants[node]
        if isinstance(value, float):
            return float_constant(value)
        if isinstance(value, Table):
            return self._table(value)
        if isinstance(value, bytes):
            number = self.function.data.setdefault(value, len(self.function.data))
            return View(self.emit(Op.DATA, size=number), ir.word(len(value)))
        if isinstance(value, bool):
            return ir.TRUE if value else ir.FALSE
        assert isinstance(value, int)
        return ir.word(value)

    def _lower_Constant(self, node: ast.Constant) -> Value:
        return NO_VIEW  # None; other constants have been dealt with

    def _table(self, table: Table) -> Memory:
        assert table.element is not None
        number = self.function.data.setdefault(table.packed, len(self.function.data))
        return Memory(0, len(table), table.element, number)

    def _lower_Tuple(self, node: ast.Tuple) -> Value:
        return tuple(self.expression(element) for element in node.elts)

    def _lower_Name(self, node: ast.Name) -> Value:
        return self.variable(node.id)  # no copy: nothing inside an expression assigns

    # --- operators ----------------------------------------------------------------------------------------------------

    def _lower_BinOp(self, node: ast.BinOp) -> ir.Operand:
        left = self.expression(node.left)
        return self.operate(node, left, self.expression(node.right))

    def operate(self, node: ast.BinOp, left_value: Value, right_value: Value) -> ir.Operand:
        """An operator on the values of its two sides."""
        operator, line = type(node.op), node.lineno
        if self.checked.types[node] == F64:
            dividend, divisor = self.as_float(node.left, left_value), self.as_float(node.right, right_value)
            if operator is ast.Div:
                is_zero = self.emit(Op.FEQ, divisor, float_constant(0.0))
                self.check(self.negate(is_zero), ExtensionError.DIVISION, line)
            return self.emit(_FLOAT[operator], dividend, divisor)
        left, right = self.as_integer(node.left, left_value), self.as_integer(node.right, right_value)
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
            if left[1] == NAT:
                return self.emit(Op.AND, shifted, _NAT_BITS)
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
        result = self.emit(Op.ADD, remainder, self.select(adjust, right, ir.ZERO))
        return self.emit(Op.AND, result, _NAT_BITS) if kind == NAT else result

    def _lower_UnaryOp(self, node: ast.UnaryOp) -> ir.Operand:
        if isinstance(node.op, ast.Not):
            return self.truth(node)
        if self.checked.types[node] == F64:
            operand = self.floating(node.operand)
            if isinstance(node.op, ast.UAdd):
                return operand
            return self.emit(Op.FSUB, float_constant(-0.0), operand)  # 0.0 - 0.0 would be 0.0
        value, _ = self.integer(node.operand)
        if isinstance(node.op, ast.UAdd):
            return value
        if isinstance(node.op, ast.Invert):
            return self.emit(Op.XOR, value, ir.word(-1))
        if node in self.checked.modular:
            return self.emit(Op.SUB, ir.ZERO, value)
        return self.emit(Op.SSUB, ir.ZERO, value, line=node.lineno)

    def _lower_BoolOp(self, node: ast.BoolOp) -> ir.Operand:
        return self.truth(node)

    def truth(self, node: ast.expr) -> ir.Operand:
        """The truth of a condition as a bit."""
        yes, no, after = (self.new_block() for _ in range(3))
        result = self.function.new_register(Kind.BIT)
        self.condition(node, yes, no)
        for block, value in ((yes, ir.TRUE), (no, ir.FALSE)):
            self.block = block
            self.move(result, value)
            self.end(ir.Jump(after))
        self.block = after
        return result

    def _lower_IfExp(self, node: ast.IfExp) -> Value:
        yes, no, after = (self.new_block() for _ in range(3))
        kind = self.checked.types[node]
        result = self.new_value(kind)
        self.condition(node.test, yes, no)
        for block, value in ((yes, node.body), (no, node.orelse)):
            self.block = block
            self.move(result, self.expression_as(value, kind, node.lineno))
            self.end(ir.Jump(after))
        self.block = after
        return result

    # --- comparisons --------------------------------------------------------------------------------------------------

    def _lower_Compare(self, node: ast.Compare) -> ir.Operand:
        """Each operand is evaluated once, and only as far as the comparisons before it hold."""
        left = node.left, self.expression(node.left)
        right = node.comparators[0], self.expression(node.comparators[0])
        first = self._comparison(node.ops[0], left, right, node.lineno)
        if len(node.ops) == 1:
            return first
        result, after = self.function.new_register(Kind.BIT), self.new_block()
        self.move(result, first)
        for operator, comparator in zip(node.ops[1:], node.comparators[1:], strict=True):
            further = self.new_block()
            self.end(ir.Branch(result, further, after))
            self.block = further
            left, right = right, (comparator, self.expression(comparator))
            self.move(result, self._comparison(operator, left, right, node.lineno))
        self.end(ir.Jump(after))
        self.block = after
        return result

    def _comparison(self, operator: ast.cmpop, left: _Operand, right: _Operand, line: int) -> ir.Operand:
        kinds = self.checked.types[left[0]], self.checked.types[right[0]]
        if isinstance(operator, ast.Is | ast.IsNot):
            view = self._maybe_view(left[1])
            return self.emit(Op.EQ if isinstance(operator, ast.Is) else Op.NE, view.address, ir.ZERO)
        if is_bytes(kinds[0]):
            return self._compare_views(operator, left, right, line)
        if F64 in kinds:
            return self._compare_floats(operator, self.as_float(*left), self.as_float(*right))
        return self._compare(operator, self.as_integer(*left), self.as_integer(*right))

    def _compare(self, operator: ast.cmpop, left: Typed, right: Typed) -> ir.Operand:
        if isinstance(operator, ast.Eq | ast.NotEq):
            holds = self._equal(left, right)
        elif isinstance(operator, ast.Lt | ast.GtE):
            holds = self.less(left, right)
        else:
            holds = self.less(right, left)
        return self.negate(holds) if isinstance(operator, ast.NotEq | ast.LtE | ast.GtE) else holds

    def _compare_floats(self, operator: ast.cmpop, left: ir.Operand, right: ir.Operand) -> ir.Operand:
        """Not by the opposite: no comparison holds of what is not a number, but that it is not equal."""
        if isinstance(operator, ast.Gt | ast.GtE):
            left, right = right, left
        holds = self.emit(_FLOAT_COMPARISONS[type(operator)], left, right)
        return self.negate(holds) if isinstance(operator, ast.NotEq) else holds

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

    def _compare_views(self, operator: ast.cmpop, left: _Operand, right: _Operand, line: int) -> ir.Operand:
        views = [self._maybe_view(side[1]) for side in (left, right)]
        equal: ir.Operand = self.emit(
            Op.BYTES_EQUAL, views[0].address, views[0].length, views[1].address, views[1].length, line=line
        )
        if OPTIONAL_BYTES in (self.checked.types[left[0]], self.checked.types[right[0]]):
            nones = [self.emit(Op.EQ, view.address, ir.ZERO) for view in views]
            equal = self.emit(Op.AND, equal, self.negate(self.emit(Op.XOR, *nones)))
        return equal if isinstance(operator, ast.Eq) else self.negate(equal)

    def _maybe_view(self, value: Value) -> View:
        """Bytes, or None; of a buffer, what is in it now."""
        if isinstance(value, Memory):
            return self.content(value)
        assert isinstance(value, View)
        return value

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _lower_Subscript(self, node: ast.Subscript) -> Value:
        value, kind, line = self.expression(node.value), self.checked.types[node.value], node.lineno
        if isinstance(kind, ArrayType):
            assert isinstance(value, Memory)
            return self.load_element(self.element_address(value, self.integer(node.slice), line), value.element)
        if not isinstance(node.slice, ast.Slice):
            index = self.integer(node.slice)
            view = self.as_view(value, kind, line)
            return self.read(view, self.from_end(index, view.length), ELEMENTS["u8"], line)
        lower, upper = (self.integer(bound) if bound else None for bound in (node.slice.lower, node.slice.upper))
        view = self.as_view(value, kind, line)
        end = self.clamp(upper, view.length) if upper else view.length
        if lower is None:
            return View(view.address, end)
        start = self.clamp(lower, view.length)
        length = self.select(self.emit(Op.ULT, start, end), self.emit(Op.SUB, end, start), ir.ZERO)
        return View(self.emit(Op.ADD, view.address, start), length)

    def fit_element(self, node: ast.expr, element: Element, line: int) -> ir.Operand:
        """The value of an expression, checked to fit where it will be stored."""
        return self.fit_value(node, self.expression(node), element, line)
