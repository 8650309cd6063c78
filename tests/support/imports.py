"""Which of our sources import which, read from their text."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"splinter": ROOT, "splinter_bench": ROOT / "bench", "examples": ROOT, "tests": ROOT}  # and the folder each is in


@functools.cache
def sources() -> dict[str, Path]:
    """Every module of the packages, by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for file in sorted((folder / package).rglob("*.py")):
            name = ".".join(file.relative_to(folder).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


@functools.cache
def imports(module: str, *, at_import: bool = False) -> frozenset[str]:
    """The modules that a module imports; with ``at_import`` those only that its own import needs, without its functions'.

    What is imported for a type checker alone does not count. Programs that tests start name their neighbours by bare names.
    """
    file = sources()[module]
    found = set()
    for name in _named(ast.parse(file.read_text(encoding="utf-8")), at_import):
        neighbour = f"{module.rpartition('.')[0]}.{name.partition('.')[0]}" if module.startswith("tests.") else ""
        for candidate in (name, name.rpartition(".")[0], neighbour):
            if candidate in sources():
                found.add(candidate)
                break
    return frozenset(found - {module})


def distances(modules: set[str]) -> dict[str, int]:
    """How many imports each module is away from the nearest of ``modules``; without those that import none of them."""
    importers: dict[str, set[str]] = {}
    for name in sources():
        for imported in imports(name):
            importers.setdefault(imported, set()).add(name)
    found, border, distance = dict.fromkeys(modules, 0), set(modules), 0
    while border:
        distance += 1
        border = {importer for name in border for importer in importers.get(name, ())} - found.keys()
        found |= dict.fromkeys(border, distance)
    return found


def circles() -> list[set[str]]:
    """Groups of modules that import each other, one through the other, when they are imported."""
    reached = {name: _reached(name) for name in sources()}
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in reached}
    return [set(group) for group in groups if group]


def _reached(module: str) -> set[str]:
    found: set[str] = set()
    ahead = [module]
    while ahead:
        fresh = imports(ahead.pop(), at_import=True) - found
        found |= fresh
        ahead += fresh
    return found


def _named(node: ast.AST, at_import: bool) -> Iterator[str]:
    """Dotted names that an import statement may mean: of a module, or of something in one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif not (at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from _named(child, at_import)
