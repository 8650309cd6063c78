"""One ring: a NumPy view of the kernel's producer-consumer queue."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

import numpy as np

DESCRIPTOR = np.dtype(
    [
        ("address", "<u8"),  # byte offset from the start of the UMEM
        ("length", "<u4"),  # bytes
        ("options", "<u4"),
    ]
)
"""An entry of the RX and TX rings (``struct xdp_desc``)."""
ADDRESS = np.dtype("<u8")
"""An entry of the fill and completion rings: a byte offset from the start of the UMEM."""


@dataclass(frozen=True)
class RingOffsets:
    """Where a ring's parts lie in its mapping (``struct xdp_ring_offset``), in bytes."""

    producer: int
    consumer: int
    entries: int
    flags: int

    BYTES = 32

    @classmethod
    def unpack(cls, option: bytes, index: int) -> RingOffsets:
        """Of the ``index``-th ring (RX, TX, fill, completion) in what XDP_MMAP_OFFSETS answers."""
        return cls(*struct.unpack_from("<4Q", option, index * cls.BYTES))


class Ring:
    """A ring of ``size`` entries (a power of two).

    ``producer`` and ``consumer`` are free-running 32-bit positions (``uint32[1]``): entry ``position & mask`` is the
    one at a position, and ``producer - consumer`` (modulo 2³²) is how many entries are filled. The process writes one
    of them and the kernel the other; ``flags`` (``uint32[1]``) is the kernel's. ``entries`` is an array of
    :data:`DESCRIPTOR` (RX, TX) or of addresses (fill, completion).

    The mapping lives as long as any view of it does; so does the socket that it belongs to.
    """

    def __init__(self, fd: int, page_offset: int, offsets: RingOffsets, entry: np.dtype, size: int) -> None:
        self.size = size
        self.mask = size - 1
        memory = mmap.mmap(fd, offsets.entries + size * entry.itemsize, offset=page_offset)
        self.producer = np.frombuffer(memory, np.uint32, 1, offsets.producer)
        self.consumer = np.frombuffer(memory, np.uint32, 1, offsets.consumer)
        self.flags = np.frombuffer(memory, np.uint32, 1, offsets.flags)
        self.entries = np.frombuffer(memory, entry, size, offsets.entries)

    @property
    def filled(self) -> int:
        """Entries between consumer and producer, at this moment."""
        return (int(self.producer[0]) - int(self.consumer[0])) & 0xFFFFFFFF

    def __repr__(self) -> str:
        return f"Ring(size={self.size}, producer={self.producer[0]}, consumer={self.consumer[0]})"
