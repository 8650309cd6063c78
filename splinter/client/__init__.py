"""The client library: :class:`Client` for a tenant, :class:`AsyncClient` for one in an event loop,
:class:`splinter.client.admin.Admin` for the administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from splinter.client.client import Client
from splinter.client.extension_info import ExtensionInfo
from splinter.client.pipeline import Pipeline
from splinter.client.transaction import Transaction

if TYPE_CHECKING:
    from splinter.client.asyncio import AsyncClient, AsyncPipeline, AsyncTransaction

__all__ = ["AsyncClient", "AsyncPipeline", "AsyncTransaction", "Client", "ExtensionInfo", "Pipeline", "Transaction"]


def __getattr__(name: str) -> Any:
    """Import what belongs to event loops when it is first asked for."""
    if name in ("AsyncClient", "AsyncPipeline", "AsyncTransaction"):
        from splinter.client import asyncio

        return getattr(asyncio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
