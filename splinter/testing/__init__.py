"""Servers for tests: a context manager (:func:`running_server`), and fixtures for pytest (:mod:`splinter.testing.plugin`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splinter.testing.server import Server, running_server

__all__ = ["Server", "running_server"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: pytest loads the plug-in in projects that use none of it."""
    if name in __all__:
        from splinter.testing import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
