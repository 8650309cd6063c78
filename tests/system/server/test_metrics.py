"""The metrics endpoint of a real server: what it tells is what was done, and whatever happens to it, nobody is held up."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from splinter.cli.exit_status import ExitStatus
from splinter.client import Client
from splinter.errors import ControlError, SplinterError
from splinter.server.metrics.table import METRICS
from tests.support.scrape import Scrape, fetch, scrape, scrape_until
from tests.support.servers import RunningServer, running_server, start_server
from tests.support.waiting import WAIT_SECONDS, wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
OPTIONS = ("--metrics", ":0", "--cores", "0,1", "--no-steal", "--no-balance")
UNIT = Path(__file__).resolve().parents[3] / "contrib/splinter-xdp@.service"
DURATION = "splinter_request_duration_seconds"
FOREIGN = "größe_名前"
HOSTILE = 'a"b\\\n{tenant="1"} 5\n# EOF\nü'
SILENT_SCRAPERS = 40
SOURCE = """
from splinter.ext import extension, Store, u64

@extension
def count(db: Store, n: u64) -> u64:
    i = 0
    while i < n:
        i += 1
        yield
    return i
"""


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}x31{request.param}", request.param, *OPTIONS, "--kernel-tier", "off") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Client:
    return server.client(server.admin().create_tenant())


def url_of(server: RunningServer) -> str:
    assert server.info.metrics is not None
    return server.info.metrics


def sockets_of(pid: int) -> list[Path]:
    """The descriptors of a process that are sockets, without its standard streams."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if int(path.name) > 2 and path.readlink().name.startswith("socket:"):
                found.append(path)
    return found


def require_nobody(pid: int) -> None:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert set(status["Uid"].split() + status["Gid"].split()) == {"65534"}
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert (status["Groups"].strip(), status["NoNewPrivs"]) == ("", "1")


def counts(found: Scrape) -> dict[str, float]:
    """Requests that were timed, by kind."""
    kinds = {labels["kind"] for labels in found.labels(f"{DURATION}_count")}
    return {kind: found.sum(f"{DURATION}_count", kind=kind) for kind in kinds}


def test_every_kind_of_request_is_counted_and_timed(server: RunningServer, client: Client) -> None:
    url = url_of(server)
    before = scrape(url)
    client.install(SOURCE)
    for number in range(5):
        client.put(b"key", b"%d" % number)
        client.get(b"key")
        client.expire(b"key", 100)
        client.ttl(b"key")
        client.multiget([b"key", b"other"])
        client.invoke("count", n=0)  # at once
        client.invoke("count", n=3)  # goes on later
        client.delete(b"key")
    with client.transaction() as transaction:
        transaction.put(b"key", b"value")
    wanted = dict.fromkeys(("put", "get", "expire", "ttl", "multiget", "delete"), 5) | {"invoke": 10, "transact": 1}

    def are_there(found: Scrape) -> bool:
        timed, were = counts(found), counts(before)
        return all(timed.get(kind, 0) - were.get(kind, 0) >= count for kind, count in wanted.items())

    after = scrape_until(url, are_there, "all kinds")
    for kind in wanted:
        taken = after.sum("splinter_requests_total", kind=kind) - before.sum("splinter_requests_total", kind=kind)
        timed = counts(after)[kind] - counts(before).get(kind, 0)
        assert wanted[kind] <= timed <= taken
        assert after.sum(f"{DURATION}_bucket", kind=kind, le="+Inf") == counts(after)[kind]
        assert after.sum(f"{DURATION}_sum", kind=kind) > 0
    assert after.sum("splinter_task_yields_total") - before.sum("splinter_task_yields_total") >= 15


def test_what_it_tells_is_what_stats_tells(server: RunningServer, client: Client) -> None:
    for _ in range(3):
        client.get(b"nothing")
    stats = server.admin().stats()
    gets = sum(worker["requests"]["get"] for worker in stats["workers"])
    found = scrape_until(url_of(server), lambda each: each.sum("splinter_requests_total", kind="get") >= gets)
    assert found.sum("splinter_requests_total", kind="get") == gets
    assert found.sum("splinter_tenants") == stats["control"]["tenants"]
    assert found.sum("splinter_info", transport=server.info.transport) == 1


