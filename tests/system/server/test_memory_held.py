"""Tasks that last keep what others replace; before that fills the store, they give way."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from splinter.client.admin import Admin, TenantInfo
from splinter.errors import ExtensionRuntimeError, Status
from splinter.ext.abi import ExtensionError
from splinter.wire import Opcode
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
IMPORTS = "from splinter.ext import Store, extension, u64\n\n"
ENDLESS = IMPORTS + "@extension\ndef endless(db: Store) -> None:\n    while True:\n        pass\n"
YIELDING = IMPORTS + "@extension\ndef yielding(db: Store) -> None:\n    while True:\n        yield\n"
TASKS = 100
LONG_MS = 600_000
SMALL_QUOTA = 1 << 20
VALUE = bytes(1300)
PUTS = 45_000  # of a slot of 1,536 bytes each: more than the store of 64 MiB has


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}mh{request.param}", request.param, "--cores", "0") as running:
        yield running


def start(server: RunningServer, admin: Admin, tenant: TenantInfo, name: bytes, count: int) -> list[RawSocket]:
    sockets = [RawSocket(server.info) for _ in range(count)]
    for one in sockets:
        one.start(tenant.tenant, tenant.token, Opcode.INVOKE, name, key_length=len(name))
    wait_for(lambda: admin.stats()["workers"][0]["tasks_live"] >= count, what="all tasks waiting")
    return sockets


@pytest.mark.parametrize("source", [ENDLESS, YIELDING], ids=["endless", "yielding"])
def test_a_tenants_long_tasks_do_not_fill_the_store_for_others(server: RunningServer, source: str) -> None:
    admin = server.admin()
    holder = admin.create_tenant(
        quota_bytes=SMALL_QUOTA, task_yields_max=(1 << 32) - 1, task_milliseconds_max=LONG_MS,
        task_wall_milliseconds_max=LONG_MS,
    )  # fmt: skip
    writer = server.client(admin.create_tenant(), timeout=10.0)
    server.client(holder).install(source)
    name = b"endless" if source is ENDLESS else b"yielding"
    before = admin.stats()["workers"][0]["gave_way"]
    sockets = start(server, admin, holder, name, TASKS)
    for _ in range(PUTS):
        writer.put(b"key", VALUE, table=1)
    assert admin.stats()["workers"][0]["gave_way"] > before
    ended = [reply for reply in (one.receive(0.01) for one in sockets) if reply is not None]
    assert ended
    for header, text in ended:
        assert header.status == Status.EXTENSION_ERROR
        assert text.decode().endswith(ExtensionError.MEMORY_HELD.text)
    for one in sockets:
        one.close()
    admin.remove_tenant(holder.tenant)


def test_a_task_has_a_limit_of_time(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant(
        task_yields_max=(1 << 32) - 1, task_milliseconds_max=LONG_MS, task_wall_milliseconds_max=200
    )  # fmt: skip
    client = server.client(tenant, timeout=20.0)
    client.install(YIELDING)
    with pytest.raises(ExtensionRuntimeError, match=ExtensionError.TIME.text):
        client.invoke("yielding")
    admin.limit_tenant(tenant.tenant, task_wall_milliseconds_max=300)
    assert admin.get_tenant(tenant.tenant).task_wall_milliseconds_max == 300
    with pytest.raises(ExtensionRuntimeError, match=ExtensionError.TIME.text):
        client.invoke("yielding")
