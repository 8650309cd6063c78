"""What the kernel says of a network device, of the network namespace that the thread is in.

pyroute2 takes a while to import, and the UDP transport does without: it is loaded where the kernel is asked.
"""

from __future__ import annotations

import errno
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from splinter.errors import TransportUnavailableError
from splinter.net.place import Place

if TYPE_CHECKING:
    from pyroute2 import IPRoute

_AF_INET = 2
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772  # linux/if_arp.h
_XDP_ATTACHED_SKB = 2  # linux/if_link.h
_PREFIX_BITS_MAX = 30  # of networks with a broadcast address: a longer prefix leaves room for one or two hosts (RFC 3021)
# Devices whose packets may never have been on a wire: where the sender left the checksum to its device, nobody added it.
_VIRTUAL_KINDS = ("veth", "tun", "bridge", "netkit")


@dataclass(frozen=True)
class Device:
    """A device as it is now."""

    ifindex: int
    name: str
    is_up: bool
    """It is up, and its carrier is."""
    mtu: int
    kind: str
    """What made it (``"veth"``, …); empty for a card."""
    queues: int
    """Receive queues in use."""
    address: str | None
    """Its first IPv4 address."""
    place: Place
    program: int
    """The kernel's number of the XDP program that is attached; 0: none."""
    has_generic_program: bool = False
    """That program runs in generic mode."""
    hardware: int = _ARPHRD_ETHER
    """What it is a link of (``ARPHRD_…``)."""

    @property
    def is_loopback(self) -> bool:
        """Whether all that it sends comes back to this host."""
        return self.hardware == _ARPHRD_LOOPBACK

    @property
    def is_ethernet(self) -> bool:
        """Whether its packets have an Ethernet header, and it a MAC address."""
        return self.hardware == _ARPHRD_ETHER

    @property
    def has_partial_checksums(self) -> bool:
        """Whether packets that are in order may come with the checksum of the pseudo header alone."""
        return self.kind in _VIRTUAL_KINDS


def find(name: str | int) -> Device | None:
    """The device of this name or index; None when there is none."""
    from pyroute2 import IPRoute, NetlinkError
    from pyroute2.ethtool.ioctl import NoSuchDevice

    with IPRoute() as route:
        try:
            links = list(route.get_links(name)) if isinstance(name, int) else list(route.link("get", ifname=name))
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise
        if not links:
            return None
        link: Any = links[0]
        try:
            return _describe(route, link)
        except NoSuchDevice:  # it went away meanwhile
            return None


def need(name: str) -> Device:
    """The same; raises :class:`TransportUnavailableError` when there is none."""
    device = find(name)
    if device is None:
        raise TransportUnavailableError(f"no network device {name!r} here")
    return device


def _describe(route: IPRoute, link: Any) -> Device:
    ifindex, name = int(link["index"]), str(link.get_attr("IFLA_IFNAME"))
    macs, addresses = [link.get_attr("IFLA_ADDRESS")], []
    broadcasts: set[str] = set()
    vlans = [one for one in route.get_links() if one.get_attr("IFLA_LINK") == ifindex and _kind(one) == "vlan"]
    macs += [vlan.get_attr("IFLA_ADDRESS") for vlan in vlans]
    ours = {ifindex, *(vlan["index"] for vlan in vlans)}
    first = None
    for message in route.get_addr(family=_AF_INET):
        if message["index"] not in ours:
            continue
        address = str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
        first = first or (address if message["index"] == ifindex else None)
        addresses.append(address)
        broadcasts |= _broadcasts(message)
    xdp = link.get_attr("IFLA_XDP")
    return Device(
        ifindex=ifindex,
        name=name,
        is_up=bool(link["flags"] & _IFF_UP and link["flags"] & _IFF_LOWER_UP),
        mtu=int(link.get_attr("IFLA_MTU")),
        kind=_kind(link),
        queues=_queues(name, link),
        address=first,
        place=Place(frozenset(addresses), frozenset(broadcasts), frozenset(str(mac) for mac in macs if mac)),
        program=int(xdp.get_attr("IFLA_XDP_PROG_ID") or 0) if xdp is not None else 0,
        has_generic_program=xdp is not None and xdp.get_attr("IFLA_XDP_ATTACHED") == _XDP_ATTACHED_SKB,
        hardware=int(link["ifi_type"]),
    )


def _broadcasts(message: Any) -> set[str]:
    """What no station of an address's network has: the broadcast address that was set, which many are without, and as the
    kernel has it (``fib_add_ifaddr``) the network's last; its first, too, which was one until Linux 5.14 (RFC 1122, 3.3.6)."""
    found = set()
    if broadcast := message.get_attr("IFA_BROADCAST"):
        found.add(str(broadcast))
    if message["prefixlen"] <= _PREFIX_BITS_MAX:
        # IFA_ADDRESS, not IFA_LOCAL: with a peer the network is the peer's.
        network = ipaddress.IPv4Network((str(message.get_attr("IFA_ADDRESS")), message["prefixlen"]), strict=False)
        found |= {str(network.network_address), str(network.broadcast_address)}
    return found


def _kind(link: Any) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND") or "") if info is not None else ""


def _queues(name: str, link: Any) -> int:
    """The channels that receive: a driver allocates more queues than it uses. Where it does not tell, all there are."""
    from pyroute2.ethtool.ioctl import IoctlEthtool, NotSupportedError

    try:
        ethtool = IoctlEthtool(name)
        try:
            channels = ethtool.get_channels()
        finally:
            ethtool.close()
    except NotSupportedError:
        return int(link.get_attr("IFLA_NUM_RX_QUEUES") or 1)
    return int(channels.rx_count) + int(channels.combined_count) or 1
