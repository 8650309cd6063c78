"""Between parsing and checking: rewrite what is only another way to write something else."""

from __future__ import annotations

import ast

from splinter.ext.front.parse import Module


def desugar(module: Module) -> None:
    """Rewrite the functions' bodies in place; every new node has the place of what it stands for."""
    for function in (*module.extensions, *module.helpers):
        function.body = _block(function.body)


def _block(statements: list[ast.stmt]) -> list[ast.stmt]:
    return [_statement(statement) for statement in statements]


def _statement(node: ast.stmt) -> ast.stmt:
    """``x += e`` becomes ``x = x + e``.

    ``c[i] += e`` stays, since ``c`` and ``i`` are evaluated once: its value becomes ``c[i] + e``, of the very same nodes.
    """
    if isinstance(node, ast.If | ast.While | ast.For):
        node.body, node.orelse = _block(node.body), _block(node.orelse)
    if not isinstance(node, ast.AugAssign) or not isinstance(node.target, ast.Name | ast.Subscript):
        return node
    value = ast.copy_location(ast.BinOp(_as_read(node.target), node.op, node.value), node)
    if isinstance(node.target, ast.Name):
        return ast.copy_location(ast.Assign([node.target], value), node)
    node.value = value
    return node


def _as_read(target: ast.Name | ast.Subscript) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.copy_location(ast.Name(target.id, ast.Load()), target)
    return ast.copy_location(ast.Subscript(target.value, target.slice, ast.Load()), target)
