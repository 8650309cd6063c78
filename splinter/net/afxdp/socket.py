"""AF_XDP sockets."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

from splinter.errors import ServerError, TransportNotPermittedError, TransportUnavailableError
from splinter.net.afxdp import compiled
from splinter.net.afxdp import constants as c
from splinter.net.afxdp.record import RINGS, XSK
from splinter.net.afxdp.ring import ADDRESS, DESCRIPTOR, Ring, RingOffsets
from splinter.net.afxdp.umem import Umem

Mode = Literal["auto", "copy", "zero-copy"]

_MODE_FLAGS: dict[str, int] = {"auto": 0, "copy": c.XDP_COPY, "zero-copy": c.XDP_ZEROCOPY}
_UMEM_REG = struct.Struct("<QQIIII")  # address, bytes, chunk bytes, headroom, flags, bytes of TX metadata
_SOCKADDR = struct.Struct("<HHIII")  # family, flags, device, queue, descriptor of the socket to share the UMEM of
_STATISTICS = struct.Struct("<6Q")
_OFFSETS_BYTES = len(RINGS) * RingOffsets.BYTES
_BIND_RETRY_INTERVAL_SECONDS = 0.01

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class XskStatistics:
    """The kernel's counters of one socket (``struct xdp_statistics``), in packets or descriptors."""

    rx_dropped: int
    """Dropped for reasons that have no counter of their own."""
    rx_invalid_descriptors: int
    tx_invalid_descriptors: int
    rx_ring_full: int
    """Dropped because the process did not take packets fast enough."""
    rx_fill_ring_empty: int
    """Times that the kernel found no chunk to receive into."""
    tx_ring_empty: int
    """Times that the kernel found nothing to send."""