def test_the_time_that_a_worker_sleeps_is_no_latency(server: RunningServer, client: Client) -> None:
    admin, url = server.admin(), url_of(server)
    client.get(b"key")
    before = scrape_until(url, lambda found: "get" in counts(found))
    start = time.monotonic()
    for _ in range(20):
        wait_for(lambda: all(worker["state"] == "sleeping" for worker in admin.stats()["workers"]), what="sleep")
        client.get(b"key")
    elapsed = time.monotonic() - start
    after = scrape_until(url, lambda found: counts(found)["get"] >= counts(before)["get"] + 20)
    for name in (f"{DURATION}_sum", "splinter_worker_busy_seconds_total"):
        assert after.sum(name) - before.sum(name) < elapsed / 2, name


def test_a_name_of_an_extension_is_a_label_and_nothing_else(server: RunningServer) -> None:
    tenant = server.admin().create_tenant()
    client = server.client(tenant)
    with pytest.raises(ControlError):  # the first wall; that the library escapes is a unit test's
        client.install(SOURCE, name=HOSTILE)
    client.install(SOURCE, name=FOREIGN)
    client.invoke(FOREIGN, n=0)
    name, labels = "splinter_extension_invocations_total", {"extension": FOREIGN, "tenant": str(tenant.tenant)}
    found = scrape_until(url_of(server), lambda each: each.sum(name, **labels) >= 1)
    assert labels in found.labels(name)
    text = fetch(url_of(server))
    assert text.count("# EOF\n") == 1 and text.endswith("# EOF\n")


def test_drops_are_told_by_reason(server: RunningServer) -> None:
    tenant = server.admin().create_tenant()
    where = {"port": server.info.port, "netns": server.info.client_netns}
    stranger = Client(server.info.address, tenant.tenant, tenant.token ^ 1, timeout=0.2, **where)
    with closing(stranger), pytest.raises(SplinterError):
        stranger.get(b"key")
    scrape_until(url_of(server), lambda found: found.sum("splinter_dropped_packets_total", reason="wrong_token") >= 1)


def test_the_process_has_nothing_but_what_it_needs(server: RunningServer) -> None:
    scrape_until(url_of(server), lambda found: found.sum("splinter_up") == 1)
    (pid,) = server.children("splinter-stats")
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "memfd:" not in maps and "anon_inode" not in maps and " rw-s " not in maps
    assert "numba" not in maps and "llvmlite" not in maps
    # The scraper hears the end of its answer before its connection is closed here.
    wait_for(lambda: len(sockets_of(pid)) == 2, what="two sockets and no more")
    if os.geteuid() == 0:
        require_nobody(pid)


def test_when_it_dies_another_one_goes_on_and_nobody_notices(server: RunningServer, client: Client) -> None:
    (pid,) = wait_for(lambda: server.children("splinter-stats"), what="the metrics process")
    workers, control = server.workers(), server.children("splinter-ctl")
    os.kill(pid, signal.SIGKILL)
    client.put(b"key", b"value")
    assert client.get(b"key") == b"value"
    wait_for(lambda: server.children("splinter-stats") not in ([], [pid]), what="a successor")
    assert scrape(url_of(server)).sum("splinter_up") == 1
    assert (server.workers(), server.children("splinter-ctl")) == (workers, control)


def test_without_the_control_process_it_says_so_and_requests_are_served(server: RunningServer, client: Client) -> None:
    (control,) = server.children("splinter-ctl")
    os.kill(control, signal.SIGSTOP)
    try:
        silent = scrape_until(url_of(server), lambda found: found.sum("splinter_up") == 0, "its silence")
        assert silent.names == {"splinter_up"}
        client.put(b"key", b"value")
        assert client.get(b"key") == b"value"
    finally:
        os.kill(control, signal.SIGCONT)
    scrape_until(url_of(server), lambda found: found.sum("splinter_up") == 1, "its answer")
    os.kill(control, signal.SIGKILL)
    wait_for(lambda: server.children("splinter-ctl") not in ([], [control]), what="another control process")
    scrape_until(url_of(server), lambda found: found.sum("splinter_up") == 1, "its successor's answer")


