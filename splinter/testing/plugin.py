"""Fixtures for pytest: a server for the session; for each test a tenant, what reaches it, and clients.

pytest finds this module by itself where Splinter is installed. Nothing of Splinter is loaded, and no server started, before a
test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from splinter.client import AsyncClient, Client
    from splinter.client.admin import TenantInfo
    from splinter.testing.server import Server


@pytest.fixture(scope="session")
def splinter_server() -> Iterator[Server]:
    """A server of the session: :class:`splinter.testing.Server`."""
    from splinter.testing import running_server

    with running_server() as server:
        yield server


@pytest.fixture
def splinter_tenant(splinter_server: Server) -> Iterator[TenantInfo]:
    """A tenant of the test alone, without objects and extensions; it is removed after the test."""
    tenant = splinter_server.create_tenant()
    yield tenant
    splinter_server.admin.remove_tenant(tenant.tenant)


@pytest.fixture
def splinter_arguments(splinter_server: Server, splinter_tenant: TenantInfo) -> dict[str, Any]:
    """``address``, ``tenant``, ``token`` (as text) and ``port`` for whoever makes a client of ``splinter_tenant``."""
    return splinter_server.arguments(splinter_tenant)


@pytest.fixture
def splinter_client(splinter_server: Server, splinter_tenant: TenantInfo) -> Iterator[Client]:
    """A client of ``splinter_tenant``; it is closed after the test."""
    with splinter_server.client(splinter_tenant) as client:
        yield client


@pytest.fixture
def splinter_async_client(splinter_server: Server, splinter_tenant: TenantInfo) -> Iterator[AsyncClient]:
    """A client of ``splinter_tenant`` for the event loop of the test's first call; it is closed after the test, when that loop
    may be closed already."""
    import asyncio

    client = splinter_server.async_client(splinter_tenant)
    yield client
    loop = asyncio.new_event_loop()  # which is not set as the thread's: that is of whoever runs asynchronous tests
    try:
        loop.run_until_complete(client.close())
    finally:
        loop.close()
