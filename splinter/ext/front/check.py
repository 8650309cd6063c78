"""Second stage: accept a program or say everything that is wrong with it."""

from __future__ import annotations

import ast

from splinter.ext.abi import Isolation
from splinter.ext.front.annotations import function_of, signature_of
from splinter.ext.front.calls import CallChecker
from splinter.ext.front.checked import Checked, ConstantValue, Library, Program, Table
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.names import RESERVED_NAMES
from splinter.ext.front.parse import Module, option
from splinter.ext.front.statements import FunctionChecker
from splinter.ext.front.walk import children
from splinter.ext.helpers import WRITING
from splinter.ext.types import NONE
from splinter.limits import HELPER_DEPTH_MAX


def check_library(module: Module, findings: Findings) -> Library:
    """Check what the extensions of a module share; reports everything that is wrong with it."""
    helpers = {node.name: function_of(node, True, findings) for node in module.helpers}
    constants = _constants(module, findings)
    for function in helpers.values():
        function.helpers = helpers
        FunctionChecker(function, constants, findings).run()
    _refuse_recursion(helpers, findings)
    return Library(constants, helpers)


def check(node: ast.FunctionDef, library: Library, name: str | None, findings: Findings) -> Program:
    """Check an extension, to be installed as ``name``; raises :class:`CompileError` with every finding so far."""
    return check_all([node], library, name, findings)[0]


def check_all(nodes: list[ast.FunctionDef], library: Library, name: str | None, findings: Findings) -> list[Program]:
    """Check several, to be installed by their own names unless there is a ``name``; what is found in all is told at once."""
    programs = []
    for node in nodes:
        extension = function_of(node, False, findings)
        signature = signature_of(extension, name or node.name, findings)
        extension.helpers = library.helpers
        FunctionChecker(extension, library.constants, findings).run()
        programs.append(Program(signature, extension, _isolation(extension)))
    findings.raise_if_any()
    return programs


def _isolation(extension: Checked) -> Isolation:
    """How an extension's invokes stand to others, which depends on whether it, or what it calls, writes."""
    known, waiting, writes = {extension.function.name}, [extension], False
    while waiting:
        for node in ast.walk(waiting.pop().function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                writes |= node.func.attr in WRITING
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in known:
                known.add(node.func.id)
                if node.func.id in extension.helpers:
                    waiting.append(extension.helpers[node.func.id])
    if option(extension.function, "isolation") != "none":
        return Isolation.WRITES if writes else Isolation.READS
    return Isolation.NONE_WRITES if writes else Isolation.NONE_READS


def _constants(module: Module, findings: Findings) -> dict[str, ConstantValue]:
    values: dict[str, ConstantValue] = {}
    nobody = ast.FunctionDef("", ast.arguments([], [], None, [], [], None, []), [], [])
    checker = CallChecker(Checked(nobody, "", {}, NONE, True), values, findings)
    for name, node in module.constants.items():
        is_table = isinstance(node, ast.Tuple | ast.List)
        value = _table(checker, node, findings) if is_table else checker.constant(node)  # type: ignore[arg-type]
        if name in RESERVED_NAMES or any(helper.name == name for helper in module.helpers):
            findings.add(node, "reserved-name", f"`{name}` has another meaning")
        if value is None:
            findings.add(node, "constant", f"`{name}` is not a constant",
                         "constants are made of literals, other constants and integer operators; "
                         "a table is a tuple of them: (1, 2, 3)")  # fmt: skip
        else:
            checker.checked.constants[node] = value
            checker.expression(node)
        values[name] = value if value is not None else 0
    return values


def _table(checker: CallChecker, node: ast.Tuple | ast.List, findings: Findings) -> ConstantValue:
    """The numbers of a table of constants: all integers, or all floats."""
    values = [checker.constant(element) for element in node.elts]
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return Table(value for value in values if isinstance(value, int))
    if values and all(isinstance(value, float) for value in values):
        return Table(value for value in values if isinstance(value, float))
    return None


def _refuse_recursion(helpers: dict[str, Checked], findings: Findings) -> None:
    """Helper functions are put in place of their calls, so none may lead to itself, nor to very deep nesting."""
    calls = {name: _calls(helper.function, helpers) for name, helper in helpers.items()}
    heights: dict[str, int] = {}  # levels of nesting, with what is called put in place
    while True:  # remove functions that call nothing that is left; circles stay
        leaves = [name for name, called in calls.items() if not any(other in calls for other, _, _ in called)]
        if not leaves:
            break
        for name in leaves:
            heights[name] = 1
            for other, node, depth in calls.pop(name):
                heights[name] = max(heights[name], depth + heights[other])
                if heights[name] > HELPER_DEPTH_MAX:
                    message = f"`{name}` with what it calls is nested more than {HELPER_DEPTH_MAX} levels deep"
                    findings.add(
                        node, "nesting", message, "call less from one another: functions are put in place of their calls"
                    )
                    return
    for name, called in calls.items():
        for other, node, _ in called:
            if other in calls:
                findings.add(node, "recursion", f"`{name}` calls itself through `{other}`" if name != other else
                             f"`{name}` calls itself", "write a loop")  # fmt: skip


def _calls(function: ast.FunctionDef, helpers: dict[str, Checked]) -> list[tuple[str, ast.Call, int]]:
    """Calls of helper functions: which, where, and how many levels below the function's."""
    found, depth = [], 0
    level: list[ast.AST] = [function]
    while level:
        found += [
            (node.func.id, node, depth)
            for node in level
            if node.__class__ is ast.Call and isinstance(node.func, ast.Name) and node.func.id in helpers
        ]
        level, depth = children(level), depth + 1
    return found
