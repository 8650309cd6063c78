"""AF_XDP sockets on both ends of a veth pair."""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from pyroute2 import IPRoute
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from splinter import wire
from splinter.errors import ServerError, TransportUnavailableError
from splinter.limits import TX_KICK_BATCH
from splinter.net import netns
from splinter.net.afxdp import Umem, XskSocket, compiled
from splinter.net.device import need
from splinter.net.lab import (
    CLIENT_ADDRESS,
    CLIENT_DEVICE,
    CLIENT_MAC,
    SERVER_ADDRESS,
    SERVER_DEVICE,
    SERVER_MAC,
    Lab,
)
from splinter.net.tenants import TENANT
from splinter.net.xdp import EchoProgram, RedirectProgram, XdpProgram
from tests.support.tenants import write_tenant
from tests.support.xdp_runs import map_memory

pytestmark = pytest.mark.xdp

PORT, CLIENT_PORT = 7171, 40000
QUEUES, CORES = 2, 2
WAIT_SECONDS = 20.0
CHUNK = 2048
UDP_PAYLOAD = 14 + 20 + 8


def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true; fail when it does not."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        os.sched_yield()


def frame(payload: bytes) -> bytes:
    """A UDP packet, without checksum, from the lab's client to its server."""
    return bytes(
        Ether(src=CLIENT_MAC, dst=SERVER_MAC)
        / IP(src=CLIENT_ADDRESS, dst=SERVER_ADDRESS)
        / UDP(sport=CLIENT_PORT, dport=PORT, chksum=0)
        / payload
    )


def place(umem: Umem, chunk: int, packet: bytes) -> tuple[int, int]:
    """Put a packet into a chunk; returns its (address, length)."""
    umem.array[chunk, : len(packet)] = np.frombuffer(packet, np.uint8)
    return chunk * umem.chunk_bytes, len(packet)


def turn_round(packet: np.ndarray) -> None:
    """Swap source and destination: MAC addresses, IP addresses, ports."""
    for at, size in ((0, 6), (26, 4), (34, 2)):
        first = packet[at : at + size].copy()
        packet[at : at + size] = packet[at + size : at + 2 * size]
        packet[at + size : at + 2 * size] = first


class Client:
    """Sockets on every queue of the client's end, that get what comes from the server's port."""

    def __init__(self, chunks: int = 256) -> None:
        self.umem = Umem(2 * chunks)
        self.chunks = chunks  # of each half: to receive into, to send from
        self.sockets = [XskSocket(self.umem, CLIENT_DEVICE, queue) for queue in range(QUEUES)]
        per_queue = chunks // QUEUES
        for queue, socket in enumerate(self.sockets):
            wanted = [(queue * per_queue + n) * CHUNK for n in range(per_queue)]
            assert socket.refill(wanted) == per_queue
        self.program = RedirectProgram(CLIENT_DEVICE, QUEUES, PORT)
        for queue, socket in enumerate(self.sockets):
            self.program.set_socket(queue, socket.fd)
        assert self.program.attach() == "native"

    def ask(self, queue: int, packet: bytes) -> tuple[int, bytes]:
        """Send one packet by a queue; returns the one that comes back, and by which queue it does."""
        socket = self.sockets[queue]
        assert socket.send([place(self.umem, self.chunks, packet)]) == 1
        answers: list[tuple[int, int, int]] = []

        def answered() -> bool:
            for by, receiver in enumerate(self.sockets):
                answers.extend((by, *packet) for packet in receiver.receive())
            return bool(answers)

        until(answered)
        until(socket.completed)
        ((by, address, length),) = answers
        answer = self.umem.packet(address, length).tobytes()
        assert self.sockets[by].refill([self.umem.chunk(address)]) == 1
        return by, answer

    def close(self) -> None:
        self.program.close()
        for socket in self.sockets:
            socket.close()


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    with netns.inside(lab.client.namespace):
        client = Client()
        yield client
        client.close()


@contextmanager
def server_socket(lab: Lab, chunks: int = 256, **options: int) -> Iterator[XskSocket]:
    """A socket on queue 0 of the server's end that gets everything for the port, all of its chunks filled."""
    with ExitStack() as stack:
        with netns.inside(lab.server.namespace):
            socket = stack.enter_context(XskSocket(Umem(chunks), SERVER_DEVICE, 0, **options))  # type: ignore[arg-type]
            program = stack.enter_context(RedirectProgram(SERVER_DEVICE, QUEUES, PORT, match="destination"))
            program.set_socket(0, socket.fd)
            program.attach()
        socket.refill(n * CHUNK for n in range(chunks))
        yield socket


