"""A data folder on a full disk: what cannot be is refused at once, reads are served, and it goes on when there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from splinter.errors import ControlError, DiskFailedError, NoSuchExtensionError, RequestTimeoutError
from tests.support.crash_storm import Disk as Folder
from tests.support.folder_servers import FolderServers
from tests.support.waiting import wait_for

EXTENSION = """
from splinter.ext import extension, Store, u64

@extension
def count(db: Store, key: u64) -> u64:
    found = db.get(1, key)
    return u64(0) if found is None else found.u64(0)
"""
TEARING_SEED = 1  # the head of the group comes to the disk, and nothing else
MORE_BYTES = 4 << 20  # than there is room for a snapshot


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which is soon full."""
    if os.geteuid() != 0:  # to mount is root's; CI, which has root, takes this skip for a failure
        pytest.skip("mounting needs root")
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", where], check=True)
    yield where
    subprocess.run(["umount", "-l", where], check=True)


@pytest.fixture
def servers(unique_name: str, small_disk: Path) -> Iterator[FolderServers]:
    made = FolderServers(unique_name, small_disk / "data")
    yield made
    made.stop()


@pytest.fixture
def ballast(small_disk: Path) -> Path:
    """A file beside the data folder, to fill the disk with."""
    return small_disk / "ballast"


def fill_up(file: Path, but_bytes: int = 0) -> None:
    """Leave no room on a file's disk, but for so much."""
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as opened:
        while True:
            opened.write(bytes(4096))
    os.truncate(file, file.stat().st_size - but_bytes)


def test_a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_room(servers: FolderServers, ballast: Path):
    server = servers.start()
    tenant = server.admin().create_tenant(durability="always")
    client, value = server.client(tenant, timeout=2.0), bytes(60_000)
    client.put(b"key", b"value")
    fill_up(ballast)
    with pytest.raises((DiskFailedError, RequestTimeoutError)):
        for number in range(4000):
            client.put(b"filling", value + number.to_bytes(4, "little"))
    wait_for(lambda: "writes are refused" in server.started.said(), 30, "the log process")
    with pytest.raises(DiskFailedError):
        client.put(b"key", b"other")
    assert client.get(b"key") == b"value"
    told = server.admin().stats()["durability"]
    assert told["refused_seconds"] >= 0 and told["disk_failures"] >= 1
    ballast.unlink()

    def writes() -> bool:
        with contextlib.suppress(DiskFailedError, RequestTimeoutError):
            client.put(b"key", b"again")
            return True
        return False

    wait_for(writes, 30, "room")
    assert server.admin().stats()["durability"]["refused_seconds"] is None
    servers.crash()
    assert servers.start().client(tenant).get(b"key") == b"again"


def test_an_act_that_cannot_be_kept_is_refused_and_changes_nothing(servers: FolderServers, ballast: Path):
    server = servers.start()
    tenant = server.admin().create_tenant(durability="none")
    wait_for(lambda: list((servers.data / "log").glob("*.spare")), 30, "a spare segment")
    acts: list[Callable[[], object]] = [
        lambda: server.admin().create_tenant(),
        lambda: server.admin().limit_tenant(tenant.tenant, packets_per_second=5),
        lambda: server.client(tenant).install(EXTENSION),
    ]
    for act in acts:
        fill_up(ballast)  # each time: what was refused has given back its journal
        with pytest.raises(ControlError, match="catalog"):
            act()
    (described,) = server.admin().list_tenants()
    assert described.packets_per_second == 0
    assert server.client(tenant).extensions() == []
    ballast.unlink()
    server.client(tenant).install(EXTENSION)


def test_room_for_the_log_and_none_for_a_snapshot_is_told_at_once_and_over_when_there_is(servers: FolderServers, ballast: Path):
    """One tenant's durability begins, and all wait for a snapshot."""
    server = servers.start()
    admin = server.admin()
    tenant, late = admin.create_tenant(durability="always"), admin.create_tenant(durability="none")
    client, value = server.client(tenant), bytes(50_000)
    for number in range(MORE_BYTES // len(value)):
        server.client(late).put(number, value)
    client.put(b"key", b"value")
    wait_for(lambda: list((servers.data / "log").glob("*.spare")), 30, "a spare segment")
    fill_up(ballast, MORE_BYTES // 4)
    client.put(b"key", b"other")
    admin.limit_tenant(late.tenant, durability="interval")
    wait_for(lambda: admin.stats()["durability"]["refused_seconds"] is not None, 30, "the refusal")
    for each in (tenant, late):
        with pytest.raises(DiskFailedError):
            server.client(each).put(b"key", b"refused")
    assert client.get(b"key") == b"other"
    ballast.unlink()
    wait_for(lambda: admin.stats()["durability"]["refused_seconds"] is None, 30, "a snapshot")
    client.put(b"key", b"again")
    servers.crash()
    server = servers.start()
    assert server.client(tenant).get(b"key") == b"again" and server.client(late).get(3) == value


def test_a_start_that_needs_a_snapshot_and_has_no_room_for_it_says_so(servers: FolderServers, ballast: Path):
    server = servers.start()
    tenant, value = server.admin().create_tenant(durability="always"), bytes(50_000)
    for number in range(MORE_BYTES // len(value)):
        server.client(tenant).put(number, value)
    wait_for(lambda: list((servers.data / "log").glob("*.spare")), 30, "a spare segment")
    servers.crash()
    assert Folder(servers.data).tear(Random(TEARING_SEED))
    fill_up(ballast, MORE_BYTES // 4)
    assert "no snapshot can be written" in servers.refused()
    ballast.unlink()
    server = servers.start()
    assert "cut off" in server.started.said()
    assert server.client(tenant).get(3) == value


def test_extensions_that_a_full_disk_kept_out_at_a_start_are_there_when_there_is_room(servers: FolderServers, ballast: Path):
    server = servers.start()
    tenant = server.admin().create_tenant(durability="always")
    server.client(tenant).install(EXTENSION)
    servers.stop()
    for spare in (servers.data / "log").glob("*.spare"):
        spare.unlink()
    fill_up(ballast, MORE_BYTES // 4)
    server = servers.start()
    client = server.client(tenant)
    (told,) = client.extensions()
    assert "takes no writes" in told.not_runnable
    with pytest.raises(NoSuchExtensionError):
        client.invoke("count", 1)
    ballast.unlink()
    wait_for(lambda: client.extensions()[0].not_runnable == "", 30, "the extension")
    assert client.invoke("count", 1) == 0
