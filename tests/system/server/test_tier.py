"""A server whose kernel answers gets: over a lab, in native and in generic mode, beside writers, and without."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.client import Client
from tests.support.servers import RunningServer, running_lab, running_server, serving

pytestmark = pytest.mark.xdp

KEYS = [b"counted %d" % number for number in range(8)]
READS = 3_000
FILLED_BYTES = (0, 1, 40, 100, 300, 900)  # of values, behind their eight first bytes


def answered(server: RunningServer) -> dict[str, int]:
    """What the XDP program has counted of gets."""
    counters: dict[str, int] = server.admin().stats()["xdp"]
    return counters


def value_of(number: int) -> bytes:
    """A value that tells whether it is whole."""
    filled = FILLED_BYTES[number % len(FILLED_BYTES)]
    return struct.pack("<Q", number) + bytes((number + at) & 0xFF for at in range(filled))


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}tier") as running:
        yield running


def test_gets_are_answered_by_the_kernel_and_nobody_notices(server: RunningServer) -> None:
    assert server.admin().stats()["gets_answered_by"] == "the kernel where it can, else by workers"
    (tenant,) = server.admin().create_tenants(1)
    client = server.client(tenant)
    before = answered(server)
    client.put(b"key", b"value")
    assert client.get(b"key") == b"value"
    assert client.get(b"nosuch") is None
    client.put(b"long", bytes(range(250)) * 5)
    assert [client.get(b"long") for _ in range(20)] == [bytes(range(250)) * 5] * 20
    client.put(b"longest", bytes(60_000))
    assert client.get(b"longest") == bytes(60_000)
    after = answered(server)
    assert after["kernel_hit"] - before["kernel_hit"] >= 15
    assert after["kernel_miss"] - before["kernel_miss"] == 1
    assert after["over_size"] > before["over_size"]


def hammer(server: RunningServer) -> None:
    """Writers replace, delete and make objects while readers look: each reader sees whole values that only grow."""
    (tenant,) = server.admin().create_tenants(1)
    stop, failures = threading.Event(), list[BaseException]()

    @contextlib.contextmanager
    def client() -> Iterator[Client]:
        with Client(
            server.info.address, tenant.tenant, tenant.token, port=server.info.port, netns=server.info.client_netns
        ) as one:
            yield one

    def write(part: int) -> None:
        try:
            with client() as mine:
                number = 0
                while not stop.is_set():
                    number += 1
                    for key in KEYS[part::2]:
                        mine.put(key, value_of(number))
                    if number % 7 == 0:
                        mine.delete(KEYS[part])
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        try:
            with client() as mine:
                last = dict.fromkeys(KEYS, 0)
                for turn in range(READS):
                    key = KEYS[turn % len(KEYS)]
                    found = mine.get(key)
                    if found is not None:
                        (number,) = struct.unpack_from("<Q", found)
                        assert found == value_of(number)
                        assert number >= last[key]
                        last[key] = number
        except BaseException as error:
            failures.append(error)
        finally:
            stop.set()

    threads = [threading.Thread(target=write, args=(part,)) for part in range(2)] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_readers_beside_writers_see_whole_values_that_only_grow(server: RunningServer) -> None:
    before = answered(server)
    hammer(server)
    assert answered(server)["kernel_hit"] - before["kernel_hit"] > READS // 4


def test_generic_mode_answers_too() -> None:
    """The driver has no XDP where another end than native is asked for: here the server's program is attached anew."""
    instance = f"t{os.getpid()}tierg"
    with running_lab(instance) as lab, serving(instance, lab, module="tests.support.generic_server") as server:
        assert server.info.xdp_mode == "generic"
        before = answered(server)
        hammer(server)
        assert answered(server)["kernel_hit"] > before["kernel_hit"]


def test_a_tier_that_is_off_is_off() -> None:
    with running_server(f"t{os.getpid()}tiero", "xdp", "--kernel-tier", "off") as server:
        (tenant,) = server.admin().create_tenants(1)
        client = server.client(tenant)
        client.put(b"key", b"value")
        assert client.get(b"key") == b"value"
        assert server.admin().stats()["gets_answered_by"] == "workers alone: kernel_tier is off"
        assert answered(server)["kernel_hit"] == 0
        assert "gets are answered by workers alone: kernel_tier is off" in server.log.read_text()


def test_gets_go_on_when_every_process_is_stopped(server: RunningServer) -> None:
    """As good as dead: nobody but the kernel can answer."""
    (tenant,) = server.admin().create_tenants(1)
    client = server.client(tenant)
    values = {b"of %d" % number: bytes([number]) * number for number in range(150)}
    for key, value in values.items():
        client.put(key, value)
    processes = [
        server.info.pid,
        *map(int, Path(f"/proc/{server.info.pid}/task/{server.info.pid}/children").read_text().split()),
    ]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        assert {key: client.get(key) for key in values} == values
        assert client.get(b"nosuch") is None
    finally:
        for process in reversed(processes):
            os.kill(process, signal.SIGCONT)
