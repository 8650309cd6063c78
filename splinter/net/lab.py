"""The lab: two network namespaces joined by a veth pair, a place to try everything on one machine.

::

    <name>-server                      <name>-client
    srv0 10.0.0.2/24  ───── veth ───── cli0 10.0.0.1/24

Devices and addresses are the same in every lab; the namespaces keep labs apart. Set as AF_XDP and XDP need it: several queues;
no checksum offload (a packet that XDP or an AF_XDP socket sees must carry its checksum); GRO on, which turns NAPI on, without
which a veth end takes nothing that the other end's XDP program sends; neighbours known, so that no ARP is needed (AF_XDP
sockets answer none); no IPv6, whose announcements would be noise in the counters; a pass-through program at the client's end,
without which it would not be woken for what the server's program sends back (:mod:`splinter.net.xdp.pass_through`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from splinter.errors import ConfigurationError, ServerError
from splinter.extras import with_advice
from splinter.interrupts import uninterrupted
from splinter.limits import QUEUES_MAX
from splinter.net import netns

try:
    from pyroute2 import Ethtool, IPRoute, NetlinkError
    from pyroute2.ethtool.ioctl import NoSuchDevice

    from splinter.net.device import find
    from splinter.net.xdp import pass_through
except ModuleNotFoundError as error:
    raise with_advice(error) from None

SERVER_DEVICE = "srv0"
SERVER_ADDRESS = "10.0.0.2"
SERVER_MAC = "02:53:50:4c:00:02"
CLIENT_DEVICE = "cli0"
CLIENT_ADDRESS = "10.0.0.1"
CLIENT_MAC = "02:53:50:4c:00:01"
PREFIX_BITS = 24

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CHECKSUM_FEATURES = ("tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6")
_GRO_FEATURE = "rx-gro"
_IPV6_SWITCH = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")  # of the namespace that the thread is in
_LINK_UP = 0x1  # IFF_UP
_NEIGHBOUR_PERMANENT = 0x80  # NUD_PERMANENT


# Labs that are there for a while, and the process that made each: an interrupt in the few instructions between a lab that is up
# and its block, or a block and its end, leaves the lab to the end of the process.
_entered: dict[Lab, int] = {}


@atexit.register
def remove_left() -> None:
    """Take down what no block will."""
    for lab, pid in list(_entered.items()):
        if pid == os.getpid():  # a forked child has the table as well
            with contextlib.suppress(ServerError):
                lab.down()
            _entered.pop(lab, None)


@dataclass(frozen=True)
class End:
    """One end of the veth pair."""

    namespace: str
    device: str
    address: str
    mac: str


@dataclass(frozen=True)
class LabStatus:
    """What is there of a lab. ``up``: all of it, and nothing is wrong."""

    up: bool
    present: bool
    """Something of it is there."""
    problems: tuple[str, ...]
    """What is missing or wrong, as sentences; empty when up."""


class Lab:
    """A lab by name, with ``queues`` RX and TX queues on each end. Making the object changes nothing.

    Use it as a context manager to have it only for a while.
    """

    def __init__(self, name: str = "splinter", queues: int = 2) -> None:
        if not 1 <= queues <= QUEUES_MAX:
            raise ValueError(f"a lab has 1 to {QUEUES_MAX} queues, not {queues}")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} is no name of a lab: letters, digits, '_', '.', '-', at most 64, a letter or digit first"
            )
        self.name = name
        self.queues = queues
        self.server = End(f"{name}-server", SERVER_DEVICE, SERVER_ADDRESS, SERVER_MAC)
        self.client = End(f"{name}-client", CLIENT_DEVICE, CLIENT_ADDRESS, CLIENT_MAC)
        self._ends = ((self.server, self.client), (self.client, self.server))

    def up(self) -> bool:
        """Bring the lab up; returns whether anything had to be done.

        A healthy lab is left alone, but for a pass-through program that it may lack; half of one is removed and made again.
        One that is not up in the end, or whose making was interrupted, is removed. Raises
        :class:`~splinter.errors.ServerError` without root, or when the kernel lacks veth or namespaces.
        """
        _need_root("bringing a lab up")
        is_mine = False
        try:
            with uninterrupted():
                mended = self._let_pass()
                status = self.status()
                if status.up:
                    return mended
                is_mine = True
                if status.present:
                    self.down()
                try:
                    self._make()
                except (OSError, NetlinkError) as error:
                    raise ServerError(f"the lab could not be made (namespaces, veth): {error}") from error
                problems = self.status().problems
                if problems:
                    raise ServerError(f"the lab was made, but: {'; '.join(problems)}")
            return True
        except BaseException:
            if is_mine:
                self.down()
            raise

    def down(self) -> None:
        """Remove whatever is there of the lab. No error when there is nothing."""
        _need_root("taking a lab down")
        with uninterrupted():
            for end, _ in self._ends:
                if not netns.exists(end.namespace):
                    continue
                _remove(end)  # a namespace lives on while a process or socket is in it
                netns.remove(end.namespace)

    def link(self) -> None:
        """Make the veth pair in the two namespaces, and set it up."""
        queues = {"num_tx_queues": self.queues, "num_rx_queues": self.queues}
        with netns.inside(self.server.namespace), IPRoute() as ip:
            ip.link(
                "add",
                ifname=self.server.device,
                kind="veth",
                address=self.server.mac,
                **queues,
                peer={
                    "ifname": self.client.device,
                    "address": self.client.mac,
                    "net_ns_fd": self.client.namespace,
                    **queues,
                },
            )
        self.configure(*(end for end, _ in self._ends))

    def unlink(self) -> None:
        """Remove the veth pair; the namespaces stay."""
        for end, _ in self._ends:
            _remove(end)

    def configure(self, *ends: End) -> None:
        """Set up ends that are there: offloads, address, up, neighbour."""
        for end, other in self._ends:
            if end in ends:
                with netns.inside(end.namespace), IPRoute() as ip:
                    _configure(ip, end, other)
        if self.client in ends:
            self._let_pass()

    def status(self) -> LabStatus:
        """Look at what is there. Needs root only when there is something."""
        there = [end.namespace for end, _ in self._ends if netns.exists(end.namespace)]
        if not there:
            return LabStatus(False, False, ("there is no lab of this name",))
        problems: list[str] = []
        for end, other in self._ends:
            if end.namespace not in there:
                problems.append(f"network namespace {end.namespace} is missing")
                continue
            try:
                with netns.inside(end.namespace), IPRoute() as ip:
                    problems += _problems(ip, end, other, self.queues)
            except ServerError as error:
                problems.append(str(error))
            except (
                OSError,
                NetlinkError,
                NoSuchDevice,
            ) as error:  # the kernel removes in the background
                problems.append(f"{end.device} in {end.namespace} went away: {error}")
        return LabStatus(not problems, True, tuple(problems))

    def __enter__(self) -> Self:
        _entered[self] = os.getpid()
        try:
            self.up()
        except Exception:
            _entered.pop(self, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.down()
        except KeyboardInterrupt:  # before its first step, or at its end: again does no harm
            self.down()
            raise
        finally:
            _entered.pop(self, None)

    def _let_pass(self) -> bool:
        """Attach the pass-through program to the client's end, if that has no program; returns whether that was so."""
        if not netns.exists(self.client.namespace):
            return False
        with netns.inside(self.client.namespace):
            if not _lacks_program(self.client):
                return False
            return pass_through.put_on(self.client.device)

    def _make(self) -> None:
        for end, _ in self._ends:
            netns.create(end.namespace)
        self.link()


