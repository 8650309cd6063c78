"""First stage: source text to syntax tree, and what may stand at the level of a module.

Python's own parser does the work. What it must not be fed without care: sources of any size and nesting (its limits end in
MemoryError and RecursionError, which are turned into findings here), and text that is not Python.
"""

from __future__ import annotations

import ast
import keyword
import warnings
from dataclasses import dataclass

from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.names import PYTHON_NAMES, RESERVED_NAMES
from splinter.ext.front.walk import children
from splinter.limits import EXPRESSION_DEPTH_MAX, SOURCE_BYTES_MAX, SOURCE_NODES_MAX

DECORATOR = "extension"
_OPTIONS = {"isolation": ("serializable", "none"), "place": ("worker", "kernel")}
AUTHOR_MODULE = "splinter.ext"  # its names are known without an import, so that one function's source alone compiles
_KEYWORDS = frozenset(keyword.kwlist)
_NAME_FIELDS = ("id", "arg", "name", "attr", "asname")
_NO_EXTENSION_HINT = "write `@extension` above the function that is to be installed"


@dataclass(frozen=True)
class Module:
    """A parsed source: ``@extension`` functions, the other functions, and the constants by name, in source order."""

    extensions: list[ast.FunctionDef]
    helpers: list[ast.FunctionDef]
    constants: dict[str, ast.expr]


def parse(source: str, findings: Findings) -> Module:
    """Parse a source; reports what is wrong at this level, and raises :class:`CompileError` when it is not Python."""
    tree = _parse_python(source, findings)
    _check_tree(tree, not source.isascii(), findings)
    findings.raise_if_any()
    extensions: list[ast.FunctionDef] = []
    helpers: dict[str, ast.FunctionDef] = {}
    constants: dict[str, ast.expr] = {}
    for index, statement in enumerate(tree.body):
        if isinstance(statement, ast.FunctionDef):
            if _is_extension(statement, findings):
                extensions.append(statement)
                if statement.name in PYTHON_NAMES:
                    findings.add(head(statement), "reserved-name", f"`{statement.name}` has another meaning")
            elif statement.name in RESERVED_NAMES or statement.name in helpers:
                findings.add(head(statement), "reserved-name", f"`{statement.name}` has another meaning")
            elif not statement.decorator_list:
                helpers[statement.name] = statement
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            _add_constant(statement.targets[0], statement.value, constants, findings)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            _add_constant(statement.target, statement.value, constants, findings)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            _check_import(statement, findings)
        elif not (index == 0 and _is_docstring(statement)):
            findings.add(statement, "module-level", f"{_describe(statement)} cannot stand at the level of the module",
                         "an extension's source has imports of splinter.ext, constants and functions")  # fmt: skip
    for extension in extensions:
        if extension.name in helpers:
            findings.add(head(helpers[extension.name]), "reserved-name", f"`{extension.name}` is an extension")
        if extension.name in constants:
            findings.add(constants[extension.name], "reserved-name", f"`{extension.name}` is an extension")
    return Module(extensions, list(helpers.values()), constants)


def _parse_python(source: str, findings: Findings) -> ast.Module:
    try:
        size = len(source.encode("utf-8"))
    except UnicodeEncodeError:
        findings.add_at(1, 1, "syntax", "the source is not valid Unicode text")
        raise findings.error() from None
    if size > SOURCE_BYTES_MAX:
        findings.add_at(1, 1, "source-size", f"the source has {size} bytes; at most {SOURCE_BYTES_MAX} are taken")
        raise findings.error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        line, column = max(error.lineno or 1, 1), max(error.offset or 1, 1)
        end = (error.end_offset or 0) if error.end_lineno == error.lineno else 0
        findings.add_at(line, column, "syntax", f"not Python: {error.msg}", end_column=end)
    except ValueError as error:  # null bytes
        line = source[: source.find("\0")].count("\n") + 1 if "\0" in source else 1
        findings.add_at(line, 1, "syntax", f"not Python: {error}")
    except (RecursionError, MemoryError):
        findings.add_at(1, 1, "nesting", "the source is nested too deeply")
    raise findings.error()


def _check_tree(tree: ast.Module, may_look_alike: bool, findings: Findings) -> None:
    """Bound nodes and nesting without recursion, so that the stages behind may recurse; and look at every name.

    Python recognises keywords before it normalises identifiers, so that a variable can be named like one (with letters
    of a compatible alphabet; ``may_look_alike``: the source has such). That is allowed there, and confusing everywhere.
    """
    count = 0
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        if depth > EXPRESSION_DEPTH_MAX:
            findings.add(level[0] if hasattr(level[0], "lineno") else tree, "nesting",
                         f"nested more than {EXPRESSION_DEPTH_MAX} levels deep",
                         "put parts of the expression into variables of their own")  # fmt: skip
            return
        count += len(level)
        for node in level if may_look_alike else ():
            attributes = node.__dict__
            for field in _NAME_FIELDS:
                if field in attributes and attributes[field] in _KEYWORDS:
                    findings.add(node, "reserved-name", f"a name is spelled like the keyword `{attributes[field]}`")
        level = children(level)
        depth += 1
    if count > SOURCE_NODES_MAX:
        findings.add_at(1, 1, "source-size", f"the source has {count} syntax nodes; at most {SOURCE_NODES_MAX} are taken")


