"""Numba takes compiled code from its cache without all that it needs to compile.

Before it looks into its cache, Numba loads its registries: what it knows of Python's and NumPy's types and functions, and its
runtime, which counts references. Machine code needs none of it, but what calls the runtime, or hashes as Python does. Such code
names symbols that are there only after that. None of ours does, but for one: code that may raise gives back the memory of an
exception that was made for it, by a function of the C library. Who compiles something has the registries loaded, as ever.

This module must be imported before any function is compiled or loaded; :mod:`splinter.native` does so.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding
from numba.core import caching, cpu
from numba.core.registry import cpu_target
from numba.core.runtime import nrt

from splinter.native import blas

SYMBOLS = (b"NRT_", b"_nrt_", b"_numba_hashsecret_")  # how the names of all begin that loading the registries makes known
_FREE = b"NRT_Free\0"  # as it stands among names of symbols
_binding: Any = binding
_Cache: Any = caching.Cache
_Context: Any = cpu.CPUContext
_target: Any = cpu_target
_nrt: Any = nrt
_load_registries = _Context.load_additional_registries


def configure() -> None:
    """Have Numba's cache do so."""
    _Cache.load_overload = _load_overload
    _Context.load_additional_registries = _load_without_scipy
    _binding.add_symbol("NRT_Free", _nrt._nrt.c_helpers["Free"])


def _load_without_scipy(self: Any) -> None:
    blas.put_off()
    _load_registries(self)


def _load_overload(self: Any, signature: Any, target_context: Any) -> Any:
    return self._load_overload(signature, target_context)


def provide(code: bytes) -> None:
    """Make known what machine code calls, before it is linked."""
    if sum(map(code.count, SYMBOLS)) > code.count(_FREE):
        _target.target_context.refresh()
