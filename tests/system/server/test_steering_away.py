"""With ``steer_away`` the XDP program sends packets for a busy core to its sibling: what waits at home does no harm later."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.client.admin import TenantInfo
from splinter.wire import Opcode
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

STEER_AWAY = 2  # packets
# Nobody steals, so that only the program can bring a packet to the sibling; the watchdog shall not end what a test stops.
# Workers answer all, since it is they that packets are steered to.
OPTIONS = ("--cores", "0,1", "--no-steal", "--no-balance", "--no-preempt", "--watchdog-ms", "60000", "--kernel-tier", "off")
REQUESTS = 40
WAIT = """
from splinter.ext import Store, extension, u64

@extension(isolation="none")
def wait(db: Store) -> u64:
    found = db.get(table=1, key=1)
    while found is None:
        found = db.get(table=1, key=1)
    return found.u64(0)
"""
INCREMENT = """
from splinter.ext import Store, extension, u64

@extension
def increment(db: Store) -> u64:
    value = 1
    found = db.get(table=1, key=2)
    if found is not None:
        value = found.u64(0) + 1
    db.put(table=1, key=2, value=value)
    return value
"""

pytestmark = pytest.mark.xdp


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config: Path = tmp_path_factory.mktemp("steer") / "splinter.toml"
    config.write_text(f"steer_away = {STEER_AWAY}\n")
    with running_server(f"t{os.getpid()}x9", "xdp", *OPTIONS, "--config", str(config)) as running:
        yield running


@pytest.fixture
def tenant(server: RunningServer) -> TenantInfo:
    """It lives on core 0."""
    return server.admin().create_tenant(home=0)


def workers(server: RunningServer, counter: str) -> list[int]:
    return [worker[counter] for worker in server.admin().stats()["workers"]]


def test_packets_for_a_busy_core_are_answered_by_its_sibling(server: RunningServer, tenant: TenantInfo) -> None:
    waiter = server.admin().create_tenant(home=0)
    server.client(waiter).install(WAIT)
    signature = server.client(waiter).signature("wait")
    client = server.client(tenant, timeout=30.0)
    client.put(b"key", b"value")
    received = workers(server, "received")
    # It is sent once: a repetition, as a client sends it, would be steered to the sibling and have that wait as well.
    raw = RawSocket(server.info)
    fields = {"key_length": len(b"wait"), "object_version": signature.hash}
    raw.start(
        waiter.tenant, waiter.token, Opcode.INVOKE, b"wait" + signature.pack(), value_length=len(signature.pack()), **fields
    )
    try:
        wait_for(lambda: workers(server, "received")[0] > received[0], seconds=30, what="the invocation")
        received = workers(server, "received")
        for number in range(REQUESTS):
            client.put(number, number.to_bytes(8, "little"), table=1)
            assert client.get(number, table=1) == number.to_bytes(8, "little")
            assert client.get(b"key") == b"value"
        after = workers(server, "received")
        assert after[0] == received[0]  # it is busy with one thing
        assert after[1] - received[1] >= 3 * REQUESTS
    finally:
        ender = server.client(waiter, timeout=30.0)
        ender.put(1, (7).to_bytes(8, "little"), table=1)
        answer = raw.receive(60.0)
        raw.close()
    assert answer is not None and signature.unpack(answer[1]) == 7

    def is_home() -> bool:
        before = workers(server, "received")
        for _ in range(REQUESTS):
            client.ping()
        return workers(server, "received")[1] == before[1]

    wait_for(is_home, 30, "requests that all come home again")  # the worker may lose its CPU to another program now and then
    assert workers(server, "received")[0] - received[0] >= REQUESTS


def test_what_waited_at_home_has_its_effect_once_and_undoes_nothing(server: RunningServer, tenant: TenantInfo) -> None:
    client = server.client(tenant, timeout=30.0)
    client.install(INCREMENT)
    late = 0
    for stop in range(5):
        received = workers(server, "received")
        pid = server.workers()[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            # The first packets wait at home, and are sent again until the sibling gets one of each request.
            for number in range(STEER_AWAY + 2):
                client.put(b"key", f"{stop} {number}".encode())
                assert client.invoke("increment") == stop * (STEER_AWAY + 2) + number + 1
        finally:
            os.kill(pid, signal.SIGCONT)
        late += wait_for(lambda: workers(server, "received")[0] - received[0], seconds=30, what="what waited")  # noqa: B023
        assert client.get(b"key") == f"{stop} {STEER_AWAY + 1}".encode()
    assert late >= 5  # at least one packet each time
    assert client.invoke("increment") == 5 * (STEER_AWAY + 2) + 1
