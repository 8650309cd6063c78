"""Back end for CPython: the checked functions as Python functions that keep the language's promises.

Python's integers do not overflow, so every operation that could is wrapped in a range check by its inferred type. Nothing
else is changed, and all line numbers stay, so a debugger shows the author's source.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, cast

from splinter.ext import author, views
from splinter.ext.abi import ExtensionError
from splinter.ext.faults import ExtensionFault
from splinter.ext.front.checked import Checked, Program, Table
from splinter.ext.front.names import AUTHOR_NAMES
from splinter.ext.types import BYTES, F64, I64, NAT, OPTIONAL_BYTES, U64, WORD_BITS, IntegerType, TupleType, Type
from splinter.ext.views import Bytes, View

# Names that cannot be an author's, since they are no identifiers.
_CHECKED: dict[Type, str] = {NAT: "<nat>", I64: "<i64>", U64: "<u64>"}
_COUNT, _VIEW, _FAILED = "<shift count>", "<view>", "<assertion failed>"
_CONVERTED: dict[Type, str] = {**_CHECKED, BYTES: "<not None>", OPTIONAL_BYTES: "<maybe>", F64: "<float>"}
_VALUE = "<value>"  # of an assignment to several targets


def python_function(program: Program, filename: str, lines_before: int) -> Callable[..., Any]:
    """A callable with the parameters of the source's extension; bytes parameters take views."""
    functions: list[ast.stmt] = [_instrumented(checked) for checked in program.functions]
    tree = ast.fix_missing_locations(ast.Module(functions, []))
    if lines_before:
        ast.increment_lineno(tree, lines_before)
    namespace: dict[str, Any] = {
        **{name: value for name, value in (vars(author) | vars(views)).items() if name in AUTHOR_NAMES},
        **{name: _CONVERSIONS[kind] for kind, name in _CONVERTED.items()},
        "int": _integer, _COUNT: _shift_count, _VIEW: View, _FAILED: AssertionError,
    }  # fmt: skip
    name = program.extension.function.name
    meant = namespace.get(name)
    exec(compile(tree, filename, "exec", optimize=0), namespace)
    # Nothing calls the extension. What is called by its name is a function of the language, here or of Python's own.
    result: Callable[..., Any] = namespace.pop(name)
    if meant is not None:
        namespace[name] = meant
    for name, checked in program.extension.helpers.items():
        namespace[name] = _entered(namespace[name], checked)
    return result


def _instrumented(checked: Checked) -> ast.FunctionDef:
    function: ast.FunctionDef = _Instrument(checked).visit(checked.function)
    function.decorator_list = []
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    return function


def _entered(function: Callable[..., Any], checked: Checked) -> Callable[..., Any]:
    """A helper function that checks its arguments when it has got them all, in the order of its parameters."""
    names = ((checked.store_name,) if checked.store_name else ()) + tuple(checked.parameters)
    conversions = {name: _CONVERSIONS.get(kind) for name, kind in checked.parameters.items()}

    def enter(*args: Any, **kwargs: Any) -> Any:
        values = dict(zip(names, args, strict=False)) | kwargs
        for name, convert in conversions.items():
            if convert is not None:
                values[name] = convert(values[name])
        return function(**values)

    return enter


def _range_check(kind: IntegerType) -> Callable[[int], int]:
    def check(value: int) -> int:
        if not kind.low <= value <= kind.high:
            raise ExtensionFault(ExtensionError.OVERFLOW)
        return int(value)

    return check


def _integer(value: float) -> int:
    """``int``, which gives an i64 of a float."""
    return author.i64(value) if isinstance(value, float) else int(value)


def _shift_count(count: int) -> int:
    if not 0 <= count < WORD_BITS:
        raise ExtensionFault(ExtensionError.SHIFT)
    return count


def _maybe(view: Bytes | None) -> View | None:
    """What is in a buffer now, where bytes or None are wanted."""
    return None if view is None else View(view)


def _not_none(view: Bytes | None) -> View:
    if view is None:
        raise ExtensionFault(ExtensionError.NONE)
    return View(view)


_CONVERSIONS: dict[Type, Callable[[Any], Any]] = {
    **{kind: _range_check(kind) for kind in (NAT, I64, U64)}, BYTES: _not_none, OPTIONAL_BYTES: _maybe, F64: float,
}  # fmt: skip


