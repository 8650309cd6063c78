"""Second stage, expressions: the type of each one, and everything that is wrong with it.

``ExpressionChecker`` fills ``types``, ``constants`` and ``modular`` of :class:`Checked`. An expression already complained
about has the type INVALID, which fits everything.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from splinter.ext import arithmetic
from splinter.ext.checked import Checked, ConstantValue
from splinter.ext.diagnostics import Findings
from splinter.ext.types import (
    BOOL,
    BYTES,
    I64,
    INVALID,
    NAT,
    NONE,
    OPTIONAL_BYTES,
    U64,
    IntegerType,
    Type,
    integer_type_of,
    is_integer,
    is_view,
    join,
)  # fmt: skip
from splinter.limits import KEY_BYTES_MAX, TABLES_MAX, VALUE_BYTES_MAX

# Reads at an offset: method name → (bytes, is signed, type of the value).
READS: dict[str, tuple[int, bool, IntegerType]] = {
    "u8": (1, False, NAT), "u16": (2, False, NAT), "u32": (4, False, NAT), "u64": (8, False, U64),
    "i8": (1, True, I64), "i16": (2, True, I64), "i32": (4, True, I64), "i64": (8, True, I64),
}  # fmt: skip
# Methods of the store: name → (parameters, result).
STORE_METHODS: dict[str, tuple[tuple[str, ...], Type]] = {
    "get": (("table", "key"), OPTIONAL_BYTES),
    "exists": (("table", "key"), BOOL),
    "put": (("table", "key", "value"), NONE),
    "delete": (("table", "key"), BOOL),
}
FUNCTION_NAMES = frozenset({"abs", "bool", "i64", "int", "len", "max", "min", "range", "u64"})
RESERVED_NAMES = FUNCTION_NAMES | {"extension", "Store", "View", "bytes", "array"}
_COMPARISONS = {"Eq": "==", "NotEq": "!=", "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">="}

_UNSUPPORTED: dict[str, tuple[str, str]] = {
    "Lambda": ("a lambda", "write the expression where it is used"),
    "ListComp": ("a list comprehension", "write a loop"),
    "SetComp": ("a set comprehension", "write a loop"),
    "DictComp": ("a dict comprehension", "write a loop"),
    "GeneratorExp": ("a generator expression", "write a loop"),
    "Dict": ("a dict", "keep data in the store"),
    "Set": ("a set", "keep data in the store"),
    "List": ("a list", "keep data in the store"),
    "Tuple": ("a tuple", ""),
    "JoinedStr": ("an f-string", "there is no text here, only integers and bytes"),
    "Await": ("`await`", "write `yield` to let others run"),
    "YieldFrom": ("`yield from`", "write `yield`"),
    "NamedExpr": ("`:=`", "assign in a statement of its own"),
    "Starred": ("`*` in front of an expression", ""),
    "Slice": ("a slice", ""),
}


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
        self._visitors: dict[str, Callable[..., Type]] = {
            name.removeprefix("_visit_"): getattr(self, name) for name in dir(self) if name.startswith("_visit_")
        }
        self._functions: dict[str, Callable[[ast.Call], Type]] = {
            "len": self._call_len, "abs": self._call_abs, "min": self._call_extreme, "max": self._call_extreme,
            "u64": self._call_convert, "i64": self._call_convert, "int": self._call_convert, "bool": self._call_bool,
        }  # fmt: skip

    # --- entry points -------------------------------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> Type:
        """Type of an expression; recorded, as is its value when that is known."""
        value = self.constant(node)
        if value is not None:
            kind = self._constant_type(node, value)
        else:
            visitor = self._visitors.get(type(node).__name__)
            kind = visitor(node) if visitor else self._unsupported(node)
        self.checked.types[node] = kind
        return kind

    def integer(self, node: ast.expr, what: str) -> Type:
        """Type of an expression that must be an integer (True and False count as 1 and 0)."""
        kind = self.expression(node)
        if kind == BOOL:
            return NAT
        if is_integer(kind) or kind == INVALID:
            return kind
        return self._error(node, "type", f"{what} must be an integer, and this is {kind}", self._integer_hint(kind))

    def condition(self, node: ast.expr) -> None:
        """Check an expression whose truth is asked for."""
        if isinstance(node, ast.BoolOp):
            self._boolean_operator(node, self.condition)
            self.checked.types[node] = BOOL
            return
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand)
            self.checked.types[node] = BOOL
            return
        kind = self.expression(node)
        if is_view(kind):
            self._error(node, "truth", "bytes as a condition would be false both for None and for b''",
                        "write `is not None`, or `len(…) > 0`")  # fmt: skip
        elif kind not in (BOOL, INVALID) and not is_integer(kind):
            self._error(node, "truth", f"a condition must be a bool or an integer, and this is {kind}")

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
        if isinstance(node, ast.Constant) and isinstance(node.value, int | bytes):
            return node.value
        if isinstance(node, ast.Name) and node.id not in self.locals:
            return self.module_constants.get(node.id)
        if isinstance(node, ast.UnaryOp):
            value = self.constant(node.operand)
            if isinstance(value, int) and isinstance(node.op, ast.USub | ast.UAdd | ast.Invert):
                return -value if isinstance(node.op, ast.USub) else ~value if isinstance(node.op, ast.Invert) else +value
        if isinstance(node, ast.BinOp) and arithmetic.symbol(node.op):
            left, right = self.constant(node.left), self.constant(node.right)
            if isinstance(left, int) and isinstance(right, int):
                try:
                    return arithmetic.fold(node.op, int(left), int(right))
                except ValueError as error:
                    self._error(node, "constant", f"this constant cannot be computed: {error}")
                    return 1
        return None

    def _constant_type(self, node: ast.expr, value: ConstantValue) -> Type:
        if isinstance(value, bool):
            return BOOL
        if isinstance(value, bytes):
            if len(value) > VALUE_BYTES_MAX:
                return self._error(node, "constant", f"{len(value)} bytes; a value has at most {VALUE_BYTES_MAX}")
            return BYTES
        assert isinstance(value, int)
        kind = integer_type_of(value)
        if kind is None:
            return self._error(node, "constant", "the integer does not fit 64 bits",
                               "u64 goes to 2**64 - 1, i64 from -2**63 to 2**63 - 1")  # fmt: skip
        return kind

    # --- names and operators ------------------------------------------------------------------------------------------

    def _visit_Constant(self, node: ast.Constant) -> Type:
        if node.value is None:
            return NONE
        if isinstance(node.value, str):
            return self._error(node, "type", "there is no text here, only bytes",
                               f"write b{node.value[:20]!r}" if node.value.isascii() else "write b'…'")  # fmt: skip
        what = "a floating-point number" if isinstance(node.value, float) else f"`{node.value!r:.20}`"
        return self._error(node, "unsupported", f"{what} is not part of the language")

    def _visit_Name(self, node: ast.Name) -> Type:
        name = node.id
        if name == self.checked.store_name:
            return self._error(node, "store", "the store is no value; only its methods can be called",
                               f"write {name}.get(table=…, key=…)")  # fmt: skip
        if name in self.locals:
            if self.assigned is not None and name not in self.assigned:
                return self._error(node, "unassigned", f"`{name}` may have no value here",
                                   f"give `{name}` a value on every way that leads here")  # fmt: skip
            return self.variables.get(name, INVALID)
        if name in RESERVED_NAMES:
            return self._error(node, "type", f"`{name}` can only be called")
        return self._error(node, "unknown-name", f"`{name}` is not defined",
                           "names are parameters, local variables and the module's constants")  # fmt: skip

    def _visit_BinOp(self, node: ast.BinOp) -> Type:
        operator = arithmetic.symbol(node.op)
        if operator is None:
            self.expression(node.left), self.expression(node.right)
            hint = "write `//` for integers" if isinstance(node.op, ast.Div) else ""
            return self._error(node, "unsupported", "this operator is not part of the language", hint)
        if isinstance(node.op, ast.BitAnd):
            for mask_node, other in ((node.right, node.left), (node.left, node.right)):
                mask = self.constant(mask_node)
                if arithmetic.is_mask(mask):
                    assert isinstance(mask, int)
                    self.expression(mask_node)
                    self._modular(other)
                    return arithmetic.modular_type(mask)
        left, right = self.integer(node.left, f"left of `{operator}`"), self.integer(node.right, f"right of `{operator}`")
        kind = arithmetic.binary_type(node.op, left, right)
        if kind is None:
            return self._error(node, "mixed-signs", f"`{operator}` of {left} and {right}",
                               "convert one side: u64(…) or i64(…) checks that the value fits")  # fmt: skip
        return kind

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
        elif (
            isinstance(node, ast.UnaryOp)
            and isinstance(node.op, arithmetic.MODULAR_UNARY)
            and self.constant(node) is None
        ):
            self._modular(node.operand)
            self.checked.modular.add(node)
            self.checked.types[node] = U64
            return
        self.integer(node, "an operand")

    def _visit_UnaryOp(self, node: ast.UnaryOp) -> Type:
        if isinstance(node.op, ast.Not):
            self.condition(node.operand)
            return BOOL
        kind = self.integer(node.operand, "the operand")
        if isinstance(node.op, ast.UAdd) or kind == INVALID:
            return kind
        if kind == U64:
            sign = "-" if isinstance(node.op, ast.USub) else "~"
            return self._error(node, "mixed-signs", f"`{sign}` of a u64 is negative",
                               f"write {sign}i64(…), or mask it: {sign}x & 0xFFFFFFFFFFFFFFFF")  # fmt: skip
        return I64

    def _visit_BoolOp(self, node: ast.BoolOp) -> Type:
        def operand(value: ast.expr) -> None:
            kind = self.expression(value)
            if kind not in (BOOL, INVALID):
                word = "and" if isinstance(node.op, ast.And) else "or"
                self._error(value, "type", f"`{word}` outside of a condition needs bools, and this is {kind}",
                            "compare it, or write `a if condition else b`")  # fmt: skip

        self._boolean_operator(node, operand)
        return BOOL

    def _boolean_operator(self, node: ast.BoolOp, check: Callable[[ast.expr], None]) -> None:
        for value in node.values:
            check(value)

    def _visit_IfExp(self, node: ast.IfExp) -> Type:
        self.condition(node.test)
        body, orelse = self.expression(node.body), self.expression(node.orelse)
        joined = join(body, orelse)
        if joined is None:
            if is_integer(body) and is_integer(orelse):
                return self._error(node, "mixed-signs", f"one value is {body}, the other {orelse}",
                                   "convert one: u64(…) or i64(…) checks that the value fits")  # fmt: skip
            return self._error(node, "type", f"the two values have different types: {body} and {orelse}")
        return joined

    def _visit_Compare(self, node: ast.Compare) -> Type:
        left_node, left = node.left, self.expression(node.left)
        for operator, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.expression(right_node)
            self._check_comparison(right_node, operator, left, right)
            if len(node.ops) > 1 and (is_view(left) or left == NONE):
                self._error(left_node, "unsupported", "only comparisons of integers can be chained")
            left_node, left = right_node, right
        return BOOL

    def _check_comparison(self, node: ast.expr, operator: ast.cmpop, left: Type, right: Type) -> None:
        if INVALID in (left, right):
            return
        if isinstance(operator, ast.Is | ast.IsNot):
            if right != NONE or not (is_view(left) or left == NONE):
                self._error(node, "comparison", "`is` is only for `… is None`", "write `==`")
            return
        text = _COMPARISONS.get(type(operator).__name__)
        if text is None:
            self._error(node, "unsupported", "`in` is not part of the language")
        elif is_view(left) and is_view(right):
            if text not in ("==", "!="):
                self._error(node, "comparison", f"bytes can be compared with == and !=, not with {text}")
        elif NONE in (left, right) and (is_view(left) or is_view(right)):
            self._error(node, "comparison", f"`{text}` with None", "write `is None` or `is not None`")
        elif not all(is_integer(kind) or kind == BOOL for kind in (left, right)):
            self._error(node, "comparison", f"{left} cannot be compared with {right}")

    # --- subscripts ---------------------------------------------------------------------------------------------------

    def _visit_Subscript(self, node: ast.Subscript) -> Type:
        kind = self.expression(node.value)
        if kind != INVALID and not is_view(kind):
            self._error(node.value, "type", f"only bytes can be indexed, and this is {kind}")
        if not isinstance(node.slice, ast.Slice):
            self.integer(node.slice, "an index")
            return NAT
        for bound in (node.slice.lower, node.slice.upper):
            if bound is not None:
                self.integer(bound, "a slice's bound")
        if node.slice.step is not None:
            self._error(node.slice.step, "unsupported", "a slice has no step here")
        return BYTES

    # --- calls --------------------------------------------------------------------------------------------------------

    def _visit_Call(self, node: ast.Call) -> Type:
        function = node.func
        if isinstance(function, ast.Name):
            return self._call_function(function, node)
        if isinstance(function, ast.Attribute):
            if isinstance(function.value, ast.Name) and function.value.id == self.checked.store_name:
                return self._call_store(function, node)
            return self._call_view(function, node)
        return self._error(function, "call", "only functions of the language and methods can be called")

    def _call_function(self, function: ast.Name, node: ast.Call) -> Type:
        handler = self._functions.get(function.id)
        if handler is None or function.id in self.locals:
            for argument in node.args:
                self.expression(argument)
            if function.id == "range":
                return self._error(node, "call", "`range` stands behind `in` of a `for` only")
            return self._error(function, "unknown-function", f"there is no function `{function.id}`",
                               f"there are {', '.join(sorted(FUNCTION_NAMES))}")  # fmt: skip
        if node.keywords:
            self._error(node.keywords[0].value, "call", f"`{function.id}` takes no keyword arguments")
        return handler(node)

    def _call_len(self, node: ast.Call) -> Type:
        if self._argument_count(node, 1):
            kind = self.expression(node.args[0])
            if kind != INVALID and not is_view(kind):
                self._error(node.args[0], "type", f"`len` is of bytes, and this is {kind}")
        return NAT

    def _call_abs(self, node: ast.Call) -> Type:
        if self._argument_count(node, 1):
            return U64 if self.integer(node.args[0], "`abs`'s argument") == U64 else NAT
        return INVALID

    def _call_extreme(self, node: ast.Call) -> Type:
        assert isinstance(node.func, ast.Name)
        if len(node.args) < 2:
            return self._error(node, "call", f"`{node.func.id}` takes two or more integers")
        joined: Type = INVALID
        for argument in node.args:
            kind = self.integer(argument, f"an argument of `{node.func.id}`")
            both = join(joined, kind)
            if both is None:
                return self._error(argument, "mixed-signs", f"`{node.func.id}` of {joined} and {kind}",
                                   "convert one side: u64(…) or i64(…) checks that the value fits")  # fmt: skip
            joined = both
        return joined

    def _call_convert(self, node: ast.Call) -> Type:
        assert isinstance(node.func, ast.Name)
        if not self._argument_count(node, 1):
            return INVALID
        kind = self.integer(node.args[0], f"`{node.func.id}`'s argument")
        return {"u64": U64, "i64": I64}.get(node.func.id, kind)

    def _call_bool(self, node: ast.Call) -> Type:
        if self._argument_count(node, 1):
            self.condition(node.args[0])
        return BOOL

    def _call_store(self, function: ast.Attribute, node: ast.Call) -> Type:
        if function.attr not in STORE_METHODS:
            for argument in node.args:
                self.expression(argument)
            return self._error(function, "unknown-method", f"the store has no method `{function.attr}`",
                               f"it has {', '.join(sorted(STORE_METHODS))}")  # fmt: skip
        names, result = STORE_METHODS[function.attr]
        arguments = self.bind(node, names)
        for name, argument in (arguments or {}).items():
            if name == "table":
                self._table(argument)
            else:
                self._key_or_value(name, argument)
        return result

    def _table(self, node: ast.expr) -> None:
        self.integer(node, "a table")
        value = self.constant(node)
        if isinstance(value, int) and not 0 <= value < TABLES_MAX:
            self._error(node, "table", f"table {value} is out of range", f"tables are 0 to {TABLES_MAX - 1}")

    def _key_or_value(self, name: str, node: ast.expr) -> None:
        kind = self.expression(node)
        if kind == NONE or not (is_view(kind) or is_integer(kind) or kind == INVALID):
            self._error(node, "type", f"a {name} is an integer (8 bytes, little-endian) or bytes, and this is {kind}")
        value = self.constant(node)
        if name == "key" and isinstance(value, bytes) and not 1 <= len(value) <= KEY_BYTES_MAX:
            self._error(node, "key", f"a key has 1 to {KEY_BYTES_MAX} bytes, and this one {len(value)}")

    def _call_view(self, function: ast.Attribute, node: ast.Call) -> Type:
        kind = self.expression(function.value)
        for argument in node.args:
            self.integer(argument, "an offset")
        if kind == INVALID:
            return INVALID
        if not is_view(kind):
            return self._error(function, "unknown-method", f"{kind} has no method `{function.attr}`")
        if function.attr not in READS:
            return self._error(function, "unknown-method", f"bytes have no method `{function.attr}` here",
                               f"there are {', '.join(READS)}, indices and slices")  # fmt: skip
        if node.keywords:
            self._error(node.keywords[0].value, "call", f"`{function.attr}` takes an offset without a name")
        self._argument_count(node, 1)
        return READS[function.attr][2]

    # --- helpers ------------------------------------------------------------------------------------------------------

    def bind(self, node: ast.Call, names: tuple[str, ...]) -> dict[str, ast.expr] | None:
        """Arguments of a call by parameter name; None (and a finding) when they do not fit."""
        arguments = dict(zip(names, node.args, strict=False))
        problem = f"{len(node.args)} arguments for {len(names)} parameters" if len(node.args) > len(names) else ""
        for keyword in node.keywords:
            if keyword.arg not in names:
                problem = problem or f"there is no parameter `{keyword.arg}`"
            elif keyword.arg in arguments:
                problem = problem or f"argument `{keyword.arg}` is given twice"
            else:
                arguments[keyword.arg] = keyword.value
        missing = [name for name in names if name not in arguments]
        if missing and not problem:
            problem = f"argument `{missing[0]}` is missing"
        if problem:
            for value in (*node.args, *(keyword.value for keyword in node.keywords)):
                self.expression(value)
            self._error(node, "call", problem, f"the parameters are {', '.join(names)}")
            return None
        return arguments

    def _argument_count(self, node: ast.Call, count: int) -> bool:
        if len(node.args) == count and not any(isinstance(argument, ast.Starred) for argument in node.args):
            return True
        self._error(node, "call", f"{len(node.args)} arguments in place of {count}")
        return False

    def _unsupported(self, node: ast.expr) -> Type:
        if isinstance(node, ast.Yield):
            return self._error(node, "yield", "`yield` is a statement of its own, without a value")
        if isinstance(node, ast.Attribute):
            return self._error(node, "attribute", f"attribute `{node.attr}` cannot be used",
                               "only methods of the store and of bytes can be called")  # fmt: skip
        what, hint = _UNSUPPORTED.get(type(node).__name__, ("this expression", ""))
        return self._error(node, "unsupported", f"{what} is not part of the language", hint)

    def _integer_hint(self, kind: Type) -> str:
        return "read an integer from it: .u64(offset)" if is_view(kind) else ""

    def _error(self, node: ast.AST, rule: str, message: str, hint: str = "") -> Type:
        self.findings.add(node, rule, message, hint)
        return INVALID
