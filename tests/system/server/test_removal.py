"""What a removed tenant leaves under way ends with it: nothing of it is the next tenant's who gets its id."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter import limits
from splinter.client.admin import Admin, TenantInfo
from splinter.errors import Status, UnknownTenantError
from splinter.wire import Header, Opcode
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
IMPORTS = "from splinter.ext import Store, extension, u64\n\n"
# Waits until there is a word; tells it, and writes over it.
WAITS = IMPORTS + (
    "@extension(isolation='none')\ndef waits(db: Store) -> u64:\n    while True:\n        seen = db.get(1, 1)\n"
    "        if seen is not None:\n            db.put(1, 1, 666)\n            db.log(b'mine')\n"
    "            return seen.u64(0)\n        yield\n"
)
ENDLESS = IMPORTS + "@extension\ndef endless(db: Store) -> None:\n    while True:\n        pass\n"
SECRET = (42).to_bytes(8, "little")
KEY = (1).to_bytes(8, "little")
TASKS = 20
LONG_MS = 600_000
ONE_CLIENT = 99


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """Its watchdog lets a stopped worker be."""
    name = f"t{os.getpid()}rm{request.param}"
    with running_server(name, request.param, "--cores", "0", "--watchdog-ms", str(limits.WATCHDOG_MS_MAX)) as running:
        yield running


def long_tenant(admin: Admin) -> TenantInfo:
    """A tenant whose tasks may go on for ever."""
    return admin.create_tenant(task_yields_max=(1 << 32) - 1, task_milliseconds_max=LONG_MS, task_wall_milliseconds_max=LONG_MS)


def again(admin: Admin, tenant: TenantInfo) -> TenantInfo:
    """Another tenant of the same id."""
    return admin.create_tenant(tenant.tenant)


def worker_statistics(admin: Admin) -> dict[str, int]:
    return dict(admin.stats()["workers"][0])


def start_tasks(server: RunningServer, admin: Admin, tenant: TenantInfo, name: bytes, count: int) -> list[RawSocket]:
    before = worker_statistics(admin)["tasks_live"]
    sockets = [RawSocket(server.info) for _ in range(count)]
    for one in sockets:
        one.start(tenant.tenant, tenant.token, Opcode.INVOKE, name, key_length=len(name))
    wait_for(lambda: worker_statistics(admin)["tasks_live"] >= before + count, what="all tasks waiting")
    return sockets


def test_tasks_end_with_their_tenant_and_not_in_the_next_of_its_id(server: RunningServer) -> None:
    admin = server.admin()
    old = long_tenant(admin)
    server.client(old).install(WAITS)
    sockets = start_tasks(server, admin, old, b"waits", TASKS)
    admin.remove_tenant(old.tenant)
    new = again(admin, old)
    client = server.client(new)
    client.put(1, SECRET, table=1)
    for one in sockets:
        reply = one.reply()
        assert reply is not None and reply[0].status == Status.UNKNOWN_TENANT, reply
        assert SECRET not in reply[1]
        one.close()
    assert client.get(1, table=1) == SECRET
    assert client.log() == []
    assert worker_statistics(admin)["tasks_live"] == 0
    assert worker_statistics(admin)["orphans"] >= TASKS


def test_tasks_that_never_wait_for_anything_end_too(server: RunningServer) -> None:
    admin = server.admin()
    old = long_tenant(admin)
    server.client(old).install(ENDLESS)
    sockets = start_tasks(server, admin, old, b"endless", TASKS)
    admin.remove_tenant(old.tenant)
    assert worker_statistics(admin)["tasks_live"] == 0
    again(admin, old)
    for one in sockets:
        reply = one.reply()
        assert reply is not None and reply[0].status == Status.UNKNOWN_TENANT
        one.close()


def test_counters_begin_anew(server: RunningServer) -> None:
    admin = server.admin()
    old = admin.create_tenant()
    client = server.client(old)
    for _ in range(100):
        client.put(1, b"x")
    admin.remove_tenant(old.tenant)
    new = again(admin, old)
    server.client(new).ping()
    (told,) = (each for each in admin.stats()["tenants"] if each["tenant"] == new.tenant)
    assert told["requests"] < 100


def stop_worker(server: RunningServer, admin: Admin, *, asleep: bool) -> int:
    """Stop the worker, in its sleep or in its work; returns its process id."""
    worker = server.workers()[0]

    def stopped() -> bool:
        os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "T", what="the stop")
        if (admin.stats()["workers"][0]["state"] == "sleeping") == asleep:
            return True
        os.kill(worker, signal.SIGCONT)
        return False

    wait_for(stopped, what="a stop at the right moment")
    return worker


@pytest.mark.parametrize("is_busy", [False, True], ids=["sleeping", "busy"])
def test_packets_that_waited_are_not_the_next_tenants(server: RunningServer, is_busy: bool) -> None:
    """The worker is stopped while they come, so that they wait in its ring, or in its socket's buffer."""
    admin = server.admin()
    old = long_tenant(admin)
    sender = RawSocket(server.info)
    busy = None
    if is_busy:
        other = long_tenant(admin)
        server.client(other).install(ENDLESS)
        busy = start_tasks(server, admin, other, b"endless", 1)
    worker = stop_worker(server, admin, asleep=not is_busy)
    try:
        for _ in range(TASKS):
            sender.start(old.tenant, old.token, Opcode.PUT, KEY + SECRET, key_length=8, value_length=8, table=1)
        removal = threading.Thread(target=admin.remove_tenant, args=(old.tenant,))
        removal.start()
        watcher = server.admin()
        wait_for(lambda: old.tenant not in [each.tenant for each in watcher.list_tenants()], what="the tenant's end")
        if not is_busy:  # a worker that sleeps does nothing, and holds nothing up
            removal.join()
            new = again(watcher, old)
    finally:
        os.kill(worker, signal.SIGCONT)
    removal.join()
    if is_busy:
        new = again(watcher, old)
        assert busy is not None
        watcher.remove_tenant(other.tenant)
        busy[0].close()
    client = server.client(new, timeout=20.0)
    client.ping()
    assert client.get(KEY, table=1) is None
    assert sender.reply() is None
    sender.close()


