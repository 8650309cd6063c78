"""Going over syntax trees: what ``ast.walk`` does, in a fraction of the time."""

from __future__ import annotations

import ast
from collections.abc import Iterable

# Fields that never hold nodes; nor does a Constant's ``value``.
_PLAIN = frozenset({"id", "attr", "arg", "name", "module", "level", "kind", "type_comment", "simple", "conversion", "is_async"})


class _NodeFields(dict[type, tuple[str, ...]]):
    """By a node's class: its fields that may hold nodes."""

    def __missing__(self, kind: type[ast.AST]) -> tuple[str, ...]:
        plain = {*_PLAIN, "value"} if kind is ast.Constant else _PLAIN
        self[kind] = fields = tuple(name for name in kind._fields if name not in plain)
        return fields


_node_fields = _NodeFields()


def children(nodes: Iterable[ast.AST]) -> list[ast.AST]:
    """The nodes one level below."""
    found: list[ast.AST] = []
    for node in nodes:
        for name in _node_fields[node.__class__]:
            value = getattr(node, name, None)
            if value.__class__ is list:
                found += [element for element in value if isinstance(element, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


def walk(tree: ast.AST) -> list[ast.AST]:
    """A node and all below it, level by level."""
    level: list[ast.AST] = [tree]
    found: list[ast.AST] = []
    while level:
        found += level
        level = children(level)
    return found
