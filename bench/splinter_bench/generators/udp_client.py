"""Load generator over a plain UDP socket: ``sendmmsg`` and ``recvmmsg`` from compiled code.

For servers without XDP, and for what a client pays that uses the kernel's stack.
"""

from __future__ import annotations

import socket

import numpy as np
from numba import njit

from splinter.limits import CHUNK_BYTES, PORT_DEFAULT
from splinter.native.clock import now_ns
from splinter.native.libc import MSG_DONTWAIT, recvmmsg, sendmmsg
from splinter.native.records import record
from splinter.net.netns import inside
from splinter.worker.udp.layout import IOVEC, MMSGHDR
from splinter_bench.generators.flight import launch
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route
from splinter_bench.generators.load import LoadClient
from splinter_bench.generators.loop import LOOP, run
from splinter_bench.generators.replies import complete

_BATCH = 64
_SEND_TRIES_MAX = 1000  # of one batch, while the socket's buffer is full; what is left then counts as lost
_SOCKET_BUFFER_BYTES = 4 << 20
_NO_MAC = "00:00:00:00:00:00"  # the kernel writes the Ethernet header
_IOVEC_BYTES, _MMSGHDR_BYTES = IOVEC.itemsize, MMSGHDR.itemsize
_CLIENT = np.dtype(
    [
        *LOOP.descr,
        ("fd", "<i8"),
        ("send", "<i8"),  # address of MMSGHDR[_BATCH]
        ("send_iovecs", "<i8"),  # address of IOVEC[_BATCH]
        ("send_buffers", "<i8"),  # address of as many chunks
        ("receive", "<i8"),
        ("receive_buffers", "<i8"),
    ]
)
_Client = record(_CLIENT)
_Iovec = record(IOVEC)
_Mmsghdr = record(MMSGHDR)


@njit(cache=True)
def _send(client: int, now: int) -> int:
    """Launch what is due, at most ``_BATCH`` packets; returns how many."""
    mine = _Client(client)
    count = 0
    while count < _BATCH:
        length = launch(mine.flight, mine.send_buffers + count * CHUNK_BYTES, now)
        if length == 0:
            break
        _Iovec(mine.send_iovecs + count * _IOVEC_BYTES).length = length - FRAME_HEADER_BYTES
        count += 1
    done, tries = 0, 0
    while done < count and tries < _SEND_TRIES_MAX:
        done += max(sendmmsg(mine.fd, mine.send + done * _MMSGHDR_BYTES, count - done, MSG_DONTWAIT), 0)
        tries += 1
    return count


@njit(cache=True)
def _receive(client: int, now: int) -> tuple[int, int]:
    """Complete what has come. Returns how many packets, and the time when they were seen."""
    mine = _Client(client)
    received = max(recvmmsg(mine.fd, mine.receive, _BATCH, MSG_DONTWAIT, 0), 0)
    now = now_ns(mine.timespec)
    for i in range(received):
        length = _Mmsghdr(mine.receive + i * _MMSGHDR_BYTES).length
        complete(mine.flight, mine.receive_buffers + i * CHUNK_BYTES, length, now)
    return received, now


@njit(cache=True)
def _tidy(client: int) -> int:
    """Nothing can wait."""
    return 0


@njit(cache=True, nogil=True)
def _loop(client: int) -> int:
    return run(client, _send, _receive, _tidy)


class _Batch:
    """``_BATCH`` messages of one buffer each, and their addresses for the system calls."""

    def __init__(self, skip_bytes: int) -> None:
        self.buffers = np.zeros((_BATCH, CHUNK_BYTES), np.uint8)
        self.iovecs = np.zeros(_BATCH, IOVEC)
        self.headers = np.zeros(_BATCH, MMSGHDR)
        places = np.arange(_BATCH)
        self.iovecs["base"] = self.buffers.ctypes.data + places * CHUNK_BYTES + skip_bytes
        self.iovecs["length"] = CHUNK_BYTES - skip_bytes
        self.headers["iov"] = self.iovecs.ctypes.data + places * _IOVEC_BYTES
        self.headers["iov_count"] = 1


class UdpClient(LoadClient):
    """Load generator over one connected UDP socket to ``address``, made in network namespace ``netns`` if given."""

    def __init__(self, address: str, port: int = PORT_DEFAULT, *, netns: str | None = None) -> None:
        with self._opening() as stack:
            with inside(netns):
                self._socket = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
            self._socket.connect((address, port))
        source, source_port = self._socket.getsockname()
        self._send = _Batch(FRAME_HEADER_BYTES)  # launch() writes whole frames; the kernel makes these headers anew
        self._receive = _Batch(0)
        super().__init__(
            Route(_NO_MAC, _NO_MAC, source, address, source_port, port),
            _CLIENT,
            [self._socket.fileno()],
            fd=self._socket.fileno(),
            send=self._send.headers.ctypes.data,
            send_iovecs=self._send.iovecs.ctypes.data,
            send_buffers=self._send.buffers.ctypes.data,
            receive=self._receive.headers.ctypes.data,
            receive_buffers=self._receive.buffers.ctypes.data,
        )

    def _loop(self, client: int) -> None:
        _loop(client)

    def detach(self) -> None:
        """Nothing to do: a socket keeps a device from nobody."""
