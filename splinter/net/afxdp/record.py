"""The XSK record: what compiled code needs to know of a socket, by address, valid in every forked process.

All fields are 64 bits, written once by the process that made the socket.
"""

from __future__ import annotations

import numpy as np

from splinter.layout import offset

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

X_FD = offset(XSK, "fd")
X_UMEM = offset(XSK, "umem")
X_CHUNK_BYTES = offset(XSK, "chunk_bytes")
X_QUEUE = offset(XSK, "queue")
X_ZERO_COPY = offset(XSK, "zero_copy")
X_WAKE_ALWAYS = offset(XSK, "wake_always")

X_RX_PRODUCER = offset(XSK, "rx_producer")
X_RX_CONSUMER = offset(XSK, "rx_consumer")
X_RX_ENTRIES = offset(XSK, "rx_entries")
X_RX_MASK = offset(XSK, "rx_mask")

X_TX_PRODUCER = offset(XSK, "tx_producer")
X_TX_CONSUMER = offset(XSK, "tx_consumer")
X_TX_FLAGS = offset(XSK, "tx_flags")
X_TX_ENTRIES = offset(XSK, "tx_entries")
X_TX_MASK = offset(XSK, "tx_mask")

X_FILL_PRODUCER = offset(XSK, "fill_producer")
X_FILL_CONSUMER = offset(XSK, "fill_consumer")
X_FILL_FLAGS = offset(XSK, "fill_flags")
X_FILL_ENTRIES = offset(XSK, "fill_entries")
X_FILL_MASK = offset(XSK, "fill_mask")

X_COMPLETION_PRODUCER = offset(XSK, "completion_producer")
X_COMPLETION_CONSUMER = offset(XSK, "completion_consumer")
X_COMPLETION_ENTRIES = offset(XSK, "completion_entries")
X_COMPLETION_MASK = offset(XSK, "completion_mask")
