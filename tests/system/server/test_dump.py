"""``splinter dump`` and ``splinter restore`` between servers that serve, over both transports."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splinter import limits
from splinter.cli.exit_status import ExitStatus
from splinter.client.admin import TenantInfo
from splinter.client.dump_format import DumpedObject, DumpedPart
from splinter.client.dump_reader import DumpReader
from splinter.errors import RequestTimeoutError
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

SECONDS = 120
STEADY, CHANGING, DUMPS = 400, 100, 6
SOURCE = """
from splinter.ext import extension, Store, u64

@extension
def swap(db: Store, first: u64, count: u64) -> u64:
    '''Delete what is there of so many objects, and make what is not: one commit.'''
    number = first
    made = u64(0)
    while number < first + count:
        if db.get(5, number) is None:
            db.put(5, number, number)
            made += 1
        else:
            db.delete(5, number)
        number += 1
    return made
"""


@pytest.fixture(params=["udp", pytest.param("xdp", marks=pytest.mark.xdp)])
def server(request: pytest.FixtureRequest, unique_name: str, tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(unique_name, request.param, "--data", str(tmp_path / "data")) as made:
        yield made


def splinter(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "splinter", *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


def ended(run: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    said, complained = run.communicate(timeout=SECONDS)
    return run.returncode, (said or b"").decode(), complained.decode()


def found_in(pieces: Any) -> list[DumpedObject]:
    return [record for record in DumpReader(pieces) if isinstance(record, DumpedObject)]


def value_of(number: int, turn: int) -> bytes:
    """A value that shows whether it is whole, of a length that changes with the turn."""
    return b"%d.%d;" % (number, turn) * (1 + turn % 40)


def is_whole(value: bytes) -> bool:
    return len(set(value.split(b";")[:-1])) == 1 and value.endswith(b";")


@contextlib.contextmanager
def writing(server: RunningServer, tenant: TenantInfo) -> Iterator[list[int]]:
    """Clients that overwrite, delete, make, and commit several deletions at once; yields how many turns each has done."""
    done, ending = [0, 0, 0], threading.Event()

    def overwrite() -> None:
        client = server.client(tenant)
        while not ending.is_set():
            done[0] += 1
            client.put_many([(b"steady %d" % number, value_of(number, done[0])) for number in range(STEADY)], table=1)

    def delete_and_make() -> None:
        client = server.client(tenant)
        while not ending.is_set():
            done[1] += 1
            client.put_many([(b"changing %d" % number, value_of(number, done[1])) for number in range(CHANGING)], table=1)
            for number in range(CHANGING):
                client.delete(b"changing %d" % number, table=1)

    def swap() -> None:
        client = server.client(tenant)
        while not ending.is_set():
            done[2] += 1
            client.invoke("swap", 0, 60)

    threads = [threading.Thread(target=target) for target in (overwrite, delete_and_make, swap)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def test_what_is_there_all_the_time_comes_exactly_once(server: RunningServer, unique_name: str, tmp_path: Path):
    admin = server.admin()
    tenant, other = admin.create_tenant(), admin.create_tenant()
    server.client(tenant).install_all(SOURCE)
    steady = {b"steady %d" % number for number in range(STEADY)}
    server.client(other).put_many([(b"other %d" % number, b"o") for number in range(500)])
    with writing(server, tenant) as done:
        wait_for(lambda: all(turns > 1 for turns in done), what="the load")
        for number in range(DUMPS):
            before = list(done)
            wanted = tenant.tenant if number % 2 else None
            found = found_in(admin.dump(wanted))
            keys = Counter((one.tenant, one.table, one.key) for one in found)
            assert max(keys.values()) == 1
            assert steady <= {key for owner, table, key in keys if (owner, table) == (tenant.tenant, 1)}
            assert all(is_whole(one.value) for one in found if one.table == 1)
            assert sum(one.tenant == other.tenant for one in found) == (500 if wanted is None else 0)
            wait_for(lambda: all(now > then for now, then in zip(done, before, strict=True)), what="the load")  # noqa: B023


def test_what_was_dumped_is_there_on_another_server_under_another_id(server: RunningServer, unique_name: str, tmp_path: Path):
    tenant = server.admin().create_tenant(quota_bytes=1 << 24)
    client = server.client(tenant)
    client.install_all(SOURCE)
    made = {b"key %d" % number: os.urandom(number % 3000) for number in range(800)} | {os.urandom(255): os.urandom(65536)}
    made |= {b"large %d" % size: os.urandom(size) for size in (65537, 3 * limits.PART_BYTES, 1_000_000)}
    client.put_many(made.items(), table=3)
    client.put(b"for an hour", b"value", ttl=3600)
    file = tmp_path / "dump"
    status, said, complained = ended(splinter("dump", "-t", tenant.tenant, "-o", file, "-i", server.info.instance))
    assert (status, complained) == (0, "") and f"{len(made) + 1:,} objects, 1 extensions" in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob("dump.*")) == []
    with running_server(unique_name + "b", "udp", "--cores", "0") as another:
        where = ("-i", another.info.instance)
        status, said, complained = ended(splinter("restore", file, "--as", 9, *where))
        assert status == ExitStatus.REFUSED and "durability 'none'" in complained  # it has no data folder
        status, said, complained = ended(splinter("restore", file, "--as", 9, "--durability", "none", *where))
        assert status == 0 and f"{len(made) + 1:,} objects, 1 extensions" in complained
        token = int(said.split()[1], 16)
        told = another.admin().get_tenant(9, token=True)
        assert (said.split()[0], told.token, told.quota_bytes) == ("9", token, 1 << 24)
        restored = another.client(told)
        assert dict(zip(made, restored.multiget(made, table=3), strict=True)) == made
        assert 3000 < (restored.ttl(b"for an hour") or 0) <= 3601
        assert restored.invoke("swap", 0, 3) == 3
        again = found_in(another.admin().dump(9))
        assert len(again) == len(made) + 1 + 3
        status, _, complained = ended(splinter("restore", file, "--as", 9, *where))
        assert status == ExitStatus.REFUSED and "tenant 9 has objects" in complained
        restored.put(b"own", b"", table=7)
        assert ended(splinter("restore", file, "--as", 9, "--merge", *where))[0] == 0
        assert restored.get(b"own", table=7) == b""
        assert ended(splinter("restore", file, "--as", 9, "--replace", *where))[0] == 0
        assert restored.get(b"own", table=7) is None
        assert len(found_in(another.admin().dump(9))) == len(made) + 1


def test_large_values_that_are_replaced_meanwhile_come_whole_and_once(server: RunningServer):
    tenant = server.admin().create_tenant()
    client = server.client(tenant, timeout=20.0)
    values = [bytes([number]) * (70_000 + 50_000 * number) for number in range(5)] + [b"small", None]
    steady = {b"steady %d" % number: os.urandom(200_000) for number in range(20)}
    client.put_many(steady.items())
    done, ending = [0], threading.Event()

    def replace() -> None:
        writer = server.client(tenant, timeout=20.0)
        while not ending.is_set():
            value = values[done[0] % len(values)]
            if value is None:
                writer.delete(b"changing")
            else:
                writer.put(b"changing", value)
            done[0] += 1

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(DUMPS):
            before, parts = done[0], b""
            found: dict[bytes, bytes] = {}
            for record in DumpReader(server.admin().dump(tenant.tenant)):
                if isinstance(record, DumpedPart):
                    parts += record.value
                elif isinstance(record, DumpedObject):
                    assert record.key not in found
                    found[record.key], parts = (parts if record.length else record.value), b""
            assert found.pop(b"changing", None) in values
            assert found == steady
            wait_for(lambda: done[0] > before, what="the load")  # noqa: B023
    finally:
        ending.set()
        thread.join()


# --- what could still be lost ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(server: RunningServer, name: str) -> Iterator[None]:
    """A process of the server's stands still for the block."""
    (pid,) = server.children(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_is_not_on_the_disk_is_not_told(server: RunningServer):
    tenant = server.admin().create_tenant(durability="always")
    client = server.client(tenant)
    client.put(b"old", b"on the disk")
    with stopped(server, "splinter-disk"):
        with pytest.raises(RequestTimeoutError):
            client.put(b"new", b"not yet", timeout=0.3)
        status, said, complained = ended(splinter("dump", "-t", tenant.tenant, "-i", server.info.instance))
    assert status != 0 and '"new"' not in said and "disk does not catch up" in complained
    status, said, _ = ended(splinter("dump", "-t", tenant.tenant, "-i", server.info.instance))
    assert status == 0 and '"new"' in said and '"old"' in said


# --- who dies, who stops -----------------------------------------------------------------------------------------------------


@pytest.fixture
def plain(unique_name: str) -> Iterator[RunningServer]:
    with running_server(unique_name, "udp", "--cores", "0") as made:
        yield made


def filled(server: RunningServer, count: int = 3000) -> TenantInfo:
    tenant = server.admin().create_tenant()
    server.client(tenant).put_many((b"key %d" % number, bytes(600)) for number in range(count))
    return tenant


def test_a_dump_goes_on_with_the_successor_of_the_control_process(plain: RunningServer):
    tenant = filled(plain)
    pieces = iter(plain.admin().dump(tenant.tenant))
    got = [next(pieces), next(pieces)]
    (pid,) = plain.children("splinter-ctl")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: plain.children("splinter-ctl") not in ([], [pid]), what="the successor")
    found = found_in([*got, *pieces])
    assert len({one.key for one in found}) == len(found) == 3000


