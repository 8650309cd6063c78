"""The kernel's user interface of AF_XDP (``linux/if_xdp.h``), which Python's ``socket`` lacks."""

from __future__ import annotations

AF_XDP = 44
SOL_XDP = 283

# Socket options.
XDP_MMAP_OFFSETS = 1
XDP_RX_RING = 2
XDP_TX_RING = 3
XDP_UMEM_REG = 4
XDP_UMEM_FILL_RING = 5
XDP_UMEM_COMPLETION_RING = 6
XDP_STATISTICS = 7
XDP_OPTIONS = 8

# Flags of sockaddr_xdp.
XDP_SHARED_UMEM = 1 << 0
XDP_COPY = 1 << 1
XDP_ZEROCOPY = 1 << 2
XDP_USE_NEED_WAKEUP = 1 << 3

XDP_OPTIONS_ZEROCOPY = 1 << 0  # in XDP_OPTIONS: bound in zero-copy mode
XDP_RING_NEED_WAKEUP = 1 << 0  # in a ring's flags word: the kernel sleeps until it is called

# Offsets that name the rings to mmap().
XDP_PGOFF_RX_RING = 0
XDP_PGOFF_TX_RING = 0x80000000
XDP_UMEM_PGOFF_FILL_RING = 0x100000000
XDP_UMEM_PGOFF_COMPLETION_RING = 0x180000000

CHUNK_BYTES_MIN = 2048  # the kernel takes powers of two from this to the page size
RING_ENTRIES_DEFAULT = 2048
RING_ENTRIES_MAX = 1 << 20
