"""The served device may go down, be removed and made anew, get another MTU, other addresses or queues, or another XDP program.

The watch asks the kernel once a second (less often where that takes long), and at once when the kernel says that a link or an
address has changed. Names and addresses and the MTU are followed while requests are served. Where sockets are dead or too
few, the workers are stopped (their memory, the store and their tasks stay), get new sockets and are started again; so is the
control process, which would keep the old sockets open. What cannot be had is tried once a second, until the operator's
patience is over.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import time
from typing import Protocol

from pyroute2 import NetlinkError

from splinter.errors import ServerError
from splinter.net.device import Device
from splinter.net.netns import inside
from splinter.server.device_state import DeviceCondition
from splinter.server.events import event
from splinter.server.supervisor.timers import make_timer, set_timer
from splinter.server.supervisor.xdp import XdpTransport

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
_LOOK_SECONDS_MIN = 0.02  # between two looks, however often the kernel says that something has changed
_LOOK_SHARE = 20  # one part of so many of the time is for looks, which take long where there are hundreds of devices
_LINKS, _ADDRESSES = 0x1, 0x10  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR
_MESSAGE_BYTES_MAX = 65536


class DataPlane(Protocol):
    """What the watch has the supervisor do."""

    def pause(self) -> None:
        """Stop the workers, close the sockets in every process. Nothing to do when that is done."""

    def resume(self) -> None:
        """Have workers on the transport's new sockets."""

    def tell(self) -> None:
        """Make known how the device does."""


class DeviceWatch:
    """Used from the supervisor's one thread. ``patience`` is in seconds: how long the device may be lost."""

    def __init__(self, transport: XdpTransport, plane: DataPlane, selector: selectors.BaseSelector, patience: float) -> None:
        self._transport, self._plane, self._selector, self._patience = transport, plane, selector, patience
        self._looked = self._took = 0.0  # the last look: when it ended, on the monotonic clock, and how long it took
        with inside(transport.netns):
            self._news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._news.setblocking(False)
        self._news.bind((0, _LINKS | _ADDRESSES))
        self._timer = make_timer(LOOK_SECONDS)
        selector.register(self._news, selectors.EVENT_READ, self._hear)
        selector.register(self._timer, selectors.EVENT_READ, self._tick)

    def close(self) -> None:
        """Look no more."""
        self._selector.unregister(self._news)
        self._selector.unregister(self._timer)
        self._news.close()
        os.close(self._timer)

    def _hear(self) -> None:
        with contextlib.suppress(OSError):  # nothing more; or the kernel had to leave some out, which is news as well
            while self._news.recv(_MESSAGE_BYTES_MAX):
                pass
        left = self._looked + self._pause(_LOOK_SECONDS_MIN) - time.monotonic()
        if left > 0:
            set_timer(self._timer, left, LOOK_SECONDS)
        else:
            self.look()

    def _tick(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._timer, 8)
        self.look()
        set_timer(self._timer, self._pause(LOOK_SECONDS), LOOK_SECONDS)

    def _pause(self, seconds: float) -> float:
        """How long to wait before the next look, ``seconds`` at least: workers are not watched during one."""
        return max(seconds, self._took * _LOOK_SHARE)

    def look(self) -> None:
        """See how the device is, and do what is to be done. Raises :class:`ServerError` when the patience is over."""
        transport, state = self._transport, self._transport.state
        begun = time.monotonic()
        try:
            device = transport.look()
        except (NetlinkError, OSError) as error:  # the kernel is asked again soon
            logger.warning("the device %s cannot be looked at: %s", transport.device, error)
            return
        finally:
            self._looked = time.monotonic()
            self._took = self._looked - begun
        if device is None:
            self._lose(f"the network device {transport.device} is gone", are_sockets_dead=True)
        elif device.ifindex != transport.found.ifindex:
            if transport.queues:  # else it was lost before, and why it is not served yet is the news
                self._lose(f"the network device {transport.device} was replaced by another one", are_sockets_dead=True)
            self._serve_again(device)
        elif transport.queues and device.queues != transport.queues:
            logger.warning("%s receives by %d queues now, it was %d", device.name, device.queues, transport.queues)
            self._plane.pause()
            self._serve_again(device)
        elif transport.queues == 0 or not transport.is_attached_to(device):
            if transport.queues and not device.program and state.condition != DeviceCondition.LOST:
                self._lose(f"the XDP program was taken off {device.name}", are_sockets_dead=False)
            self._serve_again(device)
        else:
            self._follow(device)
        self._plane.tell()
        if state.condition == DeviceCondition.LOST and state.seconds() > self._patience:
            raise ServerError(
                f"{state.reason}, for more than {self._patience:g} s: the server ends (--device-wait sets how long it waits)"
            )

    def _follow(self, device: Device) -> None:
        """Take over what has changed; where it cannot be, what was served before still is. News are told once."""
        state, obstacle = self._transport.state, ""
        try:
            self._transport.follow(device)
        except (ServerError, OSError) as error:
            obstacle = f"{device.name}: its changes are not followed: {error}"
        before, (condition, reason) = state.reason, self._transport.judge(device)
        reason = reason or obstacle
        if not state.become(condition, reason):
            return
        if condition == DeviceCondition.DOWN:
            told = event("device.down", device=device.name)
            logger.warning("%s: no request can come in", reason or f"{device.name} is down", extra=told)
        elif reason:
            logger.warning("%s", reason)
        else:
            told = event("device.up", device=device.name)
            logger.warning("%s %s", device.name, "is as it should be again" if before else "is up again", extra=told)

    def _lose(self, reason: str, *, are_sockets_dead: bool) -> None:
        if self._transport.state.become(DeviceCondition.LOST, reason):
            told = event("device.lost", device=self._transport.device or "")
            logger.warning("%s: no request comes in; waiting for it for %g s", reason, self._patience, extra=told)
        if are_sockets_dead:
            self._plane.pause()

    def _serve_again(self, device: Device) -> None:
        """Open sockets where there are none, and attach."""
        transport, state = self._transport, self._transport.state
        if device.program not in (0, transport.program.number):
            self._lose(f"another XDP program is on {device.name}", are_sockets_dead=False)
            return
        try:
            if transport.queues == 0:
                transport.open_sockets(device)
                self._plane.resume()
                state.count_return()
            transport.attach()
        except (ServerError, NetlinkError, OSError) as error:
            if state.become(DeviceCondition.LOST, str(error)):
                logger.warning("%s cannot be served: %s; trying again for %g s", device.name, error, self._patience)
            return
        told = event("device.found", device=device.name, mode=transport.mode or "", queues=transport.queues)
        logger.warning("%s is served again: %s mode, %d queues", device.name, transport.mode, transport.queues, extra=told)
        if state.reason:
            logger.warning("%s", state.reason)
