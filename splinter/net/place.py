"""Where a device can be reached: what the XDP program takes as ours, and what nobody sends from."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

ADDRESS_OWN = 1  # values of the BPF map ``addresses``
ADDRESS_GROUP = 2


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

    def mac_keys(self) -> dict[bytes, int]:
        """What the map ``macs`` holds: 48-bit numbers in 64 bits."""
        return {bytes.fromhex(mac.replace(":", "")) + bytes(2): 1 for mac in self.macs}
