"""What the network says of a way that is closed (ICMP, routing, a firewall of this host), as sentences."""

from __future__ import annotations

import errno
import os

from splinter import limits
from splinter.errors import PacketTooLargeError, SplinterError, UnreachableError

# Errors that may be over before a request's time is: the packet is lost, and sent again.
PASSING = frozenset(
    (
        errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EPROTO,
        errno.ENOPROTOOPT, errno.EACCES, errno.EPERM, errno.EMSGSIZE, errno.EAGAIN, errno.ENOBUFS,
    )
)  # fmt: skip


def sentence(number: int, host: str, port: int) -> str:
    """What an ``errno`` of sending to ``host`` or receiving from it means, and what to do."""
    match number:
        case errno.ECONNREFUSED:
            return f"nothing listens at {host}:{port} (is the server running, and on this port?)"
        case errno.EHOSTUNREACH | errno.EHOSTDOWN:
            return f"no host answers at {host} (is the address right, and is the host on?)"
        case errno.ENETUNREACH | errno.ENETDOWN:
            return f"there is no route to {host} (see 'ip route get {host}')"
        case errno.EACCES | errno.EPERM:
            return f"a firewall forbids packets to {host}:{port} (see this host's rules)"
    return f"{host}:{port} cannot be reached: {os.strerror(number)}"


def unreachable(number: int, host: str, port: int, before: str = "") -> UnreachableError:
    """The exception for it; ``before`` is what the message begins with."""
    return UnreachableError(before + sentence(number, host, port), number)


def too_large(count: int, host: str, mtu: int) -> SplinterError:
    """The exception for a request whose UDP payload of ``count`` bytes does not fit the way to ``host``, whose MTU is this."""
    if mtu < limits.MTU_MIN:
        return PacketTooLargeError(
            f"a packet of {count} bytes does not fit the way to {host}: its MTU is {mtu} bytes, and Splinter needs "
            f"{limits.MTU_MIN} (see 'ip link' and 'ip route get {host}')"
        )
    return PacketTooLargeError(
        f"a packet of {count} bytes does not fit the way to {host}: its MTU has changed and is {mtu} bytes now. Ask again, "
        "then packets are cut to size"
    )
