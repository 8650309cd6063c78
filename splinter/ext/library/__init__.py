"""Extensions that come with Splinter, installable by name.

An entry is a module of this folder: its docstring describes it, and each of its ``@extension`` functions is installed under
its own name. This module reads them as text and imports nothing of the compiler.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib import resources

from splinter.errors import SplinterError

NAMES = (
    "get", "put", "aggregate", "scan", "long", "bad", "err", "tao", "tree", "forest", "transfer", "md5", "sha256",
    "redis_scripts",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """An entry of the library. ``sources`` has, by extension name, source text with that one ``@extension`` function."""

    name: str
    description: str
    sources: dict[str, str]


def text(name: str) -> str:
    """The source of an entry. Raises :class:`SplinterError`, which lists the names, when there is none of this name."""
    if name not in NAMES:
        raise SplinterError(f"the library has no {name!r}; it has {', '.join(NAMES)}")
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")


@cache
def entry(name: str) -> Entry:
    """The entry of this name; raises as :func:`text` does."""
    source = text(name)
    description = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return Entry(name, description, split(source))


def split(source: str) -> dict[str, str]:
    """By extension name, a source with that ``@extension`` function and what it calls. Raises ``SyntaxError``."""
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    return {name: _source_for(node, functions, source) for name, node in functions.items() if node.decorator_list}


def _source_for(wanted: ast.FunctionDef, functions: dict[str, ast.FunctionDef], source: str) -> str:
    """The source without the functions that ``wanted`` does not call; all lines keep their numbers."""
    needed, pending = {wanted.name}, [wanted]
    while pending:
        for node in ast.walk(pending.pop()):
            if isinstance(node, ast.Name) and node.id in functions and node.id not in needed:
                needed.add(node.id)
                pending.append(functions[node.id])
    lines = source.splitlines(keepends=True)
    for name, function in functions.items():
        if name not in needed:
            first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
            last = function.end_lineno or first
            lines[first - 1 : last] = ["\n"] * (last - first + 1)
    return "".join(lines).rstrip() + "\n"
