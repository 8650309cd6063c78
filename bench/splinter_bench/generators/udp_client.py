"""Load generator over a plain UDP socket: ``sendmmsg`` and ``recvmmsg`` from compiled code.

For servers without XDP, and for what a client pays that uses the kernel's stack. It spins on the socket, as the AF_XDP
client spins on its ring: no wake-up is part of the latency; or sleeps in ``ppoll`` while it has nothing to do.
"""

from __future__ import annotations

import socket

import numpy as np
from numba import njit

from splinter.layout import offset
from splinter.limits import CHUNK_BYTES, PORT_DEFAULT
from splinter.native.atomics import load32, store64
from splinter.native.clock import TIMESPEC_BYTES, now_ns
from splinter.native.libc import MSG_DONTWAIT, recvmmsg, sendmmsg
from splinter_bench.generators.flight import idle_ns, is_over, launch
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route
from splinter_bench.generators.load import LoadClient
from splinter_bench.generators.replies import complete, expire
from splinter_bench.process import namespace
from splinter_bench.sleep import polled, sleep

_BATCH = 64
_SEND_TRIES_MAX = 1000  # of one batch, while the socket's buffer is full; what is left then counts as lost
_SOCKET_BUFFER_BYTES = 4 << 20
_NO_MAC = "00:00:00:00:00:00"  # the kernel writes the Ethernet header

# struct iovec and struct mmsghdr of 64-bit Linux.
_IOVEC = np.dtype([("base", "<i8"), ("length", "<i8")])
_MMSGHDR = np.dtype(
    [
        ("name", "<i8"),
        ("name_length", "<i8"),
        ("iovec", "<i8"),
        ("iovec_count", "<i8"),
        ("control", "<i8"),
        ("control_length", "<i8"),
        ("flags", "<i8"),
        ("received", "<i8"),
    ]
)
_IOVEC_BYTES, _IOVEC_LENGTH = _IOVEC.itemsize, offset(_IOVEC, "length")
_MMSGHDR_BYTES, _MMSGHDR_RECEIVED = _MMSGHDR.itemsize, offset(_MMSGHDR, "received")


@njit(cache=True, nogil=True)
def _loop(
    flight: int,
    fd: int,
    send: int,
    send_iovecs: int,
    send_buffers: int,
    receive: int,
    receive_buffers: int,
    scratch: int,
    polled: int,
    spins_max: int,
) -> None:
    """Run until all is over. After ``spins_max`` looks at an empty socket it sleeps; 0: it never does."""
    now, spins = now_ns(scratch), 0
    while True:
        count = 0
        while count < _BATCH:
            length = launch(flight, send_buffers + count * CHUNK_BYTES, now)
            if length == 0:
                break
            store64(send_iovecs + count * _IOVEC_BYTES + _IOVEC_LENGTH, length - FRAME_HEADER_BYTES)
            count += 1
        if count == 0 and is_over(flight, now):
            return
        done, tries = 0, 0
        while done < count and tries < _SEND_TRIES_MAX:
            taken = sendmmsg(fd, send + done * _MMSGHDR_BYTES, count - done, MSG_DONTWAIT)
            done += max(taken, 0)
            tries += 1
        received = recvmmsg(fd, receive, _BATCH, MSG_DONTWAIT, 0)
        now = now_ns(scratch)
        for i in range(received):
            length = load32(receive + i * _MMSGHDR_BYTES + _MMSGHDR_RECEIVED)
            complete(flight, receive_buffers + i * CHUNK_BYTES, length, now)
        expire(flight, now)
        spins = 0 if count or received > 0 else spins + 1
        if spins_max and spins >= spins_max:
            sleep(polled, 1, idle_ns(flight, now), scratch)
            now, spins = now_ns(scratch), 0


class _Batch:
    """``_BATCH`` messages of one buffer each, and their addresses for the system calls."""

    def __init__(self, skip_bytes: int) -> None:
        self.buffers = np.zeros(_BATCH * CHUNK_BYTES, np.uint8)
        self.iovecs = np.zeros(_BATCH, _IOVEC)
        self.headers = np.zeros(_BATCH, _MMSGHDR)
        for i in range(_BATCH):
            self.iovecs[i]["base"] = self.buffers.ctypes.data + i * CHUNK_BYTES + skip_bytes
            self.iovecs[i]["length"] = CHUNK_BYTES - skip_bytes
            self.headers[i]["iovec"] = self.iovecs.ctypes.data + i * _IOVEC_BYTES
            self.headers[i]["iovec_count"] = 1


class UdpClient(LoadClient):
    """Load generator over one connected UDP socket to ``address``, made in network namespace ``netns`` if given."""

    def __init__(self, address: str, port: int = PORT_DEFAULT, *, netns: str | None = None) -> None:
        with namespace(netns):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
        self._socket.connect((address, port))
        source, source_port = self._socket.getsockname()
        super().__init__(Route(_NO_MAC, _NO_MAC, source, address, source_port, port))
        self._send = _Batch(FRAME_HEADER_BYTES)  # launch() writes whole frames; the kernel makes these headers anew
        self._receive = _Batch(0)
        self._polled = polled([self._socket.fileno()])
        self._timespec = np.zeros(TIMESPEC_BYTES, np.uint8)
        self.compile()

    def _loop(self, spins_max: int) -> None:
        _loop(
            self.flight.address,
            self._socket.fileno(),
            self._send.headers.ctypes.data,
            self._send.iovecs.ctypes.data,
            self._send.buffers.ctypes.data,
            self._receive.headers.ctypes.data,
            self._receive.buffers.ctypes.data,
            self._timespec.ctypes.data,
            self._polled.ctypes.data,
            spins_max,
        )

    def detach(self) -> None:
        """Nothing to do: a socket keeps a device from nobody."""

    def close(self) -> None:
        self._socket.close()
