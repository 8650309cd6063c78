"""An idle worker answers what waits for a busy, stopped or dying sibling, and no chunk or lock is lost on the way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from splinter.client.admin import TenantInfo
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
# The watchdog shall not end what these tests stop on purpose.
# Workers answer all, since it is they that steal.
OPTIONS = ("--cores", "0,1", "--no-balance", "--no-preempt", "--watchdog-ms", "60000", "--kernel-tier", "off")
KILLS = 20
WAIT = """
from splinter.ext import Store, extension, u64

@extension(isolation="none")
def wait(db: Store) -> u64:
    found = db.get(table=1, key=1)
    while found is None:
        found = db.get(table=1, key=1)
    return found.u64(0)
"""


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x7{request.param}", request.param, *OPTIONS) as running:
        yield running


@pytest.fixture
def tenants(server: RunningServer) -> list[TenantInfo]:
    """All of them live on core 0."""
    return server.admin().create_tenants(4, home=0)


def stolen(server: RunningServer) -> list[int]:
    return [worker["stolen"] for worker in server.admin().stats()["workers"]]


def test_a_stopped_workers_requests_are_answered_by_its_sibling(server: RunningServer, tenants: list[TenantInfo]) -> None:
    clients = [server.client(tenant, timeout=5.0) for tenant in tenants]
    for client in clients:
        client.put(b"key", b"value")
    before = stolen(server)[1]
    pid = server.workers()[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        for client in clients:
            for _ in range(20):
                assert client.get(b"key") == b"value"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert stolen(server)[1] - before >= 80
    assert clients[0].get(b"key") == b"value"


def invocations(server: RunningServer) -> list[int]:
    return [worker["requests"]["invoke"] for worker in server.admin().stats()["workers"]]


def test_an_extension_that_blocks_its_worker_does_not_block_its_tenants(server: RunningServer) -> None:
    admin = server.admin()
    at_home = [admin.create_tenant(home=core) for core in range(2)]
    waiter = admin.create_tenant(home=0)
    server.client(waiter).install(WAIT)
    before, stolen_before = invocations(server), stolen(server)
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(server.client(waiter, timeout=60.0).invoke("wait")))
    thread.start()
    try:
        wait_for(lambda: invocations(server) != before, seconds=30, what="the invocation")
        # Its own worker, or one that was quicker to steal it, does nothing else now.
        blocked = int(invocations(server)[1] > before[1])
        neighbour = server.client(at_home[blocked], timeout=30.0)
        for _ in range(20):
            neighbour.ping()
    finally:
        # Whoever waits, is waited for: only a stolen packet can let the extension end.
        ender = admin.get_tenant(waiter.tenant, token=True)
        server.client(ender, timeout=30.0).put(1, (7).to_bytes(8, "little"), table=1)
        thread.join()
    assert answers == [7]
    assert stolen(server)[1 - blocked] - stolen_before[1 - blocked] >= 20


def test_both_steal_while_both_are_killed(server: RunningServer, tenants: list[TenantInfo]) -> None:
    admin = server.admin()
    others = admin.create_tenants(4, home=1)
    stop = threading.Event()
    acknowledged: list[dict[bytes, bytes]] = [{} for _ in range(8)]
    failures: list[BaseException] = []

    def load(slot: int) -> None:
        client = server.client([*tenants, *others][slot], timeout=30.0)
        keys = [f"key {number}".encode() for number in range(64)]
        number = 0
        try:
            while not stop.is_set():
                values = {key: f"{number} of {slot}".encode() for key in keys}
                client.put_many(values.items())
                acknowledged[slot] = values
                assert client.get_many(keys) == list(values.values())
                number += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(slot,)) for slot in range(8)]
    for thread in threads:
        thread.start()
    try:
        for kill in range(KILLS):
            slot = kill % 2
            old = wait_for(lambda slot=slot: server.workers().get(slot), seconds=30, what="the worker")
            before = sum(stolen(server))
            wait_for(lambda before=before: failures or sum(stolen(server)) > before, seconds=30, what="another theft")
            os.kill(old, signal.SIGKILL)
            wait_for(lambda slot=slot, old=old: server.workers().get(slot, old) != old, seconds=30, what="the successor")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    for tenant, expected in zip([*tenants, *others], acknowledged, strict=True):
        assert server.client(tenant).get_many(list(expected)) == list(expected.values())
    stats = admin.stats()
    if "chunks" in stats:
        wait_for(lambda: admin.stats()["chunks"]["free"] == stats["chunks"]["total"], what="every chunk free again")
        wait_for(lambda: admin.stats()["ring_locks_held"] == 0, what="every lock free again")
