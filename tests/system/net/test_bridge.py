"""A server in a container: where the pass-through program belongs when a bridge joins two veth pairs, as with Docker."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from splinter.net import netns
from splinter.net.xdp import EchoProgram, pass_through

pytestmark = pytest.mark.xdp  # which says root

BRIDGE, INSIDE = "br0", "eth0"
ADDRESSES = {"server": "10.9.0.2", "client": "10.9.0.1"}
PORT, REQUESTS = 7000, 20
SO_NO_CHECK = 11  # a sum that was left to the device would come back as it went, and be found wrong


@pytest.fixture
def containers(unique_name: str) -> Iterator[dict[str, str]]:
    """Namespaces by role: of the host, which has the bridge and one end of each pair, and of two containers."""
    found = {role: f"{unique_name}-{role}" for role in ("host", *ADDRESSES)}
    try:
        for name in found.values():
            netns.create(name)
        with netns.inside(found["host"]), IPRoute() as host:
            host.link("add", ifname=BRIDGE, kind="bridge")
            bridge = host.link_lookup(ifname=BRIDGE)[0]
            host.link("set", index=bridge, state="up")
            for role, address in ADDRESSES.items():
                host.link("add", ifname=role, kind="veth", peer={"ifname": INSIDE, "net_ns_fd": found[role]})
                host.link("set", index=host.link_lookup(ifname=role)[0], master=bridge, state="up")
                with netns.inside(found[role]), IPRoute() as container:
                    index = container.link_lookup(ifname=INSIDE)[0]
                    container.addr("add", index=index, address=address, prefixlen=24)
                    container.link("set", index=index, state="up")
        yield found
    finally:
        for name in found.values():
            netns.remove(name)


def answered(client: socket.socket, marks: Iterator[int]) -> int:
    """How many requests have their own reply."""
    count = 0
    for _ in range(REQUESTS):
        asked = b"%d" % next(marks)
        with contextlib.suppress(TimeoutError):
            client.send(asked)
            while client.recv(64) != asked:
                pass
            count += 1
    return count


def test_the_program_belongs_to_the_other_end_of_the_servers_pair(containers: dict[str, str]) -> None:
    marks = iter(range(1, 1000))
    with netns.inside(containers["client"]):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client, netns.inside(containers["server"]), EchoProgram(INSIDE, PORT) as program:
        client.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        client.connect((ADDRESSES["server"], PORT))
        with netns.inside(containers["host"]):
            pass_through.put_on("server")
        program.attach()
        client.settimeout(10)
        assert answered(client, marks) == REQUESTS
        with netns.inside(containers["host"]):
            pass_through.remove("server")
        with netns.inside(containers["client"]):
            pass_through.put_on(INSIDE)  # of no use here
        client.settimeout(0.01)
        assert answered(client, marks) < REQUESTS