def test_forked_workers_share_one_umem_over_queues_and_cores(lab: Lab, client: Client) -> None:
    """Two queues, two workers, four sockets: every request is answered by its tenant's core, on the queue it came by."""
    chunks_per_queue = 16
    umem = Umem(QUEUES * chunks_per_queue)
    stop = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.uint8)
    with ExitStack() as stack:
        with netns.inside(lab.server.namespace):
            program = stack.enter_context(
                XdpProgram(SERVER_DEVICE, port=PORT, cores=CORES, queues=QUEUES, index_buckets=1, slabs=1)
            )
            program.serve_at(need(SERVER_DEVICE).place)
            sockets = {
                (queue, core): stack.enter_context(XskSocket(umem, SERVER_DEVICE, queue))
                for queue in range(QUEUES)
                for core in range(CORES)
            }
            program.attach()
        for queue in range(QUEUES):
            # One fill and one completion ring for each queue.
            assert sockets[queue, 0].fill is sockets[queue, 1].fill
            assert sockets[queue, 0].completion is sockets[queue, 1].completion
            first = queue * chunks_per_queue
            sockets[queue, 0].refill((first + n) * CHUNK for n in range(chunks_per_queue))
        assert sockets[0, 0].fill is not sockets[1, 0].fill
        for (queue, core), socket in sockets.items():
            program.set_socket(queue, core, socket.fd)
        tenants = np.frombuffer(map_memory(program, "tenants"), TENANT)
        for core in range(CORES):
            write_tenant(tenants, 1 + core, 99, core)

        children = [_fork_echo(umem, [sockets[queue, core] for queue in range(QUEUES)], core, stop) for core in range(CORES)]
        try:
            for round_number in range(2 * chunks_per_queue):  # more than there are chunks: they must come back
                for queue in range(QUEUES):
                    for core in range(CORES):
                        request = wire.Header(tenant=1 + core, token=99, sequence=round_number).pack() + b"?"
                        by, answer = client.ask(queue, frame(request))
                        assert by == queue
                        assert answer[UDP_PAYLOAD:-1] == request[:-1] and answer[-1] == core
                        assert answer[:12] == frame(b"")[6:12] + frame(b"")[:6]
                    done = sockets[queue, 0].completed()
                    sockets[queue, 0].refill(umem.chunk(address) for address in done)
        finally:
            stop[0] = 1
            statuses = [os.waitpid(child, 0)[1] for child in children]
        assert statuses == [0] * CORES
        counters = program.counters()
        assert counters["steered"] == 2 * chunks_per_queue * QUEUES * CORES
        assert counters["no_socket"] == 0


def _fork_echo(umem: Umem, sockets: list[XskSocket], core: int, stop: np.ndarray) -> int:
    """A worker that sends back what its sockets receive, its core number in the last byte. Returns its process id."""
    child = os.fork()
    if child != 0:
        return child
    status = 1
    try:
        deadline = time.monotonic() + 3 * WAIT_SECONDS
        while not stop[0] and time.monotonic() < deadline:
            for socket in sockets:
                packets = socket.receive()
                for address, length in packets:
                    packet = umem.packet(address, length)
                    turn_round(packet)
                    packet[-1] = core
                assert socket.send(packets) == len(packets)
            os.sched_yield()
        status = 0
    finally:
        os._exit(status)


def test_echo_program_turns_packets_round_in_the_driver(lab: Lab, client: Client) -> None:
    with netns.inside(lab.server.namespace), EchoProgram(SERVER_DEVICE, PORT) as program:
        program.attach()
        sent = frame(b"hello")
        _, data = client.ask(1, sent)  # veth picks the queue of what XDP sends by the CPU
    answer = np.frombuffer(data, np.uint8).copy()
    turn_round(answer)
    assert answer.tobytes() == sent


