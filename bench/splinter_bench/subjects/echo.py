"""The limit: what AF_XDP itself costs on this machine, by an echo in our own code.

A process on the server's core takes packets from the RX ring, swaps addresses and ports, and sends each back in the chunk
that it came in. A server that also parses, looks up and answers can only be slower, so each result is read as a
ratio to this one. Its veth pair has the same settings as the server's.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import signal
from collections.abc import Generator

import numpy as np
from numba import njit

from splinter.limits import CHUNK_BYTES, CHUNKS_PER_QUEUE, PORT_DEFAULT, RX_BATCH
from splinter.native.atomics import load16, load32, load64_acquire, store16, store32
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.afxdp import compiled as ring
from splinter.net.lab import Lab
from splinter.net.netns import inside
from splinter.net.xdp import RedirectProgram
from splinter.testing.process import die_with_parent
from splinter_bench.generators.frames import (
    ETHERNET_DESTINATION_AT,
    ETHERNET_SOURCE_AT,
    IPV4_DESTINATION_AT,
    IPV4_SOURCE_AT,
    UDP_PORTS_AT,
)
from splinter_bench.generators.path import Path
from splinter_bench.owner import Owner
from splinter_bench.subjects.limit import Limit
from splinter_bench.subjects.session import Session

_END_SECONDS_MAX = 5.0


@njit(cache=True)
def _turn_around(frame: int) -> None:
    """Swap a frame's MAC addresses, IP addresses and ports; sums over them, the checksums, stay as they are."""
    low, high = load32(frame + ETHERNET_DESTINATION_AT), load16(frame + ETHERNET_DESTINATION_AT + 4)
    store32(frame + ETHERNET_DESTINATION_AT, load32(frame + ETHERNET_SOURCE_AT))
    store16(frame + ETHERNET_DESTINATION_AT + 4, load16(frame + ETHERNET_SOURCE_AT + 4))
    store32(frame + ETHERNET_SOURCE_AT, low)
    store16(frame + ETHERNET_SOURCE_AT + 4, high)
    source = load32(frame + IPV4_SOURCE_AT)
    store32(frame + IPV4_SOURCE_AT, load32(frame + IPV4_DESTINATION_AT))
    store32(frame + IPV4_DESTINATION_AT, source)
    source_port = load16(frame + UDP_PORTS_AT)
    store16(frame + UDP_PORTS_AT, load16(frame + UDP_PORTS_AT + 2))
    store16(frame + UDP_PORTS_AT + 2, source_port)


@njit(cache=True)
def _refill(xsk: int) -> None:
    """Give the chunks of sent packets to the kernel to receive into."""
    count = ring.completion_available(xsk)
    if count == 0:
        return
    done, fill = ring.completion_position(xsk), ring.fill_position(xsk)
    for i in range(count):
        ring.fill_write(xsk, ring.advance(fill, i), ring.completion_address(xsk, ring.advance(done, i)))
    ring.completion_release(xsk, ring.advance(done, count))
    ring.fill_publish(xsk, ring.advance(fill, count))


@njit(cache=True, nogil=True)
def _echo_loop(xsk: int, stop: int) -> None:
    """Echo until the word at address ``stop`` is not 0."""
    umem = ring.Xsk(xsk).umem
    left = 0
    while load64_acquire(stop) == 0:
        count = min(ring.rx_available(xsk), RX_BATCH, ring.tx_free(xsk))
        if count == 0:
            _refill(xsk)
            if left > 0:
                left = ring.kick(xsk)
            continue
        received, sent = ring.rx_position(xsk), ring.tx_position(xsk)
        for i in range(count):
            at = ring.advance(received, i)
            address = ring.rx_address(xsk, at)
            _turn_around(umem + address)
            ring.tx_write(xsk, ring.advance(sent, i), address, ring.rx_length(xsk, at))
        ring.rx_release(xsk, ring.advance(received, count))
        ring.tx_publish(xsk, ring.advance(sent, count))
        left = ring.kick(xsk)
        _refill(xsk)


class EchoServer(Owner):
    """An AF_XDP echo of Splinter's UDP port on one queue of a device. It echoes only inside :meth:`running`."""

    def __init__(self, device: str, queues: int, *, netns: str | None = None, queue: int = 0) -> None:
        umem = Umem(CHUNKS_PER_QUEUE, CHUNK_BYTES)
        # One word in memory that forked processes share: not 0 when the echo shall end. Writer: this process.
        self._stop = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.int64, 1)
        with self._opening() as stack, inside(netns):
            program = stack.enter_context(RedirectProgram(device, queues, PORT_DEFAULT, match="destination"))
            self._socket = stack.enter_context(XskSocket(umem, device, queue))
            self._socket.refill(range(0, umem.bytes, umem.chunk_bytes))
            program.set_socket(queue, self._socket.fd)
            program.attach()
        self._stop[0] = 1
        _echo_loop(self._socket.record, self._stop.ctypes.data)  # compiles, and returns at once

    @contextlib.contextmanager
    def running(self, core: int) -> Generator[None]:
        """Echo from a process of its own on CPU ``core``, until the block is left."""
        self._stop[0] = 0
        child = multiprocessing.get_context("fork").Process(target=self._echo, args=(core, os.getpid()))
        child.start()
        try:
            yield
        finally:
            self._stop[0] = 1
            child.join(_END_SECONDS_MAX)
            child.kill()
            child.join()

    def _echo(self, core: int, parent: int) -> None:
        die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, after its own clean-up
        os.sched_setaffinity(0, {core})
        _echo_loop(self._socket.record, self._stop.ctypes.data)


class EchoLimit(Limit):
    """The AF_XDP echo as a :class:`Limit`, from a process on CPU ``server_core``."""

    def __init__(self, server_netns: str, client_netns: str, address: str, *, server_core: int, client_core: int) -> None:
        self._server_core = server_core
        super().__init__(server_netns, client_netns, address, client_core=client_core)

    def _serve(self, back: Path, netns: str, stack: contextlib.ExitStack) -> None:
        self._server = stack.enter_context(EchoServer(back.device, back.queues, netns=netns))

    def _answering(self) -> contextlib.AbstractContextManager[None]:
        return self._server.running(self._server_core)


@contextlib.contextmanager
def echo_of(session: Session) -> Generator[EchoLimit]:
    """An AF_XDP echo on the CPUs of a session, in a lab of its own."""
    with (
        Lab(f"echo-{os.getpid()}", session.info.queues) as lab,
        EchoLimit(
            lab.server.namespace,
            lab.client.namespace,
            lab.server.address,
            server_core=session.server_core,
            client_core=session.client_core,
        ) as limit,
    ):
        yield limit
