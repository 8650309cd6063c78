"""The pass-through program for the other end of a server's veth pair: ``return XDP_PASS``.

What the server's XDP program sends back (``XDP_TX``) lands in a ring of the other end. The kernel empties that ring when
something else arrives, unless that end has an XDP program too: then it is woken (``veth_xdp_flush`` of
``drivers/net/veth.c``). So an end without one has its replies stick. Any program will
do, an AF_XDP client's as well; this one does nothing else.

It is attached by netlink, not by a link: it belongs to the device, needs no process and no file, and goes with it. A program of
ours that comes to the same device takes its place, and gives it back when it leaves (:func:`take_off`). One that is killed does
not.

Two instructions, so no compiler is needed where this is run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from dataclasses import dataclass
from functools import cache

from splinter.errors import ServerError, TransportNotPermittedError, TransportUnavailableError
from splinter.net import netns
from splinter.net.bpf import load, syscall
from splinter.net.bpf.elf import Code
from splinter.net.bpf.load import BpfRefusedError
from splinter.net.bpf.syscall import closed
from splinter.net.device import Device, find, need

NAME = "splinter_pass"
_INSTRUCTIONS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)  # r0 = XDP_PASS; exit
_IF_NOEXIST = 1 << 0  # XDP_FLAGS_UPDATE_IF_NOEXIST
_NONE = -1  # in place of a descriptor: no program
_OCCUPIED = (errno.EBUSY, errno.EEXIST)


@cache
def is_possible() -> bool:
    """Whether this process can load it."""
    try:
        os.close(_load())
    except (TransportUnavailableError, BpfRefusedError):
        return False
    return True


def _load() -> int:
    try:
        return load(Code(_INSTRUCTIONS), NAME, has_frags=True)
    except BpfRefusedError:  # an older kernel
        return load(Code(_INSTRUCTIONS), NAME)


def is_on(device: Device) -> bool:
    """Whether the device has this program. False, too, for one that went away."""
    if not device.program:
        return False
    try:
        with closed(syscall.open_program(device.program)) as fd:
            found = syscall.program_info(fd)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return found.name == NAME.encode() and found.bytes == len(_INSTRUCTIONS)


def put_on(ifname: str) -> bool:
    """Attach it to a device of the current network namespace; returns whether that changed anything.

    Raises :class:`ServerError` when there is another program, which may stay: it does the same. Raises
    :class:`TransportUnavailableError` without privileges, or when the device or its driver cannot have one.
    """
    device = need(ifname)
    if is_on(device):
        return False
    if device.program:
        raise ServerError(
            f"another XDP program is attached to {ifname}: replies do not stick there, and nothing is to be done while it is"
        )
    try:
        with closed(_load()) as fd:
            _set(device.ifindex, fd, syscall.LINK_NATIVE | _IF_NOEXIST)
    except OSError as error:
        if error.errno in _OCCUPIED:
            raise ServerError(f"another XDP program has just been attached to {ifname}") from error
        if error.errno == errno.EPERM:
            raise TransportNotPermittedError("attaching an XDP program needs root (CAP_BPF and CAP_NET_ADMIN)") from error
        raise TransportUnavailableError(
            f"{ifname} cannot have an XDP program in its driver ({error.strerror}): only the end of a veth pair needs this one"
        ) from error
    return True


def remove(ifname: str) -> bool:
    """Take it off a device of the current network namespace; False when it was not there. Other programs are left alone."""
    device = need(ifname)
    if not is_on(device):
        return False
    _set(device.ifindex, _NONE, syscall.LINK_NATIVE)
    return True


@dataclass
class Place:
    """Where it was taken off; a device may have got another name since."""

    netns_fd: int
    ifindex: int

    def give_back(self) -> None:
        """Attach it again. No error when the device is gone, or has another program."""
        try:
            with netns.inside_fd(self.netns_fd), contextlib.suppress(ServerError, OSError):
                device = find(self.ifindex)
                if device is not None:
                    put_on(device.name)
        finally:
            os.close(self.netns_fd)


def take_off(ifindex: int) -> Place | None:
    """Make room for another program on a device of the current network namespace; None when it is not there."""
    device = find(ifindex)
    if device is None or not is_on(device):
        return None
    _set(ifindex, _NONE, syscall.LINK_NATIVE)
    return Place(netns.current_fd(), ifindex)


def _set(ifindex: int, fd: int, flags: int) -> None:
    from pyroute2 import IPRoute, NetlinkError

    attributes = [("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", {"value": flags})]
    try:
        with IPRoute() as route:
            route.link("set", index=ifindex, xdp={"attrs": attributes})
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error
