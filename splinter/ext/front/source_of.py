"""The source text of an extension that is given as a Python function."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from splinter.errors import SplinterError


def source_of(function: Callable[..., Any]) -> tuple[str, str, int]:
    """Source of a function, its file, and the number of lines in front of it there.

    A function of a module comes with the helper functions and constants of that module that it uses; all else is blank, so
    that line numbers are the file's. A function inside of another comes alone. Raises :class:`SplinterError` when there is
    no source (a function typed into the interactive interpreter).
    """
    function = inspect.unwrap(function)
    try:
        lines, first = inspect.getsourcelines(function)
        filename = inspect.getsourcefile(function) or "<source>"
    except (OSError, TypeError):
        raise SplinterError(f"the source of {function!r} is not at hand: write it into a file, or give its text") from None
    module = sys.modules.get(function.__module__)
    if module is not None and function.__qualname__ == function.__name__:
        return _with_dependencies("".join(inspect.findsource(module)[0]), function.__name__), filename, 0
    return textwrap.dedent("".join(lines)), filename, first - 1


def _with_dependencies(source: str, name: str) -> str:
    """A module's text with everything blank but the function and, as far as they are in the module, the names it uses."""
    definitions: dict[str, ast.stmt] = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef):
            definitions[statement.name] = statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            definitions.update((target.id, statement) for target in targets if isinstance(target, ast.Name))
    wanted: dict[str, None] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in definitions and current not in wanted:
            wanted[current] = None
            waiting += [node.id for node in ast.walk(definitions[current]) if isinstance(node, ast.Name)]
    kept: set[int] = set()
    for definition in (definitions[current] for current in wanted):
        decorators = definition.decorator_list if isinstance(definition, ast.FunctionDef) else []
        first = min([definition.lineno, *(decorator.lineno for decorator in decorators)])
        kept.update(range(first, (definition.end_lineno or first) + 1))
    lines = source.split("\n")
    return "\n".join(line if number in kept else "" for number, line in enumerate(lines, 1)).rstrip("\n") + "\n"
