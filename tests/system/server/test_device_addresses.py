"""Which of a device's addresses are served by XDP, and what is refused since nobody would be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from splinter.cli.exit_status import ExitStatus
from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import SplinterError
from splinter.net import netns
from splinter.net.lab import SERVER_ADDRESS, SERVER_DEVICE, Lab
from splinter.server import instance as instances
from tests.support.servers import MEMORY, START_SECONDS, RunningServer, running_lab, start_server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.xdp

OTHER_ADDRESS = "10.0.0.9"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The server's end has two addresses."""
    with running_lab(f"t{os.getpid()}x6addresses") as made:
        set_address(made, "add", OTHER_ADDRESS)
        with netns.inside(made.client.namespace), IPRoute() as route:
            index = route.link_lookup(ifname=made.client.device)[0]
            route.neigh("replace", ifindex=index, dst=OTHER_ADDRESS, lladdr=made.server.mac, state="permanent")
        yield made


def set_address(lab: Lab, what: str, address: str) -> None:
    with netns.inside(lab.server.namespace), IPRoute() as route:
        index = route.link_lookup(ifname=lab.server.device)[0]
        route.addr(what, index=index, address=address, prefixlen=24)


@pytest.mark.parametrize("transport", ["xdp", "auto"])
@pytest.mark.parametrize(
    ("device", "address", "message"),
    [
        (SERVER_DEVICE, "127.0.0.1", f"srv0 does not have the address 127.0.0.1, but {SERVER_ADDRESS}, {OTHER_ADDRESS}"),
        (SERVER_DEVICE, "10.0.0.1", f"srv0 does not have the address 10.0.0.1, but {SERVER_ADDRESS}, {OTHER_ADDRESS}"),
        (SERVER_DEVICE, "10.0.0.255", "srv0 does not have the address 10.0.0.255"),
        (SERVER_DEVICE, "224.0.0.1", "224.0.0.1 is the address of a group"),
        ("lo", None, "lo is a loopback device, XDP would serve nobody there: use --transport udp"),
        ("lo", "127.0.0.1", "lo is a loopback device, XDP would serve nobody there: use --transport udp"),
        ("lo", "0.0.0.0", "lo is a loopback device, XDP would serve nobody there: use --transport udp"),
    ],
)
def test_a_start_that_would_serve_nobody_is_refused(
    lab: Lab, unique_name: str, transport: str, device: str, address: str | None, message: str
) -> None:
    command = [
        sys.executable,
        "-m",
        "splinter",
        "serve",
        "--instance",
        unique_name,
        "--memory",
        MEMORY,
        "--transport",
        transport,
    ]
    command += ["--dev", device, "--netns", lab.server.namespace, *(["--address", address] if address else [])]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    wanted = ExitStatus.UNAVAILABLE if "loopback" in message else ExitStatus.FAILED
    assert ended.returncode == (ExitStatus.CONFIGURATION if "group" in message else wanted)
    assert message in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr and "serving" not in ended.stdout


def pings(server: RunningServer, tenant: TenantInfo, address: str, timeout: float) -> bool:
    where = {"port": server.info.port, "netns": server.info.client_netns}
    with Client(address, tenant.tenant, tenant.token, timeout=timeout, **where) as client:
        try:
            return client.ping() > 0
        except SplinterError:
            return False


def test_the_wildcard_is_all_addresses_of_the_device(lab: Lab, unique_name: str) -> None:
    server = start_server(unique_name, lab, "--address", "0.0.0.0")
    try:
        tenant = server.admin().create_tenant()
        assert server.info.address == SERVER_ADDRESS  # where clients on this host ask
        assert [pings(server, tenant, address, 10.0) for address in (SERVER_ADDRESS, OTHER_ADDRESS)] == [True, True]
        assert server.admin().stats()["xdp"]["steered"] >= 2
    finally:
        assert server.stop() == 0
    assert f"serving {SERVER_ADDRESS}:" in server.log.read_text()
    server.log.unlink()


def test_a_named_address_that_goes_is_waited_for(lab: Lab, unique_name: str) -> None:
    server = start_server(unique_name, lab, "--address", OTHER_ADDRESS)

    def trouble() -> str | None:
        return instances.read(unique_name).trouble

    try:
        admin = server.admin()
        tenant = admin.create_tenant()
        assert pings(server, tenant, OTHER_ADDRESS, 10.0)
        assert not pings(server, tenant, SERVER_ADDRESS, 0.2)
        set_address(lab, "del", OTHER_ADDRESS)
        lack = f"srv0 does not have the address {OTHER_ADDRESS}, but {SERVER_ADDRESS}"
        wait_for(lambda: trouble() == lack, what="the reason")
        assert not pings(server, tenant, OTHER_ADDRESS, 0.2)
        set_address(lab, "add", OTHER_ADDRESS)
        wait_for(lambda: trouble() is None, what="the return")
        assert pings(server, tenant, OTHER_ADDRESS, 10.0)
        told = server.admin().stats()["device"]
        assert (told["condition"], told["reason"], told["losses"]) == ("served", "", 0)
    finally:
        assert server.stop() == 0
    log = server.log.read_text()
    assert log.count(f"{lack}: no request can come in") == 1 and log.count("is as it should be again") == 1
    server.log.unlink()
