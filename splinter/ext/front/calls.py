"""Second stage, calls: functions of the language and of the module, methods of the store, of bytes and of buffers."""

from __future__ import annotations

import ast
from collections.abc import Callable

from splinter.ext.front.checked import Checked, ConstantValue
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.expressions import FLOAT_HINT, MIXED_HINT, ExpressionChecker
from splinter.ext.front.names import (
    BIT_FUNCTIONS,
    CONVERSIONS,
    DIGESTS,
    FLOAT_FUNCTIONS,
    FUNCTION_NAMES,
    MEMORY_FUNCTIONS,
)
from splinter.ext.helpers import METHODS, MULTIGET
from splinter.ext.lifetimes import BAD_TTL, ttl_ns
from splinter.ext.types import (
    BIG_ENDIAN,
    BOOL,
    BUFFER,
    BYTES,
    ELEMENTS,
    F64,
    I64,
    INVALID,
    NAT,
    NONE,
    OPTIONAL_BYTES,
    U64,
    ArrayType,
    Element,
    Type,
    array_type,
    converts,
    is_bytes,
    is_integer,
    is_number,
    join,
)
from splinter.limits import FRAME_BYTES, KEY_BYTES_MAX, TABLES_MAX

READS: dict[str, Element] = {**ELEMENTS, **BIG_ENDIAN}
APPENDS: dict[str, Element] = {f"append_{name}": element for name, element in READS.items()}
SETS: dict[str, Element] = {f"set_{name}": element for name, element in READS.items()}


