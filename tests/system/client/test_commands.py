"""Client library and every command against a running server, by XDP in a lab and by UDP on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from splinter import Client, limits
from splinter.cli.main import app
from splinter.client.admin import TenantInfo
from splinter.client.encoding import format_token
from splinter.errors import (
    BadArgumentsError,
    ExtensionRuntimeError,
    NoSuchExtensionError,
    QuotaExceededError,
    ReplyTooLargeError,
    RequestTimeoutError,
    SplinterError,
    VersionChangedError,
)
from splinter.store.roster_layout import CHUNK_CLASS_BYTES_FIRST
from tests.support.commands import CliRunner
from tests.support.servers import RunningServer
from tests.support.waiting import wait_for

CHAIN = """
from splinter.ext import extension, Store, u64

@extension
def chain(db: Store, start: u64) -> u64:
    steps = 0
    while True:
        node = db.get(table=1, key=start)
        if node is None:
            return steps
        start = node.u64(0)
        steps += 1
        yield
"""
WRITES = """
from splinter.ext import extension, Store, u64

@extension
def writes(db: Store, key: u64) -> u64:
    db.put(2, key, key)
    return key
"""
ECHO = """
from splinter.ext import extension, Store, u64

@extension
def echo(db: Store, content: bytes, repeat: bool) -> bytes:
    assert not repeat
    return content
