"""What comes with the extras ``server`` and ``cli``, and the sentences for who lacks them."""

from __future__ import annotations

SERVER_PACKAGES = frozenset({"crc32c", "llvmlite", "numba", "numpy", "prometheus_client", "pyroute2"})
_VIEW_PACKAGE = "textual"
_COMMAND = "pip install 'splinter-store[server]'"


def advice(error: ImportError) -> str | None:
    """Says how to get the package that could not be found; None when it is none of the extra, or is there and damaged."""
    package = error.name or ""
    if isinstance(error, ModuleNotFoundError) and package.partition(".")[0] == _VIEW_PACKAGE:
        command = "pip install 'splinter-store[cli]'"
        return f"{_VIEW_PACKAGE} is missing, which live views need and 'splinter stats' does without: {command}"
    if not isinstance(error, ModuleNotFoundError) or package not in SERVER_PACKAGES:
        return None
    return f"{package} is missing, which servers and compilers need and clients do without: {_COMMAND}"


def with_advice(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The same error, which says how to get what could not be found."""
    return ModuleNotFoundError(advice(error) or str(error), name=error.name)
