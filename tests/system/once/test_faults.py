"""Writes are executed once, whatever the network does to packets and whoever kills workers."""

from __future__ import annotations

import os
import random
import struct
import threading
from collections.abc import Iterator

import pytest

from splinter.client.admin import TenantInfo
from splinter.errors import VersionChangedError
from splinter.wire import OBJECT_ABSENT, Header, Opcode
from tests.support.counting import INCREMENT
from tests.support.histories import Killer
from tests.support.proxy import Faults, Proxy
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.threads import at_once
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
THREADS, EACH = 4, 40
DEATHS = 3
TIMEOUT_SECONDS = 20.0
KILL_EVERY_SECONDS = 0.15
SLOW = """
from splinter.ext import Store, extension, u64

@extension(isolation="none")
def slow(db: Store, key: u64, steps: u64) -> u64:
    seen = db.get(1, key)
    runs = u64(0)
    if seen is not None:
        runs = seen.u64(0)
    db.put(1, key, runs + 1)
    total = u64(0)
    for i in range(steps):
        total = (total * 31 + i) & 0xFFFFFFFF
    return runs + (total >> 32)
"""
NAMES = """
from splinter.ext import Error, Store, extension, u64

@extension
def names(db: Store, key: u64) -> bytes:
    db.put(1, key, 1)
    return b"written"

@extension
def writes(db: Store, key: u64) -> None:
    db.put(1, key, 3)

@extension
def fails(db: Store, key: u64) -> u64:
    db.put(1, key, 2)
    raise Error(77)
"""


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x9{request.param}", request.param) as running:
        yield running


@pytest.fixture
def tenant(server: RunningServer) -> TenantInfo:
    return server.admin().create_tenant()


@pytest.mark.parametrize("kills", [False, True])
def test_a_counter_incremented_n_times_reads_n(server: RunningServer, tenant: TenantInfo, kills: bool) -> None:
    direct = server.client(tenant)
    direct.install(INCREMENT)
    with Proxy(server, Faults(), seed=1) as proxy:

        def increment() -> None:
            with proxy.client(tenant, timeout=TIMEOUT_SECONDS) as client:
                for _ in range(EACH):
                    client.invoke("increment", 7)

        killer = Killer(server, 1, KILL_EVERY_SECONDS) if kills else None
        try:
            at_once([increment] * THREADS)
        finally:
            if killer:
                killer.__exit__()
        assert proxy.counts["repeated"] > 0 and proxy.counts["lost"] > 0
    value = direct.get(7, table=1)
    assert value is not None
    assert struct.unpack_from("<Q", value)[0] == THREADS * EACH


def test_puts_and_deletes_of_one_client_end_as_their_last(server: RunningServer, tenant: TenantInfo) -> None:
    """A delayed duplicate of an earlier write would show."""
    with Proxy(server, Faults(late=0.2), seed=2) as proxy, Killer(server, 2, KILL_EVERY_SECONDS):

        def write(slot: int) -> None:
            dice = random.Random(slot)
            with proxy.client(tenant, timeout=TIMEOUT_SECONDS) as client:
                version, there = 0, False
                for number in range(EACH):
                    key = f"key {slot}"
                    if there and dice.random() < 0.3:
                        assert client.delete(key)
                        there = False
                    elif dice.random() < 0.5:
                        version = client.put(key, b"%d" % number, if_version=version if there else OBJECT_ABSENT)
                        there = True
                    else:
                        size = dice.choice([10, 5000])
                        version = client.put(key, b"%d " % number * size)
                        there = True
                    assert (client.get(key) is not None) == there

        at_once([lambda slot=slot: write(slot) for slot in range(THREADS)])


def test_a_compare_and_put_is_not_said_to_fail_when_it_was_done(server: RunningServer, tenant: TenantInfo) -> None:
    with Proxy(server, Faults(lost=0.3), seed=3) as proxy, proxy.client(tenant, timeout=TIMEOUT_SECONDS) as client:
        version = client.put(b"k", b"0")
        for number in range(EACH):
            version = client.put(b"k", b"%d" % number, if_version=version)
        with pytest.raises(VersionChangedError):
            client.put(b"k", b"no", if_version=version + 2)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_task_without_isolation_does_nothing_twice(transport: str) -> None:
    """Its worker is in the middle of the task when it dies, never at a yield, from where the task would go on."""
    options = ("--no-preempt", "--cores", "0", "--watchdog-ms", "60000")
    with running_server(f"t{os.getpid()}x91{transport}", transport, *options) as server:
        admin = server.admin()
        tenant = admin.create_tenant()
        direct, slow = server.client(tenant, timeout=TIMEOUT_SECONDS), server.client(tenant, timeout=TIMEOUT_SECONDS)
        direct.install(SLOW)
        before = admin.get_tenant(tenant.tenant).objects
        ends: list[int] = []
        thread = threading.Thread(target=lambda: ends.append(slow.invoke("slow", 5, 1 << 30)))
        thread.start()
        wait_for(lambda: admin.get_tenant(tenant.tenant).objects == before + 1, what="the task's write")
        for _ in range(DEATHS):
            wait_for(lambda: admin.stats()["workers"][0]["running_tenant"] == tenant.tenant, what="the task's start")
            before = admin.stats()["watchdog"]["replaced"]
            server.kill_worker(0)
            wait_for(lambda before=before: admin.stats()["watchdog"]["replaced"] > before, what="the successor")
        thread.join()
        assert ends == [0]
        assert direct.get(5, table=1) == struct.pack("<Q", 1)


def test_every_kind_of_reply_comes_again(server: RunningServer, tenant: TenantInfo) -> None:
    direct = server.client(tenant)
    for name in ("names", "fails", "writes"):
        direct.install(NAMES, name=name)
    raw = RawSocket(server.info)

    def ask(sequence: int, name: bytes) -> tuple[int, int, bytes]:
        body = name + struct.pack("<Q", 9)
        header = Header(
            tenant=tenant.tenant, token=tenant.token, opcode=Opcode.INVOKE, client=98, sequence=sequence, acknowledged=1,
            key_length=len(name), value_length=8,
        )  # fmt: skip
        raw.send(header.pack() + body)
        reply = raw.receive()
        assert reply is not None
        return reply[0].status, reply[0].object_version, reply[1]

    for sequence, name in ((1, b"names"), (2, b"fails"), (3, b"nothing"), (4, b"writes")):
        first = ask(sequence, name)
        direct.delete(9, table=1)
        assert [ask(sequence, name) for _ in range(3)] == [first] * 3
        assert direct.get(9, table=1) is None
    raw.close()
