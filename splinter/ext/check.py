"""Second stage: accept a function or say everything that is wrong with it.

Types of variables are inferred: the type of a variable is the smallest that holds everything assigned to it. Assignments
depend on one another through loops, so the body is gone through (silently) until no type changes, and then once more to
report. Two analyses run along: which variables certainly have a value, and whether the end of the function can be reached.
"""

from __future__ import annotations

import ast

from splinter.ext.checked import Checked, ConstantValue
from splinter.ext.diagnostics import Findings
from splinter.ext.expressions import RESERVED_NAMES, ExpressionChecker
from splinter.ext.parse import STATEMENT_NAMES, Module
from splinter.ext.signature import Signature
from splinter.ext.types import (
    I64,
    INVALID,
    NAT,
    NONE,
    PARAMETER_TYPES,
    RESULT_TYPES,
    STORE,
    U64,
    Type,
    converts,
    is_integer,
    join,
)  # fmt: skip
from splinter.limits import EXTENSION_NAME_BYTES_MAX, EXTENSION_PARAMETERS_MAX

INFERENCE_ROUNDS_MAX = 32
_Flow = frozenset[str] | None  # variables that certainly have a value; None: never reached


def _merge(left: _Flow, right: _Flow) -> _Flow:
    if left is None or right is None:
        return right if left is None else left
    return left & right


def check(module: Module, name: str | None, findings: Findings) -> Checked:
    """Check the module's extension, to be installed as ``name``; raises :class:`CompileError` with every finding."""
    checked = _signature(module.extension, name, findings)
    constants = _constants(module, checked, findings)
    _FunctionChecker(checked, constants, findings).run()
    findings.raise_if_any()
    return checked


def _signature(function: ast.FunctionDef, name: str | None, findings: Findings) -> Checked:
    arguments = function.args
    place = ast.copy_location(ast.Pass(), function)
    place.end_lineno, place.end_col_offset = function.lineno, function.col_offset + len(f"def {function.name}")
    for extra in (arguments.vararg, arguments.kwarg, *arguments.kwonlyargs, *arguments.posonlyargs):
        if extra is not None:
            findings.add(extra, "parameter", "parameters are plain: no `*`, no `**`, no `/`")
    for default in (*arguments.defaults, *arguments.kw_defaults):
        if default is not None:
            findings.add(default, "parameter", "parameters have no default values")
    store_name = ""
    if not arguments.args or _annotation(arguments.args[0].annotation) != STORE.name:
        where = arguments.args[0] if arguments.args else place
        findings.add(where, "parameter", "the first parameter must be the store", "write `db: Store`")
    else:
        store_name = arguments.args[0].arg
    parameters: dict[str, Type] = {}
    for argument in arguments.args[1:]:
        kind = PARAMETER_TYPES.get(_annotation(argument.annotation))
        if kind is None:
            findings.add(argument, "parameter", f"parameter `{argument.arg}` needs a type",
                         f"the types are {', '.join(PARAMETER_TYPES)}: write `{argument.arg}: u64`")  # fmt: skip
        if argument.arg in parameters or argument.arg == store_name:
            findings.add(argument, "parameter", f"there are two parameters `{argument.arg}`")
        if argument.arg in RESERVED_NAMES:
            findings.add(argument, "reserved-name", f"`{argument.arg}` has a meaning in the language")
        parameters[argument.arg] = kind or INVALID
    if len(parameters) > EXTENSION_PARAMETERS_MAX:
        findings.add(arguments.args[EXTENSION_PARAMETERS_MAX + 1], "parameter",
                     f"{len(parameters)} parameters; at most {EXTENSION_PARAMETERS_MAX} are possible")  # fmt: skip
        findings.raise_if_any()
    result = RESULT_TYPES.get(_annotation(function.returns))
    if result is None:
        findings.add(function.returns or place, "result", "the result needs a type",
                     f"write `-> u64:`; the types are {', '.join(RESULT_TYPES)}")  # fmt: skip
    installed = name or function.name
    if not 1 <= len(installed.encode("utf-8", "replace")) <= EXTENSION_NAME_BYTES_MAX:
        findings.add(place, "name", f"an extension's name has at most {EXTENSION_NAME_BYTES_MAX} bytes")
    if not store_name or result is None or INVALID in parameters.values():
        findings.raise_if_any()
    assert result is not None
    wire_parameters = tuple((parameter, kind.name) for parameter, kind in parameters.items())
    signature = Signature(installed, wire_parameters, result.name)
    return Checked(function, signature, store_name, parameters, result)


