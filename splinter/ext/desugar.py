"""Between parsing and checking: rewrite what is only another way to write something else."""

from __future__ import annotations

import ast


class _Desugar(ast.NodeTransformer):
    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """``x += e`` becomes ``x = x + e`` (the targets of the language have no side effects)."""
        if not isinstance(node.target, ast.Name):
            return node
        read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
        value = ast.copy_location(ast.BinOp(read, node.op, node.value), node)
        return ast.copy_location(ast.Assign([node.target], value), node)


def desugar(function: ast.FunctionDef) -> None:
    """Rewrite a function's body in place; every new node has the place of what it stands for."""
    function.body = [_Desugar().visit(statement) for statement in function.body]
