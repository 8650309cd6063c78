"""The rings for compiled code: functions of a few instructions, over the address of an :data:`~.record.XSK` record.

A position is a free-running 32-bit counter, kept masked in an ``int64``; add to it with :func:`advance`. Each ring is
worked in three steps, which are separate functions so that the caller can note what it is about to do before others see
it done:

* **take** (RX, completion): ``*_available`` (acquire load of the kernel's producer: the entries below it are whole),
  then ``*_position`` and reads of entries, then ``*_release`` (release store of our consumer: the kernel may reuse the
  entries, and our reads of them come before).
* **give** (TX, fill): ``*_free`` (acquire load of the kernel's consumer: it has read the entries below it), then
  ``*_position`` and ``*_write``, then ``*_publish`` (release store of our producer: the entries come before it).

One process at a time may work a ring from its side. Descriptor addresses are offsets into the UMEM; the record's
``umem`` field makes pointers of them.

Sources: https://docs.kernel.org/networking/af_xdp.html, the kernel's ``net/xdp/xsk_queue.h`` (orders),
``net/xdp/xsk.c``.
"""

from __future__ import annotations

from numba import njit

from splinter.limits import TX_KICK_BATCH
from splinter.native import libc
from splinter.native.atomics import load32, load32_acquire, load64, store32_release, store64
from splinter.native.records import record
from splinter.net.afxdp.constants import XDP_RING_NEED_WAKEUP
from splinter.net.afxdp.record import XSK
from splinter.net.afxdp.ring import ADDRESS, DESCRIPTOR

Xsk = record(XSK)
Descriptor = record(DESCRIPTOR)
POSITION_MASK = 0xFFFFFFFF
DESCRIPTOR_BYTES = DESCRIPTOR.itemsize
ADDRESS_BYTES = ADDRESS.itemsize
KICK_RETRIES = 4  # calls of sendto() beyond those that the ring's filling explains


@njit(cache=True)
def advance(position: int, count: int) -> int:
    """The position ``count`` entries further."""
    return (position + count) & POSITION_MASK


@njit(cache=True)
def distance(start: int, end: int) -> int:
    """Entries from position ``start`` up to ``end``."""
    return (end - start) & POSITION_MASK


# --- RX: packets that arrived -----------------------------------------------------------------------------------------


@njit(cache=True)
def rx_available(xsk: int) -> int:
    """Packets that may be taken."""
    socket = Xsk(xsk)
    return distance(load32(socket.rx_consumer), load32_acquire(socket.rx_producer))


@njit(cache=True)
def rx_position(xsk: int) -> int:
    """Position of the first packet that may be taken."""
    return load32(Xsk(xsk).rx_consumer)


@njit(cache=True)
def _rx_entry(xsk: int, position: int) -> int:
    socket = Xsk(xsk)
    return socket.rx_entries + (position & socket.rx_mask) * DESCRIPTOR_BYTES


@njit(cache=True)
def rx_address(xsk: int, position: int) -> int:
    """Where the packet at a position starts: byte offset into the UMEM."""
    return Descriptor(_rx_entry(xsk, position)).address


@njit(cache=True)
def rx_length(xsk: int, position: int) -> int:
    """Bytes of the packet at a position."""
    return Descriptor(_rx_entry(xsk, position)).length


@njit(cache=True)
def rx_release(xsk: int, position: int) -> None:
    """Give all entries before ``position`` back to the kernel (the entries, not the chunks)."""
    store32_release(Xsk(xsk).rx_consumer, position)


# --- TX: packets to send ----------------------------------------------------------------------------------------------


@njit(cache=True, forceinline=True)
def tx_pending(xsk: int) -> int:
    """Published descriptors that the kernel has not taken yet."""
    socket = Xsk(xsk)
    return distance(load32_acquire(socket.tx_consumer), load32(socket.tx_producer))


@njit(cache=True)
def tx_free(xsk: int) -> int:
    """Descriptors that may be written."""
    return Xsk(xsk).tx_mask + 1 - tx_pending(xsk)


@njit(cache=True)
def tx_position(xsk: int) -> int:
    """Position of the first descriptor that may be written."""
    return load32(Xsk(xsk).tx_producer)


@njit(cache=True, forceinline=True)
def tx_write(xsk: int, position: int, address: int, length: int) -> None:
    """Write a descriptor. The kernel does not look at it before :func:`tx_publish`."""
    socket = Xsk(xsk)
    entry = Descriptor(socket.tx_entries + (position & socket.tx_mask) * DESCRIPTOR_BYTES)
    entry.address = address
    entry.length = length
    entry.options = 0


@njit(cache=True, forceinline=True)
def tx_publish(xsk: int, position: int) -> None:
    """Hand all descriptors before ``position`` to the kernel; :func:`kick` makes it send them."""
    store32_release(Xsk(xsk).tx_producer, position)


