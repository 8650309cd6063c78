"""Annotations: from their syntax to types, and to signatures."""

from __future__ import annotations

import ast

from splinter.ext.front.checked import Checked
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.names import RESERVED_NAMES
from splinter.ext.front.parse import head
from splinter.ext.signature import Signature
from splinter.ext.types import (
    BUFFER,
    BYTES,
    ELEMENTS,
    INVALID,
    OPTIONAL_BYTES,
    PARAMETER_TYPES,
    RESULT_TYPES,
    SCALAR_TYPES,
    STORE,
    Type,
    array_type,
    tuple_type,
)
from splinter.limits import EXTENSION_NAME_BYTES_MAX, EXTENSION_PARAMETERS_MAX


def variable_type(node: ast.expr | None) -> Type | None:
    """Type that a local variable may be declared with."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = {_name(node.left), _name(node.right)}
        return OPTIONAL_BYTES if sides in ({"bytes", "None"}, {"View", "None"}) else None
    return PARAMETER_TYPES.get(_name(node))


def function_of(function: ast.FunctionDef, is_helper: bool, findings: Findings) -> Checked:
    """What the ``def`` line says; types that it lacks are reported, and INVALID."""
    arguments = function.args
    for extra in (arguments.vararg, arguments.kwarg, *arguments.kwonlyargs, *arguments.posonlyargs):
        if extra is not None:
            findings.add(extra, "parameter", "parameters are plain: no `*`, no `**`, no `/`")
    for default in (*arguments.defaults, *arguments.kw_defaults):
        if default is not None:
            findings.add(default, "parameter", "parameters have no default values")
    plain = list(arguments.args)
    store_name = ""
    if plain and _name(plain[0].annotation) == STORE.name:
        store_name = plain[0].arg
        if store_name in RESERVED_NAMES:
            findings.add(plain[0], "reserved-name", f"`{store_name}` has a meaning in the language")
        del plain[0]
    elif not is_helper:
        findings.add(plain[0] if plain else head(function), "parameter", "the first parameter must be the store",
                     "write `db: Store`")  # fmt: skip
    parameters: dict[str, Type] = {}
    for argument in plain:
        kind = variable_type(argument.annotation)
        if is_helper:
            kind = kind or _memory_type(argument.annotation)
        elif kind == OPTIONAL_BYTES:
            kind = None
        if kind is None:
            findings.add(argument, "parameter", f"parameter `{argument.arg}` needs a type",
                         f"the types are {', '.join(PARAMETER_TYPES)}: write `{argument.arg}: u64`")  # fmt: skip
        if argument.arg in parameters or argument.arg == store_name:
            findings.add(argument, "parameter", f"there are two parameters `{argument.arg}`")
        if argument.arg in RESERVED_NAMES:
            findings.add(argument, "reserved-name", f"`{argument.arg}` has a meaning in the language")
        parameters[argument.arg] = kind or INVALID
    if len(parameters) > EXTENSION_PARAMETERS_MAX:
        findings.add(plain[EXTENSION_PARAMETERS_MAX], "parameter",
                     f"{len(parameters)} parameters; at most {EXTENSION_PARAMETERS_MAX} are possible")  # fmt: skip
    result = _result_type(function.returns, is_helper)
    if result is None:
        findings.add(function.returns or head(function), "result", "the result needs a type",
                     f"write `-> u64:`; the types are {', '.join(RESULT_TYPES)}, tuple[…, …]")  # fmt: skip
    return Checked(function, store_name, parameters, result or INVALID, is_helper)


def signature_of(checked: Checked, name: str, findings: Findings) -> Signature:
    """The signature of an extension whose ``def`` line is in order; raises :class:`CompileError` otherwise."""
    if not 1 <= len(name.encode("utf-8", "replace")) <= EXTENSION_NAME_BYTES_MAX:
        findings.add(head(checked.function), "name", f"an extension's name has 1 to {EXTENSION_NAME_BYTES_MAX} bytes")
    if INVALID in (checked.result, *checked.parameters.values()) or not checked.store_name:
        findings.raise_if_any()
    if len(checked.parameters) > EXTENSION_PARAMETERS_MAX:
        findings.raise_if_any()
    return Signature(name, tuple((n, kind.name) for n, kind in checked.parameters.items()), checked.result.name)


def _result_type(node: ast.expr | None, is_helper: bool) -> Type | None:
    if isinstance(node, ast.Subscript) and _name(node.value) == "tuple" and isinstance(node.slice, ast.Tuple):
        allowed = {**SCALAR_TYPES, "bytes": BYTES} if is_helper else SCALAR_TYPES
        elements = [allowed.get(_name(element)) for element in node.slice.elts]
        complete = tuple(element for element in elements if element is not None)
        return tuple_type(complete) if len(complete) == len(elements) and complete else None
    if is_helper and isinstance(node, ast.BinOp):
        return variable_type(node)
    return RESULT_TYPES.get(_name(node))


def _memory_type(node: ast.expr | None) -> Type | None:
    if isinstance(node, ast.Subscript) and _name(node.value) == "array" and _name(node.slice) in ELEMENTS:
        return array_type(ELEMENTS[_name(node.slice)])
    return BUFFER if _name(node) == BUFFER.name else None


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return "None" if isinstance(node, ast.Constant) and node.value is None else ""