def test_a_dump_that_is_interrupted_leaves_nothing(plain: RunningServer, tmp_path: Path):
    tenant = filled(plain, 10)
    file = tmp_path / "dump"
    file.write_bytes(b"the one before")
    for number in (signal.SIGINT, signal.SIGTERM):
        with stopped(plain, "splinter-ctl"):
            run = splinter("dump", "-t", tenant.tenant, "-o", file, "-i", plain.info.instance)
            wait_for(lambda: len(list(tmp_path.iterdir())) == 2, what="the file that is being written")
            run.send_signal(number)
            status, said, complained = ended(run)
        assert (status, said, complained) == (128 + number, "", "")
        assert list(tmp_path.iterdir()) == [file] and file.read_bytes() == b"the one before"


def test_where_nothing_can_be_written(plain: RunningServer, tmp_path: Path):
    tenant = filled(plain, 10)
    where = ("dump", "-t", tenant.tenant, "-i", plain.info.instance)
    full_device = Path("/dev/full")
    with full_device.open("wb") as full:
        status, _, complained = ended(splinter(*where, stdout=full))
    assert status == ExitStatus.FAILED and "standard output: No space left on device" in complained
    status, _, complained = ended(splinter(*where, "-o", "/dev/full"))
    assert status == ExitStatus.FAILED and "No space left on device" in complained
    assert full_device.is_char_device()
    status, _, complained = ended(splinter(*where, "-o", tmp_path / "none" / "dump"))
    assert status == ExitStatus.FAILED and "No such file or directory" in complained
    run = splinter(*where)
    assert run.stdout is not None
    run.stdout.close()  # nobody reads
    assert run.wait(SECONDS) == ExitStatus.FAILED
    assert run.stderr is not None and run.stderr.read() == b""
    run.stderr.close()


def test_a_dump_that_is_cut_changes_nothing_from_a_file_and_is_told_from_a_pipe(plain: RunningServer, tmp_path: Path):
    tenant = filled(plain, 50)
    whole = b"".join(plain.admin().dump(tenant.tenant))
    where = ("--as", 9, "-i", plain.info.instance)
    file = tmp_path / "dump"
    file.write_bytes(whole[: len(whole) // 2])
    line = whole.count(b"\n", 0, len(whole) // 2) + 1
    status, said, complained = ended(splinter("restore", file, *where))
    assert (status, said) == (ExitStatus.DUMP, "") and f"line {line}: " in complained
    assert [one.tenant for one in plain.admin().list_tenants()] == [tenant.tenant]
    with file.open("rb") as opened, subprocess.Popen(["cat"], stdin=opened, stdout=subprocess.PIPE) as cat:
        status, said, complained = ended(splinter("restore", "-", *where, stdin=cat.stdout))
    assert (status, said) == (ExitStatus.DUMP, "")
    assert f"line {line}: " in complained and "what it did stays" in complained and "tenants 9" in complained
    file.write_bytes(whole)
    status, said, complained = ended(splinter("restore", file, *where, "--merge"))
    assert status == 0 and "50 objects" in complained