class CallChecker(ExpressionChecker):
    """Types expressions with calls."""

    def __init__(self, checked: Checked, constants: dict[str, ConstantValue], findings: Findings) -> None:
        super().__init__(checked, constants, findings)
        self._functions: dict[str, Callable[[ast.Call], Type]] = {
            "len": self._call_len, "abs": self._call_abs, "min": self._call_extreme, "max": self._call_extreme,
            "bool": self._call_bool, **dict.fromkeys(FLOAT_FUNCTIONS, self._call_float),
            **dict.fromkeys(DIGESTS, self._call_digest),
            **dict.fromkeys(CONVERSIONS, self._call_convert), **dict.fromkeys(BIT_FUNCTIONS, self._call_bits),
        }  # fmt: skip

    def _visit_Call(self, node: ast.Call) -> Type:
        function = node.func
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                self.error(argument, "call", "arguments are written one by one")
        if isinstance(function, ast.Name):
            return self._call_function(function, node)
        if isinstance(function, ast.Attribute):
            if isinstance(function.value, ast.Name) and function.value.id == self.checked.store_name:
                return self._call_store(function, node)
            return self._call_method(function, node)
        return self.error(function, "call", "only functions of the language and methods can be called")

    # --- functions ----------------------------------------------------------------------------------------------------

    def _call_function(self, function: ast.Name, node: ast.Call) -> Type:
        name = function.id
        if name in self.checked.helpers and name not in self.locals and name != self.checked.store_name:
            return self._call_helper(self.checked.helpers[name], node)
        if name in MEMORY_FUNCTIONS and name not in self.locals:
            return self.error(node, "memory", f"`{name}` makes a variable of its own",
                              f"write `name = {name}(…)` as a statement")  # fmt: skip
        handler = self._functions.get(name)
        if handler is None or name in self.locals:
            self._all_arguments(node)
            if name == "range":
                return self.error(node, "call", "`range` stands behind `in` of a `for` only")
            return self.error(function, "unknown-function", f"there is no function `{name}`",
                              f"there are {', '.join(sorted(FUNCTION_NAMES))}")  # fmt: skip
        if node.keywords:
            self.error(node.keywords[0].value, "call", f"`{name}` takes no keyword arguments")
        return handler(node)

    def memory(self, node: ast.Call) -> Type:
        """Type of ``array(element, length)`` or ``buffer(capacity)``, where it is allowed to stand."""
        assert isinstance(node.func, ast.Name)
        is_array = node.func.id == "array"
        if not self._argument_count(node, 2 if is_array else 1) or node.keywords:
            return INVALID
        length = self.constant(node.args[-1])
        if not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= FRAME_BYTES:
            self.error(node.args[-1], "memory", "the length is a constant integer, 1 or more",
                       f"all arrays and buffers together have less than {FRAME_BYTES} bytes")  # fmt: skip
        if not is_array:
            return BUFFER
        element = node.args[0]
        if isinstance(element, ast.Name) and element.id in ELEMENTS:
            return array_type(ELEMENTS[element.id])
        return self.error(element, "memory", "not a type of elements", f"they are {', '.join(ELEMENTS)}")

    def _call_len(self, node: ast.Call) -> Type:
        if self._argument_count(node, 1):
            kind = self.expression(node.args[0])
            if kind != INVALID and not is_bytes(kind) and not isinstance(kind, ArrayType):
                self.error(node.args[0], "type", f"`len` is of bytes or an array, and this is {kind}")
        return NAT

    def _call_abs(self, node: ast.Call) -> Type:
        if not self._argument_count(node, 1):
            return INVALID
        kind = self.expression(node.args[0])
        if kind == F64:
            return F64
        kind = self.as_integer(node.args[0], kind, "`abs`'s argument")
        return kind if kind in (U64, INVALID) else NAT

    def _call_extreme(self, node: ast.Call) -> Type:
        assert isinstance(node.func, ast.Name)
        if len(node.args) < 2:
            self._all_arguments(node)
            return self.error(node, "call", f"`{node.func.id}` takes two or more numbers")
        joined: Type = INVALID
        for argument in node.args:
            kind = self.expression(argument)
            if kind != F64:
                kind = self.as_integer(argument, kind, f"an argument of `{node.func.id}`")
            both = join(joined, kind)
            if both is None:
                hint = FLOAT_HINT if F64 in (joined, kind) else MIXED_HINT
                return self.error(argument, "mixed-signs", f"`{node.func.id}` of {joined} and {kind}", hint)
            joined = both
        return joined

    def _call_convert(self, node: ast.Call) -> Type:
        assert isinstance(node.func, ast.Name)
        if not self._argument_count(node, 1):
            return INVALID
        name = node.func.id
        kind = self.expression(node.args[0])
        if not is_number(kind):
            kind = self.as_integer(node.args[0], kind, f"`{name}`'s argument")
        if name == "int":
            return I64 if kind == F64 else kind
        return ELEMENTS[name].value

    def _call_bool(self, node: ast.Call) -> Type:
        if self._argument_count(node, 1):
            self.condition(node.args[0])
        return BOOL

    def _call_float(self, node: ast.Call) -> Type:
        assert isinstance(node.func, ast.Name)
        if self._argument_count(node, 1):
            kind = self.expression(node.args[0])
            if kind not in (F64, INVALID):
                self.error(node.args[0], "type", f"`{node.func.id}` is of an f64, and this is {kind}", "f64(…)")
        return F64

    def _call_digest(self, node: ast.Call) -> Type:
        assert isinstance(node.func, ast.Name)
        if self._argument_count(node, 1):
            self._bytes(node.args[0], f"`{node.func.id}` is of bytes")
        return NAT if node.func.id == "crc32" else U64

    def _bytes(self, node: ast.expr, what: str) -> None:
        """Check an expression that must be bytes."""
        kind = self.expression(node)
        if kind != INVALID and not is_bytes(kind):
            self.error(node, "type", f"{what}, and this is {kind}")

    def _call_bits(self, node: ast.Call) -> Type:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if self._argument_count(node, 2 if name.startswith("rotl") else 1):
            for argument in node.args:
                if self.integer(argument, f"an argument of `{name}`") == I64:
                    self.error(argument, "mixed-signs", f"`{name}` is of an unsigned integer, and this is i64", "u64(…)")
        return U64 if name == "rotl64" else NAT

    def _call_helper(self, helper: Checked, node: ast.Call) -> Type:
        names = ((helper.store_name,) if helper.store_name else ()) + tuple(helper.parameters)
        for name, argument in (self.bind(node, names) or {}).items():
            if name == helper.store_name:
                if not (isinstance(argument, ast.Name) and argument.id == self.checked.store_name):
                    self.error(argument, "store", f"`{name}` is the store", f"write {self.checked.store_name or 'db'}")
                continue
            kind, wanted = self.expression(argument), helper.parameters[name]
            if not converts(kind, wanted):
                self.error(argument, "type", f"parameter `{name}` is {wanted}, and this is {kind}")
        return helper.result

    # --- what `for` goes over -----------------------------------------------------------------------------------------

    def records(self, node: ast.Call) -> Type | None:
        """Type of the elements of ``view.records(size)`` or ``db.multiget(table, keys, size)``; None for other calls."""
        function = node.func
        if not isinstance(function, ast.Attribute) or function.attr not in ("records", "multiget"):
            return None
        if isinstance(function.value, ast.Name) and function.value.id == self.checked.store_name:
            if function.attr != "multiget":
                return None
            arguments = self.bind(node, MULTIGET) or {}
            for name, argument in arguments.items():
                if name == "table":
                    self._table(argument)
                elif name == "keys":
                    self._bytes(argument, "the keys are bytes, one key behind the other")
                else:
                    self._size(argument)
            return OPTIONAL_BYTES
        if function.attr != "records":
            return None
        self._bytes(function.value, "only bytes have records")
        if node.keywords:
            self.error(node.keywords[0].value, "call", "`records` takes no keyword arguments")
        if self._argument_count(node, 1):
            self._size(node.args[0])
        return BYTES

    def _size(self, node: ast.expr) -> None:
        kind = self.integer(node, "a record's size")
        value = self.constant(node)
        if kind != INVALID and isinstance(value, int) and value < 1:
            self.error(node, "call", "a record has at least one byte")

    # --- the store ----------------------------------------------------------------------------------------------------

    def _call_store(self, function: ast.Attribute, node: ast.Call) -> Type:
        method = METHODS.get(function.attr)
        if method is None:
            self._all_arguments(node)
            if function.attr == "multiget":
                return self.error(node, "call", "`multiget` stands behind `in` of a `for` only")
            return self.error(function, "unknown-method", f"the store has no method `{function.attr}`",
                              f"it has {', '.join(sorted(METHODS))}")  # fmt: skip
        for name, argument in (self.bind(node, method.parameters, method.optional) or {}).items():
            if name == "table":
                self._table(argument)
            elif name == "version":
                self.integer(argument, "a version")
            elif name == "n":
                self.integer(argument, "what is added")
            elif name == "ttl":
                self._ttl(argument)
            elif name == "text":
                self._bytes(argument, "a log entry is bytes")
            else:
                self._key_or_value(name, argument)
        return method.result

    def _table(self, node: ast.expr) -> None:
        kind = self.integer(node, "a table")
        value = self.constant(node)
        if kind != INVALID and isinstance(value, int) and not 0 <= value < TABLES_MAX:
            self.error(node, "table", f"table {value} is out of range", f"tables are 0 to {TABLES_MAX - 1}")

    def _ttl(self, node: ast.expr) -> None:
        kind, value = self.expression(node), self.constant(node)
        if kind != INVALID and not is_number(kind):
            self.error(node, "type", f"a ttl is a number of seconds, and this is {kind}")
        elif isinstance(value, int | float) and not ttl_ns(value):
            self.error(node, "ttl", f"{BAD_TTL}, and this is {value} s",
                       "without a ttl an object lives for ever; persist(table, key) has it do so again")  # fmt: skip

    def _key_or_value(self, name: str, node: ast.expr) -> None:
        kind = self.expression(node)
        if not (is_bytes(kind) or is_integer(kind) or kind == INVALID):
            self.error(node, "type", f"a {name} is an integer (8 bytes, little-endian) or bytes, and this is {kind}")
        value = self.constant(node)
        if name == "key" and isinstance(value, bytes) and not 1 <= len(value) <= KEY_BYTES_MAX:
            self.error(node, "key", f"a key has 1 to {KEY_BYTES_MAX} bytes, and this one {len(value)}")

    # --- bytes and buffers --------------------------------------------------------------------------------------------

    def _call_method(self, function: ast.Attribute, node: ast.Call) -> Type:
        kind = self.expression(function.value)
        name = function.attr
        if kind == INVALID or not is_bytes(kind):
            self._all_arguments(node)
            return kind if kind == INVALID else self.error(function, "unknown-method", f"{kind} has no method `{name}`")
        if node.keywords:
            self.error(node.keywords[0].value, "call", f"`{name}` takes no keyword arguments")
        if name in READS:
            if self._argument_count(node, 1):
                self.integer(node.args[0], "an offset")
            return READS[name].value
        if name == "records":
            self._all_arguments(node)
            return self.error(node, "call", "`records` stands behind `in` of a `for` only")
        if kind == BUFFER:
            return self._call_buffer(function, node)
        self._all_arguments(node)
        return self.error(function, "unknown-method", f"bytes have no method `{name}` here",
                          f"there are {', '.join(READS)}, indices and slices")  # fmt: skip

    def _call_buffer(self, function: ast.Attribute, node: ast.Call) -> Type:
        name = function.attr
        if name == "clear":
            self._argument_count(node, 0)
        elif name == "append":
            if self._argument_count(node, 1):
                kind = self.expression(node.args[0])
                if kind != INVALID and not is_bytes(kind):
                    self.error(node.args[0], "type", f"`append` takes bytes, and this is {kind}", "append_u64(…)")
        elif name in APPENDS:
            if self._argument_count(node, 1):
                self._element(APPENDS[name], node.args[0])
        elif name in SETS:
            if self._argument_count(node, 2):
                self.integer(node.args[0], "an offset")
                self._element(SETS[name], node.args[1])
        else:
            self._all_arguments(node)
            return self.error(function, "unknown-method", f"a buffer has no method `{name}`",
                              "there are append, append_u64 …, set_u64 …, clear, and those of bytes")  # fmt: skip
        return NONE

    def _element(self, element: Element, node: ast.expr) -> None:
        """Check a number that is stored."""
        kind = self.expression(node)
        if element.value == F64:
            if kind not in (F64, INVALID) and not self._is_float(node, kind):
                self.error(node, "type", f"{element.name} takes an f64, and this is {kind}", "f64(…)")
        else:
            self.as_integer(node, kind, f"what is stored as {element.name}")

    # --- arguments ----------------------------------------------------------------------------------------------------

    def bind(self, node: ast.Call, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, ast.expr] | None:
        """Arguments of a call by parameter name; None (and a finding) when they do not fit."""
        names = required + optional
        arguments = dict(zip(names, node.args, strict=False))
        problem = f"{len(node.args)} arguments for {len(names)} parameters" if len(node.args) > len(names) else ""
        for keyword in node.keywords:
            if keyword.arg not in names:
                problem = problem or f"there is no parameter `{keyword.arg or '**'}`"
            elif keyword.arg in arguments:
                problem = problem or f"argument `{keyword.arg}` is given twice"
            else:
                arguments[keyword.arg] = keyword.value
        missing = [name for name in required if name not in arguments]
        if missing and not problem:
            problem = f"argument `{missing[0]}` is missing"
        if problem:
            self._all_arguments(node)
            self.error(node, "call", problem, f"the parameters are {', '.join(names)}" if names else "there are none")
            return None
        return arguments

    def _argument_count(self, node: ast.Call, count: int) -> bool:
        if len(node.args) == count:
            return True
        self._all_arguments(node)
        self.error(node, "call", f"{len(node.args)} arguments in place of {count}")
        return False

    def _all_arguments(self, node: ast.Call) -> None:
        """Check arguments of a call that is wrong anyway."""
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if not (isinstance(argument, ast.Name) and argument.id == self.checked.store_name):
                self.expression(argument.value if isinstance(argument, ast.Starred) else argument)
