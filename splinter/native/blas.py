"""Numba begins without SciPy.

With its registries (:mod:`splinter.native.registries`) Numba looks whether there is a BLAS: it imports ``scipy.linalg``, which
takes some 0.3 s in every process that compiles, wherever SciPy happens to be installed. Nothing here uses a BLAS. Who does, in
the same process, has it imported by then: Numba looks again when such a function is compiled.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

_ASKER = "numba.np.arraymath"  # remembers at its import whether there is a BLAS


def put_off() -> None:
    """Have Numba find out whether SciPy is there without importing it."""
    if _ASKER in sys.modules or "scipy.linalg" in sys.modules:
        return
    from numba.np import linalg

    library: Any = linalg
    ask = library.ensure_blas
    library.ensure_blas = _is_installed
    try:
        from numba.np import arraymath
    finally:
        library.ensure_blas = ask
    module: Any = arraymath
    module.ensure_blas = ask


def _is_installed() -> None:
    """Raises ``ImportError`` when SciPy is not there, as what it stands for does."""
    if importlib.util.find_spec("scipy") is None:
        raise ImportError("SciPy is not installed")
