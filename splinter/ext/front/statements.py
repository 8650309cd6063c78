"""Second stage, statements: the types of variables, and everything that is wrong with a function.

Types of variables are inferred: the type of a variable is the smallest that holds everything assigned to it. Assignments
depend on one another through loops, so a body is gone through (silently) until no type changes, and once more if there is
something to report. Two analyses run along: which variables certainly have a value, and whether the end of the function can
be reached.
"""

from __future__ import annotations

import ast

from splinter.ext.front.annotations import variable_type
from splinter.ext.front.calls import CallChecker
from splinter.ext.front.checked import Checked, ConstantValue
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.names import MEMORY_FUNCTIONS, RESERVED_NAMES
from splinter.ext.front.parse import STATEMENT_NAMES
from splinter.ext.front.walk import walk
from splinter.ext.types import (
    BUFFER,
    I64,
    INVALID,
    NAT,
    NONE,
    PARAMETER_TYPES,
    U64,
    ArrayType,
    TupleType,
    Type,
    converts,
    is_integer,
    is_memory,
    join,
)
from splinter.limits import LOOP_DEPTH_MAX

INFERENCE_ROUNDS_MAX = 32
_Flow = frozenset[str] | None  # variables that certainly have a value; None: never reached


def _merge(left: _Flow, right: _Flow) -> _Flow:
    if left is None or right is None:
        return right if left is None else left
    return left & right


