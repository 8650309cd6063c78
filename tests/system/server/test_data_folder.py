"""What a data folder keeps beside objects: tenants, tokens and extensions are there again, whatever ended the server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splinter.client.admin import TenantInfo
from splinter.durable.catalog import Catalog
from splinter.errors import PermissionDeniedError, ServerError
from splinter.testing.process import free_port
from tests.support.servers import RunningServer, running_lab, start_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
ENDS = [signal.SIGTERM, signal.SIGKILL]
PAIR = """
from splinter.ext import extension, Store, u64

@extension
def one(db: Store) -> u64:
    return 1

@extension
def two(db: Store) -> u64:
    return 2
"""
LATER = PAIR.replace("return 1", "return 11")


class Servers:
    """Servers of one instance and folder, one after the other."""

    def __init__(self, name: str, lab: object, folder: Path) -> None:
        self._name, self._lab, self.folder = name, lab, folder
        self.running: RunningServer | None = None
        self._earlier: list[RunningServer] = []

    def start(self, *options: str) -> RunningServer:
        """Start one on the folder."""
        self.running = start_server(self._name, self._lab, "--data", str(self.folder), *options)  # type: ignore[arg-type]
        self._earlier.append(self.running)
        return self.running

    def end(self, number: int) -> None:
        """End it by a signal, and wait until it is gone."""
        assert self.running is not None
        workers = self.running.worker_pids()
        assert self.running.stop(number) == (0 if number == signal.SIGTERM else -number)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), what="the workers' end")
        self.running = None

    def close(self) -> None:
        """End the last one, and forget what they said."""
        if self.running is not None:
            self.running.stop(signal.SIGTERM)
        for server in self._earlier:
            server.started.forget()


@pytest.fixture(params=TRANSPORTS)
def servers(request: pytest.FixtureRequest, unique_name: str, tmp_path: Path) -> Iterator[Servers]:
    if request.param == "udp":
        made = Servers(unique_name, None, tmp_path / "data")
        yield made
        made.close()
        return
    with running_lab(unique_name) as lab:
        made = Servers(unique_name, lab, tmp_path / "data")
        yield made
        made.close()


def known(server: RunningServer, tenant: int) -> TenantInfo:
    """What does not depend on use."""
    info = server.admin().get_tenant(tenant, token=True)
    return replace(info, bytes_used=0, code_bytes=0, objects=0, clients=0, staged_bytes=0, packets_dropped=0)


@pytest.mark.parametrize("number", ENDS)
def test_tenants_and_extensions_are_there_again(servers: Servers, number: int) -> None:
    server = servers.start()
    admin = server.admin()
    plain = admin.create_tenant(7, quota_bytes=8 << 20, home=0, task_yields_max=9, packets_per_second=10**6, durability="none")
    chosen = admin.create_tenant(8, token="00000000000000ff")
    gone = admin.create_tenant(9)
    admin.remove_tenant(9)
    admin.limit_tenant(7, durability="always", quota_bytes=9 << 20)
    rotated = admin.rotate_token(8)
    client = server.client(plain)
    client.install_all(PAIR)
    client.install(LATER, name="one")
    server.client(rotated).install(PAIR, name="two")
    client.install(PAIR, name="two")
    client.uninstall("two")
    before = {tenant: known(server, tenant) for tenant in (7, 8)}
    assert before[7].durability == "always" and before[8].durability == "interval"
    servers.end(number)

    again = servers.start()
    assert {tenant: known(again, tenant) for tenant in (7, 8)} == before
    assert [(each["what"], each["name"], each["version"]) for each in again.client(plain).extension_history()] == [
        ("installed", "one", 1), ("installed", "two", 1), ("installed", "one", 2), ("installed", "two", 2),
        ("uninstalled", "two", 2),
    ]  # fmt: skip
    assert [info.tenant for info in again.admin().list_tenants()] == [7, 8]
    client = again.client(plain)
    assert client.invoke("one") == 11
    assert [(info.name, info.version) for info in client.extensions()] == [("one", 2)]
    for tenant in (chosen, rotated):  # the change of the token goes on
        assert again.client(tenant).invoke("two") == 2
    again.admin().finish_rotation(8)
    client.install(PAIR, name="one")
    assert [(info.name, info.version) for info in client.extensions()] == [("one", 3)]
    reborn = again.admin().create_tenant(9)
    servers.end(number)

    third = servers.start()
    with pytest.raises(PermissionDeniedError):
        third.client(chosen).extensions()
    assert third.client(rotated).invoke("two") == 2
    assert third.client(plain).invoke("one") == 1
    assert third.client(reborn).ping() > 0 and reborn.token != gone.token
    servers.end(signal.SIGTERM)
    catalog = Catalog(servers.folder / "splinter.db")
    assert [(row.id, row.generation) for row in catalog.tenants()] == [(7, 1), (8, 1), (9, 2)]
    assert [(event.name, event.version, event.what) for event in catalog.history(7)] == [
        ("one", 1, "installed"), ("two", 1, "installed"), ("one", 2, "installed"), ("two", 2, "installed"),
        ("two", 2, "uninstalled"), ("one", 3, "installed"),
    ]  # fmt: skip


def test_a_folder_serves_all_tenants_with_another_number_of_cores(servers: Servers) -> None:
    server = servers.start("--cores", "0,1")
    admin = server.admin()
    tenants = [admin.create_tenant(number, home=1 if number == 8 else None) for number in range(5, 9)]
    assert [tenant.home for tenant in tenants] == [1, 0, 1, 1]
    for cores, homes in [("0", [0, 0, 0, 0]), ("0,1", [1, 0, 1, 1])]:
        servers.end(signal.SIGTERM)
        server = servers.start("--cores", cores)
        assert [info.home for info in server.admin().list_tenants()] == homes
        assert ("the home that was chosen for tenant 8" in server.started.said()) == (cores == "0")
        for tenant in tenants:
            server.client(tenant).put(b"key", cores.encode())
            assert server.client(tenant).get(b"key") == cores.encode()


@pytest.mark.parametrize("servers", ["udp"], indirect=True)
def test_what_cannot_be_compiled_any_more_is_listed_and_stops_nothing(servers: Servers) -> None:
    server = servers.start()
    tenant = server.admin().create_tenant(7)
    server.client(tenant).install_all(PAIR)
    servers.end(signal.SIGTERM)
    catalog = Catalog(servers.folder / "splinter.db")
    (row,) = (row for row in catalog.extensions() if row.name == "one")
    with catalog.installing(replace(row, source="this is no extension", version=4)):
        pass
    catalog.close()

    again = servers.start()
    client = again.client(tenant)
    one, two = client.extensions()
    assert (one.name, one.version, one.place, str(one.signature)) == ("one", 4, "none", "one() -> u64") and one.not_runnable
    assert (two.name, two.not_runnable) == ("two", "") and client.invoke("two") == 2
    assert "extension 'one' of tenant 7 is kept, and cannot be run" in again.started.said()
    client.install(LATER, name="one")
    assert [(info.name, info.version, info.not_runnable) for info in client.extensions()] == [("one", 5, ""), ("two", 1, "")]
    assert client.invoke("one") == 11


def refused(folder: Path, *options: str) -> str:
    """What a server says that cannot start."""
    command = [sys.executable, "-m", "splinter", "serve", "--instance", f"refused{os.getpid()}", "--transport", "udp"]
    command += ["--address", "127.0.0.1", "--port", str(free_port()), "--memory", "64MiB", "--data", str(folder), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 10 and "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("servers", ["udp"], indirect=True)
def test_damaged_code_is_compiled_again(servers: Servers) -> None:
    server = servers.start()
    tenant = server.admin().create_tenant(7)
    server.client(tenant).install_all(PAIR)
    servers.end(signal.SIGKILL)
    (code,) = (servers.folder / "code").iterdir()
    whole = code.read_bytes()
    again = servers.start()
    assert again.client(tenant).invoke("two") == 2 and "compiled again" not in again.started.said()
    servers.end(signal.SIGTERM)
    code.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    third = servers.start()
    assert third.client(tenant).invoke("two") == 2 and "compiled again" in third.started.said()
    assert code.read_bytes() == whole


@pytest.mark.parametrize("servers", ["udp"], indirect=True)
def test_a_second_server_is_refused_and_a_damaged_folder_too(servers: Servers) -> None:
    server = servers.start()
    server.admin().create_tenant(7)
    other = server.admin().create_tenant(8)
    server.client(other).put(b"key", b"value")
    assert f"in use by another server (pid {server.info.pid})" in refused(servers.folder)
    servers.end(signal.SIGTERM)
    path = servers.folder / "splinter.db"
    whole = path.read_bytes()
    place = whole.rindex(b'"id": 7')
    path.write_bytes(whole[: place + 6] + b"6" + whole[place + 7 :])
    assert "tenant 7 is not what was written there" in refused(servers.folder)
    salvaged = servers.start("--salvage")
    assert "left out of the catalog: tenant 7, with its objects" in salvaged.started.said()
    assert [info.tenant for info in salvaged.admin().list_tenants()] == [8]
    assert salvaged.client(other).get(b"key") == b"value"
    salvaged.client(salvaged.admin().create_tenant(7)).put(b"key", b"another")
    servers.end(signal.SIGTERM)
    path.write_bytes(b"x" * len(whole))
    assert "file is not a database" in refused(servers.folder)


@pytest.mark.xdp
@pytest.mark.parametrize("servers", TRANSPORTS[:1], indirect=True)
def test_a_copy_from_before_is_not_taken_for_the_folder_whose_store_was_left(servers: Servers) -> None:
    """It was made after a crash. Its log has a gap where the store went on with the folder itself."""
    server = servers.start()
    tenant, copy, whole = server.admin().create_tenant(7, durability="always"), servers.folder.with_name("copy"), servers.folder
    server.client(tenant).put(b"key", b"before")
    servers.end(signal.SIGKILL)
    shutil.copytree(whole, copy)
    server = servers.start()
    assert server.client(tenant).get(b"key") == b"before"
    server.client(tenant).put(b"key", b"later")
    servers.end(signal.SIGKILL)
    servers.folder = copy
    with pytest.raises(ServerError, match="is not the one whose changes are in"):
        servers.start()
    servers.folder = whole
    assert servers.start().client(tenant).get(b"key") == b"later"


def test_settings_of_a_folder_without_one_are_refused() -> None:
    from splinter.server.config import ServerConfig

    for setting in ({"durability": "always"}, {"salvage": True}):
        with pytest.raises(ServerError, match="needs a data folder"):
            ServerConfig.load(None, **setting)