class _Instrument(ast.NodeTransformer):
    """New nodes have the place of what they stand for; those below them that have none get it in the end."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and node in self.checked.constants:
            constant = self.checked.constants[node]
            value = ast.copy_location(
                ast.Constant(cast(Any, tuple(constant) if isinstance(constant, Table) else constant)), node
            )
            return self._call(_VIEW, value, node) if isinstance(value.value, bytes) else value
        return super().visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        kind, is_modular = self.checked.types.get(node), node in self.checked.modular
        self.generic_visit(node)
        if isinstance(node.op, ast.LShift | ast.RShift):
            node.right = self._call(_COUNT, node.right, node)
        return node if is_modular else self._converted(node, kind, node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        kind, is_modular = self.checked.types.get(node), node in self.checked.modular
        self.generic_visit(node)
        return node if is_modular or isinstance(node.op, ast.Not) else self._converted(node, kind, node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        kind = self.checked.types.get(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "array" and kind is not None and name not in self.checked.helpers:  # its first argument is a type
            node.args[1:] = [self.visit(argument) for argument in node.args[1:]]
            return node
        self.generic_visit(node)
        if name in ("", "range") or name in self.checked.helpers or kind == F64:
            return node
        return self._converted(node, kind, node)

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        """What the targets get is checked when the value is there, for each target when its turn comes."""
        kinds = [self._target_type(target) for target in node.targets]
        self.generic_visit(node)
        if len(node.targets) == 1:
            node.value = self._converted(node.value, kinds[0], node)
            return [node]
        statements: list[ast.stmt] = [ast.copy_location(ast.Assign([ast.Name(_VALUE, ast.Store())], node.value), node)]
        for target, kind in zip(node.targets, kinds, strict=True):
            value = self._converted(ast.copy_location(ast.Name(_VALUE, ast.Load()), node), kind, node)
            statements.append(ast.copy_location(ast.Assign([target], value), node))
        return statements

    def _target_type(self, target: ast.expr) -> Type | None:
        if isinstance(target, ast.Name):
            return self.checked.variables[target.id]
        if isinstance(target, ast.Tuple):
            names = [element.id for element in target.elts if isinstance(element, ast.Name)]
            return TupleType("", tuple(self.checked.variables[name] for name in names))
        return None  # an array checks what is stored in it

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        assert isinstance(node.target, ast.Name)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return self.visit_Assign(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """Python has the statement: of the operation that stands for it, only the right side is looked at."""
        operation = node.value
        assert isinstance(operation, ast.BinOp)
        node.target = self.visit(node.target)
        node.value = self.visit(operation.right)
        if isinstance(node.op, ast.LShift | ast.RShift):
            node.value = self._call(_COUNT, node.value, node)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Where the statement goes over several lines, some versions of CPython name another than the first."""
        test = ast.UnaryOp(ast.Not(), self.visit(node.test))
        return ast.copy_location(ast.If(test, [ast.Raise(ast.Name(_FAILED, ast.Load()), None)], []), node)

    def visit_For(self, node: ast.For) -> ast.AST:
        """A declared loop variable converts what it gets."""
        self.generic_visit(node)
        assert isinstance(node.target, ast.Name)
        target = node.target.id
        value = self._converted(ast.Name(target, ast.Load()), self.checked.variables[target], node)
        node.body.insert(0, ast.copy_location(ast.Assign([ast.Name(target, ast.Store())], value), node))
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None:
            node.value = self._converted(node.value, self.checked.result, node)
        return node

    def _converted(self, node: ast.expr, kind: Type | None, at: ast.AST) -> ast.expr:
        """The expression, checked to fit a type when it has been evaluated; or it is an error of the line of ``at``."""
        if isinstance(kind, TupleType):
            return self._converted_tuple(node, kind, at)
        return self._call(_CONVERTED[kind], node, at) if kind is not None and kind in _CONVERTED else node

    def _converted_tuple(self, node: ast.expr, kind: TupleType, at: ast.AST) -> ast.expr:
        """All values, then each checked: ``(lambda t: (check(t[0]), …))(node)``."""
        parts = [
            self._converted(ast.Subscript(ast.Name("t", ast.Load()), ast.Constant(index), ast.Load()), part, at)
            for index, part in enumerate(kind.elements)
        ]
        arguments = ast.arguments([], [ast.arg("t")], None, [], [], None, [])
        function = ast.Lambda(arguments, ast.Tuple(list(parts), ast.Load()))
        return ast.copy_location(ast.Call(function, [node], []), at)

    def _call(self, name: str, argument: ast.expr, at: ast.AST) -> ast.expr:
        return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), [argument], []), at)
