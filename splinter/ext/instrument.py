"""Back end for CPython: the checked function as a Python function that keeps the language's promises.

Python's integers do not overflow, so every operation that could is wrapped in a range check by its inferred type. Nothing
else is changed, and all line numbers stay, so a debugger shows the author's source.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from splinter.ext.abi import ExtensionError
from splinter.ext.author import View, i64, u64
from splinter.ext.checked import Checked
from splinter.ext.faults import ExtensionFault
from splinter.ext.types import I64, NAT, U64, WORD_BITS, IntegerType, Type, is_integer, is_view

# Names that cannot be an author's, since they are no identifiers.
_CHECKED = {NAT: "<nat>", I64: "<i64>", U64: "<u64>"}
_COUNT, _BYTES, _VIEW = "<shift count>", "<not None>", "<view>"


def python_function(checked: Checked, filename: str, lines_before: int) -> Callable[..., Any]:
    """A callable with the parameters of the source's function; bytes parameters take views."""
    function = _Instrument(checked).visit(checked.function)
    function.decorator_list = []
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    tree = ast.fix_missing_locations(ast.Module([function], []))
    ast.increment_lineno(tree, lines_before)
    namespace: dict[str, Any] = {
        "u64": u64, "i64": i64, _COUNT: _shift_count, _BYTES: _not_none, _VIEW: View,
        **{name: _range_check(kind) for kind, name in _CHECKED.items()},
    }  # fmt: skip
    exec(compile(tree, filename, "exec", optimize=0), namespace)
    result: Callable[..., Any] = namespace[checked.function.name]
    return result


def _range_check(kind: IntegerType) -> Callable[[int], int]:
    def check(value: int) -> int:
        if not kind.low <= value <= kind.high:
            raise ExtensionFault(ExtensionError.OVERFLOW)
        return int(value)

    return check


def _shift_count(count: int) -> int:
    if not 0 <= count < WORD_BITS:
        raise ExtensionFault(ExtensionError.SHIFT)
    return count


def _not_none(view: View | None) -> View:
    if view is None:
        raise ExtensionFault(ExtensionError.NONE)
    return view


class _Instrument(ast.NodeTransformer):
    def __init__(self, checked: Checked) -> None:
        self.checked = checked

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and node in self.checked.constants:
            value = ast.copy_location(ast.Constant(self.checked.constants[node]), node)
            return self._call(_VIEW, value) if isinstance(value.value, bytes) else value
        return super().visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        kind, is_modular = self.checked.types.get(node), node in self.checked.modular
        self.generic_visit(node)
        if isinstance(node.op, ast.LShift | ast.RShift):
            node.right = self._call(_COUNT, node.right)
        return node if is_modular else self._converted(node, kind)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        kind, is_modular = self.checked.types.get(node), node in self.checked.modular
        self.generic_visit(node)
        return node if is_modular or isinstance(node.op, ast.Not) else self._converted(node, kind)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        kind = self.checked.types.get(node)
        is_function = isinstance(node.func, ast.Name) and node.func.id != "range"
        self.generic_visit(node)
        return self._converted(node, kind) if is_function and kind is not None else node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        targets = [self.checked.variables[target.id] for target in node.targets if isinstance(target, ast.Name)]
        self.generic_visit(node)
        for kind in targets:
            node.value = self._converted(node.value, kind)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert isinstance(node.target, ast.Name)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        plain = ast.copy_location(ast.Assign([node.target], node.value), node)
        return self.visit_Assign(plain)

    def visit_For(self, node: ast.For) -> ast.AST:
        """A declared loop variable converts what it gets."""
        self.generic_visit(node)
        assert isinstance(node.target, ast.Name)
        target = node.target.id
        kind = self.checked.variables[target]
        load = ast.copy_location(ast.Name(target, ast.Load()), node.target)
        store = ast.copy_location(ast.Name(target, ast.Store()), node.target)
        node.body.insert(0, ast.copy_location(ast.Assign([store], self._converted(load, kind)), node.target))
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None:
            node.value = self._converted(node.value, self.checked.result)
        return node

    def _converted(self, node: ast.expr, kind: Type | None) -> ast.expr:
        """The expression, checked to fit a type."""
        if kind is not None and is_integer(kind):
            assert isinstance(kind, IntegerType)
            return self._call(_CHECKED[kind], node)
        return self._call(_BYTES, node) if kind is not None and is_view(kind) and kind.name == "bytes" else node

    def _call(self, name: str, argument: ast.expr) -> ast.expr:
        function = ast.copy_location(ast.Name(name, ast.Load()), argument)
        return ast.copy_location(ast.Call(function, [argument], []), argument)
