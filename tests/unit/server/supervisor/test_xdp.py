"""What devices are served, and what is said of one that lacks something, without a device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splinter.errors import TransportUnavailableError
from splinter.limits import MTU_MIN
from splinter.net.device import Device
from splinter.net.place import Place
from splinter.server.device_state import DeviceCondition
from splinter.server.supervisor.xdp import XdpTransport, check_device

PLACE = Place(frozenset(["10.0.0.2", "10.0.0.10"]), frozenset(["10.0.0.255"]), frozenset(["02:00:00:00:00:01"]))
DEVICE = Device(7, "eth0", True, 1500, "", 1, "10.0.0.2", PLACE, 42)
NO_ADDRESS = replace(DEVICE, place=replace(PLACE, addresses=frozenset()))
LOOPBACK, NOTHING = 772, 65534  # ARPHRD_LOOPBACK, ARPHRD_NONE (tun, wireguard)


def transport(only: str | None) -> XdpTransport:
    made = XdpTransport.__new__(XdpTransport)
    made._only = only
    return made


@pytest.mark.parametrize(
    ("only", "device", "told"),
    [
        (None, DEVICE, (DeviceCondition.SERVED, "")),
        ("10.0.0.10", DEVICE, (DeviceCondition.SERVED, "")),
        (None, NO_ADDRESS, (DeviceCondition.DOWN, "eth0 has no IPv4 address")),
        ("10.0.0.2", NO_ADDRESS, (DeviceCondition.DOWN, "eth0 has no IPv4 address")),
        (
            "10.0.0.3",
            DEVICE,
            (DeviceCondition.DOWN, "eth0 does not have the address 10.0.0.3, but 10.0.0.2, 10.0.0.10"),
        ),
        (None, replace(DEVICE, is_up=False), (DeviceCondition.DOWN, "")),
        (None, replace(DEVICE, mtu=MTU_MIN), (DeviceCondition.SERVED, "")),
        (
            None,
            replace(DEVICE, mtu=400),
            (
                DeviceCondition.SERVED,
                f"eth0 has an MTU of 400, at least {MTU_MIN} is needed: ip link set dev eth0 mtu 1500",
            ),
        ),
    ],
)
def test_what_a_device_lacks_is_told(only: str | None, device: Device, told: tuple[DeviceCondition, str]) -> None:
    assert transport(only).judge(device) == told


def test_of_many_addresses_a_few_are_told() -> None:
    many = replace(DEVICE, place=replace(PLACE, addresses=frozenset(f"10.0.1.{n}" for n in range(1, 31))))
    told = transport("10.0.0.3").judge(many)[1]
    assert told.endswith("but 10.0.1.1, 10.0.1.2, 10.0.1.3, 10.0.1.4, 10.0.1.5, 10.0.1.6, 10.0.1.7, 10.0.1.8 and 22 more")


@pytest.mark.parametrize(("hardware", "what"), [(LOOPBACK, "is a loopback device"), (NOTHING, "has no Ethernet packets")])
def test_a_device_that_is_no_ethernet_is_refused(hardware: int, what: str) -> None:
    check_device(DEVICE)
    with pytest.raises(TransportUnavailableError, match=f"eth0 {what}.*--transport udp"):
        check_device(replace(DEVICE, hardware=hardware))


def test_a_place_keeps_what_it_has_alone() -> None:
    assert PLACE.only("10.0.0.2") == replace(PLACE, addresses=frozenset(["10.0.0.2"]))
    assert PLACE.only("10.0.0.3") == replace(PLACE, addresses=frozenset())
