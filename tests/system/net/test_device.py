"""What is found of a device's addresses, however they were set."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pyroute2 import IPRoute

from splinter.net import netns
from splinter.net.device import need
from splinter.net.lab import SERVER_DEVICE, SERVER_MAC, Lab

pytestmark = pytest.mark.xdp


@dataclass(frozen=True)
class Case:
    """An address as it is given to a device, and what is no station's because of it."""

    options: dict[str, object]
    broadcasts: set[str]


CASES = {
    "without a broadcast address": Case({"prefixlen": 24}, {"10.9.8.0", "10.9.8.255"}),
    "with its network's": Case({"prefixlen": 24, "broadcast": "10.9.8.255"}, {"10.9.8.0", "10.9.8.255"}),
    "with another one": Case({"prefixlen": 24, "broadcast": "10.9.8.3"}, {"10.9.8.0", "10.9.8.3", "10.9.8.255"}),
    "in a great network": Case({"prefixlen": 13}, {"10.8.0.0", "10.15.255.255"}),
    "in the smallest network": Case({"prefixlen": 30}, {"10.9.8.4", "10.9.8.7"}),
    "one of two hosts": Case({"prefixlen": 31}, set()),
    "a host alone": Case({"prefixlen": 32}, set()),
    "in a peer's network": Case({"prefixlen": 24, "local": "10.9.8.5", "address": "10.7.6.5"}, {"10.7.6.0", "10.7.6.255"}),
    "a peer": Case({"prefixlen": 32, "local": "10.9.8.5", "address": "10.7.6.5"}, set()),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_broadcast_addresses_are_those_of_the_networks(lab: Lab, case: Case) -> None:
    with netns.inside(lab.server.namespace), IPRoute() as route:
        before = need(SERVER_DEVICE)
        given = {"index": before.ifindex, "address": "10.9.8.5"} | case.options
        route.addr("add", **given)
        try:
            place = need(SERVER_DEVICE).place
        finally:
            route.addr("del", **given)
        assert place.addresses == before.place.addresses | {"10.9.8.5"}
        assert place.broadcasts == {"10.0.0.0", "10.0.0.255"} | case.broadcasts
        assert place.macs == {SERVER_MAC}


def test_loopback_is_told_from_ethernet(lab: Lab) -> None:
    with netns.inside(lab.server.namespace):
        loopback, ethernet = need("lo"), need(SERVER_DEVICE)
    assert (loopback.is_loopback, loopback.is_ethernet) == (True, False)
    assert (ethernet.is_loopback, ethernet.is_ethernet) == (False, True)
