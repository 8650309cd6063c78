"""A server whose kernel runs extensions: the same replies as its workers', by whoever; where each is placed, and moved away."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator

import pytest

from splinter.client import Client
from splinter.errors import CompileError, ExtensionRuntimeError
from splinter.ext import library
from splinter.net.xdp.extensions import KEPT_BYTES
from tests.support.kill_all import kill_everything
from tests.support.servers import RunningServer, running_lab, running_server, start_server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.xdp

KEYS = 50
READ = """
@extension{place}
def {name}(db: Store, x: u64, b: bytes) -> bytes:
    v = db.get(1, x)
    assert x != 13
    return b if v is None else v
"""
WRITES = "@extension\ndef w(db: Store, x: u64) -> u64:\n    y = x\n    db.put(1, y, y)\n    return y\n"


def read(name: str, place: str = "") -> str:
    """The source of an extension."""
    return READ.format(name=name, place=f"(place={place!r})" if place else "")


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}tierext") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Client:
    (tenant,) = server.admin().create_tenants(1)
    return server.client(tenant)


def ran(server: RunningServer) -> int:
    """Invokes that the kernel has answered."""
    return int(server.admin().stats()["xdp"]["kernel_run"])


def test_the_kernel_runs_what_only_reads(server: RunningServer, client: Client) -> None:
    info = client.install(library.entry("scan").sources["scan"])
    assert (info.place, info.worker_reason) == ("kernel", "")
    for number in range(KEYS):
        client.put(number, ((number * 7 + 3) % KEYS).to_bytes(8, "little"), table=1)
    before = ran(server)
    for start in range(20):
        expected = start
        for _ in range(8):
            expected = (expected * 7 + 3) % KEYS
        assert client.invoke("scan", 1, start, 8) == expected
    assert ran(server) - before >= 19
    (listed,) = client.extensions()
    assert listed.in_kernel >= 19 and listed.invocations == 20


def test_both_places_give_the_same(server: RunningServer, client: Client) -> None:
    assert client.install(read("k")).place == "kernel"
    assert client.install(read("w", "worker")).worker_reason == "its author placed it there"
    for number in range(0, 200, 20):
        client.put(number, bytes(number), table=1)
    for number in (*range(0, 200, 10), 13):
        outcomes = []
        for name in ("k", "w"):
            try:
                outcomes.append(client.invoke(name, number, b"nothing"))
            except ExtensionRuntimeError as error:
                outcomes.append(str(error).replace(name, "?"))
        assert outcomes[0] == outcomes[1]


def test_what_cannot_be_there_is_told(client: Client) -> None:
    info = client.install(WRITES)
    assert (info.place, info.worker_reason) == ("worker", "line 4: it writes, and in the kernel extensions only read")
    with pytest.raises(CompileError, match="cannot run in the kernel: it writes"):
        client.install(WRITES.replace("@extension", "@extension(place='kernel')"))
    assert client.install(read("k", "kernel")).place == "kernel"


def test_a_replacement_takes_its_place_at_once(server: RunningServer, client: Client) -> None:
    source = "@extension\ndef f(db: Store) -> u64:\n    return {}\n"
    for number in range(20):
        client.install(source.format(number))
        before = ran(server)
        assert [client.invoke("f") for _ in range(5)] == [number] * 5
        assert ran(server) > before
    client.install("@extension\ndef f(db: Store) -> u64:\n    db.put(1, 1, 1)\n    return 99\n")
    before = ran(server)
    assert [client.invoke("f") for _ in range(5)] == [99] * 5
    assert ran(server) == before


def test_replacing_under_load_never_gives_a_result_of_nobody(server: RunningServer) -> None:
    """Two tenants whose extensions are replaced all the time, each with numbers of its own."""
    tenants = server.admin().create_tenants(2)
    stop, failures = threading.Event(), list[BaseException]()

    def ask(number: int) -> None:
        try:
            with Client(
                server.info.address, tenants[number].tenant, tenants[number].token,
                port=server.info.port, netns=server.info.client_netns,
            ) as one:  # fmt: skip
                least = 0
                while not stop.is_set():
                    told = one.invoke("f")
                    assert told % 2 == number and told >= least
                    least = told
        except BaseException as error:
            failures.append(error)

    source = "@extension\ndef f(db: Store) -> u64:\n    return {}\n"
    clients = [server.client(tenant) for tenant in tenants]
    for number, one in enumerate(clients):
        one.install(source.format(number))
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for version in range(1, 40):
        for number, one in enumerate(clients):
            one.install(source.format(2 * version + number))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_an_uninstalled_extension_is_gone(client: Client) -> None:
    client.install(read("k"))
    assert client.invoke("k", 5, b"x") == b"x"
    client.uninstall("k")
    with pytest.raises(Exception, match="no extension"):
        client.invoke("k", 5, b"x")


def test_the_kernel_runs_on_without_a_process_and_a_later_server_goes_on(unique_name: str) -> None:
    with running_lab(unique_name) as lab:
        server = start_server(unique_name, lab)
        (tenant,) = server.admin().create_tenants(1)
        client = server.client(tenant)
        client.install(read("k"))
        client.put(5, b"five", table=1)
        assert client.invoke("k", 5, b"x") == b"five"
        charged = server.admin().get_tenant(tenant.tenant).code_bytes
        kill_everything(server, "supervisor first", random.Random(1))
        assert [client.invoke("k", 5, b"x") for _ in range(100)] == [b"five"] * 100
        server.started.forget()
        server = start_server(unique_name, lab)
        assert server.admin().get_tenant(tenant.tenant).code_bytes == charged > KEPT_BYTES
        again = server.client(tenant)
        wait_for(lambda: again.extensions()[0].place == "kernel", 30, "the extension's program")
        before = ran(server)
        assert [again.invoke("k", number, b"x") for number in (5, 6, 5)] == [b"five", b"x", b"five"]
        assert ran(server) - before == 3
        with pytest.raises(ExtensionRuntimeError):  # which a worker of the new server says
            again.invoke("k", 13, b"x")
        assert server.admin().get_tenant(tenant.tenant).code_bytes == charged
        again.uninstall("k")
        assert server.admin().get_tenant(tenant.tenant).code_bytes == 0
