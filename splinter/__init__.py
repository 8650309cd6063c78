"""Splinter: a multi-tenant, in-memory key-value store that tenants push code into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splinter.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the client when it is first asked for, so that a worker or the compiler never pays for it."""
    if name == "Client":
        from splinter.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
