"""A server that has several addresses answers each client from the one that was asked."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.client import Client
from splinter.client.admin import Admin, TenantInfo
from splinter.net import netns
from splinter.net.lab import CLIENT_ADDRESS, SERVER_ADDRESS
from splinter.wire import HEADER, Header, Opcode
from tests.support.servers import RunningServer, running_lab, running_server
from tests.support.waiting import wait_for

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
        for slot in range(len(server.info.cores)):
            server.kill_worker(slot)
        assert client.get(b"key") == b"value"


def put(tenant: TenantInfo, sequence: int, key: bytes) -> bytes:
    header = Header(
        tenant=tenant.tenant, token=tenant.token, opcode=Opcode.PUT, client=99, sequence=sequence, key_length=len(key),
        value_length=5,
    )  # fmt: skip
    return header.pack() + key + b"value"


def malformed(admin: Admin) -> int:
    return sum(worker["malformed"] for worker in admin.stats()["workers"])


@pytest.mark.xdp  # of which it needs the lab alone
def test_what_is_sent_to_many_is_not_taken(unique_name: str) -> None:
    """Requests to a broadcast address and to a group are neither executed nor answered, though the kernel delivers them."""
    many = ("10.0.0.255", "255.255.255.255", "224.0.0.1")
    with running_lab(unique_name) as lab:
        place = ("--address", "0.0.0.0", "--netns", lab.server.namespace, "--client-netns", lab.server.namespace)
        with running_server(unique_name, "udp", *place) as server:
            tenant = server.admin().create_tenant()
            with netns.inside(lab.client.namespace):
                asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with asking:
                asking.bind((CLIENT_ADDRESS, 0))
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(CLIENT_ADDRESS))
                asking.settimeout(10.0)
                for sequence, address in enumerate(many, 1):
                    asking.sendto(put(tenant, sequence, address.encode()), (address, server.info.port))
                # Every worker's socket gets each broadcast; what goes to a group, none does.
                admin, dropped = server.admin(), 2 * len(server.info.cores)
                wait_for(lambda: malformed(admin) == dropped, what="the broadcasts")
                asking.sendto(put(tenant, len(many) + 1, SERVER_ADDRESS.encode()), (SERVER_ADDRESS, server.info.port))
                reply, source = asking.recvfrom(65536)
                assert (Header.unpack(reply[: HEADER.itemsize]).sequence, source[0]) == (len(many) + 1, SERVER_ADDRESS)
                asking.setblocking(False)
                with pytest.raises(BlockingIOError):
                    asking.recv(65536)
            client = server.client(tenant)
            assert client.get_many([address.encode() for address in many]) == [None] * len(many)
            assert client.get(SERVER_ADDRESS.encode()) == b"value"
            assert malformed(admin) == dropped
