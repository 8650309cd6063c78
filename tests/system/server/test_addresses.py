"""A server that has several addresses answers each client from the one that was asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.client import Client
from splinter.client.admin import TenantInfo
from tests.support.servers import RunningServer, running_server

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.9.8.7")  # the whole net is this host's
YIELDING = """
from splinter.ext import extension, Store, u64

@extension
def count(db: Store, n: u64) -> u64:
    for i in range(n):
        yield
    return n
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x5addresses", "udp", "--address", "0.0.0.0") as running:
        yield running


@pytest.fixture(scope="module")
def tenant(server: RunningServer) -> TenantInfo:
    return server.admin().create_tenant()


@pytest.mark.parametrize("address", ADDRESSES)
def test_each_address_answers_for_itself(server: RunningServer, tenant: TenantInfo, address: str) -> None:
    """The client's socket is connected: it hears only what comes from the address that it asked."""
    value = bytes(limits.VALUE_BYTES_MAX)
    with Client(address, tenant.tenant, tenant.token, port=server.info.port) as client:
        client.put(b"key", value)
        assert client.get(b"key") == value
        assert client.get_many([b"key", b"other"]) == [value, None]
        client.install(YIELDING)
        assert client.invoke("count", 100) == 100  # a task's reply is written long after its request was received


def test_a_worker_that_took_over_knows_who_was_asked(server: RunningServer, tenant: TenantInfo) -> None:
    with Client(ADDRESSES[1], tenant.tenant, tenant.token, port=server.info.port) as client:
        client.put(b"key", b"value")
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        assert client.get(b"key") == b"value"
