"""A running server and its tenants' tokens: changed without a gap, and clients that are dropped learn why."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.errors import RateLimitedError, TenantRemovedError, WrongTokenError
from tests.support.servers import RunningServer, running_server

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
PATIENT = 20.0


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x12{request.param}", request.param) as running:
        yield running


def test_a_token_is_changed_without_a_gap(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant()
    old = server.client(tenant, timeout=PATIENT)
    old.put(b"k", b"before")
    new = server.client(admin.rotate_token(tenant.tenant), timeout=PATIENT)
    assert new.get(b"k") == old.get(b"k") == b"before"
    assert old.put(b"k", b"by the old") and new.put(b"k", b"by the new")
    admin.finish_rotation(tenant.tenant)
    with pytest.raises(WrongTokenError, match="replaced"):
        old.get(b"k", timeout=1)
    assert new.get(b"k") == b"by the new"
    at_once = server.client(admin.rotate_token(tenant.tenant, at_once=True), timeout=PATIENT)
    with pytest.raises(WrongTokenError):
        new.get(b"k", timeout=1)
    assert at_once.get(b"k") == b"by the new"


def test_who_is_dropped_learns_why(server: RunningServer) -> None:
    admin = server.admin()
    limited = server.client(admin.create_tenant(packets_per_second=1), timeout=PATIENT)

    def flood() -> None:
        for _ in range(limits.RATE_BURST_PACKETS * 4):
            limited.ping(timeout=1)

    with pytest.raises(RateLimitedError, match="limit is 1 packets a second"):
        flood()
    tenant = admin.create_tenant()
    for wrong in (TenantInfo(tenant.tenant, tenant.token ^ 1, 0), TenantInfo(tenant.tenant + 1000, tenant.token, 0)):
        with pytest.raises(WrongTokenError, match="wrong tenant or token"):
            server.client(wrong).ping(timeout=1)
    client = server.client(tenant, timeout=PATIENT)
    assert client.ping() > 0
    admin.remove_tenant(tenant.tenant)
    with pytest.raises(TenantRemovedError):
        client.ping(timeout=1)
