"""Two doors for the tests of the Redis protocol: a real Redis, and a Splinter server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from splinter.client import Client
from tests.support.redis_server import Door, door_of, running_redis
from tests.support.resp import Connection
from tests.support.servers import RunningServer, running_server


@pytest.fixture(scope="module")
def splinter() -> Iterator[Door]:
    """A tenant of a server."""
    with running_server(f"t{os.getpid()}xrd", "udp", "--redis-port", "0") as server:
        yield door_of(server, server.admin().create_tenant())


@pytest.fixture
def both(server: RunningServer) -> Iterator[tuple[Connection, Client, Door]]:
    """A tenant of the module's server, by the Redis protocol and by packets."""
    tenant = server.admin().create_tenant()
    door = door_of(server, tenant)
    with door.connect() as connection:
        yield connection, server.client(tenant), door


@pytest.fixture(scope="module")
def redis() -> Iterator[Door]:
    """A redis-server. Its user is none that a tenant of Splinter could be: such are let in later (``same_user``)."""
    with running_redis(user="own") as door:
        yield door
