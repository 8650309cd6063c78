"""Splinter: a multi-tenant, in-memory key-value store that tenants push code into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splinter.client import AsyncClient, Client

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the clients when they are first asked for, so that a worker or the compiler never pays for them."""
    if name in ("AsyncClient", "Client"):
        from splinter import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
