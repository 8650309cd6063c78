"""Back end for CPython: the checked functions as Python functions that keep the language's promises.

Python's integers do not overflow, so every operation that could is wrapped in a range check by its inferred type. Nothing
else is changed, and all line numbers stay, so a debugger shows the author's source.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, cast

from splinter.ext import author
from splinter.ext.abi import ExtensionError
from splinter.ext.author import View
from splinter.ext.checked import Checked, Program
from splinter.ext.faults import ExtensionFault
from splinter.ext.names import RESERVED_NAMES
from splinter.ext.types import BYTES, F64, I64, NAT, U64, WORD_BITS, IntegerType, TupleType, Type, is_integer

# Names that cannot be an author's, since they are no identifiers.
_CHECKED = {NAT: "<nat>", I64: "<i64>", U64: "<u64>"}
_COUNT, _BYTES, _VIEW, _FLOAT = "<shift count>", "<not None>", "<view>", "<float>"


def python_function(program: Program, filename: str, lines_before: int) -> Callable[..., Any]:
    """A callable with the parameters of the source's extension; bytes parameters take views."""
    functions: list[ast.stmt] = [_instrumented(checked) for checked in program.functions]
    tree = ast.fix_missing_locations(ast.Module(functions, []))
    ast.increment_lineno(tree, lines_before)
    namespace: dict[str, Any] = {
        **{name: getattr(author, name) for name in RESERVED_NAMES if hasattr(author, name)},
        **{name: _range_check(kind) for kind, name in _CHECKED.items()},
        "int": _integer, _COUNT: _shift_count, _BYTES: _not_none, _VIEW: View, _FLOAT: float,
    }  # fmt: skip
    exec(compile(tree, filename, "exec", optimize=0), namespace)
    result: Callable[..., Any] = namespace[program.extension.function.name]
    return result


def _instrumented(checked: Checked) -> ast.FunctionDef:
    function: ast.FunctionDef = _Instrument(checked).visit(checked.function)
    function.decorator_list = []
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    return function


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


def _not_none(view: author.Bytes | None) -> View:
    if view is None:
        raise ExtensionFault(ExtensionError.NONE)
    return View(view)


class _Instrument(ast.NodeTransformer):
    def __init__(self, checked: Checked) -> None:
        self.checked = checked

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and node in self.checked.constants:
            value = ast.copy_location(ast.Constant(cast(Any, self.checked.constants[node])), node)
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
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        helper = self.checked.helpers.get(name)
        if helper is not None:
            self._convert_arguments(node, helper)
            return node
        if name == "array" and kind is not None:  # its first argument is a type
            node.args[1:] = [self.visit(argument) for argument in node.args[1:]]
            return node
        self.generic_visit(node)
        return self._converted(node, kind) if name not in ("", "range") and kind != F64 else node

    def _convert_arguments(self, node: ast.Call, helper: Checked) -> None:
        names = ((helper.store_name,) if helper.store_name else ()) + tuple(helper.parameters)
        for index, (name, argument) in enumerate(zip(names, node.args, strict=False)):
            node.args[index] = self._converted(self.visit(argument), helper.parameters.get(name))
        for keyword in node.keywords:
            keyword.value = self._converted(self.visit(keyword.value), helper.parameters.get(str(keyword.arg)))

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        kinds = [self._target_type(target) for target in node.targets]
        self.generic_visit(node)
        for kind in kinds:
            node.value = self._converted(node.value, kind)
        return node

    def _target_type(self, target: ast.expr) -> Type | None:
        if isinstance(target, ast.Name):
            return self.checked.variables[target.id]
        if isinstance(target, ast.Tuple):
            names = [element.id for element in target.elts if isinstance(element, ast.Name)]
            return TupleType("", tuple(self.checked.variables[name] for name in names))
        return None  # an array checks what is stored in it

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
        if isinstance(kind, TupleType):
            if isinstance(node, ast.Tuple):
                node.elts = [self._converted(part, one) for part, one in zip(node.elts, kind.elements, strict=True)]
                return node
            return self._converted_tuple(node, kind)
        if kind is not None and is_integer(kind):
            assert isinstance(kind, IntegerType)
            return self._call(_CHECKED[kind], node)
        return self._call(_BYTES, node) if kind == BYTES else self._call(_FLOAT, node) if kind == F64 else node

    def _converted_tuple(self, node: ast.expr, kind: TupleType) -> ast.expr:
        """What a helper function returned, each part checked: ``(lambda t: (check(t[0]), …))(node)``."""
        parts = [
            self._converted(ast.Subscript(ast.Name("t", ast.Load()), ast.Constant(index), ast.Load()), part)
            for index, part in enumerate(kind.elements)
        ]
        arguments = ast.arguments([], [ast.arg("t")], None, [], [], None, [])
        function = ast.Lambda(arguments, ast.Tuple(list(parts), ast.Load()))
        return ast.fix_missing_locations(ast.copy_location(ast.Call(function, [node], []), node))

    def _call(self, name: str, argument: ast.expr) -> ast.expr:
        function = ast.copy_location(ast.Name(name, ast.Load()), argument)
        return ast.copy_location(ast.Call(function, [argument], []), argument)
