"""The AF_XDP load generator and the echo, on a lab of their own."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from splinter_bench.generators.afxdp_client import AfxdpClient
from splinter_bench.generators.frames import FRAME_HEADER_BYTES
from splinter_bench.generators.live import LiveClient, LiveLoad
from splinter_bench.generators.path import find
from splinter_bench.subjects.echo import EchoLimit, _turn_around
from splinter_bench.workloads.workload import Account, echo, get_operation, uniform

from splinter.errors import TransportUnavailableError
from splinter.limits import CHUNKS_PER_QUEUE, PORT_DEFAULT, REQUEST_HEADER_BYTES
from splinter.net import netns
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.lab import Lab
from splinter.net.xdp import EchoProgram, RedirectProgram
from tests.support.waiting import wait_for

pytestmark = pytest.mark.xdp

SERVER_CORE, CLIENT_CORE = 1, 0
PATIENCE_NS = 20_000_000_000  # for a reply that comes, however busy the machine is


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(f"t{os.getpid()}x9000") as made:  # like ``unique_name``, which is one test's, so that strays are removed
        yield made


@pytest.fixture
def limit(lab: Lab) -> Iterator[EchoLimit]:
    with EchoLimit(
        lab.server.namespace,
        lab.client.namespace,
        lab.server.address,
        server_core=SERVER_CORE,
        client_core=CLIENT_CORE,
    ) as made:
        yield made


def test_the_path_is_the_lab_s(lab: Lab) -> None:
    path = find(lab.server.address, lab.client.namespace)
    assert (path.device, path.queues) == (lab.client.device, lab.queues)
    assert (path.source, path.source_mac) == (lab.client.address, lab.client.mac)
    assert (path.destination, path.destination_mac) == (lab.server.address, lab.server.mac)


def test_no_path_is_an_error_that_says_so(lab: Lab) -> None:
    with pytest.raises(TransportUnavailableError, match="no route"):
        find("192.0.2.1", lab.client.namespace)


@pytest.mark.parametrize("depth", [1, 64])
def test_every_request_comes_back(limit: EchoLimit, depth: int) -> None:
    def undisturbed() -> Any:
        run = limit.measure(depth, 0.2, warmup_seconds=0.05)
        return run if run.recorded > 100 and run.failed == run.stale == 0 else None

    result = wait_for(undisturbed, what="a fifth of a second in which the machine does not stand still")
    assert 0 < result.latency_ns["p50"] <= result.latency_ns["p99.99"]


def test_runs_follow_each_other_without_losing_chunks(limit: EchoLimit) -> None:
    client = limit._client
    client.flight.timeout_ns = PATIENCE_NS
    for _ in range(5):
        assert limit.measure(256, 0.05, warmup_seconds=0).failed == 0
    assert client._record["free_count"][0] == CHUNKS_PER_QUEUE
    assert sorted(client._free) == sorted(set(client._free))


def test_packets_of_every_size(limit: EchoLimit) -> None:
    for size in (FRAME_HEADER_BYTES + REQUEST_HEADER_BYTES, 1514):
        measure = partial(limit.measure, 4, 0.05, packet_bytes=size, warmup_seconds=0)
        wait_for(lambda measure=measure: measure().recorded, what=f"an answer of {size} bytes")
    with pytest.raises(ValueError, match="payload"):
        limit.measure(1, 0.05, packet_bytes=64)


def test_silence_is_counted_and_ends(lab: Lab) -> None:
    with AfxdpClient(find(lab.server.address, lab.client.namespace), netns=lab.client.namespace) as client:
        client.flight.timeout_ns = 50_000_000
        result = client.run_exactly(echo(100), depth=8, requests=16)
        assert result.lost == 16
        assert result.recorded == 0


def test_replies_on_another_queue_are_seen(lab: Lab) -> None:
    """A server that takes what comes in by queue 0 and answers on queue 1, in Python."""
    umem = Umem(128)
    with contextlib.ExitStack() as stack:
        with netns.inside(lab.server.namespace):
            program = stack.enter_context(RedirectProgram(lab.server.device, lab.queues, PORT_DEFAULT, match="destination"))
            asked, answered = (stack.enter_context(XskSocket(umem, lab.server.device, queue)) for queue in (0, 1))
            asked.refill(range(0, umem.bytes, umem.chunk_bytes))
            program.set_socket(0, asked.fd)
            program.attach()
        client = stack.enter_context(AfxdpClient(find(lab.server.address, lab.client.namespace), netns=lab.client.namespace))
        client.flight.timeout_ns = PATIENCE_NS
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                for address, length in asked.receive():
                    _turn_around(umem.address + address)
                    answered.send([(address, length)])
                asked.refill(answered.completed())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            result = client.run_exactly(echo(100), depth=8, requests=500)
        finally:
            done.set()
            thread.join()
    assert result.recorded == 500


def test_nothing_is_left_when_construction_fails(lab: Lab) -> None:
    path = find(lab.server.address, lab.client.namespace)
    with AfxdpClient(path, netns=lab.client.namespace):
        pass
    with netns.inside(lab.client.namespace), AfxdpClient(path) as client:
        client.flight.timeout_ns = 50_000_000
        assert client.run_exactly(echo(100), depth=1, requests=1).lost == 1


@pytest.mark.parametrize("rate", [5000, None])
def test_load_from_within_the_kernel_comes_back_from_the_driver(lab: Lab, rate: float | None) -> None:
    path = find(lab.server.address, lab.client.namespace)
    with netns.inside(lab.server.namespace):
        program = EchoProgram(lab.server.device, PORT_DEFAULT)
        program.attach()
    load = LiveLoad.of_workload(uniform(get_operation(Account(1, 2)), 100), is_echo=True)
    with program, LiveClient(path, load, netns=lab.client.namespace) as client:
        result = client.run(0.1, rate)
        assert result.recorded == result.requests > 400  # also of frames that were used before, and came back turned around
        assert result.errors == {}
        if rate:
            assert result.requests == pytest.approx(rate * result.seconds, abs=5)