@njit(cache=True)
def tx_needs_wakeup(xsk: int) -> bool:
    """Whether the kernel sends only when called. Always so in copy mode."""
    socket = Xsk(xsk)
    flags = load32_acquire(socket.tx_flags)
    return socket.wake_always != 0 or (flags & XDP_RING_NEED_WAKEUP) != 0


@njit(cache=True, forceinline=True)
def kick(xsk: int) -> int:
    """Make the kernel send what is in the TX ring. Returns how many descriptors are left there, or ``-errno``.

    In copy mode one call takes at most TX_KICK_BATCH descriptors and then fails with EAGAIN, so it is repeated, a
    bounded number of times. Some are left when the completion ring is full, the device's queue is, or memory is short:
    take completions, then kick again. Only errors that repeating cannot cure are returned, for example ``-ENETDOWN``.
    """
    pending = tx_pending(xsk)
    calls = pending // TX_KICK_BATCH + KICK_RETRIES
    fd = Xsk(xsk).fd
    while pending > 0 and calls > 0:
        calls -= 1
        result = libc.sendto(fd, 0, 0, libc.MSG_DONTWAIT, 0, 0)
        pending = tx_pending(xsk)
        if result >= 0:
            break  # the kernel took all there was; in zero-copy mode it goes on by itself
        error = libc.errno()
        if error != libc.EAGAIN and error != libc.EBUSY and error != libc.ENOBUFS and error != libc.EINTR:
            return -error
    return pending


# --- fill: chunks for the kernel to receive into ----------------------------------------------------------------------


@njit(cache=True)
def fill_pending(xsk: int) -> int:
    """Published chunks that the kernel has not taken yet."""
    socket = Xsk(xsk)
    return distance(load32_acquire(socket.fill_consumer), load32(socket.fill_producer))


@njit(cache=True)
def fill_free(xsk: int) -> int:
    """Entries that may be written."""
    return Xsk(xsk).fill_mask + 1 - fill_pending(xsk)


@njit(cache=True, forceinline=True)
def fill_position(xsk: int) -> int:
    """Position of the first entry that may be written."""
    return load32(Xsk(xsk).fill_producer)


@njit(cache=True, forceinline=True)
def fill_write(xsk: int, position: int, address: int) -> None:
    """Write the address of a free chunk. The kernel does not look at it before :func:`fill_publish`."""
    socket = Xsk(xsk)
    entry = socket.fill_entries + (position & socket.fill_mask) * ADDRESS_BYTES
    store64(entry, address)


@njit(cache=True, forceinline=True)
def fill_address(xsk: int, position: int) -> int:
    """What :func:`fill_write` wrote at a position; ours to read until the entry is published and taken."""
    socket = Xsk(xsk)
    return load64(socket.fill_entries + (position & socket.fill_mask) * ADDRESS_BYTES)


@njit(cache=True, forceinline=True)
def fill_publish(xsk: int, position: int) -> None:
    """Hand all chunks before ``position`` to the kernel."""
    store32_release(Xsk(xsk).fill_producer, position)


@njit(cache=True)
def fill_needs_wakeup(xsk: int) -> bool:
    """Whether the driver ran out of chunks and sleeps (zero-copy mode): call :func:`wake_rx`."""
    return (load32_acquire(Xsk(xsk).fill_flags) & XDP_RING_NEED_WAKEUP) != 0


@njit(cache=True)
def wake_rx(xsk: int) -> None:
    """Make a driver that waits for chunks look at the fill ring again."""
    libc.recvfrom(Xsk(xsk).fd, 0, 0, libc.MSG_DONTWAIT, 0, 0)


# --- completion: chunks whose packet was sent -------------------------------------------------------------------------


@njit(cache=True, forceinline=True)
def completion_available(xsk: int) -> int:
    """Chunks that may be taken."""
    socket = Xsk(xsk)
    return distance(load32(socket.completion_consumer), load32_acquire(socket.completion_producer))


@njit(cache=True, forceinline=True)
def completion_position(xsk: int) -> int:
    """Position of the first chunk that may be taken."""
    return load32(Xsk(xsk).completion_consumer)


@njit(cache=True, forceinline=True)
def completion_address(xsk: int, position: int) -> int:
    """The address that was given with the TX descriptor (not rounded to the chunk)."""
    socket = Xsk(xsk)
    entry = socket.completion_entries + (position & socket.completion_mask) * ADDRESS_BYTES
    return load64(entry)


@njit(cache=True, forceinline=True)
def completion_release(xsk: int, position: int) -> None:
    """Give all entries before ``position`` back to the kernel."""
    store32_release(Xsk(xsk).completion_consumer, position)
