"""Two doors for the tests of the Redis protocol: a real Redis, and a Splinter server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.redis_server import Door, running_redis
from tests.support.servers import running_server


@pytest.fixture(scope="module")
def splinter() -> Iterator[Door]:
    """A tenant of a server."""
    with running_server(f"t{os.getpid()}xrd", "udp", "--redis-port", "0") as server:
        tenant = server.admin().create_tenant()
        port = server.info.redis_port
        assert port, "the server told no port of the Redis protocol"
        yield Door(server.info.address, port, str(tenant.tenant), f"{tenant.token:016x}")


@pytest.fixture(scope="module")
def redis() -> Iterator[Door]:
    """A redis-server. Its user is none that a tenant of Splinter could be: such are let in later (``same_user``)."""
    with running_redis(user="own") as door:
        yield door
