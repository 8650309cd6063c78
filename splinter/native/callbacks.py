"""Functions that compiled code calls by their addresses: as C functions of 64-bit integers, each compiled by itself.

Such code is in nobody else's: who does not use it does not load it, and it is compiled once, however many call it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core.ccallback import CFunc


@functools.cache
def c_function(function: Callable[..., int]) -> Any:
    """A function as a C function, a ``CFunc`` that is yet to be compiled. It stays: others have its address."""
    signature = types.int64(*[types.int64] * function.__code__.co_argcount)
    made: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    made.enable_caching()
    return made


@functools.cache
def address_of(function: Callable[..., int]) -> int:
    """Where a function's code is: compiled, or loaded, when that is asked first. It holds in every process that is forked from
    this one."""
    made = c_function(function)
    made.compile()
    return int(made.address)
