"""Tenants on one core: the one with hundreds of endless tasks takes no time from the one with a few, and is told BUSY."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from splinter.client.admin import Admin, TenantInfo
from splinter.limits import TASKS_PER_TENANT
from splinter.wire import Header, Opcode
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
ENDLESS = """
from splinter.ext import Store, extension

@extension
def endless(db: Store) -> None:
    while True:
        pass
"""
NAME = b"endless"
MANY, FEW = 200, 4
AT_A_TIME = 20  # packets, so that none is lost
LONG_MS = 600_000  # that a task may last: however slow the machine is
ENOUGH_MS = 300  # of tasks' time: thousands of rounds


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    core = str(max(os.sched_getaffinity(0)))
    with running_server(f"t{os.getpid()}f{request.param}", request.param, "--cores", core) as running:
        yield running


def usage(admin: Admin, tenant: TenantInfo) -> dict[str, int]:
    """What the tenant used so far."""
    for item in admin.stats()["tenants"]:
        if item["tenant"] == tenant.tenant:
            return {**item, "core_ms": sum(item["core_ms"])}
    return {"requests": 0, "busy": 0, "core_ms": 0, "task_ms": 0}


def invoke_many(server: RunningServer, admin: Admin, tenant: TenantInfo, count: int) -> None:
    """Start so many tasks, and do not wait for any."""
    raw = RawSocket(server.info)
    before = usage(admin, tenant)["requests"]
    for sent in range(1, count + 1):
        fields = {"tenant": tenant.tenant, "token": tenant.token, "opcode": Opcode.INVOKE, "key_length": len(NAME)}
        raw.send(Header(client=tenant.tenant, sequence=sent, **fields).pack() + NAME)
        if sent % AT_A_TIME == 0 or sent == count:
            came = before + sent
            wait_for(lambda came=came: usage(admin, tenant)["requests"] >= came, 20, "the packets")
    raw.close()


def test_a_tenant_with_hundreds_of_endless_tasks_gets_its_share_and_busy(server: RunningServer) -> None:
    admin = server.admin()
    greedy, patient, other = (admin.create_tenant(task_wall_milliseconds_max=LONG_MS) for _ in range(3))
    for tenant in (greedy, patient):
        server.client(tenant).install(ENDLESS)
    client = server.client(other)
    client.put(b"k", b"v")
    invoke_many(server, admin, greedy, MANY)
    invoke_many(server, admin, patient, FEW)
    (worker,) = admin.stats()["workers"]
    assert worker["tasks_live"] == TASKS_PER_TENANT + FEW
    assert usage(admin, greedy)["busy"] == MANY - TASKS_PER_TENANT
    assert usage(admin, patient)["busy"] == 0

    before = [usage(admin, tenant)["task_ms"] for tenant in (greedy, patient)]

    def used() -> list[int]:
        return [usage(admin, tenant)["task_ms"] - then for tenant, then in zip((greedy, patient), before, strict=True)]

    def are_shares_equal() -> bool:
        # Looked at more than once: time without a CPU counts for whose task it befell, until the other has had as much.
        much, little = used()
        return much + little >= ENOUGH_MS and little >= 0.7 * much and much >= 0.7 * little

    wait_for(are_shares_equal, 60, "equal shares")
    for _ in range(100):
        assert client.get(b"k") == b"v"
    hottest = admin.stats()["extensions"]
    assert {(item["tenant"], item["name"]) for item in hottest} == {(t.tenant, "endless") for t in (greedy, patient)}
    assert all(item["cpu_ms"] > 0 for item in hottest)