class XskSocket:
    """A socket bound to one queue of a device, with its rings.

    :param umem: where packets lie. Any number of sockets may use one UMEM.
    :param device: name or index of a network device in the current network namespace.
    :param queue: RX and TX queue of the device. An XSKMAP delivers only what arrives on this queue to this socket.
    :param rx_entries, tx_entries: sizes of this socket's rings, powers of two.
    :param fill_entries, completion_entries: sizes of the queue's rings; unused where another socket has made them.
    :param shared_with: a socket whose registration of ``umem`` to use. By default the right one is found: on the same
        queue the new socket shares that one's fill and completion ring (they are one pair per queue: their users must
        take turns); on another queue or device it gets its own (Linux 5.10).
    :param mode: ``"zero-copy"``, ``"copy"``, or ``"auto"``: zero-copy where the driver has it, else copy. Sockets that
        share a UMEM take mode and ``need_wakeup`` of the first.
    :param need_wakeup: let a zero-copy driver sleep, and say in the ring's flags when it wants to be called.
    :param bind_retry_seconds: how long to wait for the queue when it is in use. The kernel gives it back only some time
        after its last holder closed.

    Attributes: ``fd``; the :class:`~.ring.Ring` objects ``rx``, ``tx``, ``fill``, ``completion``; ``zero_copy``;
    ``record``, the address of the :data:`~.record.XSK` record that the functions of :mod:`~.compiled` take, in memory
    that forked processes share. The methods here do the same for programs that are not compiled.

    Raises :class:`~splinter.errors.TransportUnavailableError` when the machine lacks what is asked for (privileges, the
    kernel option, zero-copy), :class:`~splinter.errors.ServerError` when the queue is in use or does not exist.
    """

    def __init__(
        self,
        umem: Umem,
        device: str | int,
        queue: int,
        *,
        rx_entries: int = c.RING_ENTRIES_DEFAULT,
        tx_entries: int = c.RING_ENTRIES_DEFAULT,
        fill_entries: int = c.RING_ENTRIES_DEFAULT,
        completion_entries: int = c.RING_ENTRIES_DEFAULT,
        shared_with: XskSocket | None = None,
        mode: Mode = "auto",
        need_wakeup: bool = True,
        bind_retry_seconds: float = 2.0,
    ) -> None:
        sizes = (rx_entries, tx_entries, fill_entries, completion_entries)
        for name, size in zip(RINGS, sizes, strict=True):
            if size < 1 or size & (size - 1) or size > c.RING_ENTRIES_MAX:
                raise ValueError(f"{name}_entries is a power of two up to {c.RING_ENTRIES_MAX}, not {size}")
        if mode not in _MODE_FLAGS:
            raise ValueError(f"mode is one of {', '.join(_MODE_FLAGS)}, not {mode!r}")
        self.umem = umem
        self.queue = queue
        self.fill: Ring
        self.completion: Ring
        self.device, self.ifindex = _device(device)
        self.place = (_namespace(), self.ifindex, queue)
        """Network namespace (inode number), device index, queue."""
        partner = shared_with or umem._partner(self.place)
        same_queue = partner is not None and partner.place == self.place

        self._socket = _open()
        try:
            self.fd = self._socket.fileno()
            self._set(c.XDP_RX_RING, rx_entries)
            self._set(c.XDP_TX_RING, tx_entries)
            if not same_queue:
                self._set(c.XDP_UMEM_FILL_RING, fill_entries)
                self._set(c.XDP_UMEM_COMPLETION_RING, completion_entries)
            if partner is None:
                self._register(umem)

            offsets = self._socket.getsockopt(c.SOL_XDP, c.XDP_MMAP_OFFSETS, _OFFSETS_BYTES)
            at = [RingOffsets.unpack(offsets, index) for index in range(len(RINGS))]
            self.rx = Ring(self.fd, c.XDP_PGOFF_RX_RING, at[0], DESCRIPTOR, rx_entries)
            self.tx = Ring(self.fd, c.XDP_PGOFF_TX_RING, at[1], DESCRIPTOR, tx_entries)
            if same_queue:
                assert partner is not None
                self.fill, self.completion = partner.fill, partner.completion
            else:
                self.fill = Ring(self.fd, c.XDP_UMEM_PGOFF_FILL_RING, at[2], ADDRESS, fill_entries)
                self.completion = Ring(self.fd, c.XDP_UMEM_PGOFF_COMPLETION_RING, at[3], ADDRESS, completion_entries)

            flags = _MODE_FLAGS[mode] | (c.XDP_USE_NEED_WAKEUP if need_wakeup else 0)
            if partner is not None:
                flags = c.XDP_SHARED_UMEM  # the kernel takes the rest from the first socket, and refuses other flags
            self._bind(flags, partner.fd if partner is not None else 0, bind_retry_seconds)
            options = self._socket.getsockopt(c.SOL_XDP, c.XDP_OPTIONS, 4)
            self.zero_copy = bool(int.from_bytes(options, "little") & c.XDP_OPTIONS_ZEROCOPY)
            self.record = self._write_record(wake_always=not (self.zero_copy and need_wakeup))
        except BaseException:
            self._socket.close()
            raise
        umem._sockets.append(self)

    # --- life --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket. The queue is free when no process and no view of a ring holds it any longer."""
        if self.fd < 0:
            return
        self.umem._sockets.remove(self)
        self._socket.close()
        self.fd = -1
        self._record["fd"] = -1
        del self.rx, self.tx, self.fill, self.completion

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"XskSocket(device={self.device!r}, queue={self.queue}, fd={self.fd}, zero_copy={self.zero_copy})"

    def statistics(self) -> XskStatistics:
        """The kernel's counters of this socket."""
        option = self._socket.getsockopt(c.SOL_XDP, c.XDP_STATISTICS, _STATISTICS.size)
        return XskStatistics(*_STATISTICS.unpack(option))

    def fileno(self) -> int:
        """The file descriptor, for ``select`` and its relatives: readable when a packet has come."""
        return self.fd

    # --- packets, for programs that are not compiled ------------------------------------------------------------------

    def refill(self, chunks: Iterable[int]) -> int:
        """Give chunks (by address) to the kernel to receive into; returns how many of them fitted, from the first."""
        room, position, count = compiled.fill_free(self.record), compiled.fill_position(self.record), 0
        for address in chunks:
            if count == room:
                break
            compiled.fill_write(self.record, compiled.advance(position, count), address)
            count += 1
        compiled.fill_publish(self.record, compiled.advance(position, count))
        if compiled.fill_needs_wakeup(self.record):
            compiled.wake_rx(self.record)
        return count

    def receive(self, count_max: int = 64) -> list[tuple[int, int]]:
        """Take up to ``count_max`` packets: (address, length) of each. Their chunks are the caller's from now on."""
        count = min(count_max, compiled.rx_available(self.record))
        position = compiled.rx_position(self.record)
        packets = []
        for n in range(count):
            at = compiled.advance(position, n)
            packets.append((compiled.rx_address(self.record, at), compiled.rx_length(self.record, at)))
        compiled.rx_release(self.record, compiled.advance(position, count))
        return packets

    def send(self, packets: Iterable[tuple[int, int]]) -> int:
        """Send packets (address, length); returns how many fitted, the first ones of ``packets``.

        Their chunks are the kernel's until :meth:`completed` names them. Raises ``OSError`` when the device is down.
        """
        room, position, count = compiled.tx_free(self.record), compiled.tx_position(self.record), 0
        for address, length in packets:
            if count == room:
                break
            compiled.tx_write(self.record, compiled.advance(position, count), address, length)
            count += 1
        compiled.tx_publish(self.record, compiled.advance(position, count))
        if compiled.tx_needs_wakeup(self.record):
            left = compiled.kick(self.record)
            if left < 0:
                raise OSError(-left, os.strerror(-left))
        return count

    def completed(self, count_max: int = c.RING_ENTRIES_DEFAULT) -> list[int]:
        """Take up to ``count_max`` addresses of packets that were sent. Their chunks are the caller's from now on."""
        count = min(count_max, compiled.completion_available(self.record))
        position = compiled.completion_position(self.record)
        addresses = [compiled.completion_address(self.record, compiled.advance(position, n)) for n in range(count)]
        compiled.completion_release(self.record, compiled.advance(position, count))
        return addresses

    # --- set-up -------------------------------------------------------------------------------------------------------

    def _set(self, option: int, value: int) -> None:
        self._socket.setsockopt(c.SOL_XDP, option, value)

    def _register(self, umem: Umem) -> None:
        registration = _UMEM_REG.pack(umem.address, umem.bytes, umem.chunk_bytes, 0, 0, 0)
        try:
            self._socket.setsockopt(c.SOL_XDP, c.XDP_UMEM_REG, registration)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise TransportUnavailableError(
                    f"the kernel may not lock the {umem.bytes} bytes of the UMEM: raise RLIMIT_MEMLOCK (ulimit -l), "
                    "or run as root"
                ) from error
            raise

    def _bind(self, flags: int, shared_fd: int, retry_seconds: float) -> None:
        address = _SOCKADDR.pack(c.AF_XDP, flags, self.ifindex, self.queue, shared_fd)
        deadline = time.monotonic() + retry_seconds
        while _libc.bind(self.fd, address, len(address)) != 0:
            code = ctypes.get_errno()
            if code == errno.EBUSY and time.monotonic() < deadline:
                time.sleep(_BIND_RETRY_INTERVAL_SECONDS)
                continue
            where = f"queue {self.queue} of {self.device}"
            if code == errno.EBUSY:
                raise ServerError(f"{where} is in use by another AF_XDP socket: stop the program that holds it")
            if code == errno.EINVAL:
                raise ServerError(f"{where} cannot be bound: is there such a queue? (ethtool -l {self.device})")
            if code == errno.EOPNOTSUPP and flags & c.XDP_ZEROCOPY:
                raise TransportUnavailableError(f"{self.device} has no zero-copy mode: use mode 'auto' or 'copy'")
            raise OSError(code, f"bind to {where}: {os.strerror(code)}")

    def _write_record(self, *, wake_always: bool) -> int:
        memory = mmap.mmap(-1, XSK.itemsize)
        record = np.frombuffer(memory, XSK, 1)
        self._record = record[0]
        self._record["fd"] = self.fd
        self._record["umem"] = self.umem.address
        self._record["chunk_bytes"] = self.umem.chunk_bytes
        self._record["queue"] = self.queue
        self._record["zero_copy"] = self.zero_copy
        self._record["wake_always"] = wake_always
        for name in RINGS:
            ring: Ring = getattr(self, name)
            for part in ("producer", "consumer", "flags", "entries"):
                self._record[f"{name}_{part}"] = getattr(ring, part).ctypes.data
            self._record[f"{name}_mask"] = ring.mask
        return int(record.ctypes.data)


def _open() -> socket.socket:
    try:
        return socket.socket(c.AF_XDP, socket.SOCK_RAW)
    except PermissionError as error:
        raise TransportNotPermittedError("AF_XDP sockets need root, or CAP_NET_RAW") from error
    except OSError as error:
        raise TransportUnavailableError(f"the kernel has no AF_XDP (CONFIG_XDP_SOCKETS): {error.strerror}") from error


def _device(device: str | int) -> tuple[str, int]:
    try:
        if isinstance(device, str):
            return device, socket.if_nametoindex(device)
        return socket.if_indextoname(device), device
    except OSError as error:
        raise ServerError(f"there is no network device {device!r} in this network namespace") from error


def _namespace() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino
