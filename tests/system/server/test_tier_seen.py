"""What the kernel tier does is seen: in the server's counters, in those of its tenants, and on the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from splinter.cli.main import app
from splinter.client.admin import TenantInfo
from splinter.wire import KERNEL_GROWTH_BYTES
from tests.support.commands import CliRunner
from tests.support.servers import RunningServer, running_server

pytestmark = pytest.mark.xdp

GETS = 50


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x930", "xdp", "--cores", "0,1") as running:
        yield running


@pytest.fixture
def before(server: RunningServer) -> int:
    """Requests that workers have served before the tenant of the test was there."""
    return by_workers(server.admin().stats())


def by_workers(stats: dict[str, Any]) -> int:
    return sum(sum(worker["requests"].values()) for worker in stats["workers"])


@pytest.fixture
def tenant(server: RunningServer, before: int) -> TenantInfo:
    """A tenant with two objects, which has got the small one GETS times."""
    made = server.admin().create_tenant()
    client = server.client(made)
    client.put(b"small", b"value")
    client.put(b"large", bytes(KERNEL_GROWTH_BYTES * 5))
    assert [client.get(b"small") for _ in range(GETS)] == [b"value"] * GETS
    assert client.kernel_replies == GETS
    return made


def test_a_tenants_gets_in_the_kernel_are_told_apart_from_the_workers_requests(
    server: RunningServer, before: int, tenant: TenantInfo
) -> None:
    stats = server.admin().stats()
    told = {item["tenant"]: item for item in stats["tenants"]}[tenant.tenant]
    served = by_workers(stats) - before  # the two puts; one whose reply was late came again, and counts again
    assert served >= 2 and (told["kernel_gets"], told["requests"]) == (GETS, served)
    status = server.client(tenant)._ask("tenant.status", None)
    assert (status["kernel_gets"], status["requests"]) == (GETS, served)
    assert sum(item["gets"] for item in stats["kernel"]) >= GETS


def test_an_id_that_is_anothers_begins_anew(server: RunningServer, tenant: TenantInfo) -> None:
    admin = server.admin()
    admin.remove_tenant(tenant.tenant)
    again = admin.create_tenant(tenant.tenant)
    assert server.client(again)._ask("tenant.status", None)["kernel_gets"] == 0


def test_the_client_pads_until_the_kernel_answers_large_values_too(server: RunningServer, tenant: TenantInfo) -> None:
    client = server.client(tenant)
    value = bytes(KERNEL_GROWTH_BYTES * 5)
    assert client.get(b"large") == value  # unpadded: how large it is was not known
    assert client.kernel_replies == 0
    assert [client.get(b"large") for _ in range(GETS)] == [value] * GETS
    assert client.kernel_replies == GETS
    assert client.get(b"small") == b"value"  # padded for nothing
    assert client.kernel_replies == GETS + 1


def test_stats_and_top_show_it(server: RunningServer, tenant: TenantInfo) -> None:
    instance = ["--instance", server.info.instance]
    stats = CliRunner().invoke(app, ["stats", "--sums", *instance], env={"COLUMNS": "200"})
    assert stats.exit_code == 0, stats.output
    assert "kernel.0.gets" in stats.output and "gets_answered_by" in stats.output
    top = CliRunner().invoke(app, ["top", "--count", "1", "--interval", "0.1", *instance], env={"COLUMNS": "200"})
    assert top.exit_code == 0, top.output
    assert "kernel gets/s" in top.output and "kernel busy" in top.output
