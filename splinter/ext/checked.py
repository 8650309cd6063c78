"""What the checker knows of a function when it has accepted it: the input of every later stage."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from splinter.ext.signature import Signature
from splinter.ext.types import Type

ConstantValue = int | bytes | bool | None


@dataclass
class Checked:
    """An accepted function. Expressions are looked up by the identity of their node."""

    function: ast.FunctionDef
    signature: Signature
    store_name: str
    parameters: dict[str, Type]
    result: Type
    variables: dict[str, Type] = field(default_factory=dict)  # parameters included
    types: dict[ast.expr, Type] = field(default_factory=dict)
    constants: dict[ast.expr, ConstantValue] = field(default_factory=dict)  # expressions whose value is known
    modular: set[ast.expr] = field(default_factory=set)  # arithmetic that is evaluated modulo 2**64, under a mask
