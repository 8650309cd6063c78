"""Where a device can be reached: what the XDP program takes as ours, and what nobody sends from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

ADDRESS_OWN = 1  # values of the BPF map ``addresses``
ADDRESS_GROUP = 2

# The map ``usual``, one element: one of each kind that the maps hold, compared before anything is looked up.
USUAL = np.dtype(
    [
        ("mac", "<u8"),  # as in ``macs``; NO_MAC: none, and the address is not looked at
        ("address", "<u4"),  # as in ``addresses``
        ("pad", "<u4"),
    ]
)  # Writer: supervisor
NO_MAC = (1 << 64) - 1  # no number of 48 bits


@dataclass(frozen=True)
class Place:
    """IPv4 addresses that are ours, the broadcast addresses of their networks with those of the networks themselves, which no
    station has, and MAC addresses that are ours (with colons)."""

    addresses: frozenset[str]
    broadcasts: frozenset[str]
    macs: frozenset[str]

    def only(self, address: str) -> Place:
        """The same with one of the addresses alone; with none when that is not among them."""
        return Place(self.addresses & {address}, self.broadcasts, self.macs)

    def address_keys(self) -> dict[bytes, int]:
        """What the map ``addresses`` holds: in network byte order, with their kind."""
        kinds = {**dict.fromkeys(self.broadcasts, ADDRESS_GROUP), **dict.fromkeys(self.addresses, ADDRESS_OWN)}
        return {ipaddress.IPv4Address(address).packed: kind for address, kind in kinds.items()}

    def own_keys(self) -> list[bytes]:
        """Those of :meth:`address_keys` that are ours."""
        return [key for key, kind in self.address_keys().items() if kind == ADDRESS_OWN]

    def mac_keys(self) -> dict[bytes, int]:
        """What the map ``macs`` holds: 48-bit numbers in 64 bits."""
        return {bytes.fromhex(mac.replace(":", "")) + bytes(2): 1 for mac in self.macs}


def usual_of(addresses: Iterable[bytes], macs: Iterable[bytes]) -> bytes:
    """The element of ``usual`` for our addresses and MAC addresses, as their maps' keys. Without either, it is for none."""
    usual = np.zeros(1, USUAL)
    address, mac = min(addresses, default=None), min(macs, default=None)
    if address is None or mac is None:
        usual["mac"] = NO_MAC
    else:
        usual["address"], usual["mac"] = np.frombuffer(address, "<u4"), np.frombuffer(mac, "<u8")
    return usual.tobytes()