def test_a_kick_sends_the_whole_ring(lab: Lab, client: Client) -> None:
    count = 200
    assert count > 2 * TX_KICK_BATCH  # the kernel takes no more in one call
    sender = client.sockets[0]
    with server_socket(lab) as socket:
        packets = [place(client.umem, client.chunks + n, frame(bytes([n]))) for n in range(count)]
        assert sender.send(packets) == count
        assert compiled.tx_pending(sender.record) == 0
        arrived: list[int] = []
        until(
            lambda: (
                arrived.extend(int(socket.umem.packet(address, length)[UDP_PAYLOAD]) for address, length in socket.receive())
                or len(arrived) == count
            )
        )
        assert arrived == list(range(count))
        done: list[int] = []
        until(lambda: done.extend(sender.completed()) or len(done) == count)
        assert sorted(done) == sorted(address for address, _ in packets)


def test_a_full_completion_ring_holds_sending_up_until_it_is_emptied(lab: Lab) -> None:
    with netns.inside(lab.client.namespace):
        umem = Umem(64)
        with XskSocket(umem, CLIENT_DEVICE, 0, completion_entries=16) as socket:
            packets = [place(umem, n, frame(b"x")) for n in range(40)]
            assert socket.send(packets) == 40
            left = compiled.tx_pending(socket.record)
            assert left >= 40 - 16
            done: list[int] = []

            def again() -> bool:
                done.extend(socket.completed())
                assert compiled.kick(socket.record) >= 0
                return len(done) == 40

            until(again)
            assert sorted(done) == [n * CHUNK for n in range(40)]


def test_statistics_tell_why_packets_were_lost(lab: Lab, client: Client) -> None:
    sender = client.sockets[0]
    with server_socket(lab, chunks=4, rx_entries=2) as socket:
        packets = [place(client.umem, client.chunks + n, frame(b"x")) for n in range(8)]
        sender.send(packets)
        until(lambda: socket.statistics().rx_ring_full)
        assert compiled.rx_available(socket.record) == 2
    with server_socket(lab, chunks=2) as socket:
        sender.send(packets)
        until(lambda: socket.statistics().rx_fill_ring_empty)
        assert compiled.rx_available(socket.record) == 2
    before = sender.statistics().tx_invalid_descriptors
    sender.send([(client.umem.bytes + CHUNK, 64)])
    assert sender.statistics().tx_invalid_descriptors == before + 1


def test_a_queue_in_use_is_refused_and_free_after_close(lab: Lab) -> None:
    with netns.inside(lab.server.namespace):
        first = XskSocket(Umem(4), SERVER_DEVICE, 0)
        with pytest.raises(ServerError, match="in use by another AF_XDP socket"):
            XskSocket(Umem(4), SERVER_DEVICE, 0, bind_retry_seconds=0.0)
        record = first._record
        first.close()
        assert record["fd"] == -1 and not hasattr(first, "rx")
        first.close()
        XskSocket(Umem(4), SERVER_DEVICE, 0).close()


def test_a_view_of_a_ring_keeps_its_memory(lab: Lab) -> None:
    with netns.inside(lab.server.namespace):
        socket = XskSocket(Umem(4), SERVER_DEVICE, 0)
        entries = socket.rx.entries
        socket.close()
        entries["length"][:] = 7  # would be a segmentation fault, were the ring unmapped
        assert entries["length"].sum() == 7 * len(entries)


def test_what_the_device_lacks_is_said(lab: Lab) -> None:
    with netns.inside(lab.server.namespace):
        with pytest.raises(TransportUnavailableError, match="no zero-copy"):
            XskSocket(Umem(4), SERVER_DEVICE, 0, mode="zero-copy")
        with pytest.raises(ServerError, match="is there such a queue"):
            XskSocket(Umem(4), SERVER_DEVICE, QUEUES)
        with XskSocket(Umem(4), SERVER_DEVICE, 0, mode="auto") as socket:
            assert not socket.zero_copy and compiled.tx_needs_wakeup(socket.record)


def test_a_device_that_is_down_is_an_error_of_the_kick(unique_name: str) -> None:
    with Lab(unique_name) as lab, netns.inside(lab.client.namespace):
        umem = Umem(4)
        with XskSocket(umem, CLIENT_DEVICE, 0) as socket:
            with IPRoute() as ip:
                ip.link("set", index=socket.ifindex, state="down")
            with pytest.raises(OSError) as caught:
                socket.send([place(umem, 0, frame(b"x"))])
            assert caught.value.errno == errno.ENETDOWN
