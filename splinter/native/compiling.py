"""How Numba compiles functions that call each other: once for types, with addresses that may be computed from 0.

**Addresses.** Numba links a callee's module into its callers after LLVM has made machine code of it. LLVM's CodeGenPrepare
rewrites that module in place: of ``address + number`` it may take the number for the pointer and the address for the offset.
Where such a body is inlined and the number becomes the constant 0, it is an access by a null pointer. That has no defined
result, and LLVM would remove the branch that it stands in; so functions say that a null pointer is one like others.

**Constants.** Numba compiles a function once more for each constant that another compiled function passes to it. A callee that
is inlined sees constants all the same: the types alone decide, which takes some 30 % less time.

This module must be imported before any function is compiled; :mod:`splinter.native` does so.
"""

from __future__ import annotations

from typing import Any

from numba.core import codegen, dispatcher, types

_Library: Any = codegen.CPUCodeLibrary
_Dispatcher: Any = dispatcher._DispatcherBase
_unliteral: Any = types.unliteral
_optimize = _Library._optimize_functions
_template_of = _Dispatcher.get_call_template


def configure() -> None:
    """Have functions compiled so."""
    _Library._optimize_functions = _optimize_functions
    _Dispatcher.get_call_template = _call_template


def _optimize_functions(self: Any, module: Any) -> None:
    """Numba's first passes over a module, as it was made of Python."""
    for function in module.functions:
        if not function.is_declaration:
            function.add_function_attribute("null_pointer_is_valid")
    _optimize(self, module)


def _call_template(self: Any, args: Any, kws: Any) -> Any:
    """Numba's way from one compiled function to another that it calls; an argument's value does not matter to it."""
    plain = {name: _unliteral(kind) for name, kind in kws.items()}
    return _template_of(self, tuple(_unliteral(kind) for kind in args), plain)
