"""Second stage, expressions: the type of each one, and everything that is wrong with it.

``ExpressionChecker`` fills ``types``, ``constants`` and ``modular`` of :class:`Checked`. An expression already complained
about has the type INVALID, which fits everything.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from splinter.ext.front import arithmetic
from splinter.ext.front.checked import Checked, ConstantValue, Table
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.names import AUTHOR_NAMES
from splinter.ext.types import (
    BOOL,
    BUFFER,
    BYTES,
    F64,
    I64,
    INVALID,
    NAT,
    NONE,
    U64,
    ArrayType,
    TupleType,
    Type,
    array_type,
    integer_type_of,
    is_bytes,
    is_integer,
    is_view,
    join,
    tuple_type,
)
from splinter.limits import VALUE_BYTES_MAX

MIXED_HINT = "convert one side: u64(…) or i64(…) checks that the value fits"
FLOAT_HINT = "convert one side: f64(…), or i64(…) to cut off the fraction"
_COMPARISONS = {"Eq": "==", "NotEq": "!=", "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">="}
_CONSTANTS = (int, bytes, float)
_INTEGER_SIGNS, _FLOAT_SIGNS = (ast.USub, ast.UAdd, ast.Invert), (ast.USub, ast.UAdd)
_FLOAT_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}

_UNSUPPORTED: dict[str, tuple[str, str]] = {
    "Lambda": ("a lambda", "write a function of the module"),
    "ListComp": ("a list comprehension", "write a loop over an array"),
    "SetComp": ("a set comprehension", "write a loop"),
    "DictComp": ("a dict comprehension", "write a loop"),
    "GeneratorExp": ("a generator expression", "write a loop"),
    "Dict": ("a dict", "keep data in the store"),
    "Set": ("a set", "keep data in the store"),
    "List": ("a list", "use array(u64, n)"),
    "Tuple": ("a tuple", "tuples are returned, or taken apart at once: `a, b = b, a`"),
    "JoinedStr": ("an f-string", "there is no text here, only numbers and bytes"),
    "Await": ("`await`", "write `yield` to let others run"),
    "YieldFrom": ("`yield from`", "write `yield`"),
    "NamedExpr": ("`:=`", "assign in a statement of its own"),
    "Starred": ("`*` in front of an expression", ""),
    "Slice": ("a slice", ""),
}


class _Visitors(dict[type, dict[str, Callable[..., Type]]]):
    """Methods by the names of nodes' classes, by the class that has them.

    Not by object: one that held methods of its own would have to be found by a collection.
    """

    def __missing__(self, checker: type) -> dict[str, Callable[..., Type]]:
        found = {name.removeprefix("_visit_"): getattr(checker, name) for name in dir(checker) if name.startswith("_visit_")}
        self[checker] = found
        return found


_visitors = _Visitors()


class ExpressionChecker:
    """Types expressions of one function. ``variables`` holds the types known so far, ``assigned`` what is certainly set."""

    def __init__(self, checked: Checked, constants: dict[str, ConstantValue], findings: Findings) -> None:
        self.checked = checked
        self.module_constants = constants
        self.findings = findings
        self.variables: dict[str, Type] = {}
        self.locals: frozenset[str] = frozenset()
        self.assigned: frozenset[str] | None = frozenset()  # None: this place is never reached
        self._not_constant: set[ast.expr] = set()
        self._visitors = _visitors[self.__class__]

    # --- entry points -------------------------------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> Type:
        """Type of an expression; recorded, as is its value when that is known."""
        value = self.constant(node)
        if value is not None:
            kind = self._constant_type(node, value)
        else:
            visitor = self._visitors.get(type(node).__name__)
            kind = visitor(self, node) if visitor else self._unsupported(node)
        self.checked.types[node] = kind
        return kind

    def results(self, node: ast.expr) -> Type:
        """Type of what is returned or taken apart: a tuple may stand here."""
        if not isinstance(node, ast.Tuple):
            return self.expression(node)
        kind = self.checked.types[node] = tuple_type(tuple(self.expression(element) for element in node.elts))
        for element, part in zip(node.elts, kind.elements, strict=True):
            if isinstance(part, ArrayType | TupleType) or part in (BUFFER, NONE):
                self.error(element, "type", f"{part} cannot be part of a tuple")
        return kind

    def integer(self, node: ast.expr, what: str) -> Type:
        """Type of an expression that must be an integer (True and False count as 1 and 0)."""
        return self.as_integer(node, self.expression(node), what)

    def as_integer(self, node: ast.expr, kind: Type, what: str) -> Type:
        """The same for an expression whose type is known. (Nothing is visited twice: that would be exponential.)"""
        if kind == BOOL:
            return NAT
        if is_integer(kind) or kind == INVALID:
            return kind
        hint = "read an integer from it: .u64(offset)" if is_bytes(kind) else "i64(…)" if kind == F64 else ""
        return self.error(node, "type", f"{what} must be an integer, and this is {kind}", hint)

    def condition(self, node: ast.expr) -> None:
        """Check an expression whose truth is asked for."""
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self.condition(value)
            self.checked.types[node] = BOOL
            return
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand)
            self.checked.types[node] = BOOL
            return
        kind = self.expression(node)
        if is_bytes(kind):
            self.error(node, "truth", "bytes as a condition would be false both for None and for b''",
                       "write `is not None`, or `len(…) > 0`")  # fmt: skip
        elif kind not in (BOOL, INVALID) and not is_integer(kind):
            self.error(node, "truth", f"a condition must be a bool or an integer, and this is {kind}", "compare it")

    def constant(self, node: ast.expr) -> ConstantValue:
        """The value of a constant expression, integers exact; None when it is not one (``None`` itself is not either)."""
        if node in self.checked.constants:
            return self.checked.constants[node]
        value = None if node in self._not_constant else self._evaluate(node)
        if value is not None:
            self.checked.constants[node] = value
        else:
            self._not_constant.add(node)
        return value

    def forget(self) -> None:
        """Drop what is known of expressions, so that the next round reports everything again."""
        self.checked.types.clear()
        self.checked.constants.clear()
        self.checked.modular.clear()
        self._not_constant.clear()

    # --- constants ----------------------------------------------------------------------------------------------------

    def _evaluate(self, node: ast.expr) -> ConstantValue:
        if isinstance(node, ast.Constant) and isinstance(node.value, _CONSTANTS):
            return node.value
        if isinstance(node, ast.Name) and node.id not in self.locals and node.id != self.checked.store_name:
            return self.module_constants.get(node.id)
        if isinstance(node, ast.UnaryOp):
            value = self.constant(node.operand)
            if isinstance(value, int) and isinstance(node.op, _INTEGER_SIGNS):
                return -value if isinstance(node.op, ast.USub) else ~value if isinstance(node.op, ast.Invert) else +value
            if isinstance(value, float) and isinstance(node.op, _FLOAT_SIGNS):
                return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp) and arithmetic.symbol(node.op):
            left, right = self.constant(node.left), self.constant(node.right)
            if isinstance(left, int) and isinstance(right, int):
                try:
                    return arithmetic.fold(node.op, int(left), int(right))
                except ValueError as error:
                    self.error(node, "constant", f"this constant cannot be computed: {error}")
                    return 1
        return None

    def _constant_type(self, node: ast.expr, value: ConstantValue) -> Type:
        if isinstance(value, bool):
            return BOOL
        if isinstance(value, float):
            return F64
        if isinstance(value, bytes):
            if len(value) > VALUE_BYTES_MAX:
                return self.error(node, "constant", f"{len(value)} bytes; a value has at most {VALUE_BYTES_MAX}")
            return BYTES
        if isinstance(value, Table):
            if value.element is None:
                return self.error(node, "constant", "no 64-bit type holds all integers of this table")
            return array_type(value.element, is_constant=True)
        assert isinstance(value, int)
        kind = integer_type_of(value)
        if kind is None:
            return self.error(node, "constant", "the integer does not fit 64 bits",
                              "u64 goes to 2**64 - 1, i64 from -2**63 to 2**63 - 1")  # fmt: skip
        return kind

    # --- names and operators ------------------------------------------------------------------------------------------

    def _visit_Constant(self, node: ast.Constant) -> Type:
        if node.value is None:
            return NONE
        if isinstance(node.value, str):
            return self.error(node, "type", "there is no text here, only bytes",
                              f"write b{node.value[:20]!r}" if node.value.isascii() else "write b'…'")  # fmt: skip
        return self.error(node, "unsupported", f"`{node.value!r:.20}` is not part of the language")

    def _visit_Name(self, node: ast.Name) -> Type:
        name = node.id
        if name == self.checked.store_name:
            return self.error(node, "store", "the store is no value; only its methods can be called",
                              f"write {name}.get(table=…, key=…)")  # fmt: skip
        if name in self.locals:
            if self.assigned is not None and name not in self.assigned:
                return self.error(node, "unassigned", f"`{name}` may have no value here",
                                  f"give `{name}` a value on every way that leads here")  # fmt: skip
            return self.variables.get(name, INVALID)
        if name in AUTHOR_NAMES or name in self.checked.helpers:
            return self.error(node, "type", f"`{name}` can only be called")
        return self.error(node, "unknown-name", f"`{name}` is not defined",
                          "names are parameters, local variables and the module's constants and functions")  # fmt: skip

    def _visit_BinOp(self, node: ast.BinOp) -> Type:
        if isinstance(node.op, ast.BitAnd):
            for mask_node, other in ((node.right, node.left), (node.left, node.right)):
                mask = self.constant(mask_node)
                if arithmetic.is_mask(mask):
                    assert isinstance(mask, int)
                    self.expression(mask_node)
                    self._modular(other)
                    return arithmetic.modular_type(mask)
        left, right = self.expression(node.left), self.expression(node.right)
        if F64 in (left, right):
            return self._float_operator(node, left, right)
        operator = arithmetic.symbol(node.op)
        if operator is None:
            hint = "write `//` for integers, or f64(…) / f64(…)" if isinstance(node.op, ast.Div) else ""
            return self.error(node, "unsupported", "integers do not have this operator here", hint)
        left = self.as_integer(node.left, left, f"left of `{operator}`")
        right = self.as_integer(node.right, right, f"right of `{operator}`")
        kind = arithmetic.binary_type(node.op, left, right)
        if kind is None:
            return self.error(node, "mixed-signs", f"`{operator}` of {left} and {right}", MIXED_HINT)
        return kind

    def _float_operator(self, node: ast.BinOp, left: Type, right: Type) -> Type:
        operator = _FLOAT_OPERATORS.get(type(node.op))
        if operator is None:
            return self.error(node, "unsupported", "floats do not have this operator here",
                              f"they have {', '.join(_FLOAT_OPERATORS.values())}")  # fmt: skip
        if not (self._is_float(node.left, left) and self._is_float(node.right, right)):
            return self.error(node, "type", f"`{operator}` of {left} and {right}", FLOAT_HINT)
        return F64

    def _is_float(self, node: ast.expr, kind: Type) -> bool:
        """Whether an operand is a float, or an integer constant that is one exactly."""
        value = self.constant(node)
        if isinstance(value, int) and not isinstance(value, bool):
            return abs(value) <= 1 << 53
        return kind in (F64, INVALID)

    def _modular(self, node: ast.expr) -> None:
        """Check an operand of which only the lower 64 bits matter."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, arithmetic.MODULAR_OPERATORS):
            if self.constant(node) is None:
                self._modular(node.left)
                if isinstance(node.op, ast.LShift):
                    self.integer(node.right, "a shift count")
                else:
                    self._modular(node.right)
                self.checked.modular.add(node)
                self.checked.types[node] = U64
                return
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, arithmetic.MODULAR_UNARY) and self.constant(node) is None:
            self._modular(node.operand)
            self.checked.modular.add(node)
            self.checked.types[node] = U64
            return
        self.integer(node, "an operand")

    def _visit_UnaryOp(self, node: ast.UnaryOp) -> Type:
        if isinstance(node.op, ast.Not):
            self.condition(node.operand)
            return BOOL
        kind = self.expression(node.operand)
        if kind == F64 and not isinstance(node.op, ast.Invert):
            return F64
        kind = self.as_integer(node.operand, kind, "the operand")
        if isinstance(node.op, ast.UAdd) or kind == INVALID:
            return kind
        if kind == U64:
            sign = "-" if isinstance(node.op, ast.USub) else "~"
            return self.error(node, "mixed-signs", f"`{sign}` of a u64 is negative",
                              f"write {sign}i64(…), or mask it: {sign}x & 0xFFFFFFFFFFFFFFFF")  # fmt: skip
        return I64

    def _visit_BoolOp(self, node: ast.BoolOp) -> Type:
        word = "and" if isinstance(node.op, ast.And) else "or"
        for value in node.values:
            kind = self.expression(value)
            if kind not in (BOOL, INVALID):
                self.error(value, "type", f"`{word}` outside of a condition needs bools, and this is {kind}",
                           "compare it, or write `a if condition else b`")  # fmt: skip
        return BOOL

    def _visit_IfExp(self, node: ast.IfExp) -> Type:
        self.condition(node.test)
        body, orelse = self.expression(node.body), self.expression(node.orelse)
        joined = join(body, orelse)
        if joined is None:
            if is_integer(body) and is_integer(orelse):
                return self.error(node, "mixed-signs", f"one value is {body}, the other {orelse}", MIXED_HINT)
            return self.error(node, "type", f"the two values have different types: {body} and {orelse}")
        if isinstance(joined, ArrayType) or joined == BUFFER:
            return self.error(node, "type", f"there is no choice between values of type {joined}")
        return joined

    def _visit_Compare(self, node: ast.Compare) -> Type:
        left_node, left = node.left, self.expression(node.left)
        for operator, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.expression(right_node)
            self._check_comparison((left_node, right_node), operator, left, right)
            left_node, left = right_node, right
        return BOOL

    def _check_comparison(self, nodes: tuple[ast.expr, ast.expr], operator: ast.cmpop, left: Type, right: Type) -> None:
        node = nodes[1]
        if INVALID in (left, right):
            return
        if isinstance(operator, ast.Is | ast.IsNot):
            if right != NONE or not (is_view(left) or left == NONE):
                self.error(node, "comparison", "`is` is only for `… is None`", "write `==`")
            return
        text = _COMPARISONS.get(type(operator).__name__)
        if text is None:
            self.error(node, "unsupported", "`in` is not part of the language")
        elif is_bytes(left) and is_bytes(right):
            if text not in ("==", "!="):
                self.error(node, "comparison", f"bytes can be compared with == and !=, not with {text}")
        elif NONE in (left, right) and (is_bytes(left) or is_bytes(right)):
            self.error(node, "comparison", f"`{text}` with None", "write `is None` or `is not None`")
        elif F64 in (left, right):
            if not (self._is_float(nodes[0], left) and self._is_float(nodes[1], right)):
                self.error(node, "comparison", f"`{text}` of {left} and {right}", FLOAT_HINT)
        elif not all(is_integer(kind) or kind == BOOL for kind in (left, right)):
            self.error(node, "comparison", f"{left} cannot be compared with {right}")

    # --- subscripts ---------------------------------------------------------------------------------------------------

    def _visit_Subscript(self, node: ast.Subscript) -> Type:
        kind = self.expression(node.value)
        if isinstance(kind, ArrayType):
            if isinstance(node.slice, ast.Slice):
                return self.error(node, "unsupported", "arrays have no slices")
            self.integer(node.slice, "an index")
            return kind.element.value
        if kind != INVALID and not is_bytes(kind):
            self.error(node.value, "type", f"only bytes and arrays can be indexed, and this is {kind}")
        if not isinstance(node.slice, ast.Slice):
            self.integer(node.slice, "an index")
            return NAT
        for bound in (node.slice.lower, node.slice.upper):
            if bound is not None:
                self.integer(bound, "a slice's bound")
        if node.slice.step is not None:
            self.error(node.slice.step, "unsupported", "a slice has no step here")
        return BYTES

    # --- helpers ------------------------------------------------------------------------------------------------------

    def error(self, node: ast.AST, rule: str, message: str, hint: str = "") -> Type:
        """Report, and give the type that fits everything."""
        self.findings.add(node, rule, message, hint)
        return INVALID

    def _unsupported(self, node: ast.expr) -> Type:
        if isinstance(node, ast.Yield):
            return self.error(node, "yield", "`yield` is a statement of its own, without a value")
        if isinstance(node, ast.Attribute):
            return self.error(node, "attribute", f"attribute `{node.attr}` cannot be used",
                              "only methods of the store, of bytes and of buffers can be called")  # fmt: skip
        what, hint = _UNSUPPORTED.get(type(node).__name__, ("this expression", ""))
        return self.error(node, "unsupported", f"{what} is not part of the language", hint)