def test_silent_scrapers_hold_up_nobody(server: RunningServer, client: Client) -> None:
    address, port = url_of(server).removeprefix("http://").removesuffix("/metrics").split(":")
    silent = [socket.create_connection((address, int(port)), timeout=WAIT_SECONDS) for _ in range(SILENT_SCRAPERS)]
    try:
        for connection in silent:
            connection.sendall(b"GET /metrics HTTP/1.0\r\nX-Half: ")
        assert scrape(url_of(server)).sum("splinter_up") == 1
        client.put(b"key", b"value")
        assert client.get(b"key") == b"value"
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.xdp
def test_what_the_driver_answers_is_counted_and_all_metrics_are_told(unique_name: str, tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "data"), "--durability", "always")
    with running_server(unique_name, "xdp", *OPTIONS, *options) as server:
        client = server.client(server.admin().create_tenant())
        client.put(b"key", b"value")
        wait_for(lambda: client.get(b"key") == b"value" and server.admin().stats()["xdp"]["kernel_hit"] > 0, what="the driver")
        client.install(SOURCE)
        client.invoke("count", n=0)
        found = scrape_until(url_of(server), lambda each: each.sum("splinter_extension_invocations_total") >= 1)
        assert found.sum("splinter_kernel_answers_total", answer="hit") >= 1
        assert found.sum("splinter_kernel_gets_total") >= 1
        assert found.sum(f"{DURATION}_count", kind="put") >= 1  # it waited for the disk
        names = {name.removesuffix("_count").removesuffix("_bucket").removesuffix("_sum") for name in found.names}
        only_sometimes = {  # over UDP; after a death, a snapshot, a flood
            "splinter_receive_queue_bytes", "splinter_worker_replacement_seconds_max", "splinter_snapshot_age_seconds",
            "splinter_tenant_rate_limited_packets_total", "splinter_worker_heartbeat_age_seconds",
        }  # fmt: skip
        assert {metric.full_name for metric in METRICS} - names - only_sometimes == set()


def test_tenants_beyond_the_most_are_summed(unique_name: str) -> None:
    with running_server(unique_name, "udp", *OPTIONS, "--metrics-most", "1") as server:
        url, name = url_of(server), "splinter_tenant_requests_total"
        busy, other = (server.admin().create_tenant() for _ in range(2))
        clients = server.client(busy), server.client(other)
        scrape_until(url, lambda found: found.labels(name) == [{"tenant": "others"}])

        def are_told_apart(found: Scrape) -> bool:
            # Who used most time is told. A worker that loses its CPU in a request makes that request's tenant the one.
            for client, count in zip(clients, (200, 7), strict=True):
                for _ in range(count):
                    client.get(b"key")
            tenants = {labels["tenant"] for labels in found.labels(name)}
            assert len(tenants) <= 2 and "others" in tenants
            return str(busy.tenant) in tenants and found.sum(name, tenant="others") >= 7

        scrape_until(url, are_told_apart, "the tenant that does more")


def serve(instance: str, *options: str, program: str = "") -> subprocess.CompletedProcess[str]:
    command = [program] if program else [sys.executable, "-m", "splinter"]
    words = [*command, "serve", "-i", instance, "--transport", "udp", "--memory", "64MiB", "--port", "0", *options]
    return subprocess.run(words, capture_output=True, text=True, timeout=WAIT_SECONDS * 4, check=False)


# To become somebody else is root's; CI, which has root, takes this skip for a failure.
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_root_it_becomes_nobody_or_the_server_does_not_start(unique_name: str, tmp_path: Path) -> None:
    """With no more capabilities than the unit of a server by XDP has, and with one less."""
    (line,) = re.findall(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.MULTILINE)
    permitted = line.lower().replace("cap_", "").split()
    program = tmp_path / "bounded"

    def permit(names: list[str]) -> None:
        bounds = ",+".join(["-all", *names])
        command = f"setpriv --no-new-privs --bounding-set {bounds} {sys.executable} -m splinter"
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o700)

    permit(permitted)
    server = start_server(unique_name, None, *OPTIONS, program=program)
    try:
        scrape_until(url_of(server), lambda found: found.sum("splinter_up") == 1)
        (pid,) = server.children("splinter-stats")
        require_nobody(pid)
    finally:
        assert server.stop() == 0
        server.started.forget()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the metrics process")
    for name in ("kill", "setgid", "setuid"):
        permit([each for each in permitted if each != name])
        done = serve(unique_name, "--metrics", "127.0.0.1:0", program=str(program))
        assert done.returncode == ExitStatus.NOT_PERMITTED.value
        assert f"cannot become nobody without CAP_{name.upper()}: permit it" in done.stderr


def test_an_address_that_is_taken_is_told_at_the_start(unique_name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = "{}:{}".format(*taken.getsockname())
        done = serve(unique_name, "--metrics", where)
    assert done.returncode == ExitStatus.IN_USE.value
    assert f"cannot serve metrics on {where}: Address already in use" in done.stderr


@pytest.mark.parametrize("address", ["9464", "localhost:9464", "127.0.0.1:70000", "127.0.0.1:", "[::1]:9464"])
def test_what_is_no_address_is_told_at_the_start(unique_name: str, address: str) -> None:
    done = serve(unique_name, "--metrics", address)
    assert done.returncode == ExitStatus.CONFIGURATION.value
    assert "is not" in done.stderr
