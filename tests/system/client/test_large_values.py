"""Values of more than 64 KiB on a running server: whole or not at all, charged, and kept as others are."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from pathlib import Path

import pytest

from splinter import limits
from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import (
    ConflictError,
    ExtensionRuntimeError,
    QuotaExceededError,
    TransactionTooLargeError,
    ValueTooLargeError,
    VersionChangedError,
)
from splinter.wire import OBJECT_ABSENT
from tests.support.kill_all import kill_everything
from tests.support.servers import RunningServer, running_lab, serving

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
SIZES = [
    limits.VALUE_BYTES_MAX + 1,
    2 * limits.PART_BYTES - 1,
    2 * limits.PART_BYTES,
    2 * limits.PART_BYTES + 1,  # so the last part fits a packet
    1_000_000,
    limits.LARGE_BYTES_MAX,
]
LOOK = """
from splinter.ext import extension, Store, u64

@extension
def length(db: Store, key: u64) -> u64:
    found = db.get(1, key)
    if found is None:
        return u64(0)
    return u64(len(found))

@extension(isolation="none")
def length_without(db: Store, key: u64) -> u64:
    found = db.get(1, key)
    if found is None:
        return u64(0)
    return u64(len(found))

@extension
def remove(db: Store, key: u64) -> bool:
    return db.delete(1, key)

@extension
def replace(db: Store, key: u64) -> bool:
    db.put(1, key, u64(1))
    return True
