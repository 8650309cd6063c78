"""A server on either transport, a tenant, and its client."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from splinter.client import Client
from splinter.client.admin import TenantInfo
from tests.support.servers import RunningServer, running_server

TIMEOUT_SECONDS = 20.0  # of a request


@pytest.fixture(scope="module", params=[pytest.param("xdp", marks=pytest.mark.xdp), "udp"])
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    tag = request.module.__name__.rpartition("test_")[2][:4]
    with running_server(f"t{os.getpid()}x{tag}{request.param}", request.param) as running:
        yield running


@pytest.fixture
def tenant(server: RunningServer) -> TenantInfo:
    return server.admin().create_tenant()


@pytest.fixture
def client(server: RunningServer, tenant: TenantInfo) -> Iterator[Client]:
    with server.client(tenant, timeout=TIMEOUT_SECONDS) as client:
        yield client
