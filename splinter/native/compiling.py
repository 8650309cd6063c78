"""How Numba compiles: less of it, to the same end.

Numba compiles a function once more for every constant that another compiled function passes to it, and makes of each of them
a C function beside the one that Python calls. Nothing here needs either: a callee that is inlined sees the constants all the
same, and C functions are asked for by ``@cfunc``. Without them the worker compiles in half the time.

This module must be imported before any function is compiled; :mod:`splinter.native` does so.
"""

from __future__ import annotations

from typing import Any

from numba.core import dispatcher, types

_dispatcher: Any = dispatcher
_types: Any = types
_template_of = _dispatcher._DispatcherBase.get_call_template


def configure() -> None:
    """Have functions compiled for types alone, and without a C function each."""
    _dispatcher._DispatcherBase.get_call_template = _call_template
    _dispatcher._FunctionCompiler._customize_flags = _without_c_function


def _call_template(self: Any, args: Any, kws: Any) -> Any:
    """Numba's way from one compiled function to another that it calls; an argument's value does not matter to it."""
    plain = {name: _types.unliteral(kind) for name, kind in kws.items()}
    return _template_of(self, tuple(_types.unliteral(kind) for kind in args), plain)


def _without_c_function(_: Any, flags: Any) -> Any:
    """Numba's settings for one function; those of ``@cfunc`` are others."""
    flags.no_cfunc_wrapper = True
    return flags
