"""UMEM: the memory that packets lie in, shared with the kernel and with forked processes."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from splinter.net.afxdp.constants import CHUNK_BYTES_MIN

if TYPE_CHECKING:
    from splinter.net.afxdp.socket import XskSocket


class Umem:
    """``chunks`` equal buffers of ``chunk_bytes`` bytes (2048 or 4096), each for one packet.

    The memory is a shared anonymous mapping, so that processes forked later see the same packets; or ``buffer``, a
    writable, page-aligned object of the buffer protocol with at least ``chunks × chunk_bytes`` bytes. The kernel knows
    a UMEM by the first socket that is bound with it; until then it is plain memory.

    Addresses in descriptors are byte offsets from the start of the UMEM. A received packet begins some way into its
    chunk (the kernel keeps a headroom of 256 bytes); the chunk's own address is the descriptor's, rounded down:
    :meth:`chunk`.

    Raises ``ValueError`` for sizes that the kernel would refuse.

    See https://docs.kernel.org/networking/af_xdp.html#umem
    """

    def __init__(self, chunks: int, chunk_bytes: int = CHUNK_BYTES_MIN, *, buffer: Any = None) -> None:
        if chunk_bytes & (chunk_bytes - 1) or not CHUNK_BYTES_MIN <= chunk_bytes <= mmap.PAGESIZE:
            raise ValueError(f"chunk_bytes is a power of two from {CHUNK_BYTES_MIN} to {mmap.PAGESIZE}, not {chunk_bytes}")
        if chunks < 1:
            raise ValueError(f"a UMEM has at least one chunk, not {chunks}")
        self.chunks = chunks
        self.chunk_bytes = chunk_bytes
        self.bytes = chunks * chunk_bytes
        memory = mmap.mmap(-1, self.bytes) if buffer is None else buffer
        flat = np.frombuffer(memory, dtype=np.uint8, count=self.bytes)
        if not flat.flags.writeable:
            raise ValueError("a UMEM's buffer must be writable")
        self.address = int(flat.ctypes.data)
        """Where the UMEM starts in this process (and in all that it forks)."""
        if self.address % mmap.PAGESIZE:
            raise ValueError("a UMEM's buffer must start at a page boundary")
        self.array = flat.reshape(chunks, chunk_bytes)
        """``uint8[chunks, chunk_bytes]``: a view of the memory, one row a chunk."""
        self._flat = flat
        self._sockets: list[XskSocket] = []

    def chunk(self, address: int) -> int:
        """The address of the chunk that a descriptor's address lies in."""
        return address & -self.chunk_bytes

    def packet(self, address: int, length: int) -> np.ndarray:
        """``uint8[length]``: a view of the packet that a descriptor names."""
        return self._flat[address : address + length]

    def _partner(self, place: tuple[int, int, int]) -> XskSocket | None:
        """Which socket a new one shares with: one of its (namespace, device, queue) if there is one, else any."""
        for socket in self._sockets:
            if socket.place == place:
                return socket
        return self._sockets[0] if self._sockets else None
