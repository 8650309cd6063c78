"""An invoke is a transaction: strictly serializable, all or nothing, executed once, on whichever core, whoever kills workers.

``scripts/transactions`` has the same for longer.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from splinter import limits
from splinter.client import Client
from splinter.client.admin import TenantInfo
from tests.support import bank, job_queue
from tests.support.histories import EXTENSIONS, Killer, Mover, run_history, violation
from tests.support.kill_storm import MEMORY, storm
from tests.support.proxy import Faults, Proxy
from tests.support.servers import RunningServer, running_server

ROOT = Path(__file__).resolve().parents[3]
TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
TIMEOUT_SECONDS = 20.0
KILL_EVERY_SECONDS, MOVE_EVERY_SECONDS = 0.15, 0.2
HISTORIES, HISTORIES_MAX = 40, 2000  # with each kind of network; of a machine that is too fast to be struck
CLIENTS, OPERATIONS = 4, 6
KILLS, STORM_SECONDS_MAX = 40, 120.0
JOBS = 4000
VISITORS, VISITS = 2, 10_000
OBJECTS, STATES = 128, 100

READ_ALL = f"""
from splinter.ext import Store, buffer, extension, u64

@extension
def write_half(db: Store, first: u64, tag: u64) -> None:
    for key in range(first, first + {OBJECTS // 2}):
        db.put(1, key, tag)

@extension
def read_all(db: Store, yields: u64) -> bytes:
    tags = buffer({8 * OBJECTS})
    for key in range({OBJECTS}):
        if key % 8 == 7:
            for _ in range(yields):
                yield
        tags.append_u64(db.get(1, key).u64(0))
    return tags
"""


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    options = ("--cores", "0,1", "--memory", MEMORY)
    with running_server(
        f"t{os.getpid()}x8{request.param}", request.param, *options, module="tests.support.audited_serve"
    ) as running:
        yield running


@pytest.fixture
def tenant(server: RunningServer) -> TenantInfo:
    return server.admin().create_tenant()


def test_histories_are_strictly_serializable(server: RunningServer, tenant: TenantInfo) -> None:
    server.client(tenant).install_all(EXTENSIONS)
    ends: Counter[str] = Counter()
    number = 0
    with (
        Proxy(server, Faults(), seed=4) as proxy,
        Killer(server, 4, KILL_EVERY_SECONDS) as killer,
        Mover(server, [tenant], 4, MOVE_EVERY_SECONDS) as mover,
    ):
        clients = [proxy.client(tenant, timeout=TIMEOUT_SECONDS) for _ in range(CLIENTS)]
        for number in itertools.count():
            if number >= 2 * HISTORIES and ((killer.kills and mover.moves) or number >= HISTORIES_MAX):
                break
            proxy.faults = Faults(delay_max=0.01) if number % 2 else Faults(0, 0, 0)
            history, ended = run_history(clients, number, OPERATIONS, number)
            ends += ended
            assert violation(history) is None
        by_kernel = sum(client.kernel_replies for client in clients)
        for client in clients:
            client.close()
        assert killer.kills and mover.moves
        assert (by_kernel > 0) == (server.info.transport == "xdp"), by_kernel  # gets of these histories are answered there, too
    assert ends["answered"] > number * CLIENTS * OPERATIONS * 0.9, ends


def test_a_bank_loses_no_money_and_does_each_transfer_once(server: RunningServer) -> None:
    verdict = storm(server, KILLS, seed=5, seconds_max=STORM_SECONDS_MAX, crew=bank.BANK, until="tasks_running")
    assert not verdict.findings, verdict
    assert isinstance(verdict.tally, bank.BankTally) and verdict.tally.transfers and verdict.tally.sums
    assert verdict.server["tasks_running"], verdict  # it strikes where it hurts


def test_a_queue_delivers_each_job_once(server: RunningServer) -> None:
    verdict = storm(server, 0, seed=6, seconds_max=STORM_SECONDS_MAX, crew=job_queue.crew(JOBS))
    assert not verdict.findings, verdict
    assert verdict.kills


# --- processes of their own ---------------------------------------------------------------------------------------------


def client_arguments(server: RunningServer, tenant: TenantInfo) -> dict[str, Any]:
    return {
        "address": server.info.address, "port": server.info.port, "netns": server.info.client_netns,
        "tenant": tenant.tenant, "token": tenant.token, "timeout": TIMEOUT_SECONDS,
    }  # fmt: skip


def visit(where: dict[str, Any]) -> None:
    with Client(**where) as client:
        for _ in range(VISITS):
            client.invoke("visit", page=42)


def write_without_pause(where: dict[str, Any], stop: Event) -> None:
    with Client(**where) as client:
        tag = 1
        while not stop.is_set():
            tag += 1
            client.invoke("write_half", 0, tag)
            client.invoke("write_half", OBJECTS // 2, tag)


@contextlib.contextmanager
def running(*processes: multiprocessing.process.BaseProcess) -> Iterator[None]:
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.join(STORM_SECONDS_MAX)
            process.kill()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_the_readmes_visits_are_all_counted(server: RunningServer, tenant: TenantInfo) -> None:
    client = server.client(tenant)
    example = re.search(r"^@extension\ndef visit.*?(?=\n\n\n)", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert example
    client.install("from splinter.ext import Store, extension, u64\n" + example[0])
    where, spawn = client_arguments(server, tenant), multiprocessing.get_context("spawn")
    with running(*(spawn.Process(target=visit, args=(where,)) for _ in range(VISITORS))):
        pass
    assert client.invoke("visit", page=42) == VISITORS * VISITS + 1


@pytest.mark.parametrize("yields", [0, 3, 300])
def test_a_long_read_ends_and_sees_one_state_while_another_client_writes(
    server: RunningServer, tenant: TenantInfo, yields: int
) -> None:
    """More than one transaction can write: so each half has one tag, and the second is at most one behind."""
    assert OBJECTS // 2 <= limits.TRANSACTION_WRITES_MAX < OBJECTS
    client = server.client(tenant, timeout=TIMEOUT_SECONDS)
    client.install_all(READ_ALL)
    for first in (0, OBJECTS // 2):
        client.invoke("write_half", first, 1)
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    writer = spawn.Process(target=write_without_pause, args=(client_arguments(server, tenant), stop))
    seen: set[int] = set()
    with running(writer):
        try:
            while len(seen) < STATES:
                assert writer.is_alive()
                tags = struct.unpack(f"<{OBJECTS}Q", client.invoke("read_all", yields))
                one, other = set(tags[: OBJECTS // 2]), set(tags[OBJECTS // 2 :])
                assert len(one) == len(other) == 1, tags
                assert tags[0] - tags[-1] in (0, 1)
                seen.add(tags[0])
        finally:
            stop.set()