class FunctionChecker:
    """Statements of one function."""

    def __init__(self, checked: Checked, constants: dict[str, ConstantValue], findings: Findings) -> None:
        self.checked = checked
        self.findings = findings
        self.expressions = CallChecker(checked, constants, findings)
        self.declared: dict[str, Type] = dict(checked.parameters)
        self.inferred: dict[str, Type] = {}
        self.loops: list[list[_Flow]] = []  # for each loop around: the states at its breaks
        self._collect_names()

    def run(self) -> None:
        self.findings.muted = True
        for _ in range(INFERENCE_ROUNDS_MAX):
            before, unheard = dict(self.inferred), self.findings.unheard
            self._round()
            if self.inferred == before:
                break
        else:
            self._complain_of_types()
            return
        self.findings.muted = False
        if self.findings.unheard > unheard:
            self._round()
        self.checked.variables = {**self.inferred, **self.declared}

    def _complain_of_types(self) -> None:
        """Types go in circles because of an error: with a value it is one, and without the value the type that leads to it."""
        self.findings.muted = False
        complaints = len(self.findings.diagnostics)
        for _ in range(INFERENCE_ROUNDS_MAX):
            self._round()
            if len(self.findings.diagnostics) > complaints:
                return
        self.findings.add(self.checked.function, "inference", "the types of the variables cannot be inferred",
                          "declare some: `x: u64 = 0`")  # fmt: skip

    # --- variables ----------------------------------------------------------------------------------------------------

    def _collect_names(self) -> None:
        names = set(self.checked.parameters)
        for node in walk(self.checked.function):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
                self.checked.assigned.add(node.id)
                if node.id in RESERVED_NAMES or node.id in self.checked.helpers:
                    self.findings.add(node, "reserved-name", f"`{node.id}` has another meaning")
                elif node.id == self.checked.store_name:
                    self.findings.add(node, "store", f"`{node.id}` is the store and stays so")
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self._declare(node, node.target)
        self.expressions.locals = frozenset(names - {self.checked.store_name})

    def _declare(self, node: ast.AnnAssign, target: ast.Name) -> None:
        kind = variable_type(node.annotation)
        if kind is None:
            self.findings.add(node.annotation, "type", "not a type of the language",
                              f"the types are {', '.join(PARAMETER_TYPES)}")  # fmt: skip
        elif self.declared.get(target.id, kind) != kind:
            self.findings.add(node, "type", f"`{target.id}` is already declared as {self.declared[target.id]}")
        self.declared.setdefault(target.id, kind or INVALID)

    def _round(self) -> None:
        known = self.inferred
        self.inferred = {}
        self.expressions.forget()
        # Reads see the last round's types; in the first round, what this one has found so far.
        self.expressions.variables = {**known, **self.declared}
        self.expressions.assigned = frozenset(self.checked.parameters)
        self._is_first = not known
        self._block(self.checked.function.body)
        if self.expressions.assigned is not None and self.checked.result not in (NONE, INVALID):
            last = self.checked.function.body[-1]
            self.findings.add(last, "missing-return", "the function can end here without a result",
                              f"return a value of type {self.checked.result} on every way")  # fmt: skip

    def _assign(self, target: ast.expr, kind: Type, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            self._take_apart(target, kind, value)
        elif isinstance(target, ast.Subscript):
            self._assign_element(target, kind, value)
        elif not isinstance(target, ast.Name):
            self.findings.add(target, "assignment", "this cannot be assigned to", "assign to a variable or an element")
        elif is_memory(kind):
            self.findings.add(value, "memory", f"a variable of type {kind} keeps its name",
                              "use the first name, or copy its elements")  # fmt: skip
        else:
            self._assign_variable(target.id, kind, value)

    def _assign_variable(self, name: str, kind: Type, value: ast.expr) -> None:
        if isinstance(kind, TupleType):
            self.findings.add(value, "type", f"this gives {len(kind.elements)} values", "write `a, b = …`")
            kind = INVALID
        if name in self.declared:
            if is_memory(self.declared[name]):
                self.findings.add(value, "memory", f"`{name}` stays the {self.declared[name]} that was given")
            elif not converts(kind, self.declared[name]):
                self.findings.add(value, "type", f"{kind} does not fit `{name}`, which is {self.declared[name]}")
        else:
            joined = join(self.inferred.get(name, INVALID), kind)
            if joined is None:
                before = self.inferred[name]
                hint = f"convert the value with u64(…) or i64(…), or declare the variable: `{name}: u64 = …`"
                self.findings.add(value, "type", f"`{name}` is {before} elsewhere, and this is {kind}",
                                  hint if is_integer(before) and is_integer(kind) else "use another variable")  # fmt: skip
                joined = before
            self.inferred[name] = joined
            if self._is_first:
                self.expressions.variables[name] = joined
        if self.expressions.assigned is not None:
            self.expressions.assigned |= {name}

    def _take_apart(self, target: ast.Tuple, kind: Type, value: ast.expr) -> None:
        if isinstance(kind, TupleType) and len(kind.elements) == len(target.elts):
            parts = kind.elements
        else:
            if kind != INVALID:
                self.findings.add(value, "type", f"{len(target.elts)} values are wanted, and this is {kind}")
            parts = (INVALID,) * len(target.elts)
        values = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(parts) else [value] * len(parts)
        for element, part, part_value in zip(target.elts, parts, values, strict=True):
            if isinstance(element, ast.Name):
                self._assign_variable(element.id, part, part_value)
            else:
                self.findings.add(element, "assignment", "only variables can stand here")

    def _assign_element(self, target: ast.Subscript, kind: Type, value: ast.expr) -> None:
        array = self.expressions.expression(target.value)
        if isinstance(target.slice, ast.Slice):
            self.findings.add(target, "assignment", "a slice cannot be assigned to")
            return
        self.expressions.integer(target.slice, "an index")
        if not isinstance(array, ArrayType) or array.is_constant:
            if array != INVALID:
                what = "a table of constants" if isinstance(array, ArrayType) else str(array)
                self.findings.add(target, "assignment", f"elements of {what} cannot be assigned to",
                                  "use set_u8(offset, value)" if array == BUFFER else "use an array")  # fmt: skip
        elif not converts(kind, array.element.value):
            self.findings.add(value, "type", f"an element is {array.element.name}, and this is {kind}")

    # --- statements ---------------------------------------------------------------------------------------------------

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            visitor = getattr(self, f"_visit_{type(statement).__name__}", None)
            if visitor is None:
                what = STATEMENT_NAMES.get(type(statement).__name__, "this statement")
                self.findings.add(statement, "unsupported", f"{what} is not part of the language")
            else:
                visitor(statement)

    def _visit_Pass(self, node: ast.Pass) -> None:
        pass

    def _visit_Expr(self, node: ast.Expr) -> None:
        value = node.value
        if isinstance(value, ast.Yield) and value.value is None:
            if self.checked.is_helper:
                self.findings.add(value, "yield", "a helper function cannot yield",
                                  "leave it out: the compiler yields in every loop by itself")  # fmt: skip
            return
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return  # a docstring or a comment
        self.expressions.expression(value)
        if not isinstance(value, ast.Call | ast.Yield | ast.Await | ast.YieldFrom):
            self.findings.add(value, "no-effect", "this expression has no effect", "assign it, or remove it")

    def _visit_Assign(self, node: ast.Assign) -> None:
        if self._is_memory_call(node.value):
            self._assign_memory(node)
            return
        kind = self.expressions.results(node.value)
        for target in node.targets:
            self._assign(target, kind, node.value)

    def _is_memory_call(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MEMORY_FUNCTIONS

    def _assign_memory(self, node: ast.Assign) -> None:
        """``name = array(…)`` or ``name = buffer(…)``: one place in the frame, bound to one name for good."""
        assert isinstance(node.value, ast.Call)
        kind = self.checked.types[node.value] = self.expressions.memory(node.value)
        target = node.targets[0]
        if len(node.targets) > 1 or not isinstance(target, ast.Name):
            self.findings.add(target, "memory", "an array or buffer is given one name")
            return
        if self.loops:
            self.findings.add(node, "memory", "arrays and buffers are made outside of loops",
                              f"make `{target.id}` in front of the loop")  # fmt: skip
        if kind == BUFFER and self.checked.is_helper:
            self.findings.add(node, "memory", "a helper function makes no buffers",
                              "give it one: a parameter of type Buffer")  # fmt: skip
        if target.id in self.inferred or target.id in self.declared:
            self.findings.add(target, "memory", f"`{target.id}` is already something else", "use another name")
        self._assign_variable(target.id, kind, node.value)

    def _visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if not isinstance(node.target, ast.Name):
            self.findings.add(node.target, "assignment", "only a variable can be declared", "write `x: u64 = …`")
        if node.value is None or not isinstance(node.target, ast.Name):
            return
        if self._is_memory_call(node.value):
            self.findings.add(node, "memory", "an array or buffer is not declared", "write `name = array(u64, 8)`")
            return
        self._assign(node.target, self.expressions.expression(node.value), node.value)

    def _visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Subscript):
            self._assign(node.target, self.expressions.expression(node.value), node.value)
        else:
            self.findings.add(node.target, "assignment", "only variables and elements can be changed in place")

    def _visit_Assert(self, node: ast.Assert) -> None:
        self.expressions.condition(node.test)
        if node.msg is not None and not (isinstance(node.msg, ast.Constant) and isinstance(node.msg.value, str)):
            self.findings.add(node.msg, "unsupported", "an assertion's message is a literal text")

    def _visit_Raise(self, node: ast.Raise) -> None:
        call = node.exc
        if node.cause is not None or not (
            isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Error"
            and len(call.args) == 1 and not call.keywords
        ):  # fmt: skip
            self.findings.add(node, "raise", "only `raise Error(code)` is possible", "the code is an integer of yours")
        else:
            self.expressions.integer(call.args[0], "an error's code")
        self.expressions.assigned = None

    def _visit_Return(self, node: ast.Return) -> None:
        result = self.checked.result
        kind = self.expressions.results(node.value) if node.value is not None else NONE
        if not converts(kind, result):
            self.findings.add(node.value or node, "type", f"the result is declared {result}, and this is {kind}")
        self.expressions.assigned = None

    def _visit_If(self, node: ast.If) -> None:
        self.expressions.condition(node.test)
        before = self.expressions.assigned
        self._block(node.body)
        after_body = self.expressions.assigned
        self.expressions.assigned = before
        self._block(node.orelse)
        self.expressions.assigned = _merge(after_body, self.expressions.assigned)

    def _visit_While(self, node: ast.While) -> None:
        self.expressions.condition(node.test)
        is_endless = bool(self.expressions.constant(node.test))
        self._loop(node, None if is_endless else self.expressions.assigned)

    def _visit_For(self, node: ast.For) -> None:
        kind = self.expressions.records(node.iter) if isinstance(node.iter, ast.Call) else None
        if kind is None:
            kind = self._range(node.iter)
        self.checked.types[node.iter] = kind
        before = self.expressions.assigned
        if isinstance(node.target, ast.Name):
            self._assign_variable(node.target.id, kind, node.iter)
        else:
            self.findings.add(node.target, "for", "the loop's variable is a name")
        self._loop(node, before)

    def _loop(self, node: ast.While | ast.For, after: _Flow) -> None:
        """Check a loop's body; ``after`` is the state when the loop ends by itself."""
        if len(self.loops) == LOOP_DEPTH_MAX:
            self.findings.add(node, "nesting", f"loops are nested more than {LOOP_DEPTH_MAX} deep",
                              "put the inner ones into a helper function")  # fmt: skip
        self.loops.append([])
        self._block(node.body)
        for state in self.loops.pop():
            after = _merge(after, state)
        self.expressions.assigned = after
        if node.orelse:
            self.findings.add(node.orelse[0], "unsupported", "`else` of a loop is not part of the language")

    def _range(self, node: ast.expr) -> Type:
        """Type of a loop's variable."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"):
            self.expressions.expression(node)
            self.findings.add(node, "for", "`for` goes over a range, records or multiget only",
                              "write `for i in range(n):` or `for record in bytes.records(16):`")  # fmt: skip
            return INVALID
        if not 1 <= len(node.args) <= 3 or node.keywords:
            self.findings.add(node, "call", "`range` takes one to three integers")
            return INVALID
        kinds = [self.expressions.integer(argument, "a bound of `range`") for argument in node.args]
        start, stop = (kinds[0], kinds[1]) if len(kinds) > 1 else (NAT, kinds[0])
        step = self.expressions.constant(node.args[2]) if len(kinds) > 2 else 1
        if not isinstance(step, int) or step == 0:
            self.findings.add(node.args[2], "call", "`range`'s step is a constant integer other than 0")
            return INVALID
        if INVALID in (start, stop):
            return INVALID
        if {start, stop} == {I64, U64}:
            self.findings.add(node, "mixed-signs", f"`range` from {start} to {stop}",
                              "convert one bound: u64(…) or i64(…) checks that the value fits")  # fmt: skip
            return INVALID
        if step > 0:  # values are at least start, and below stop
            return start if start != NAT or stop == I64 else stop
        return I64 if I64 in (start, stop) else start

    def _visit_Break(self, node: ast.Break) -> None:
        if self._is_in_loop(node):
            self.loops[-1].append(self.expressions.assigned)
        self.expressions.assigned = None

    def _visit_Continue(self, node: ast.Continue) -> None:
        self._is_in_loop(node)
        self.expressions.assigned = None

    def _is_in_loop(self, node: ast.stmt) -> bool:
        if not self.loops:
            self.findings.add(node, "loop", f"`{type(node).__name__.lower()}` stands outside of a loop")
        return bool(self.loops)
