"""Fixtures for pytest: a server for the session, a tenant and a client for each test.

pytest finds this module by itself where Splinter is installed. Nothing of Splinter is loaded, and no server started, before a
test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from splinter.client import Client
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
def splinter_client(splinter_server: Server, splinter_tenant: TenantInfo) -> Iterator[Client]:
    """A client of ``splinter_tenant``; it is closed after the test."""
    with splinter_server.client(splinter_tenant) as client:
        yield client
