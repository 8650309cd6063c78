"""Extensions on a real server: installed, run, replaced, limited, counted."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.client import Client
from splinter.client.admin import Admin
from splinter.errors import (
    BusyError,
    CompileError,
    ExtensionRuntimeError,
    NoSuchExtensionError,
    ReplyTooLargeError,
    VersionChangedError,
)
from splinter.wire import OBJECT_ABSENT
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
LONG_MS = 600_000  # that a task may last: however slow the machine is
IMPORTS = "from splinter.ext import Error, Store, extension, u64\n\n"
ENDLESS = IMPORTS + "@extension\ndef endless(db: Store) -> u64:\n    n = 0\n    while True:\n        n = n & 7\n    return n\n"
COUNT = """
@extension
def count(db: Store, key: u64) -> u64:
    while True:
        version = db.version(table=1, key=key)
        seen = db.get(table=1, key=key)
        total = 1
        if seen is not None:
            total = seen.u64(0) + 1
        if db.put_if(table=1, key=key, value=total, version=version):
            return total
"""


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x8{request.param}", request.param) as running:
        yield running


@pytest.fixture
def admin(server: RunningServer) -> Admin:
    return server.admin()


@pytest.fixture
def client(server: RunningServer, admin: Admin) -> Client:
    return server.client(admin.create_tenant(), timeout=10.0)


def test_chain_of_lookups(client: Client) -> None:
    for number in range(1, 51):
        client.put(number, (number - 1).to_bytes(8, "little"), table=1)
    client.install(
        IMPORTS
        + """
@extension
def hypernyms(db: Store, synset: u64) -> u64:
    steps = 0
    while True:
        node = db.get(table=1, key=synset)
        if node is None:
            return steps
        synset = node.u64(0)
        steps += 1
        yield
"""
    )
    assert client.invoke("hypernyms", synset=50) == 50
    assert client.invoke("hypernyms", 7) == 7
    assert client.invoke("hypernyms", 1000) == 0


def test_bytes_in_and_out(client: Client) -> None:
    client.install(
        IMPORTS
        + """
@extension
def middle(db: Store, key: bytes, start: u64, end: u64) -> bytes:
    value = db.get(table=0, key=key)
    if value is None:
        return b"none"
    return value[start:end]
