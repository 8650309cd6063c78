"""Attaching a program to a device so that it goes away with us.

A BPF link is attached as long as some process has its descriptor open, or it is pinned. One that is not is detached by the
kernel after a SIGKILL. Native mode (in the driver) is tried first, then generic mode. Links for XDP came with Linux 5.9.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from dataclasses import dataclass
from typing import Literal

from splinter.errors import ServerError, TransportNotPermittedError, TransportUnavailableError
from splinter.net.bpf import syscall
from splinter.net.xdp import pass_through

AttachMode = Literal["native", "generic"]

_MODES: tuple[tuple[AttachMode, int], ...] = (("native", syscall.LINK_NATIVE), ("generic", syscall.LINK_GENERIC))
_OCCUPIED = (errno.EBUSY, errno.EEXIST)
_CANNOT_DETACH = (errno.EINVAL, errno.EOPNOTSUPP)  # kernels before 5.11: the link ends when all have closed it
_RETRY_SECONDS = 2.0  # a killed server's workers hold its link until they are dead, too
_RETRY_INTERVAL_SECONDS = 0.01

log = logging.getLogger(__name__)


@dataclass
class Attachment:
    """A program on a device, by the link of descriptor ``link_fd``."""

    mode: AttachMode
    link_fd: int
    passed: pass_through.Place | None = None
    """Where it is that a pass-through program was before, and is to be again."""

    def detach(self) -> None:
        """Take the program off the device, whoever else holds the link. No error when the device is gone."""
        try:
            _end_link(self.link_fd)
        finally:
            if self.passed is not None:
                self.passed.give_back()


def _end_link(fd: int) -> None:
    try:
        syscall.detach_link(fd)
    except OSError as error:
        if error.errno not in _CANNOT_DETACH:
            raise
    finally:
        os.close(fd)


def attach(program_fd: int, ifname: str, ifindex: int) -> Attachment:
    """Attach a program to a device of the current network namespace. A pass-through program makes room until it is detached.

    Raises :class:`ServerError` when another program is attached there, :class:`TransportUnavailableError` when the
    kernel can attach none.
    """
    passed = pass_through.take_off(ifindex)
    try:
        attachment = _attach(program_fd, ifname, ifindex)
    except BaseException:
        if passed is not None:
            passed.give_back()
        raise
    attachment.passed = passed
    return attachment


def _attach(program_fd: int, ifname: str, ifindex: int) -> Attachment:
    reasons = []
    for mode, flags in _MODES:
        try:
            attachment = Attachment(mode, _link(program_fd, ifindex, flags))
        except OSError as error:
            if error.errno in _OCCUPIED:
                raise ServerError(
                    f"another XDP program is attached to {ifname}, perhaps another server's: stop what attached it, or "
                    f"remove it with: ip link set dev {ifname} xdp off"
                ) from error
            if error.errno == errno.EPERM:
                raise TransportNotPermittedError("attaching an XDP program needs root (CAP_NET_ADMIN)") from error
            reasons.append(f"{mode}: {'no BPF links for XDP, Linux 5.9' if error.errno == errno.EINVAL else error.strerror}")
            continue
        if mode == "generic":
            log.warning("%s: no XDP in the driver (%s): generic mode, which is slower", ifname, "; ".join(reasons))
        return attachment
    raise TransportUnavailableError(f"no XDP program can be attached to {ifname} ({'; '.join(reasons)})")


def _link(program_fd: int, ifindex: int, flags: int) -> int:
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            return syscall.link_xdp(program_fd, ifindex, flags)
        except OSError as error:
            if error.errno not in _OCCUPIED or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_INTERVAL_SECONDS)
