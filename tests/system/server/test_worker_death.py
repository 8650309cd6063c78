"""A worker may be killed at any moment: what was acknowledged stays, the service is back, no chunk is lost.

How soon it is back is the goal ``restart``.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.kill_storm import MEMORY, storm
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
KILLS = 40
STORM_SECONDS_MAX = 120.0


@pytest.fixture(params=TRANSPORTS)
def server(request: pytest.FixtureRequest, unique_name: str) -> Iterator[RunningServer]:
    with running_server(unique_name, request.param, "--memory", MEMORY, module="tests.support.audited_serve") as running:
        yield running


def test_kill_in_a_loop_under_load(server: RunningServer) -> None:
    verdict = storm(server, KILLS, seed=1, seconds_max=STORM_SECONDS_MAX, until="tasks_running")
    assert not verdict.findings, verdict
    assert verdict.tally.acknowledged
    assert verdict.server["tasks_running"], verdict  # it strikes where it hurts
    assert len(verdict.outages) == verdict.kills  # a successor answered each time


def test_control_process_is_replaced_with_tenants_and_extensions(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant(quota_bytes=1 << 20)
    client = server.client(tenant)
    client.install("from splinter.ext import Store, extension, u64\n@extension\ndef one(db: Store) -> u64:\n    return 1\n")
    os.kill(server.children("splinter-ctl")[0], signal.SIGKILL)

    def is_back() -> bool:
        with contextlib.suppress(Exception):
            return bool(server.admin().list_tenants())
        return False

    wait_for(is_back, what="the control process")
    assert client.invoke("one") == 1
    again = server.client(tenant)
    assert [extension.name for extension in again.extensions()] == ["one"]
    again.install("from splinter.ext import Store, extension, u64\n@extension\ndef one(db: Store) -> u64:\n    return 2\n")
    assert again.invoke("one") == 2
