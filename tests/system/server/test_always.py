"""Durability "always": while the log process stands still no reply tells of what could be lost."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import QuotaExceededError, RequestTimeoutError, VersionChangedError
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

READER = """
from splinter.ext import extension, Store, u64

@extension
def look(db: Store, key: u64) -> u64:
    found = db.get(1, key)
    if found is None:
        return u64(0)
    return found.u64(0)

@extension
def bump(db: Store, key: u64) -> u64:
    count = u64(1)
    found = db.get(1, key)
    if found is not None:
        count = found.u64(0) + 1
    db.put(1, key, count)
    return count

@extension(isolation="none")
def tally(db: Store, key: u64) -> u64:
    return u64(db.add(1, key, 1))
"""
SHORT_SECONDS, LONG_SECONDS = 0.3, 30.0


@pytest.fixture(params=["udp", pytest.param("xdp", marks=pytest.mark.xdp)])
def server(request: pytest.FixtureRequest, unique_name: str, tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(unique_name, request.param, "--data", str(tmp_path / "data"), "--durability", "always") as made:
        yield made


def word(number: int) -> bytes:
    """As extensions store a number."""
    return number.to_bytes(8, "little")


@contextlib.contextmanager
def disk_stands_still(server: RunningServer) -> Iterator[None]:
    """The log process is stopped for the block."""
    (pid,) = server.children("splinter-disk")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def waits(client: Client, method: str, *arguments: object, **options: object) -> bool:
    """Whether a request is not answered for some time."""
    try:
        getattr(client, method)(*arguments, timeout=SHORT_SECONDS, **options)
    except RequestTimeoutError:
        return True
    return False


def test_what_could_be_lost_is_not_told(server: RunningServer) -> None:
    tenant = server.admin().create_tenant()
    writer, reader = server.client(tenant), server.client(tenant)
    writer.install_all(READER)
    for key in (1, 2, 3):
        writer.put(key, word(key * 10), table=1)
    version = writer.put(b"old", b"on the disk")
    assert (reader.invoke("look", 1), reader.invoke("tally", 5)) == (10, 1)  # so the disk has a record of the reader
    with disk_stands_still(server):
        assert waits(writer, "put", 1, word(11), table=1)  # the writer is not told that it is kept,
        assert waits(reader, "get", 1, table=1)  # nor anybody what it is
        assert waits(reader, "invoke", "look", 1)
        assert waits(reader, "multiget", [2, 1], table=1)
        assert waits(writer, "put", 4, b"no counter", table=1)
        assert waits(reader, "invoke", "tally", 4)  # that nothing can be added to it
        assert waits(writer, "delete", 2, table=1)
        assert waits(reader, "get", 2, table=1)  # that it is gone
        assert waits(reader, "invoke", "look", 2)
        assert waits(writer, "invoke", "bump", 3)
        assert waits(reader, "get", 3, table=1)
        assert waits(reader, "put", 1, word(12), table=1, if_version=version)  # that it is another one
        # What is on the disk is told meanwhile.
        assert reader.get(b"old", timeout=LONG_SECONDS) == b"on the disk"
    assert reader.get(1, table=1, timeout=LONG_SECONDS) == word(11)
    assert reader.get(2, table=1, timeout=LONG_SECONDS) is None
    assert reader.invoke("look", 3, timeout=LONG_SECONDS) == 31
    with pytest.raises(VersionChangedError):
        reader.put(1, word(12), table=1, if_version=version, timeout=LONG_SECONDS)


def test_others_do_not_wait(server: RunningServer) -> None:
    admin = server.admin()
    waiting, other = admin.create_tenant(), admin.create_tenant(durability="interval")
    writer, neighbour = server.client(waiting), server.client(other)
    with disk_stands_still(server):
        assert waits(writer, "put", b"key", b"value")
        neighbour.put(b"key", b"value", timeout=LONG_SECONDS)
        assert neighbour.get(b"key", timeout=LONG_SECONDS) == b"value"
    assert writer.get(b"key", timeout=LONG_SECONDS) == b"value"


def test_a_request_that_waits_is_answered_once_when_the_disk_goes_on(server: RunningServer) -> None:
    tenant = server.admin().create_tenant()
    writer = server.client(tenant, timeout=LONG_SECONDS)
    writer.install_all(READER)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with disk_stands_still(server):
            asked = pool.submit(writer.invoke, "bump", 9)  # its repetitions find what is recorded, and wait too
            assert waits(server.client(tenant), "get", 9, table=1) or not asked.done()
            assert not asked.done()
        assert asked.result(LONG_SECONDS) == 1
    assert writer.invoke("look", 9) == 1


def test_what_a_worker_held_back_when_it_died_is_asked_for_again(server: RunningServer) -> None:
    tenant = server.admin().create_tenant()
    writer = server.client(tenant, timeout=LONG_SECONDS)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with disk_stands_still(server):
            asked = pool.submit(writer.put, b"key", b"value")
            assert waits(server.client(tenant), "put", b"other", b"value")
            for slot in range(len(server.info.cores)):
                server.kill_worker(slot)
            assert not asked.done()
        asked.result(LONG_SECONDS)
    assert writer.get(b"key") == b"value"


def test_a_transaction_that_is_refused_leaves_nothing_to_wait_for(server: RunningServer) -> None:
    """It had hidden an object already, by a commit that then was none."""
    tenant = server.admin().create_tenant(quota_bytes=1 << 16)
    client = server.client(tenant, timeout=LONG_SECONDS)
    client.put(b"kept", b"value")
    with pytest.raises(QuotaExceededError):
        for number in range(100):
            client.put(number, bytes(900))
    with pytest.raises(QuotaExceededError), client.transaction() as changes:
        changes.delete(b"kept")
        changes.put(b"large", bytes(900))
    assert client.get(b"missing") is None
    assert client.multiget([b"kept", b"missing"]) == [b"value", None]


def test_who_has_nothing_on_the_disk_waits_for_nothing(server: RunningServer) -> None:
    """A tenant that is new, also under an id whose last tenant's objects were swept away, and one without objects whose
    changes were not kept before."""
    admin = server.admin()

    def is_answered(tenant: TenantInfo) -> None:
        client = server.client(tenant, timeout=LONG_SECONDS)
        assert list(client.scan()) == []
        assert client.get(b"missing") is None
        client.close()

    first = admin.create_tenant()
    is_answered(first)
    assert len(b"".join(admin.dump(first.tenant, timeout=LONG_SECONDS))) > 0
    client = server.client(first)
    for number in range(5):
        client.put(number, b"value")
    admin.remove_tenant(first.tenant)
    is_answered(admin.create_tenant(first.tenant))
    late = admin.create_tenant(durability="none")
    client = server.client(late)
    client.put(b"key", b"value")
    client.delete(b"key")
    client.close()  # its record is an object
    wait_for(lambda: admin.get_tenant(late.tenant).clients == 0)
    admin.limit_tenant(late.tenant, durability="always")
    is_answered(late)
