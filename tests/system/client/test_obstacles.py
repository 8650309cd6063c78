"""What the network says of a closed way, as an exception and a sentence: in a network namespace with such ways."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from splinter.client import Client
from splinter.errors import PacketTooLargeError, RequestTimeoutError, UnreachableError
from splinter.net import netns

MTU = 400  # smaller than the protocol allows; to any other, packets are cut
ADDRESSES = {
    "local": "127.0.0.1",
    "narrow": "10.9.5.1",
    "unreachable": "10.9.1.1",
    "prohibited": "10.9.2.1",
    "no route": "10.9.3.1",
}


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:  # CI, which has root, takes this skip for a failure
        pytest.skip("needs root, for a network namespace")
    name = f"t{os.getpid()}x8"
    netns.create(name)
    try:
        with netns.inside(name), IPRoute() as ip:
            ip.link("set", index=_index(ip, "lo"), state="up")
            for pair, address, mtu in ((("narrow", "wide"), "10.9.5.2", MTU), (("quiet", "other"), "10.9.4.2", 1500)):
                ip.link("add", ifname=pair[0], kind="veth", peer={"ifname": pair[1]}, mtu=mtu)
                index = _index(ip, pair[0])
                ip.addr("add", index=index, address=address, prefixlen=24)
                ip.link("set", index=index, state="up")
            ip.route("add", dst="10.9.1.0/24", type="unreachable")
            ip.route("add", dst="10.9.2.0/24", type="prohibit")
        yield name
    finally:
        netns.remove(name)


def _index(ip: IPRoute, device: str) -> int:
    return int(ip.link_lookup(ifname=device)[0])


@pytest.mark.parametrize(
    ("way", "number", "words"),
    [
        ("unreachable", errno.EHOSTUNREACH, "no host answers at"),
        ("prohibited", errno.EACCES, "firewall"),
        ("no route", errno.ENETUNREACH, "no route"),
    ],
)
def test_a_way_that_does_not_exist(namespace, way, number, words):
    with pytest.raises(UnreachableError, match=words) as raised:
        Client(ADDRESSES[way], 7, 1, netns=namespace, timeout=0.3)
    assert raised.value.errno == number
    assert isinstance(raised.value, ConnectionError) and isinstance(raised.value, TimeoutError)


def test_nobody_listens(namespace):
    with (
        Client(ADDRESSES["local"], 7, 1, netns=namespace, timeout=0.3) as client,
        pytest.raises(UnreachableError, match="nothing listens at 127") as raised,
    ):
        client.get(b"k")
    assert raised.value.errno == errno.ECONNREFUSED


def test_a_packet_that_does_not_fit_the_way(namespace):
    with Client(ADDRESSES["narrow"], 7, 1, netns=namespace, timeout=0.3) as client:
        with pytest.raises(PacketTooLargeError, match=f"MTU is {MTU} bytes, and Splinter needs"):
            client.put(b"k", bytes(450))
        with pytest.raises(PacketTooLargeError, match=f"MTU is {MTU} bytes, and Splinter needs"):
            client.put_many([(b"k", bytes(450))])
        with pytest.raises(RequestTimeoutError):  # what fits is sent
            client.put(b"k", bytes(200))


def test_a_way_that_closes_while_a_client_uses_it(namespace):
    """Each repetition is refused then, with the reason."""
    with Client("10.9.4.1", 7, 1, netns=namespace, timeout=0.3) as client:
        with netns.inside(namespace), IPRoute() as ip:
            ip.link("set", index=_index(ip, "quiet"), state="down")
        with pytest.raises(UnreachableError) as raised:
            client.get(b"k")
        assert raised.value.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
