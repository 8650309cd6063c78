"""How Numba compiles functions that call each other: in one pass over all of LLVM's code, with addresses from 0.

**Addresses.** LLVM may take the number in ``address + number`` for the pointer and the address for the offset. Where such a
body is inlined and the number becomes the constant 0, it is an access by a null pointer. That has no defined result, and LLVM
would remove the branch that it stands in; so functions say that a null pointer is one like others.

**Passes.** Numba runs three rounds of passes over a function, the first two to drop counts of references. Our functions count
none; the last round does all that matters.

This module must be imported before any function is compiled; :mod:`splinter.native` does so.
"""

from __future__ import annotations

from typing import Any

from numba.core import codegen

_Library: Any = codegen.CPUCodeLibrary


def configure() -> None:
    """Have functions compiled so."""
    _Library._optimize_functions = _optimize_functions
    _Library._optimize_final_module = _optimize_final_module


def _optimize_functions(self: Any, module: Any) -> None:
    """What comes before the passes over a module, as it was made of Python."""
    for function in module.functions:
        if not function.is_declaration:
            function.add_function_attribute("null_pointer_is_valid")
    module.data_layout = self._codegen._data_layout


def _optimize_final_module(self: Any) -> None:
    """All passes, with all callees linked in."""
    passes, builder = self._codegen._module_pass_manager()
    passes.run(self._final_module, builder)