"""


@pytest.fixture
def tenant(server: RunningServer) -> Iterator[TenantInfo]:
    admin = server.admin()
    made = admin.create_tenant()
    yield made
    with contextlib.suppress(SplinterError):
        admin.remove_tenant(made.tenant)


@pytest.fixture
def client(server: RunningServer, tenant: TenantInfo) -> Client:
    return server.client(tenant, timeout=5.0)


def run(server: RunningServer, *arguments: str, tenant: TenantInfo | None = None, text: bytes | None = None) -> Result:
    """A command against the server; standard output and error apart."""
    which = ["--tenant", str(tenant.tenant)] if tenant else []
    return CliRunner().invoke(app, [*arguments, "--instance", server.info.instance, *which], input=text)


# --- the library ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, 1400, 1405, 1408, 1409, 1500, 2304, 2305, 65535, 65536])
def test_values_of_every_size(client, size):
    value = random.Random(size).randbytes(size)
    for turn in range(2):  # the second replaces the first
        version = client.put(b"key", value[::-1] if turn == 0 else value, table=3)
    assert client.get_with_version(b"key", table=3) == (value, version)
    assert client.multiget([b"no", b"key"], table=3) == [None, value]
    assert client.delete(b"key", table=3)
    assert client.get(b"key", table=3) is None


def test_the_longest_key_with_every_size(client):
    key = b"k" * 255
    for size in (1152, 1153, 1154, 1408, 3000):
        value = random.Random(size).randbytes(size)
        client.put(key, value)
        assert client.get(key) == value


def test_a_tenant_at_its_quota_with_too_many_clients_can_make_room(server):
    admin = server.admin()
    tenant = admin.create_tenant(quota_bytes=3600 + CHUNK_CLASS_BYTES_FIRST)  # of its roster
    first = server.client(tenant, timeout=5.0)
    first.put(b"k", bytes(1300))
    with pytest.raises(QuotaExceededError, match=r"machine code|extensions"):
        first.install(WRITES)
    for _ in range(limits.CLIENTS_OVER_QUOTA_MAX - 1):
        server.client(tenant, timeout=5.0).delete(b"nothing")

    def late_client_deletes() -> bool:
        with contextlib.suppress(QuotaExceededError):  # until one of the others was idle for a second
            return server.client(tenant, timeout=5.0).delete(b"k")
        return False

    wait_for(late_client_deletes, what="a place for a new client")
    assert first.get(b"k") is None
    assert admin.get_tenant(tenant.tenant).clients <= limits.CLIENTS_OVER_QUOTA_MAX


def test_compare_and_put(client):
    first = client.put(b"k", b"1")
    second = client.put(b"k", b"2", if_version=first)
    for value in (b"3", b"3" * 5000):
        with pytest.raises(VersionChangedError):
            client.put(b"k", value, if_version=first)
    with pytest.raises(VersionChangedError):
        client.put(b"new", b"x", if_version=first)
    with pytest.raises(VersionChangedError):
        client.delete(b"k", if_version=first)
    assert client.get_with_version(b"k") == (b"2", second)
    assert client.delete(b"k", if_version=second)


def test_bulk_operations(client):
    dice = random.Random(8)
    objects = {number: dice.randbytes(dice.choice([0, 10, 100, 700, 1500])) for number in range(3000)}
    assert client.put_many(objects.items(), table=2) == 3000
    keys = list(range(3010))
    assert client.get_many(keys, table=2) == [objects.get(key) for key in keys]


def test_counters_by_compare_and_put_from_several_threads(client):
    client.put(b"counter", b"0")

    def count() -> None:
        for _ in range(50):
            while True:
                value, version = client.get_with_version(b"counter")
                assert value is not None
                with contextlib.suppress(VersionChangedError):
                    client.put(b"counter", b"%d" % (int(value) + 1), if_version=version)
                    break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A repetition whose first try took effect counts twice; on a link that loses nothing there is none.
    assert int(client.get(b"counter") or 0) == 200


def test_a_wrong_token_is_never_answered(server, tenant):
    stranger = TenantInfo(tenant.tenant, tenant.token ^ 1, 0)
    with pytest.raises(RequestTimeoutError):
        server.client(stranger, timeout=0.1).get(b"k")


def test_a_quota_holds(server):
    admin = server.admin()
    small = admin.create_tenant(quota_bytes=10_000)
    client = server.client(small)
    with pytest.raises(QuotaExceededError):
        for number in range(1000):
            client.put(number, b"x" * 500)
    with pytest.raises(QuotaExceededError):
        client.put(b"large", b"x" * 20_000)
    assert client.get(0) == b"x" * 500
    assert admin.get_tenant(small.tenant).bytes_used <= 10_000
    admin.remove_tenant(small.tenant)


def test_extensions_from_install_to_uninstall(client):
    for number in range(1, 6):
        client.put(number, (number + 1).to_bytes(8, "little"), table=1)
    info = client.install(CHAIN)
    assert client.invoke("chain", 1) == client.invoke("chain", start=1) == 5
    assert client.invoke("chain", start=99) == 0
    with pytest.raises(BadArgumentsError, match="chain\\(start: u64\\) -> u64"):
        client.invoke("chain", "one")
    client.put(9, b"short", table=1)
    with pytest.raises(ExtensionRuntimeError, match="chain, line 11: index out of range"):
        client.invoke("chain", 9)
    client.uninstall(info.name)
    for _ in range(2):
        with pytest.raises(NoSuchExtensionError):
            client.invoke("chain", 1)


def test_a_replaced_extension_is_noticed_by_other_clients(server, tenant, client):
    other = server.client(tenant)
    client.install(CHAIN, name="f")
    assert other.invoke("f", 1) == 0
    client.install(CHAIN.replace("start: u64", "start: i64"), name="f")
    assert other.invoke("f", 1) == 0  # the server refuses the signature that it knows
    client.install(ECHO, name="f")
    assert other.invoke("f", content=b"text", repeat=False) == b"text"  # these arguments do not fit the one it knows
    with pytest.raises(ExtensionRuntimeError, match="f, line 6: assertion failed"):
        other.invoke("f", b"", True)


def test_large_arguments_and_results(client):
    client.install(ECHO)
    largest = 1408 - len("echo") - 16
    content = random.Random(9).randbytes(largest)
    assert client.invoke("echo", content, False) == content
    with pytest.raises(BadArgumentsError, match="1408"):
        client.invoke("echo", content + b"x", False)
    client.put(b"large", b"x" * 5000, table=1)
    client.install(CHAIN.replace("-> u64", "-> bytes").replace("start: u64", "start: bytes").replace(
        "        start = node.u64(0)\n        steps += 1\n        yield\n", "        return node\n"
    ).replace("return steps", "return start"))  # fmt: skip
    with pytest.raises(ReplyTooLargeError):
        client.invoke("chain", b"large")


def test_the_control_process_may_die(server, tenant, client):
    client.install(CHAIN)
    children = Path(f"/proc/{server.info.pid}/task/{server.info.pid}/children").read_text().split()
    (control,) = [child for child in children if Path(f"/proc/{child}/comm").read_text().strip() == "splinter-ctl"]
    os.kill(int(control), signal.SIGKILL)
    assert client.invoke("chain", 1) == 0  # requests do not need it

    def back() -> bool:
        with contextlib.suppress(SplinterError):
            return [info.name for info in client.extensions()] == ["chain"]
        return False

    wait_for(back, 30, "the control process")
    assert client.install(ECHO).version == 1
    assert client.install(CHAIN).version == 2
    assert server.admin().get_tenant(tenant.tenant, token=True).token == tenant.token


# --- the commands ---------------------------------------------------------------------------------------------------


def test_tenant_commands(server):
    created = run(server, "tenant", "create", "--quota", "1MiB")
    assert created.exit_code == 0, created.output
    number, token = created.stdout.split()
    listed = {item["tenant"]: item for item in json.loads(run(server, "tenant", "list", "--tokens", "--json").stdout)}
    assert listed[int(number)]["token"] == token
    assert "former_token" not in listed[int(number)]
    assert listed[int(number)]["quota_bytes"] == 1 << 20
    rotated = run(server, "tenant", "rotate", number).stdout.strip()
    listed = {item["tenant"]: item for item in json.loads(run(server, "tenant", "list", "--tokens", "--json").stdout)}
    assert (listed[int(number)]["token"], listed[int(number)]["former_token"]) == (rotated, token)
    assert token in run(server, "tenant", "list", "--tokens").stdout
    assert number in run(server, "tenant", "list").stdout
    many = json.loads(run(server, "tenant", "create", "--count", "3", "--json").stdout)
    for made in [*(item["tenant"] for item in many), number]:
        assert run(server, "tenant", "remove", str(made)).exit_code == 0
    gone = run(server, "tenant", "remove", number)
    assert (gone.exit_code, f"there is no tenant {number}" in gone.stderr) == (3, True)


def test_object_commands(server, tenant, tmp_path):
    big = random.Random(10).randbytes(40_000)
    file = tmp_path / "big"
    file.write_bytes(big)
    assert run(server, "put", "dog", "barks", "--table", "1", tenant=tenant).exit_code == 0
    assert run(server, "get", "dog", "--table", "1", tenant=tenant).stdout_bytes == b"barks"
    assert run(server, "get", "dog", "--table", "1", "--hex", tenant=tenant).stdout == b"barks".hex() + "\n"
    run(server, "put", "big", "--file", str(file), tenant=tenant)
    assert run(server, "get", "big", tenant=tenant).stdout_bytes == big
    run(server, "put", "7", "--key", "int", tenant=tenant, text=b"from standard input")
    assert run(server, "get", "0700000000000000", "--key", "hex", tenant=tenant).stdout == "from standard input"
    run(server, "put", "raw", "00ff", "--hex", tenant=tenant)
    assert run(server, "get", "raw", tenant=tenant).stdout_bytes == b"\x00\xff"
    assert run(server, "delete", "dog", "--table", "1", tenant=tenant).exit_code == 0
    for command in ("get", "delete"):
        missing = run(server, command, "dog", "--table", "1", tenant=tenant)
        assert (missing.exit_code, "no object 'dog'" in missing.stderr) == (3, True)


def test_a_token_serves_in_place_of_the_credential(server, tenant):
    run(server, "put", "k", "v", tenant=tenant)
    good = run(server, "get", "k", "--token", format_token(tenant.token), tenant=tenant)
    assert good.stdout_bytes == b"v"
    bad = run(server, "get", "k", "--token", format_token(tenant.token ^ 1), tenant=tenant)
    assert (bad.exit_code, "token" in bad.stderr) == (5, True)


def test_extension_commands(server, tenant, tmp_path):
    file = tmp_path / "chain.py"
    file.write_text(CHAIN)
    run(server, "put", "1", "0200000000000000", "--key", "int", "--hex", "--table", "1", tenant=tenant)
    installed = run(server, "install", str(file), tenant=tenant)
    assert (installed.exit_code, "chain(start: u64) -> u64" in installed.stdout) == (0, True), installed.output
    assert run(server, "invoke", "chain", "1", tenant=tenant).stdout == "1\n"
    assert run(server, "invoke", "chain", "start=5", tenant=tenant).stdout == "0\n"
    refused = run(server, "invoke", "chain", "x", tenant=tenant)
    assert (refused.exit_code, "chain(start: u64)" in refused.stderr) == (11, True)
    assert "chain" in run(server, "extensions", tenant=tenant).stdout
    assert json.loads(run(server, "extensions", "--json", tenant=tenant).stdout)[0]["version"] == 1
    file.write_text(CHAIN.replace("is None", "== 5"))
    bad = run(server, "install", str(file), tenant=tenant)
    assert bad.exit_code == 1
    assert "^" in bad.stderr
    assert run(server, "uninstall", "chain", tenant=tenant).exit_code == 0
    gone = run(server, "uninstall", "chain", tenant=tenant)
    assert (gone.exit_code, "chain" in gone.stderr) == (3, True)


def test_stats_and_top(server, tenant, client):
    client.put(b"k", b"v")
    stats = json.loads(run(server, "stats", "--json").stdout)
    assert stats["transport"] == server.info.transport
    assert sum(worker["requests"]["put"] for worker in stats["workers"]) >= 1
    assert "control.tenants" in run(server, "stats", "--sums").stdout
    top = run(server, "top", "--interval", "0.1", "--count", "1")
    assert (top.exit_code, "requests/s" in top.stdout) == (0, True)