"""
    )
    client.put(b"text", b"abcdefghij")
    assert client.invoke("middle", b"text", 2, 5) == b"cde"
    assert client.invoke("middle", b"other", 2, 5) == b"none"
    client.put(b"large", os.urandom(5000))
    with pytest.raises(ReplyTooLargeError):
        client.invoke("middle", b"large", 0, 3000)


def test_errors_name_extension_and_line(client: Client) -> None:
    client.install(IMPORTS + "@extension\ndef far(db: Store, key: bytes) -> u64:\n    return key.u64(3)\n")
    with pytest.raises(ExtensionRuntimeError, match="far, line 5: index out of range"):
        client.invoke("far", b"12345678")
    assert client.invoke("far", b"12345678901") > 0
    client.install(IMPORTS + "@extension\ndef own(db: Store) -> u64:\n    raise Error(4711)\n")
    with pytest.raises(ExtensionRuntimeError, match="own, line 5") as raised:
        client.invoke("own")
    assert raised.value.code == 4711


def test_compare_and_put_counts_exactly_under_concurrency(server: RunningServer, admin: Admin) -> None:
    tenant = admin.create_tenant()
    server.client(tenant).install(IMPORTS + COUNT)
    calls, threads_count = 100, 4
    failures: list[BaseException] = []

    def call() -> None:
        own = server.client(tenant, timeout=10.0)
        try:
            for _ in range(calls):
                own.invoke("count", key=1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    # A repeated invoke runs twice (the client could not know), so the count is at least that of the calls.
    assert int.from_bytes(server.client(tenant).get(1, table=1), "little") >= calls * threads_count


def test_put_only_if_absent(client: Client) -> None:
    client.put(b"once", b"first", if_version=OBJECT_ABSENT)
    with pytest.raises(VersionChangedError):
        client.put(b"once", b"second", if_version=OBJECT_ABSENT)
    assert client.get(b"once") == b"first"
    large = os.urandom(30_000)
    client.put(b"large", large, if_version=OBJECT_ABSENT)
    assert client.get(b"large") == large


def test_endless_loop_ends_by_its_tenants_limit_and_harms_nobody(server: RunningServer, admin: Admin) -> None:
    greedy = server.client(admin.create_tenant(task_milliseconds_max=100, task_wall_milliseconds_max=LONG_MS), timeout=20.0)
    patient = server.client(admin.create_tenant(task_yields_max=50, task_wall_milliseconds_max=LONG_MS), timeout=20.0)
    other = server.client(admin.create_tenant(), timeout=20.0)
    other.put(b"k", b"v")
    for client in (greedy, patient):
        client.install(ENDLESS)
    stop = threading.Event()
    served = 0

    def load() -> None:
        nonlocal served
        while not stop.is_set():
            assert other.get(b"k") == b"v"
            served += 1

    thread = threading.Thread(target=load)
    thread.start()
    for client in (greedy, patient):
        with pytest.raises(ExtensionRuntimeError, match=r"endless, line \d+: the task used up its total budget"):
            client.invoke("endless")
    stop.set()
    thread.join()
    assert served > 0
    (info,) = patient.extensions()
    assert (info.invocations, info.errors, info.yields) == (1, 1, 50)
    (info,) = greedy.extensions()
    assert info.errors == 1
    assert info.cpu_us >= 100_000


def test_many_endless_tasks_fill_up_and_are_refused_busy(server: RunningServer, admin: Admin) -> None:
    tenant = admin.create_tenant(task_milliseconds_max=50, task_wall_milliseconds_max=LONG_MS)
    server.client(tenant).install(ENDLESS)
    ends: list[type[BaseException]] = []

    def call() -> None:
        try:
            server.client(tenant, timeout=30.0).invoke("endless")
        except BaseException as error:
            ends.append(type(error))

    threads = [threading.Thread(target=call) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 30
    assert set(ends) <= {ExtensionRuntimeError, BusyError}
    # Clients ask again while they wait, so some tasks outlive the last reply that anybody waited for.
    wait_for(lambda: all(worker["tasks_live"] == 0 for worker in admin.stats()["workers"]), 30, "the end of all tasks")


def test_replacing_is_atomic_and_tasks_under_way_end_in_their_version(server: RunningServer, admin: Admin) -> None:
    tenant = admin.create_tenant()
    client = server.client(tenant, timeout=20.0)

    def version(number: int) -> str:
        # Each version is self-consistent: a mixture of two would return something else.
        return IMPORTS + (
            f"@extension\ndef tell(db: Store) -> u64:\n    n = 0\n    for i in range(200):\n        n = n + {number}\n"
            f"        yield\n    return n - {number} * 200 + {number}\n"
        )

    client.install(version(1))
    stop = threading.Event()
    failures: list[BaseException] = []
    seen: set[int] = set()

    def load() -> None:
        own = server.client(tenant, timeout=20.0)
        last = 0
        try:
            while not stop.is_set():
                result = own.invoke("tell")
                assert result >= last, "an older version answered after a newer one"
                last = result
                seen.add(result)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    for number in range(1, 60):
        client.install(version(number))
        assert client.invoke("tell") == number
    stop.set()
    thread.join()
    assert not failures
    assert seen <= set(range(1, 60))
    client.uninstall("tell")
    with pytest.raises(NoSuchExtensionError):
        client.invoke("tell")


def test_one_task_cannot_fill_the_store_with_what_it_replaces(server: RunningServer, admin: Admin) -> None:
    greedy = server.client(admin.create_tenant(quota_bytes=1 << 20), timeout=20.0)
    other = server.client(admin.create_tenant(), timeout=20.0)
    greedy.install(
        IMPORTS
        + """
@extension(isolation="none")
def churn(db: Store, value: bytes, times: u64) -> u64:
    for i in range(times):
        db.put(table=0, key=1, value=value)
    return times
"""
    )
    value = bytes(1000)
    assert greedy.invoke("churn", value, 1000) == 1000
    with pytest.raises(ExtensionRuntimeError, match="quota"):
        greedy.invoke("churn", value, 1_000_000)
    other.put(b"large", bytes(60_000))
    assert other.get(b"large") == bytes(60_000)


def test_refused_source_changes_nothing(client: Client) -> None:
    client.install(IMPORTS + "@extension\ndef one(db: Store) -> u64:\n    return 1\n")
    evil = IMPORTS + "@extension\ndef one(db: Store) -> u64:\n    return eval('1')\n"
    for source in ("not python at all (", "import os\n", evil):
        with pytest.raises(CompileError) as refused:
            client.install(source)
        assert refused.value.diagnostics
        assert "line" in str(refused.value.diagnostics[0]) or ":" in str(refused.value)
    assert client.invoke("one") == 1


def test_no_process_has_memory_writable_and_executable(server: RunningServer, client: Client) -> None:
    client.install(IMPORTS + "@extension\ndef one(db: Store) -> u64:\n    return 1\n")
    assert client.invoke("one") == 1
    code_regions = 0
    for pid in (server.info.pid, *server.worker_pids(), *server.children("splinter-ctl")):
        modes = set()
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            mode = line.split()[1]
            if "splinter-code" in line:
                modes.add(mode[:3])
        assert not any("w" in mode for mode in modes) or not any("x" in mode for mode in modes), (pid, modes)
        code_regions += bool(modes)
    assert code_regions >= 3  # supervisor or workers execute, the control process writes
