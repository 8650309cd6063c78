"""UDP sockets on loopback, one for each worker, and a client that this process plays: for workers that are forked."""

from __future__ import annotations

import contextlib
import ctypes
import selectors
import socket

import numpy as np

from splinter import limits
from splinter.worker.memory import WorkerMemory
from splinter.worker.udp.layout import UDP_AREA, udp_chunks

_U32 = np.dtype("<u4")
_BUFFER_BYTES = 1 << 16


class SocketDevice:
    """The kernel's part is the kernel's own; :meth:`problems` looks at the packet buffers of the worker that runs."""

    def __init__(self, workers: list[WorkerMemory], runs: int) -> None:
        self._sockets = [self._socket() for _ in workers]
        self._client = self._socket()
        self._worker = workers[runs]
        for worker, sock in zip(workers, self._sockets, strict=True):
            worker.block["udp_fd"] = sock.fileno()
            worker.poll_on([sock.fileno()])

    @staticmethod
    def _socket() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        return sock

    def deliver(self, core: int, payload: bytes) -> None:
        """A packet is sent to a core's socket."""
        self._client.sendto(payload, self._sockets[core].getsockname())

    def collect(self) -> list[bytes]:
        """The payloads that have come back."""
        payloads = []
        with contextlib.suppress(BlockingIOError):
            while True:
                payloads.append(self._client.recv(_BUFFER_BYTES))
        return payloads

    def recover(self, worker: WorkerMemory) -> None:
        """As the UDP transport: nothing is to be done."""

    def locks_held(self) -> list[int]:
        """There are none."""
        return []

    def is_at_rest(self) -> bool:
        """Whether no packet waits at a worker's socket."""
        with selectors.DefaultSelector() as waiting:
            for sock in self._sockets:
                waiting.register(sock, selectors.EVENT_READ)
            return not waiting.select(0)

    def problems(self) -> list[str]:
        """Packet buffers that are nowhere, or in two places; at rest."""
        chunks = udp_chunks(len(self._worker.tasks))
        area = _at(int(self._worker.block["udp_area"][0]), UDP_AREA, 1)[0]
        free = _at(int(area["free"]), _U32, int(area["free_length"])).tolist()
        receiving = _at(int(area["receive_chunks"]), _U32, limits.RX_BATCH).tolist()
        found = [f"{area['replies']} replies are left"] if area["replies"] else []
        if sorted(free + receiving) != list(range(chunks)):
            found.append(f"of {chunks} chunks {len(free)} are free, {len(receiving)} in slots: {sorted(free)}")
        return found


def _at(address: int, dtype: np.dtype, count: int) -> np.ndarray:
    """A copy of ``count`` elements in this process's memory."""
    return np.frombuffer(ctypes.string_at(address, dtype.itemsize * count), dtype)
