"""What the checker knows of functions when it has accepted them: the input of every later stage."""

from __future__ import annotations

import ast
import struct
from dataclasses import dataclass, field
from functools import cached_property

from splinter.ext.abi import Isolation
from splinter.ext.signature import Signature
from splinter.ext.types import ELEMENTS, F64, Element, Type


class Table(tuple[float, ...]):
    """A table of constants: all integers, or all floats. It is long, so what is made of it is made once."""

    @cached_property
    def element(self) -> Element | None:
        """The smallest type of elements that holds its values, if there is one."""
        if any(isinstance(value, float) for value in self):
            return ELEMENTS["f64"]
        low, high = min(self), max(self)
        integers = [element for element in ELEMENTS.values() if element.value != F64]
        return next((element for element in integers if element.range[0] <= low and high <= element.range[1]), None)

    @cached_property
    def packed(self) -> bytes:
        """Its bytes in memory."""
        assert self.element is not None
        size, is_signed = self.element.size, self.element.is_signed
        return b"".join(
            struct.pack("<d", value) if isinstance(value, float) else value.to_bytes(size, "little", signed=is_signed)
            for value in self
        )


ConstantValue = int | bytes | bool | float | Table | None


@dataclass
class Checked:
    """An accepted function. Expressions are looked up by the identity of their node."""

    function: ast.FunctionDef
    store_name: str  # of the store parameter; empty when there is none
    parameters: dict[str, Type]  # without the store
    result: Type
    is_helper: bool
    variables: dict[str, Type] = field(default_factory=dict)  # parameters included
    assigned: set[str] = field(default_factory=set)  # variables that statements assign; of the parameters, few
    types: dict[ast.expr, Type] = field(default_factory=dict)
    constants: dict[ast.expr, ConstantValue] = field(default_factory=dict)  # expressions whose value is known
    modular: set[ast.expr] = field(default_factory=set)  # arithmetic that is evaluated modulo 2**64, under a mask
    helpers: dict[str, Checked] = field(default_factory=dict)  # functions that it may call, by name


@dataclass(frozen=True)
class Library:
    """What the extensions of a source share: constants by name, and helper functions, accepted."""

    constants: dict[str, ConstantValue]
    helpers: dict[str, Checked]


@dataclass(frozen=True)
class Program:
    """An accepted extension."""

    signature: Signature
    extension: Checked
    isolation: Isolation

    @property
    def functions(self) -> list[Checked]:
        """The extension and its helper functions."""
        return [self.extension, *self.extension.helpers.values()]
