"""For tests: servers, as a context manager (:func:`running_server`) and as fixtures for pytest
(:mod:`splinter.testing.plugin`); and extensions in all interleavings (:func:`interleavings`), without a server."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splinter.testing.schedule import Invoke, interleavings
    from splinter.testing.server import Server, running_server

__all__ = ["Invoke", "Server", "interleavings", "running_server"]

_MODULES = {"Invoke": "schedule", "Server": "server", "interleavings": "schedule", "running_server": "server"}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: pytest loads the plug-in in projects that use none of it."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