def fragment(tenant: TenantInfo, index: int, value: bytes) -> bytes:
    header = Header(
        tenant=tenant.tenant, token=tenant.token, opcode=Opcode.PUT, client=ONE_CLIENT, sequence=1, table=1, key_length=8,
        value_length=len(value), fragment_index=index, fragment_count=2,
    )  # fmt: skip
    return header.pack() + KEY + value


def test_staged_fragments_do_not_become_the_next_tenants(server: RunningServer) -> None:
    admin = server.admin()
    old = admin.create_tenant()
    sender = RawSocket(server.info)
    sender.send(fragment(old, 0, b"s" * limits.FRAGMENT_BYTES))
    reply = sender.receive()
    assert reply is not None and (reply[0].status, reply[0].object_version) == (Status.OK, 0)
    admin.remove_tenant(old.tenant)
    new = again(admin, old)
    sender.send(fragment(new, 1, b"n" * 100))
    reply = sender.receive()
    assert reply is not None and (reply[0].status, reply[0].object_version) == (Status.OK, 0)  # the first one is missing
    assert server.client(new).get(KEY, table=1) is None
    sender.close()


def test_a_removal_outlives_the_worker_and_the_control_process(server: RunningServer) -> None:
    admin = server.admin()
    old = long_tenant(admin)
    server.client(old).install(WAITS)
    sockets = start_tasks(server, admin, old, b"waits", TASKS)
    worker, control = server.workers()[0], server.children("splinter-ctl")[0]
    os.kill(worker, signal.SIGSTOP)
    removal = threading.Thread(target=_remove, args=(server, old))
    removal.start()
    watcher = server.admin()
    wait_for(lambda: old.tenant not in [each.tenant for each in watcher.list_tenants()], what="the tenant's end")
    os.kill(control, signal.SIGKILL)
    wait_for(lambda: [pid for pid in server.children("splinter-ctl") if pid != control], what="another control process")
    os.kill(worker, signal.SIGKILL)
    removal.join()
    fresh = server.admin()

    def created() -> TenantInfo | None:
        try:
            return fresh.create_tenant(old.tenant)
        except Exception as error:
            assert "is being removed" in str(error)
            return None

    new = wait_for(created, what="the id to be free")
    client = server.client(new, timeout=20.0)
    client.put(1, SECRET, table=1)
    for one in sockets:
        reply = one.reply()
        assert reply is None or (reply[0].status == Status.UNKNOWN_TENANT and SECRET not in reply[1])
        one.close()
    assert client.get(1, table=1) == SECRET
    with pytest.raises(UnknownTenantError):
        fresh.remove_tenant(old.tenant + 1)


def _remove(server: RunningServer, tenant: TenantInfo) -> None:
    """Ask for a removal whose answer never comes."""
    with contextlib.suppress(Exception):  # the control process is killed meanwhile
        server.admin().remove_tenant(tenant.tenant)
