"""Between parsing and checking: rewrite what is only another way to write something else."""

from __future__ import annotations

import ast
import copy

from splinter.ext.parse import Module


class _Desugar(ast.NodeTransformer):
    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """``x += e`` becomes ``x = x + e`` (the targets of the language have no side effects)."""
        if not isinstance(node.target, ast.Name | ast.Subscript):
            return node
        read = copy.deepcopy(node.target)
        read.ctx = ast.Load()
        value = ast.copy_location(ast.BinOp(read, node.op, node.value), node)
        return ast.copy_location(ast.Assign([node.target], value), node)


def desugar(module: Module) -> None:
    """Rewrite the functions' bodies in place; every new node has the place of what it stands for."""
    for function in (*module.extensions, *module.helpers):
        function.body = [_Desugar().visit(statement) for statement in function.body]
