"""The XSK record: what compiled code needs to know of a socket, by address, valid in every forked process.

All fields are 64 bits, written once by the process that made the socket.
"""

from __future__ import annotations

import numpy as np

RINGS = ("rx", "tx", "fill", "completion")

XSK = np.dtype(
    [
        ("fd", "<i8"),  # the socket's file descriptor; forked processes inherit it
        ("umem", "<i8"),  # address of the UMEM
        ("chunk_bytes", "<i8"),
        ("queue", "<i8"),  # of the device
        ("zero_copy", "<i8"),  # 1: bound in zero-copy mode
        ("wake_always", "<i8"),  # 1: the TX ring's wake-up flag tells nothing (copy mode): always kick
        ("reserved", "<i8", 2),
        # Of each ring: the addresses of its parts, and the mask that makes an entry's index of a position.
        *[
            (f"{ring}_{part}", "<i8")
            for ring in RINGS
            for part in ("producer", "consumer", "flags", "entries", "mask", "reserved")
        ],
    ]
)
assert XSK.itemsize == 256
