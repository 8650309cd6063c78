"""A worker that is stuck, stopped or dead is replaced; the others' tasks on it go on, and the one to blame is told."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from splinter import limits
from splinter.client.admin import Admin, TenantInfo
from splinter.errors import QuarantinedError, Status, TaskKilledError
from splinter.wire import Opcode
from tests.support.counting import INCREMENT
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
IMPORTS = "from splinter.ext import Store, extension, u64\n\n"
LOOP = "    n = 0\n    while True:\n        n = n & 7\n    return n\n"
ENDLESS = IMPORTS + "@extension\ndef endless(db: Store) -> u64:\n" + LOOP
WRITES_FIRST = IMPORTS + "@extension\ndef writes(db: Store) -> u64:\n    db.put(table=1, key=1, value=1)\n" + LOOP
# Waits, giving way at each look, until the gate is open.
GATE = IMPORTS + (
    "@extension(isolation='none')\ndef gate(db: Store, number: u64) -> u64:\n    while True:\n"
    "        seen = db.get(table=1, key=number)\n        if seen is not None:\n"
    "            return seen.u64(0) + number\n        yield\n"
)
WAITING = 6
LONG_MS = 600_000  # that a task may wait, and use while it looks: however slow the machine is


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    options = ("--no-preempt", "--cores", "0", "--watchdog-ms", "20")
    with running_server(f"t{os.getpid()}wd{request.param}", request.param, *options) as running:
        yield running


def watchdog(admin: Admin) -> dict[str, Any]:
    return dict(admin.stats()["watchdog"])


class Gates:
    """Tasks of another tenant that wait at a yield point of the only worker."""

    def __init__(self, server: RunningServer, admin: Admin) -> None:
        self.tenant = admin.create_tenant(
            task_yields_max=1 << 31, task_milliseconds_max=LONG_MS, task_wall_milliseconds_max=LONG_MS
        )
        self.client = server.client(self.tenant, timeout=10.0)
        self.client.install(GATE)
        self.sockets = [RawSocket(server.info) for _ in range(WAITING)]
        for number, one in enumerate(self.sockets):
            body = b"gate" + number.to_bytes(8, "little")
            one.start(self.tenant.tenant, self.tenant.token, Opcode.INVOKE, body, key_length=4, value_length=8)
        wait_for(lambda: admin.stats()["workers"][0]["tasks_live"] >= WAITING, what="all tasks waiting")

    def open(self) -> list[int]:
        """Let them pass; returns their results."""
        for number in range(WAITING):
            self.client.put(number, (100).to_bytes(8, "little"), table=1)
        results = []
        for one in self.sockets:
            reply = one.reply()
            assert reply is not None and reply[0].status == Status.OK, reply
            results.append(int.from_bytes(reply[1], "little"))
            one.close()
        return results


def test_the_blamed_task_is_killed_and_the_others_tasks_go_on(server: RunningServer) -> None:
    admin = server.admin()
    gates = Gates(server, admin)
    before, worker = watchdog(admin), server.workers()[0]
    bad = server.client(admin.create_tenant(), timeout=10.0)
    bad.install(ENDLESS)
    with pytest.raises(TaskKilledError):
        bad.invoke("endless")
    assert server.workers()[0] != worker
    assert gates.open() == [100 + number for number in range(WAITING)]
    after = watchdog(admin)
    assert after["stuck"] > before["stuck"]  # on a busy machine the client may have asked again before it was told
    assert after["tasks_killed"] > before["tasks_killed"]
    assert after["tasks_continued"] >= before["tasks_continued"] + WAITING
    wait_for(lambda: watchdog(admin)["replaced"] > before["replaced"], what="the successor's first heartbeat")
    (extension,) = bad.extensions()
    assert extension.kills == after["tasks_killed"] - before["tasks_killed"]
    assert [extension.kills for extension in gates.client.extensions()] == [0]


def test_who_is_to_blame_is_told_in_a_pipeline_and_what_is_behind_it_is_executed(server: RunningServer) -> None:
    admin = server.admin()
    bad = server.client(admin.create_tenant(), timeout=20.0)
    bad.install(ENDLESS)
    bad.install(INCREMENT)
    p = bad.pipeline()
    p.invoke("increment", 7)
    p.put("k", b"1")
    p.invoke("endless")
    p.invoke("increment", 7)
    p.get("k")
    found = p.execute(raise_errors=False)
    assert [found[0], *found[3:]] == [1, 2, b"1"] and type(found[2]) in (TaskKilledError, QuarantinedError)
    assert [extension.kills > 0 for extension in bad.extensions()] == [True, False]


def test_an_extension_that_offends_again_and_again_is_quarantined_until_it_is_released(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant()
    bad = server.client(tenant, timeout=10.0)
    bad.install(ENDLESS)

    def offend_until_quarantined() -> None:
        with pytest.raises(TaskKilledError):
            bad.invoke("endless")
        with pytest.raises(QuarantinedError):
            for _ in range(limits.QUARANTINE_AFTER):
                with contextlib.suppress(TaskKilledError):
                    bad.invoke("endless")
        assert [(extension.quarantined, extension.kills) for extension in bad.extensions()] == [(True, limits.QUARANTINE_AFTER)]

    offend_until_quarantined()
    command = [sys.executable, "-m", "splinter", "release", "endless", "--tenant", str(tenant.tenant)]
    subprocess.run([*command, "--instance", server.info.instance], check=True, timeout=60)
    assert [extension.quarantined for extension in bad.extensions()] == [False]
    offend_until_quarantined()
    bad.install(GATE.replace("gate", "endless"))  # a better one, under the same name
    bad.put(7, (1).to_bytes(8, "little"), table=1)
    assert bad.invoke("endless", 7) == 8


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGSEGV, signal.SIGKILL], ids=lambda number: number.name)
def test_tasks_outlive_a_worker_that_is_stopped_or_crashes(server: RunningServer, number: signal.Signals) -> None:
    admin = server.admin()
    gates = Gates(server, admin)
    before, worker = watchdog(admin), server.workers()[0]
    os.kill(worker, number)
    wait_for(lambda: server.workers().get(0, worker) != worker, what="the successor")
    assert gates.open() == [100 + number for number in range(WAITING)]
    after = watchdog(admin)
    reason = "stopped" if number == signal.SIGSTOP else "died"
    assert after[reason] == before[reason] + 1
    went_on = sum(after[name] - before[name] for name in ("tasks_continued", "tasks_restarted"))  # one may have been running
    assert went_on == WAITING


def test_a_worker_that_is_stopped_in_its_sleep_is_replaced(server: RunningServer) -> None:
    admin = server.admin()
    worker = server.workers()[0]
    wait_for(lambda: admin.stats()["workers"][0]["state"] == "sleeping", what="sleep")
    os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: server.workers().get(0, worker) != worker, what="the successor")
    assert server.client(admin.create_tenant()).ping() > 0


def start(server: RunningServer, tenant: TenantInfo, name: bytes) -> RawSocket:
    """Invoke an extension."""
    one = RawSocket(server.info)
    one.start(tenant.tenant, tenant.token, Opcode.INVOKE, name, key_length=len(name))
    return one


def worker_in(server: RunningServer, admin: Admin, tenant: TenantInfo) -> int:
    """Wait until a worker is in a task of the tenant; returns its process id."""
    wait_for(lambda: admin.stats()["workers"][0]["running_tenant"] == tenant.tenant, what="the task's start")
    return wait_for(lambda: server.workers().get(0), what="the worker")


def end_worker_in(server: RunningServer, admin: Admin, tenant: TenantInfo, number: signal.Signals) -> None:
    """Have the worker that is in a task of the tenant die by a signal, and wait until its successor serves."""
    before = watchdog(admin)["replaced"]
    os.kill(worker_in(server, admin, tenant), number)
    wait_for(lambda: watchdog(admin)["replaced"] > before, what="the successor")


@pytest.fixture(scope="module", params=TRANSPORTS)
def patient_server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """Its watchdog waits for so long that a test can kill a worker while it is in an extension."""
    options = ("--no-preempt", "--cores", "0", "--watchdog-ms", "60000")
    with running_server(f"t{os.getpid()}wp{request.param}", request.param, *options) as server:
        yield server


def test_a_task_that_was_running_begins_anew(patient_server: RunningServer) -> None:
    admin = patient_server.admin()
    tenant = admin.create_tenant()
    client = patient_server.client(tenant, timeout=10.0)
    client.install(ENDLESS)
    before = watchdog(admin)["tasks_restarted"]
    one = start(patient_server, tenant, b"endless")
    for _ in range(3):  # whoever kills a worker, the task is not to blame
        end_worker_in(patient_server, admin, tenant, signal.SIGKILL)
    assert watchdog(admin)["tasks_restarted"] == before + 3
    end_worker_in(patient_server, admin, tenant, signal.SIGSEGV)  # it is for a second crash
    reply = one.reply()
    assert reply is not None and reply[0].status == Status.KILLED
    assert [extension.kills for extension in client.extensions()] == [1]


def test_nothing_is_seen_of_a_task_that_is_killed(patient_server: RunningServer) -> None:
    admin = patient_server.admin()
    tenant = admin.create_tenant()
    client = patient_server.client(tenant, timeout=10.0)
    client.install(WRITES_FIRST)
    one = start(patient_server, tenant, b"writes")
    for _ in range(2):
        end_worker_in(patient_server, admin, tenant, signal.SIGSEGV)
    reply = one.reply()
    assert reply is not None and reply[0].status == Status.KILLED
    assert client.get(1, table=1) is None
    assert [extension.kills for extension in client.extensions()] == [1]


def test_a_worker_that_does_not_get_its_core_is_left_alone(server: RunningServer) -> None:
    """With nothing else to go by than the CPU time: the worker is runnable, and something of higher priority is not idle."""
    admin = server.admin()
    gates = Gates(server, admin)
    worker, before = server.workers()[0], watchdog(admin)
    hog = "import os, time\nos.sched_setaffinity(0, {0})\nos.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))\n"
    hog += "end = time.monotonic() + 0.3\nwhile time.monotonic() < end: pass\n"
    subprocess.run([sys.executable, "-c", hog], check=True, timeout=60)
    assert gates.open() == [100 + number for number in range(WAITING)]
    wait_for(lambda: watchdog(admin)["starved"] > before["starved"], what="the starvation's count")
    after = watchdog(admin)
    assert server.workers()[0] == worker
    assert after["stuck"] == before["stuck"]
