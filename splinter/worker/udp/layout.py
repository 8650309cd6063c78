"""Memory of the UDP transport: packets, and the message headers that ``recvmmsg`` and ``sendmmsg`` read.

All of it belongs to one worker. A successor sends what replies its predecessor had ready, serves what it had received and
not begun, and takes all packet buffers as free but those of tasks. Layouts are the x86-64 and arm64 Linux ones of
``struct mmsghdr``, ``iovec``, ``sockaddr_in``, ``cmsghdr`` and ``in_pktinfo``.
"""

from __future__ import annotations

import numpy as np

from splinter import limits

IOVEC = np.dtype([("base", "<u8"), ("length", "<u8")])
MMSGHDR = np.dtype(
    [
        ("name", "<u8"),  # address of the peer's sockaddr
        ("name_length", "<u4"),
        ("pad", "<u4"),
        ("iov", "<u8"),
        ("iov_count", "<u8"),
        ("control", "<u8"),
        ("control_length", "<u8"),
        ("flags", "<u4"),
        ("pad_flags", "<u4"),
        ("length", "<u4"),  # bytes received or sent
        ("pad_length", "<u4"),
    ]
)
# The one control message of a packet (``struct cmsghdr``, ``struct in_pktinfo``): by which of this host's addresses it came.
PKTINFO = np.dtype(
    [
        ("length", "<u8"),  # PKTINFO_LENGTH when the kernel has written it; 0: nothing is known
        ("level", "<u4"),
        ("type", "<u4"),
        ("interface", "<u4"),  # number of the interface; 0 in a reply: whichever the routes say
        ("address", "<u4"),  # this host's: what was asked, and what a reply is sent from
        ("destination", "<u4"),  # of the packet; the same, unless it was sent to a group or a broadcast address
        ("pad", "<u4"),
    ]
)
PKTINFO_LENGTH = PKTINFO.itemsize - 4
SOCKADDR_BYTES = 16
# A packet too long for the protocol is still longer than that when the kernel has cut it to a chunk, and refused as such.
assert limits.CHUNK_BYTES > limits.UDP_PAYLOAD_BYTES_MAX
assert MMSGHDR.itemsize == 64

# Where the parts are: addresses in this worker's area.
UDP_AREA = np.dtype(
    [
        ("receive", "<u8"),  # MMSGHDR[RX_BATCH]
        ("receive_iovecs", "<u8"),  # IOVEC[RX_BATCH]
        ("receive_chunks", "<u8"),  # u32[RX_BATCH]: the chunk that each receive slot has
        ("send", "<u8"),  # MMSGHDR[RX_BATCH]
        ("send_iovecs", "<u8"),  # IOVEC[RX_BATCH]
        ("peers", "<u8"),  # sockaddr_in[chunks]: who sent what is in the chunk
        ("infos", "<u8"),  # PKTINFO[chunks]: which address that was sent to
        ("is_wildcard", "<u8"),  # the socket has no address of its own: ``infos`` are asked for. Writer: the supervisor, before
        ("chunks", "<u8"),  # chunks × CHUNK_BYTES
        ("free", "<u8"),  # u32[chunks]: stack of free chunks
        ("free_length", "<u8"),
        ("replies", "<u8"),  # messages in ``send`` that are not known to be sent
    ]
)

MMSGHDR_BYTES = MMSGHDR.itemsize
PKTINFO_BYTES = PKTINFO.itemsize
IOVEC_BYTES = IOVEC.itemsize


def udp_chunks(tasks: int) -> int:
    """Packet buffers that a worker needs: one for each receive slot, for each task that keeps its packet, and for each reply
    that waits for the disk."""
    return limits.RX_BATCH + tasks + limits.HELD_MAX


def part_sizes(chunks: int) -> dict[str, int]:
    """Bytes of each part of the area, in the order of ``UDP_AREA``."""
    batch = limits.RX_BATCH
    return {
        "receive": batch * MMSGHDR_BYTES,
        "receive_iovecs": batch * IOVEC_BYTES,
        "receive_chunks": batch * 4,
        "send": batch * MMSGHDR_BYTES,
        "send_iovecs": batch * IOVEC_BYTES,
        "peers": chunks * SOCKADDR_BYTES,
        "infos": chunks * PKTINFO_BYTES,
        "chunks": chunks * limits.CHUNK_BYTES,
        "free": chunks * 4,
    }
