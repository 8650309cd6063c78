"""What comes with the extra ``server``, and the sentence for who lacks it."""

from __future__ import annotations

SERVER_PACKAGES = frozenset({"crc32c", "llvmlite", "numba", "pyroute2"})
_COMMAND = "pip install 'splinter-store[server]'"


def advice(error: ImportError) -> str | None:
    """Says how to get the package that could not be found; None when it is none of the extra, or is there and damaged."""
    package = error.name or ""
    if not isinstance(error, ModuleNotFoundError) or package not in SERVER_PACKAGES:
        return None
    return f"{package} is missing, which servers and compilers need and clients do without: {_COMMAND}"


def with_advice(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The same error, which says how to get what could not be found."""
    return ModuleNotFoundError(advice(error) or str(error), name=error.name)
