"""What the handlers of control operations read of a request, taken from their source."""

from __future__ import annotations

import ast
import inspect

from splinter.server.control import backups, dumps, operations
from splinter.server.control.tenants import RECORD_LIMITS


def fields_of_operations() -> dict[str, set[str]]:
    """By operation the names of the fields that its handler reads, but for those that say who asks."""
    found: dict[str, set[str]] = {}
    for module in (operations, dumps, backups):
        for method in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(method, ast.AsyncFunctionDef) and ast.unparse(method.args).startswith("self, request: "):
                found[method.name[1:].replace("_", ".", 1)] = _fields(method)
    return found


def _fields(method: ast.AsyncFunctionDef) -> set[str]:
    read: set[str] = set()
    for call in ast.walk(method):
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("fields."):
            named = call.args[1]
            if ast.unparse(call.func) == "fields.durability":
                read.add("durability")
            elif isinstance(named, ast.Constant):
                read.add(named.value)
            else:
                assert ast.unparse(named) == "name", ast.unparse(call)
                read.update(RECORD_LIMITS)
    return read
