"""A server with a data folder: killed or stopped, started again, and everything that was acknowledged is there."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.durable.catalog import Catalog
from splinter.errors import BusyError, RequestTimeoutError, VersionChangedError
from tests.support.folder_servers import FolderServers
from tests.support.servers import RunningServer
from tests.support.waiting import wait_for

OBJECTS = 200
EXTENSION = """
from splinter.ext import extension, Store, u64

@extension
def bump(db: Store, key: u64) -> u64:
    count = u64(1)
    found = db.get(1, key)
    if found is not None:
        count = found.u64(0) + 1
    db.put(1, key, count)
    return count
"""


@pytest.fixture
def servers(unique_name: str, tmp_path: Path) -> Iterator[FolderServers]:
    made = FolderServers(unique_name, tmp_path / "data")
    yield made
    made.stop()


def fill(server: RunningServer, durability: str) -> TenantInfo:
    """A tenant with objects in several tables, one deleted, one large, an extension that ran, all acknowledged."""
    tenant = server.admin().create_tenant(quota_bytes=16 << 20, packets_per_second=0, durability=durability)
    client = server.client(tenant)
    for number in range(OBJECTS):
        client.put(b"key %d" % number, b"value %d" % number, table=number % 3)
    client.delete(b"key 7", table=1)
    client.put(b"large", bytes(range(256)) * 200)
    client.install(EXTENSION)
    assert [client.invoke("bump", 5) for _ in range(3)] == [1, 2, 3]
    return tenant


def check(server: RunningServer, tenant: TenantInfo, bumps: int) -> None:
    """All of it is there, under the same token and limits, and can be changed."""
    client = server.client(tenant)
    for number in range(OBJECTS):
        expected = None if number == 7 else b"value %d" % number
        assert client.get(b"key %d" % number, table=number % 3) == expected
    assert client.get(b"large") == bytes(range(256)) * 200
    assert client.invoke("bump", 5) == bumps
    (described,) = server.admin().list_tenants(tokens=True)
    assert (described.token, described.quota_bytes, described.durability) == (tenant.token, 16 << 20, tenant.durability)


@pytest.mark.parametrize("is_chosen", [True, False])
def test_the_log_process_runs_on_the_cpus_that_it_was_given(servers: FolderServers, is_chosen: bool):
    cpus = os.sched_getaffinity(0)
    last = max(cpus)
    server = servers.start(*(("--log-cores", str(last)) if is_chosen else ()))
    (logger,) = server.children("splinter-disk")
    assert os.sched_getaffinity(logger) == ({last} if is_chosen else cpus)


def test_many_changes_wake_the_log_process_that_rests(servers: FolderServers):
    server = servers.start()
    client = server.client(server.admin().create_tenant(durability="interval"), timeout=20.0)
    (logger,) = server.children("splinter-disk")

    def signals() -> list[list[str]]:
        """What was written to each of its eventfds and not read."""
        return [
            re.findall("eventfd-count: +([0-9a-f]+)", file.read_text()) for file in Path(f"/proc/{logger}/fdinfo").iterdir()
        ]

    def has_been_woken() -> bool:
        """Whether it is, by what some puts change while it is stopped: at rest, unless it was just at work."""
        os.kill(logger, signal.SIGSTOP)
        try:
            before = signals()
            with contextlib.suppress(RequestTimeoutError):  # it is stopped for so long that writes wait
                client.put(b"key", bytes(limits.LOG_WAKE_BYTES + (1 << 20)), timeout=0.5)
            return signals() != before
        finally:
            os.kill(logger, signal.SIGCONT)

    wait_for(has_been_woken, what="the wake-up")


def test_writes_wait_while_the_disk_stands_still(servers: FolderServers):
    """No error tells of it: what is acknowledged meanwhile would be lost by a crash, for as long as it lasts."""
    server = servers.start()
    admin = server.admin()
    kept, free = (server.client(admin.create_tenant(durability=mode), timeout=2.0) for mode in ("interval", "none"))
    kept.put(b"k", b"before")
    (logger,) = server.children("splinter-disk")
    os.kill(logger, signal.SIGSTOP)

    def is_refused() -> bool:
        try:
            kept.put(b"k", b"meanwhile")
        except BusyError:
            return True
        return False

    try:
        wait_for(is_refused, what="writes to wait")
        assert kept.get(b"k") is not None
        free.put(b"k", b"")
        with pytest.raises(BusyError):
            kept.delete(b"k")
    finally:
        os.kill(logger, signal.SIGCONT)
    wait_for(lambda: not is_refused(), what="writes to go on")
    assert "the disk stands still" in server.started.said()


@pytest.mark.parametrize("durability", ["always", "interval"])
def test_a_stop_and_a_start_lose_nothing(servers: FolderServers, durability: str):
    tenant = fill(servers.start(), durability)
    for bumps in (4, 5):
        servers.stop()
        check(servers.start(), tenant, bumps)


def test_a_stop_loses_nothing_though_the_log_process_has_just_died(servers: FolderServers):
    server = servers.start()
    supervisor, (logger,) = server.info.pid, server.children("splinter-disk")
    os.kill(supervisor, signal.SIGSTOP)  # first: it would have writes wait for the other
    os.kill(logger, signal.SIGSTOP)
    tenant = fill(server, "interval")
    os.kill(logger, signal.SIGKILL)
    os.kill(supervisor, signal.SIGTERM)
    os.kill(supervisor, signal.SIGCONT)
    servers.stop()
    check(servers.start(), tenant, 4)


def test_a_stop_loses_nothing_of_a_tenant_whose_durability_has_just_begun(servers: FolderServers):
    server = servers.start()
    (logger,) = server.children("splinter-disk")
    tenant = fill(server, "none")
    os.kill(logger, signal.SIGSTOP)
    server.admin().limit_tenant(tenant.tenant, durability="interval")
    os.kill(server.info.pid, signal.SIGTERM)
    os.kill(logger, signal.SIGCONT)
    servers.stop()
    check(servers.start(), replace(tenant, durability="interval"), 4)


def test_a_crash_loses_nothing_that_was_to_last(servers: FolderServers):
    tenant = fill(servers.start(), "always")
    for bumps in range(4, 8):
        servers.crash()
        check(servers.start(), tenant, bumps)


def test_stats_tell_how_far_the_disk_is(servers: FolderServers):
    server = servers.start("--durability", "always")
    tenant = fill(server, "interval")
    wait_for(lambda: server.admin().stats()["durability"]["entries_behind"] == 0, what="the disk")
    told = server.admin().stats()["durability"]
    assert told["mode"] == "always" and told["log_bytes"] > 0 and told["refused_seconds"] is None
    assert told["tenants"] == [{"tenant": tenant.tenant, "mode": "interval", "entries_behind": 0}]
    assert 0 <= told["sync_age_ms"] < 60_000 and told["bytes_behind"] == 0


def test_a_tenant_without_durability_comes_back_empty(servers: FolderServers):
    server = servers.start()
    tenant = fill(server, "none")
    servers.crash()
    server = servers.start()
    client = server.client(tenant)
    assert client.get(b"key 1", table=1) is None
    assert client.invoke("bump", 5) == 1


@pytest.mark.parametrize("ends", ["stop", "crash"])
def test_what_was_deleted_or_lost_while_nothing_was_kept_does_not_come_back(servers: FolderServers, ends: str):
    """The log still has it, of the same tenant, and goes on."""
    server = servers.start()
    admin = server.admin()
    deleting, restarted = (admin.create_tenant(durability="interval") for _ in range(2))
    for tenant in (deleting, restarted):
        client = server.client(tenant)
        client.put(b"old", b"value")
        client.close()  # its record is an object
        admin.limit_tenant(tenant.tenant, durability="none")
    client = server.client(deleting)
    client.delete(b"old")
    client.close()
    wait_for(lambda: admin.get_tenant(deleting.tenant).clients == 0)

    def begin_anew(server: RunningServer, tenant: TenantInfo) -> None:
        server.admin().limit_tenant(tenant.tenant, durability="always")
        client = server.client(tenant)
        assert list(client.scan()) == []
        client.put(b"new", b"value")
        client.close()

    begin_anew(server, deleting)
    servers.stop()
    begin_anew(servers.start(), restarted)
    for _ in range(2):
        servers.crash() if ends == "crash" else servers.stop()
        server = servers.start()
        for tenant in (deleting, restarted):
            client = server.client(tenant)
            assert list(client.scan()) == [b"new"]
            client.put(b"new", b"value")
            client.close()


@pytest.mark.parametrize("durability", ["none", "interval"])
def test_no_version_comes_twice_though_its_put_was_lost(servers: FolderServers, durability: str):
    server = servers.start()
    tenant = server.admin().create_tenant(durability=durability)
    client = server.client(tenant)
    client.put(b"key", b"first")
    (disk,) = server.children("splinter-disk")
    os.kill(disk, signal.SIGSTOP)
    told = client.put(b"key", b"lost")
    servers.crash()
    client = servers.start().client(tenant)
    assert client.put(b"key", b"of another") > told
    with pytest.raises(VersionChangedError):
        client.put(b"key", b"mine", if_version=told)
    assert client.get(b"key") == b"of another"


def test_what_is_removed_stays_removed(servers: FolderServers):
    server = servers.start()
    tenant, other = fill(server, "always"), server.admin().create_tenant(durability="always")
    server.client(other).put(b"key", b"other")
    server.client(tenant).uninstall("bump")
    server.admin().remove_tenant(other.tenant)
    again = server.admin().create_tenant(other.tenant, durability="always", token=0x1234)
    servers.crash()
    server = servers.start()
    assert {info.tenant for info in server.admin().list_tenants()} == {tenant.tenant, other.tenant}
    assert again.token == 0x1234
    assert server.client(again).get(b"key") is None
    assert server.client(tenant).extensions() == []


def test_limits_tokens_and_durability_are_kept_as_they_were_changed(servers: FolderServers):
    server = servers.start("--durability", "none")
    tenant = server.admin().create_tenant()
    client = server.client(tenant)
    client.put(b"before", b"it was to last")
    assert tenant.durability == "none"
    server.admin().limit_tenant(tenant.tenant, packets_per_second=777_777, durability="always")
    client.put(b"after", b"it was to last")  # a snapshot has to bring what was there before
    rotated = server.admin().rotate_token(tenant.tenant)
    servers.crash()
    server = servers.start()
    (described,) = server.admin().list_tenants(tokens=True)
    assert (described.packets_per_second, described.durability) == (777_777, "always")
    assert (described.token, described.former_token) == (rotated.token, tenant.token)
    client = server.client(rotated)
    assert client.get(b"before") == client.get(b"after") == b"it was to last"


def test_a_request_that_is_repeated_after_a_restart_is_not_executed_again(servers: FolderServers):
    """An incrementing client asks on while its server is killed, again and again: each of its requests has its effect once."""
    server = servers.start()
    tenant = server.admin().create_tenant(durability="always")
    port = server.info.port
    server.client(tenant).install(EXTENSION)
    client = server.client(tenant, timeout=60.0)
    server._open.remove(client)  # it lives on
    answers: list[int] = []
    failures: list[BaseException] = []
    enough = threading.Event()

    def ask() -> None:
        try:
            while not enough.is_set():
                answers.append(client.invoke("bump", 9))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(4):
            seen = len(answers)
            wait_for(lambda seen=seen: len(answers) > seen + 20 or failures, 60, "some answers")
            servers.crash()
            servers.start("--port", str(port))
        seen = len(answers)
        wait_for(lambda: len(answers) > seen + 20 or failures, 60, "some answers")
    finally:
        enough.set()
        thread.join()
        client.close()
    assert not failures
    assert answers == [*range(1, len(answers) + 1)]


def test_a_long_log_becomes_a_snapshot(servers: FolderServers):
    server = servers.start()
    tenant = fill(server, "interval")
    client, value = server.client(tenant), bytes(60_000)
    for number in range(6000):  # 360 MB
        client.put(b"again", value + number.to_bytes(4, "little"))
    snapshots = servers.data / "snapshots"
    wait_for(lambda: list(snapshots.glob("*.snap")), 60, "a snapshot")
    wait_for(lambda: sum(path.stat().st_size for path in (servers.data / "log").iterdir()) < 500 << 20, 30, "a shorter log")
    servers.crash()
    server = servers.start()
    assert " 0 from the snapshot" not in server.started.said()
    check(server, tenant, 4)


# --- when things break -----------------------------------------------------------------------------------------------------


def test_a_second_server_is_refused(servers: FolderServers):
    servers.start()
    assert "in use by another server" in servers.refused()


def test_a_flipped_bit_is_told_with_its_place_and_can_be_left_out(servers: FolderServers):
    tenant = fill(servers.start(), "always")
    servers.stop()
    (segment, *_) = sorted((servers.data / "log").glob("*.log"))
    damaged = bytearray(segment.read_bytes())
    at = damaged.index(b"value 11")
    damaged[at] ^= 1
    segment.write_bytes(damaged)
    said = servers.refused()
    assert f"{segment.name} is damaged at byte" in said
    server = servers.start("--salvage")
    assert "left out" in server.started.said()
    client = server.client(tenant)
    for number in set(range(OBJECTS)) - {7, 11}:  # what was put before it, and what after it
        assert client.get(b"key %d" % number, table=number % 3) == b"value %d" % number
    assert client.get(b"large") == bytes(range(256)) * 200
    assert client.invoke("bump", 5) == 4
    assert client.get(b"key 11", table=2) is None  # nothing damaged is served
    client.put(b"key 11", b"value 11", table=2)
    servers.crash()
    server = servers.start()  # what was left out does not come back, nor does the damage
    assert server.client(tenant).get(b"key 11", table=2) == b"value 11"


def test_a_torn_end_is_cut_off_and_told(servers: FolderServers):
    tenant = fill(servers.start(), "always")
    servers.crash()
    segment = max((servers.data / "log").glob("*.log"))
    data = bytearray(segment.read_bytes())
    last = max(at for at in range(0, len(data), 512) if data[at : at + 4] == b"SGRP")
    size = 64 + int.from_bytes(data[last + 16 : last + 24], "little")
    following = (last + size + 511) // 512 * 512
    # The next group's header and nothing of its payload: as if the machine had lost power.
    header = bytearray(data[last : last + 64])
    number = int.from_bytes(header[8:16], "little")
    header[8:16] = (number + 1).to_bytes(8, "little")
    import crc32c

    header[60:64] = crc32c.crc32c(bytes(header[:60])).to_bytes(4, "little")
    data[following : following + 64] = header
    segment.write_bytes(data)
    server = servers.start()
    assert f"cut off, as it was never acknowledged: group {number + 1}" in server.started.said()
    check(server, tenant, 4)
    servers.crash()
    check(servers.start(), tenant, 5)


def test_a_damaged_catalog_is_told(servers: FolderServers):
    fill(servers.start(), "always")
    servers.stop()
    catalog = servers.data / "splinter.db"
    catalog.write_bytes(catalog.read_bytes().replace(b'"quota_bytes": 1', b'"quota_bytes": 2'))
    assert "splinter.db is damaged: tenant" in servers.refused()


def test_a_newer_folder_is_refused(servers: FolderServers):
    servers.start()
    servers.stop()
    catalog = Catalog(servers.data / "splinter.db")
    catalog._base.execute("PRAGMA user_version = 99")
    catalog.close()
    assert "newer Splinter" in servers.refused()


def test_the_log_process_is_replaced(servers: FolderServers):
    server = servers.start()
    tenant = server.admin().create_tenant(durability="always")
    client = server.client(tenant)
    for number in range(30):
        (logger,) = server.children("splinter-disk")
        if number % 10 == 5:
            os.kill(logger, signal.SIGKILL)
            wait_for(lambda logger=logger: server.children("splinter-disk") not in ([], [logger]), 30, "another one")
        client.put(b"key %d" % number, b"value")
    servers.crash()
    client = servers.start().client(tenant)
    assert all(client.get(b"key %d" % number) == b"value" for number in range(30))