def _is_extension(function: ast.FunctionDef, findings: Findings) -> bool:
    for decorator in function.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not (isinstance(called, ast.Name) and called.id == DECORATOR):
            findings.add(decorator, "decorator", "the only decorator is `@extension`")
            return False
        if isinstance(decorator, ast.Call) and not _is_option(decorator):
            findings.add(decorator, "decorator", "`@extension` takes `isolation`, which is \"serializable\" or \"none\", and "
                         "`place`, which is \"worker\" or \"kernel\"",
                         'write `@extension`, or `@extension(isolation="none")`')  # fmt: skip
    if len(function.decorator_list) > 1:
        findings.add(function.decorator_list[1], "decorator", "`@extension` is written once")
    return bool(function.decorator_list)


def _is_option(decorator: ast.Call) -> bool:
    """Whether a decorator's arguments are right."""
    return not decorator.args and all(
        isinstance(keyword.value, ast.Constant) and keyword.value.value in _OPTIONS.get(keyword.arg or "", ())
        for keyword in decorator.keywords
    )


def option(function: ast.FunctionDef, name: str) -> str:
    """What an extension's decorator, which is right, says of an option; empty when it says nothing."""
    for decorator in function.decorator_list:
        for given in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if given.arg == name and isinstance(given.value, ast.Constant):
                return str(given.value.value)
    return ""


def _add_constant(target: ast.expr, value: ast.expr, constants: dict[str, ast.expr], findings: Findings) -> None:
    if not isinstance(target, ast.Name):
        findings.add(target, "constant", "a constant's name is expected on the left side")
    elif target.id in constants:
        findings.add(target, "constant", f"constant `{target.id}` is defined twice")
    else:
        constants[target.id] = value


def _check_import(statement: ast.Import | ast.ImportFrom, findings: Findings) -> None:
    if isinstance(statement, ast.ImportFrom) and statement.level == 0:
        if statement.module == "__future__":
            return
        if statement.module == AUTHOR_MODULE:
            for alias in statement.names:
                if alias.asname is not None and alias.asname != alias.name:
                    findings.add(alias, "import", f"`{alias.name}` cannot be renamed",
                                 f"write `from splinter.ext import {alias.name}`")  # fmt: skip
                elif alias.name == "*":
                    findings.add(alias, "import", "name what you import")
            return
    findings.add(statement, "import", "only names of splinter.ext can be imported",
                 "an extension has the store, its arguments and the language, and no libraries")  # fmt: skip


def choose(module: Module, name: str | None, findings: Findings) -> ast.FunctionDef:
    """The function to compile; raises :class:`CompileError` when there is none, or ``name`` does not say which of several."""
    extensions = module.extensions
    named = [function for function in extensions if function.name == name]
    if len(extensions) == 1:
        return extensions[0]
    if len(named) == 1:
        return named[0]
    if not extensions:
        if not findings.diagnostics:
            findings.add_at(1, 1, "no-extension", "the source has no extension", _NO_EXTENSION_HINT)
    else:
        names = ", ".join(function.name for function in extensions)
        findings.add(extensions[1], "several-extensions", f"the source has several extensions: {names}",
                     "say which one by its name")  # fmt: skip
    raise findings.error()


def choose_all(module: Module, findings: Findings) -> list[ast.FunctionDef]:
    """All extensions; raises :class:`CompileError` when there is none, or two have the same name."""
    if len(module.extensions) < 2:
        return [choose(module, None, findings)]
    names: set[str] = set()
    for function in module.extensions:
        if function.name in names:
            findings.add(head(function), "several-extensions", f"`{function.name}` is defined twice")
        names.add(function.name)
    findings.raise_if_any()
    return module.extensions


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
    )


def head(function: ast.FunctionDef) -> ast.stmt:
    """A node that covers ``def name`` only, for messages."""
    place = ast.copy_location(ast.Pass(), function)
    place.end_lineno, place.end_col_offset = function.lineno, function.col_offset + len(f"def {function.name}".encode())
    return place


def _describe(statement: ast.stmt) -> str:
    return STATEMENT_NAMES.get(type(statement).__name__, "this statement")


STATEMENT_NAMES = {
    "ClassDef": "a class",
    "AsyncFunctionDef": "an async function",
    "FunctionDef": "a function",
    "Delete": "`del`",
    "For": "a loop",
    "AsyncFor": "an async loop",
    "While": "a loop",
    "If": "`if`",
    "With": "`with`",
    "AsyncWith": "`async with`",
    "Match": "`match`",
    "Raise": "`raise`",
    "Try": "`try`",
    "TryStar": "`try`",
    "Assert": "`assert`",
    "Import": "an import",
    "ImportFrom": "an import",
    "Global": "`global`",
    "Nonlocal": "`nonlocal`",
    "Expr": "an expression",
    "Return": "`return`",
    "Assign": "a multiple assignment",
    "AugAssign": "an augmented assignment",
    "AnnAssign": "a declaration without a value",
}