"""


def value_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def bytes_used(server: RunningServer, tenant: TenantInfo) -> int:
    return server.admin().get_tenant(tenant.tenant).bytes_used


@pytest.mark.parametrize("size", SIZES)
def test_a_value_of_any_size_comes_back(client: Client, size: int) -> None:
    value = value_of(size)
    version = client.put(b"key", value, table=3)
    assert client.get_with_version(b"key", table=3) == (value, version)
    assert client.get(b"key") is None
    assert client.multiget([b"key", b"none"], table=3) == [value, None]
    assert client.expire(b"key", 3600.0, table=3) and client.get(b"key", table=3) == value
    assert 0 < (client.ttl(b"key", table=3) or 0) <= 3600.0
    assert client.persist(b"key", table=3) and client.get(b"key", table=3) == value
    assert client.delete(b"key", table=3)
    assert client.get(b"key", table=3) is None


def test_one_byte_more_is_refused_before_anything_is_sent(client: Client, server: RunningServer, tenant: TenantInfo) -> None:
    client.put(b"key", b"small")
    used = bytes_used(server, tenant)
    with pytest.raises(ValueTooLargeError):
        client.put(b"key", bytes(limits.LARGE_BYTES_MAX + 1))
    assert client.get(b"key") == b"small" and bytes_used(server, tenant) == used


def test_it_is_charged_and_given_back_at_once(client: Client, server: RunningServer, tenant: TenantInfo) -> None:
    client.install_all(LOOK)
    client.put(5, b"small", table=1)
    empty = bytes_used(server, tenant)
    ends = [
        lambda: client.put(5, b"small", table=1),
        lambda: client.delete(5, table=1) and client.put(5, b"small", table=1),
        lambda: client.invoke("replace", 5),
        lambda: client.invoke("remove", 5) and client.put(5, b"small", table=1),
        lambda: client.put(5, value_of(66_000), table=1) and client.put(5, bytes(60_000), table=1),
    ]
    for end in ends:
        client.put(5, value_of(1_000_000), table=1)
        assert bytes_used(server, tenant) >= empty + 1_000_000
        end()
        if client.get(5, table=1) != b"small":
            client.put(5, b"small", table=1)
        assert bytes_used(server, tenant) == empty
    with client.transaction() as tx:
        tx.put(5, b"small", table=1)
    client.put(5, value_of(1_000_000), table=1)
    with client.transaction() as tx:
        assert tx.get(5, table=1) == value_of(1_000_000)
        tx.put(5, b"small", table=1)
    assert bytes_used(server, tenant) == empty


def test_a_quota_holds(client: Client, server: RunningServer, tenant: TenantInfo) -> None:
    server.admin().limit_tenant(tenant.tenant, quota_bytes=3_000_000)
    client.put(b"key", value_of(1_000_000))
    with pytest.raises(QuotaExceededError):
        client.put(b"other", value_of(4_000_000))
    assert client.get(b"key") == value_of(1_000_000) and client.get(b"other") is None


def test_conditions_hold_and_what_is_refused_leaves_nothing(client: Client, server: RunningServer, tenant: TenantInfo) -> None:
    version = client.put(b"key", value_of(300_000, 1), if_version=OBJECT_ABSENT)
    used = bytes_used(server, tenant)
    for refused in (OBJECT_ABSENT, version + 2):
        with pytest.raises(VersionChangedError):
            client.put(b"key", value_of(400_000, 2), if_version=refused)
        assert bytes_used(server, tenant) == used
    assert client.get(b"key") == value_of(300_000, 1)
    later = client.put(b"key", value_of(300_000, 2), if_version=version)
    assert client.get_with_version(b"key") == (value_of(300_000, 2), later)


def test_transactions_read_them_and_are_told_that_they_cannot_write_them(client: Client) -> None:
    client.put(b"key", value_of(300_000))
    with pytest.raises(TransactionTooLargeError), client.transaction() as tx:
        tx.put(b"key", value_of(300_001))
    with pytest.raises(ConflictError), client.transaction() as tx:
        assert tx.get(b"key") == value_of(300_000)
        tx.put(b"seen", b"yes")
        client.put(b"key", value_of(300_000, 2))
    assert client.get(b"seen") is None
    assert client.put_many([(b"a", value_of(70_000)), (b"b", b"small"), (b"a", value_of(80_000))]) == 3
    assert client.get_many([b"a", b"b"]) == [value_of(80_000), b"small"]


def test_extensions_are_told_that_they_cannot_read_them(client: Client) -> None:
    client.install_all(LOOK)
    for name in ("length", "length_without"):
        client.put(5, bytes(limits.VALUE_BYTES_MAX), table=1)
        assert client.invoke(name, 5) == limits.VALUE_BYTES_MAX
        client.put(5, bytes(limits.VALUE_BYTES_MAX + 1), table=1)
        with pytest.raises(ExtensionRuntimeError, match="value too large"):
            client.invoke(name, 5)
    assert client.invoke("remove", 5)
    assert client.get(5, table=1) is None


def test_readers_beside_writers_see_one_of_the_values(client: Client, server: RunningServer, tenant: TenantInfo) -> None:
    values = [value_of(size, size) for size in (70_000, 200_000, 1000, 300_000, 65_537)]
    client.put(b"key", values[0])
    wrong: list[object] = []
    end = threading.Event()

    def read() -> None:
        with server.client(tenant, timeout=20.0) as reader:
            while not end.is_set():
                if (found := reader.get(b"key")) not in values:
                    wrong.append(None if found is None else len(found))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(100):
        client.put(b"key", values[number % len(values)])
    end.set()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("durability", ["interval", "always"])
def test_they_outlive_the_server(tmp_path: Path, unique_name: str, transport: str, durability: str) -> None:
    with running_lab(unique_name) if transport == "xdp" else contextlib.nullcontext() as lab:
        options = ("--data", str(tmp_path / "data"), "--durability", durability)
        with serving(unique_name, lab, *options) as server:
            tenant = server.admin().create_tenant()
            client = server.client(tenant, timeout=20.0)
            values = {number: value_of(size, number) for number, size in enumerate(SIZES)}
            for number, value in values.items():
                client.put(number, bytes(100_000), table=2)
                client.put(number, value, table=2)
            client.put(100, value_of(500_000), table=2)
            client.delete(100, table=2)
            # By the log, or what the kernel has kept; then by that alone; then by a snapshot that a stop leaves.
            for again, more in enumerate(([], ["--fresh"] if transport == "xdp" else [], [])):
                if again == 0 and durability == "always":
                    kill_everything(server, "at random", random.Random(1))
                else:
                    assert server.stop(signal.SIGTERM) == 0
                server.start_again(lab, *options, *more)
                client = server.client(tenant, timeout=20.0)
                assert {number: client.get(number, table=2) for number in values} == values
                assert client.get(100, table=2) is None
                values[again] = values[again][:-1]
                client.put(again, values[again], table=2)
