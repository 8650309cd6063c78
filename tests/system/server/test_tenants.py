"""1,024 tenants share a server, and none sees another's objects."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from splinter.errors import OutOfMemoryError, QuotaExceededError, RequestTimeoutError
from tests.support.servers import RunningServer, running_server

TENANTS = 1024
TRIES = 10


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x11", "xdp") as running:
        yield running


@pytest.mark.xdp
def test_objects_are_invisible_to_all_other_tenants(server: RunningServer) -> None:
    admin = server.admin()
    tenants = admin.create_tenants(TENANTS)
    assert len({tenant.tenant for tenant in tenants}) == TENANTS
    assert len({tenant.token for tenant in tenants}) == TENANTS
    clients = [server.client(tenant, timeout=20.0) for tenant in tenants]
    for number, client in enumerate(clients):
        client.put(b"shared name", f"of {number}".encode())
        client.put(f"own {number}".encode(), b"mine", table=3)
    for number, client in enumerate(clients):
        other = f"own {(number + 1) % TENANTS}".encode()
        assert client.get(b"shared name") == f"of {number}".encode()
        assert client.multiget([f"own {number}".encode(), other], table=3) == [b"mine", None]
        assert client.get(f"own {number}".encode(), table=4) is None
        assert client.delete(other, table=3) is False
    usage = {tenant.tenant: tenant.objects for tenant in admin.list_tenants()}
    assert all(usage[tenant.tenant] == 2 for tenant in tenants)

    # With another tenant's id but one's own token nothing is answered.
    stranger = server.client(tenants[0].__class__(tenant=tenants[1].tenant, token=tenants[0].token, home=0), timeout=0.2)
    with pytest.raises(RequestTimeoutError):
        stranger.get(b"shared name")

    # A removed tenant's objects are gone, also for the next holder of its id; the others' stay.
    admin.remove_tenant(tenants[5].tenant)
    with pytest.raises(RequestTimeoutError):
        server.client(tenants[5], timeout=0.2).get(b"shared name")
    successor = admin.create_tenant(tenants[5].tenant)
    assert server.client(successor).get(b"shared name") is None
    assert clients[6].get(b"shared name") == b"of 6"


@pytest.mark.xdp
def test_quota_holds_and_leaves_the_old_value(server: RunningServer) -> None:
    tenant = server.admin().create_tenant(quota_bytes=10_000)
    client = server.client(tenant)
    client.put(b"first", b"old")
    with pytest.raises(QuotaExceededError):
        for number in range(100):
            client.put(f"{number}", b"x" * 900)
    with pytest.raises(QuotaExceededError):
        client.put(b"first", b"y" * 1300)
    assert client.get(b"first") == b"old"
    assert client.delete(b"0")
    client.put(b"0", b"x" * 900)


@pytest.mark.xdp
def test_full_store_says_so_and_goes_on(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant()
    client = server.client(tenant, timeout=10.0)
    client.put(b"kept", b"old value")
    value = b"v" * 60_000
    stored = 0
    is_refused = False
    for _ in range(TRIES):  # a sibling that steals a put has free slots of its own, or none: fill those, and ask again
        with pytest.raises(OutOfMemoryError):
            for number in range(stored, 10_000):
                client.put(f"large {number}", value)
                stored += 1
        try:
            client.put(b"kept", value)
        except OutOfMemoryError:
            is_refused = client.get(b"kept") == b"old value"
            if is_refused:
                break
        with contextlib.suppress(OutOfMemoryError):
            client.put(b"kept", b"old value")
    assert stored > 100
    assert is_refused
    assert client.get(b"kept") == b"old value"
    assert client.get(b"large 7") == value
    for number in range(7, 7 + TRIES):  # the slot that a delete frees is of the worker that deletes: another may put
        assert client.delete(f"large {number}")
        try:
            client.put(b"large 7", value[::-1])
            break
        except OutOfMemoryError:
            assert client.get(b"large 7") is None
    assert client.get(b"large 7") == value[::-1]
    admin.remove_tenant(tenant.tenant)
