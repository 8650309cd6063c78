"""What the XDP program can decide about a packet; the index of each counter.

``bpf/shared.h`` is generated from here, so that both sides count the same things under the same names.
"""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """One counter each. A packet has one of PASSED, STEERED, the drops and the answers; notes come on top of that."""

    PASSED = 0  # not ours: to the kernel's network stack
    STEERED = 1  # to the socket of the tenant's home core
    # Notes: steered all the same, because the worker answers these with a status.
    BAD_VERSION = 2  # a version of the protocol that this server does not speak
    BAD_LENGTH = 3  # key and value lengths do not add up to the packet's
    # Drops.
    TRUNCATED = 4  # IP or UDP length contradict each other or the frame
    FRAGMENT = 5  # an IP fragment
    SHORT = 6  # no whole request header
    BAD_MAGIC = 7  # not our protocol
    REPLY = 8  # a reply, or a request reflected to us
    UNKNOWN_TENANT = 9  # no such tenant
    WRONG_TOKEN = 10  # not the tenant's token
    NO_SOCKET = 11  # the home core has no socket on the queue that the packet came in by
    RATE_LIMITED = 12  # over the tenant's packets per second
    # Answered by the program itself, from the store.
    KERNEL_HIT = 13  # a get, with the value
    KERNEL_MISS = 14  # a get of what is not there
    KERNEL_RUN = 15  # an invoke, with the extension's result
    # Notes: gets and invokes that the program left to the worker.
    OVER_PLAIN = 16  # it asks for more than the newest value, is malformed, or has options of IP
    OVER_DAMAGED = 17  # the checksums do not fit its bytes
    OVER_SIZE = 18  # the value does not fit the packet, or the packet cannot be made longer
    OVER_COMMIT = 19  # a commit was under way, or had just happened
    OVER_SHARE = 20  # the tenant has had its share of this CPU
    OVER_CPU = 21  # the CPU was already at another one, or has no cell
    OVER_INVOKE = 22  # an extension that the kernel does not have, or that came to what only a worker can do
    OVER_EXPIRED = 23  # the object has expired


DROPS = tuple(verdict for verdict in Verdict if Verdict.TRUNCATED <= verdict <= Verdict.RATE_LIMITED)
ANSWERS = (Verdict.KERNEL_HIT, Verdict.KERNEL_MISS, Verdict.KERNEL_RUN)
LEFT_TO_WORKER = tuple(verdict for verdict in Verdict if verdict >= Verdict.OVER_PLAIN)
