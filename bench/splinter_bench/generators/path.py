"""How frames get from a client to a server: device, addresses, MAC addresses, as the kernel would send them."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from splinter.errors import TransportUnavailableError
from splinter.net.netns import inside
from splinter_bench.generators.frames import Route

_NEIGHBOUR_SECONDS_MAX = 3.0
_DISCARD_PORT = 9


@dataclass(frozen=True)
class Path:
    """The way out to ``destination``: device name, its number of receive queues, addresses at both ends."""

    device: str
    queues: int
    source: str
    source_mac: str
    destination: str
    destination_mac: str

    def route(self, source_port: int, destination_port: int) -> Route:
        """The way of frames between two UDP ports."""
        ends = self.source_mac, self.destination_mac, self.source, self.destination
        return Route(*ends, source_port, destination_port)


def find(address: str, netns: str | None = None) -> Path:
    """The path from a network namespace to an IPv4 address on the same link.

    Raises :class:`TransportUnavailableError` when there is no route, no Ethernet device, or no answer to ARP.
    """
    from pyroute2 import IPRoute  # takes a while to import; plain UDP clients do without

    from splinter.net.device import need

    with inside(netns), IPRoute() as route:
        try:
            (found,) = route.route("get", dst=address)
        except Exception as error:
            raise TransportUnavailableError(f"no route to {address}: {error}") from error
        index = found.get_attr("RTA_OIF")
        (link,) = route.get_links(index)
        device, mac = link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_ADDRESS")
        if found.get_attr("RTA_GATEWAY") or not mac or device == "lo":
            raise TransportUnavailableError(f"{address} is not on a link of {device}: AF_XDP needs the same Ethernet")
        return Path(
            device=device,
            queues=need(device).queues,
            source=found.get_attr("RTA_PREFSRC"),
            source_mac=mac,
            destination=address,
            destination_mac=_neighbour(route, index, address),
        )


def _neighbour(route: object, index: int, address: str) -> str:
    deadline = time.monotonic() + _NEIGHBOUR_SECONDS_MAX
    while True:
        for entry in route.get_neighbours(ifindex=index, dst=address):  # type: ignore[attr-defined]
            if mac := entry.get_attr("NDA_LLADDR"):
                return str(mac)
        if time.monotonic() > deadline:
            raise TransportUnavailableError(f"{address} does not answer to ARP")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # makes the kernel ask
            probe.sendto(b"", (address, _DISCARD_PORT))
        time.sleep(0.01)