def _remove(end: End) -> None:
    try:
        with netns.inside(end.namespace), IPRoute() as ip:
            for index in ip.link_lookup(ifname=end.device):
                ip.link("del", index=index)
    except (OSError, NetlinkError, ServerError):
        pass  # the other end's removal took it away, or the namespace is only a leftover name


def _configure(ip: IPRoute, end: End, other: End) -> None:
    if _IPV6_SWITCH.exists():
        _IPV6_SWITCH.write_text("1")
    with Ethtool() as ethtool:
        features = ethtool.get_features(end.device)
        for name in _CHECKSUM_FEATURES:
            if name in features.features:
                features.features[name].enable = False
        features.features[_GRO_FEATURE].enable = True
        ethtool.set_features(end.device, features)
    loopback, device = _index(ip, "lo"), _index(ip, end.device)
    ip.link("set", index=loopback, state="up")
    ip.addr("add", index=device, address=end.address, prefixlen=PREFIX_BITS)
    ip.link("set", index=device, state="up")
    ip.neigh("replace", ifindex=device, dst=other.address, lladdr=other.mac, state="permanent")


def _lacks_program(end: End) -> bool:
    """Whether it is there without a program, though this machine could give it one."""
    device = find(end.device)
    return device is not None and not device.program and pass_through.is_possible()


def _index(ip: IPRoute, device: str) -> int:
    found = ip.link_lookup(ifname=device)
    if not found:
        raise ServerError(f"there is no device {device}")
    return int(found[0])


def _problems(ip: IPRoute, end: End, other: End, queues: int) -> list[str]:
    where = f"{end.device} in {end.namespace}"
    found = ip.link_lookup(ifname=end.device)
    if not found:
        return [f"{where} is missing"]
    link: Any = ip.get_links(found[0])[0]
    problems = []
    for kind in ("tx", "rx"):
        count = link.get(f"num_{kind}_queues")
        if count != queues:
            problems.append(f"{where} has {count} {kind.upper()} queues, not {queues}")
    if link.get("address") != end.mac:
        problems.append(f"{where} has another MAC address")
    if not link["flags"] & _LINK_UP:
        problems.append(f"{where} is down")
    addresses = [address.get("address") for address in ip.get_addr(index=found[0])]
    if end.address not in addresses:
        problems.append(f"{where} lacks its address {end.address}")
    neighbours = {entry.get("dst"): entry for entry in ip.get_neighbours(ifindex=found[0])}
    neighbour = neighbours.get(other.address)
    if neighbour is None or not neighbour["state"] & _NEIGHBOUR_PERMANENT:
        problems.append(f"{where} does not know its neighbour {other.address}")
    with Ethtool() as ethtool:
        features = ethtool.get_features(end.device).features
    if any(features[name].enable for name in _CHECKSUM_FEATURES if name in features):
        problems.append(f"{where} has checksum offload on")
    if not features[_GRO_FEATURE].enable:
        problems.append(f"{where} has GRO off")
    if end.device == CLIENT_DEVICE and _lacks_program(end):
        problems.append(f"{where} has no XDP program: replies from the server's driver would stick there (splinter lab up)")
    return problems


def _need_root(action: str) -> None:
    if os.geteuid() != 0:
        raise ServerError(f"{action} needs root: run it with sudo")