def _annotation(node: ast.expr | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return "None" if isinstance(node, ast.Constant) and node.value is None else ""


def _constants(module: Module, checked: Checked, findings: Findings) -> dict[str, ConstantValue]:
    values: dict[str, ConstantValue] = {}
    checker = ExpressionChecker(checked, values, findings)
    for name, node in module.constants.items():
        value = checker.constant(node)
        if name in RESERVED_NAMES:
            findings.add(node, "reserved-name", f"`{name}` has a meaning in the language")
        if value is None:
            findings.add(node, "constant", f"`{name}` is not an integer, bool or bytes constant",
                         "constants are made of literals, other constants and integer operators")  # fmt: skip
        else:
            checker.expression(node)
        values[name] = value if value is not None else 0
    return values


class _FunctionChecker:
    """Statements of one function."""

    def __init__(self, checked: Checked, constants: dict[str, ConstantValue], findings: Findings) -> None:
        self.checked = checked
        self.findings = findings
        self.expressions = ExpressionChecker(checked, constants, findings)
        self.declared: dict[str, Type] = dict(checked.parameters)
        self.inferred: dict[str, Type] = {}
        self.loops: list[list[_Flow]] = []  # for each loop around: the states at its breaks
        self._collect_names()

    def run(self) -> None:
        self.findings.muted = True
        for _ in range(INFERENCE_ROUNDS_MAX):
            before = dict(self.inferred)
            self._round()
            if self.inferred == before:
                break
        else:
            self.findings.muted = False
            self.findings.add(self.checked.function, "inference", "the types of the variables cannot be inferred",
                              "declare some: `x: u64 = 0`")  # fmt: skip
            return
        self.findings.muted = False
        self.expressions.forget()
        self._round()
        self.checked.variables = {**self.inferred, **self.declared}

    # --- variables ----------------------------------------------------------------------------------------------------

    def _collect_names(self) -> None:
        names = set(self.checked.parameters)
        for node in ast.walk(self.checked.function):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
                if node.id in RESERVED_NAMES:
                    self.findings.add(node, "reserved-name", f"`{node.id}` has a meaning in the language")
                elif node.id == self.checked.store_name:
                    self.findings.add(node, "store", f"`{node.id}` is the store and stays so")
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self._declare(node, node.target)
        self.expressions.locals = frozenset(names - {self.checked.store_name})

    def _declare(self, node: ast.AnnAssign, target: ast.Name) -> None:
        kind = PARAMETER_TYPES.get(_annotation(node.annotation))
        if kind is None:
            self.findings.add(node.annotation, "type", "not a type of the language",
                              f"the types are {', '.join(PARAMETER_TYPES)}")  # fmt: skip
        elif self.declared.get(target.id, kind) != kind:
            self.findings.add(node, "type", f"`{target.id}` is already declared as {self.declared[target.id]}")
        self.declared.setdefault(target.id, kind or INVALID)

    def _round(self) -> None:
        known = self.inferred
        self.inferred = {}
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
        if not isinstance(target, ast.Name):
            what = {"Tuple": "several variables", "Attribute": "an attribute", "Subscript": "an element"}
            described = what.get(type(target).__name__, "this")
            self.findings.add(target, "assignment", f"{described} cannot be assigned to", "assign to one variable")
            return
        name = target.id
        if name in self.declared:
            if not converts(kind, self.declared[name]):
                self.findings.add(value, "type", f"{kind} does not fit `{name}`, which is {self.declared[name]}")
        else:
            joined = join(self.inferred.get(name, INVALID), kind)
            if joined is None:
                before = self.inferred[name]
                hint = "convert the value with u64(…) or i64(…), or declare the variable: " f"`{name}: u64 = …`"
                self.findings.add(value, "type", f"`{name}` is {before} elsewhere, and this is {kind}",
                                  hint if is_integer(before) and is_integer(kind) else "use another variable")  # fmt: skip
                joined = before
            self.inferred[name] = joined
            if self._is_first:
                self.expressions.variables[name] = joined
        if self.expressions.assigned is not None:
            self.expressions.assigned |= {name}

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
            return
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return  # a docstring or a comment
        self.expressions.expression(value)
        if not isinstance(value, ast.Call | ast.Yield | ast.Await | ast.YieldFrom):
            self.findings.add(value, "no-effect", "this expression has no effect", "assign it, or remove it")

    def _visit_Assign(self, node: ast.Assign) -> None:
        kind = self.expressions.expression(node.value)
        for target in node.targets:
            self._assign(target, kind, node.value)

    def _visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is None:
            return
        self._assign(node.target, self.expressions.expression(node.value), node.value)

    def _visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.findings.add(node.target, "assignment", "only variables can be changed in place")

    def _visit_Assert(self, node: ast.Assert) -> None:
        self.expressions.condition(node.test)
        if node.msg is not None and not (isinstance(node.msg, ast.Constant) and isinstance(node.msg.value, str)):
            self.findings.add(node.msg, "unsupported", "an assertion's message is a literal text")

    def _visit_Return(self, node: ast.Return) -> None:
        result = self.checked.result
        kind = self.expressions.expression(node.value) if node.value is not None else NONE
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
        kind = self.checked.types[node.iter] = self._range(node.iter)
        before = self.expressions.assigned
        self._assign(node.target, kind, node.iter)
        self._loop(node, before)

    def _loop(self, node: ast.While | ast.For, after: _Flow) -> None:
        """Check a loop's body; ``after`` is the state when the loop ends by itself."""
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
            self.findings.add(node, "for", "`for` goes over a range only", "write `for i in range(n):`")
            return INVALID
        if not 1 <= len(node.args) <= 3 or node.keywords:
            self.findings.add(node, "call", "`range` takes one to three integers")
            return INVALID
        kinds = [self.expressions.integer(argument, "a bound of `range`") for argument in node.args]
        start, stop = (kinds[0], kinds[1]) if len(kinds) > 1 else (NAT, kinds[0])
        step = self.expressions.constant(node.args[2]) if len(kinds) > 2 else 1
        if not isinstance(step, int) or step == 0:
            self.findings.add(node.args[2], "call", "`range`'s step is a constant other than 0")
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
