"""Listing keys on a running server while others write, on every transport, over deaths and restarts."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import ScanInterruptedError, Status, error_for
from splinter.testing.process import free_port
from splinter.wire import SCAN, SCAN_BYTES, SCAN_END, Opcode
from tests.support.kill_all import kill_everything
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer, running_lab, serving
from tests.support.waiting import wait_for

STEADY = {b"steady %d" % number for number in range(1500)} | {bytes([number]) * (number + 1) for number in range(255)}
CHANGING = [b"changing %d" % number for number in range(300)]
SWAP = """
from splinter.ext import extension, Store, u64

@extension
def swap(db: Store, first: u64) -> u64:
    made = u64(0)
    for number in range(first, first + 40):
        if db.put_if(1, number, b"there", u64(0)):
            made = made + 1
        else:
            db.delete(1, number)
    return made
"""


def test_a_table_of_a_tenant_and_nothing_else_is_listed(server: RunningServer, client: Client) -> None:
    other = server.client(server.admin().create_tenant(), timeout=20.0)
    other.put_many([(key, b"other") for key in CHANGING], table=1)
    assert list(client.scan(1)) == []
    client.put_many([(key, b"value") for key in STEADY], table=1)
    client.put(b"of another table", b"value", table=2)
    client.put(b"large", bytes(200_000), table=2)
    client.put(b"over", b"value", table=2, ttl=0.001)
    wait_for(lambda: client.get(b"over", table=2) is None, 30, "its end")
    found = list(client.scan(1))
    assert len(found) == len(STEADY) and set(found) == STEADY
    assert sorted(client.scan(2)) == [b"large", b"of another table"]
    for prefix in (b"steady", b"steady 1", b"\x07", b"\xfe" * 255, b"none"):
        assert set(client.scan(1, prefix)) == {key for key in STEADY if key.startswith(prefix)}
    client.delete(b"large", table=2)
    assert list(client.scan(2)) == [b"of another table"]


def test_what_is_there_all_the_time_comes_once_while_others_write(
    server: RunningServer, tenant: TenantInfo, client: Client
) -> None:
    client.install(SWAP)
    client.put_many([(key, b"value") for key in STEADY], table=1)
    done, ending = [0, 0, 0], threading.Event()

    def replace() -> None:
        with server.client(tenant, timeout=20.0) as writer:
            while not ending.is_set():
                done[0] += 1
                writer.put_many([(key, b"x" * random.randrange(2000)) for key in random.sample(sorted(STEADY), 100)], table=1)

    def make_and_delete() -> None:
        with server.client(tenant, timeout=20.0) as writer:
            while not ending.is_set():
                done[1] += 1
                writer.put_many([(key, b"value") for key in CHANGING], table=1)
                for key in CHANGING:
                    writer.delete(key, table=1)

    def commit_many() -> None:
        with server.client(tenant, timeout=20.0) as writer:
            while not ending.is_set():
                done[2] += 1
                writer.invoke("swap", random.randrange(100))

    threads = [threading.Thread(target=target) for target in (replace, make_and_delete, commit_many)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            before = list(done)
            found = Counter(client.scan(1))
            assert {key for key in found if key in STEADY} == STEADY
            assert all(found[key] == 1 for key in STEADY)
            assert all(key in STEADY or key in CHANGING or len(key) == 8 for key in found)
            wait_for(lambda: all(now > then for now, then in zip(done, before, strict=True)), 60, "the load")  # noqa: B023
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def test_any_cursor_is_harmless(server: RunningServer, tenant: TenantInfo, client: Client) -> None:
    client.put_many([(key, b"value") for key in CHANGING], table=1)
    dice = random.Random(1)
    with contextlib.closing(RawSocket(server.info)) as raw:

        def ask(cursor: int, store: int, prefix: bytes = b"", **fields: int) -> tuple[int, bytes]:
            body = prefix + SCAN.struct.pack(cursor, store)
            sizes = {"key_length": len(prefix), "value_length": SCAN_BYTES} | fields
            reply = raw.request(tenant.tenant, tenant.token, Opcode.SCAN, body, table=1, **sizes)
            assert reply is not None
            return reply[0].status, reply[1]

        status, told = ask(0, 0)
        store = SCAN.struct.unpack_from(told)[1]
        assert status == 0
        for cursor in [SCAN_END, 1 << 63, 255, 256, 1 << 31, 1 << 32, *(dice.getrandbits(64) for _ in range(200))]:
            status, told = ask(cursor, store)
            assert status == 0 and len(told) >= SCAN_BYTES
        for other in (1, store ^ 1, store ^ 1 << 63):
            assert ask(0, other)[0] == Status.VERSION_CHANGED
        assert ask(5, 0)[0] == Status.VERSION_CHANGED
        assert "lengths" in str(error_for(ask(0, 0, key_length=16, value_length=0)[0]))
        assert ask(0, 0, bytes(255))[0] == 0


def test_a_scan_goes_on_over_the_death_of_a_worker(server: RunningServer, client: Client) -> None:
    client.put_many([(key, b"value") for key in STEADY], table=1)
    keys = client.scan(1)
    found = [next(keys)]
    for slot in range(len(server.info.cores)):
        server.kill_worker(slot)
    found += keys
    assert len(found) == len(STEADY) and set(found) == STEADY


@pytest.mark.xdp
def test_a_scan_goes_on_in_a_store_that_was_attached(unique_name: str) -> None:
    with running_lab(unique_name) as lab, serving(unique_name, lab) as server:
        tenant = server.admin().create_tenant()
        client = server.client(tenant, timeout=20.0)
        client.put_many([(key, b"value") for key in STEADY], table=1)
        keys = client.scan(1)
        found = [next(keys)]
        kill_everything(server, "at random", random.Random(1))
        server.start_again(lab)
        found += keys
        assert len(found) == len(STEADY) and set(found) == STEADY
        assert server.client(tenant).get(b"steady 1", table=1) == b"value"


def test_a_scan_is_interrupted_where_the_store_is_another_one(unique_name: str, tmp_path: Path) -> None:
    options = ["--data", str(tmp_path / "data"), "--port", str(free_port())]
    with serving(unique_name, None, *options) as server, contextlib.ExitStack() as stack:
        tenant = server.admin().create_tenant()
        info = server.info
        client = stack.enter_context(Client(info.address, tenant.tenant, tenant.token, port=info.port, timeout=20.0))
        client.put_many([(key, b"value") for key in STEADY], table=1)
        keys = client.scan(1)
        next(keys)
        assert server.stop(signal.SIGTERM) == 0
        server.start_again(None, *options)
        with pytest.raises(ScanInterruptedError):
            list(keys)
        assert set(client.scan(1)) == STEADY


def test_the_command_lists_keys(server: RunningServer, tenant: TenantInfo, client: Client) -> None:
    from splinter.cli.main import app
    from tests.support.commands import CliRunner

    client.put(b"text", b"value", table=4)
    client.put(5, b"value", table=4)
    where = ["--tenant", str(tenant.tenant), "--table", "4", "--instance", server.info.instance]

    def said(*words: str) -> list[str]:
        result = CliRunner().invoke(app, ["scan", *words, *where])
        assert result.exit_code == 0, result.output
        return sorted(result.stdout.splitlines())

    assert said() == sorted(["text", "\\x05" + "\\x00" * 7])
    assert said("te") == ["text"]
    assert said("--key", "int") == ["5"]
    assert said("--key", "hex") == sorted([b"text".hex(), (5).to_bytes(8, "little").hex()])
    assert said("--key", "hex", "7465") == [b"text".hex()]
