"""Any number of clients, one after the other: those that end leave nothing, and those that crash give way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import pytest

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.errors import Status
from splinter.wire import Header, Opcode
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.threads import at_once
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
WAIT_SECONDS = 30
SENDERS = 4
TOO_MANY = limits.CLIENTS_PER_TENANT_MAX + 1200


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}xc{request.param}", request.param) as running:
        yield running


@pytest.fixture
def tenant(server: RunningServer) -> TenantInfo:
    return server.admin().create_tenant()


def clients_of(server: RunningServer, tenant: TenantInfo) -> int:
    return server.admin().get_tenant(tenant.tenant).clients


def test_clients_that_are_closed_leave_nothing(server: RunningServer, tenant: TenantInfo) -> None:
    for number in range(300):
        with server.client(tenant, timeout=WAIT_SECONDS) as client:
            client.put(b"k", b"%d" % number)
    # A client that had to repeat something says nothing: its packets were lost, as those of some may be here.
    wait_for(lambda: clients_of(server, tenant) <= 30, WAIT_SECONDS, "the goodbyes")
    assert server.admin().get_tenant(tenant.tenant).bytes_used <= 64 + 30 * 2048


def test_crashed_clients_give_way_to_new_ones_and_keep_nobody_out(server: RunningServer, tenant: TenantInfo) -> None:
    """More clients than a tenant may have write once each and are never heard of again, from several sockets at once."""

    def write(slot: int) -> None:
        sender = RawSocket(server.info)
        try:
            for number in range(slot, TOO_MANY, SENDERS):
                header = Header(
                    tenant=tenant.tenant, token=tenant.token, opcode=Opcode.PUT, client=1_000_000 + number, sequence=1,
                    acknowledged=1, key_length=8, value_length=1,
                )  # fmt: skip
                packet = header.pack() + number.to_bytes(8, "little") + b"x"

                def put(packet: bytes = packet) -> bool:
                    sender.send(packet)
                    reply = sender.receive()
                    assert reply is None or reply[0].status in (Status.OK, Status.BUSY)
                    return reply is not None and reply[0].status == Status.OK

                wait_for(put, WAIT_SECONDS, "a place for a new client")
        finally:
            sender.close()

    at_once(partial(write, slot) for slot in range(SENDERS))
    assert 1 < clients_of(server, tenant) <= limits.CLIENTS_PER_TENANT_MAX
    with server.client(tenant, timeout=WAIT_SECONDS) as client:
        for number in range(0, TOO_MANY, 97):
            assert client.get(number) == b"x"
        client.put(b"k", b"v")
