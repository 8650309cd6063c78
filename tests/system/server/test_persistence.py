"""A store over XDP outlives its processes: every one of them is killed, and the next start goes on."""

from __future__ import annotations

import contextlib
import os
import platform
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pyroute2 import IPRoute

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.errors import RequestTimeoutError
from splinter.net.bpf import maps
from splinter.net.bpf.pins import PinFolder, folder_of, instances
from splinter.net.bpf.syscall import closed
from splinter.net.lab import Lab
from splinter.net.netns import inside
from splinter.server import instance as run_folders
from splinter.server.pinned import LAYOUT, LAYOUT_BYTES, LAYOUT_PIN, LINK_PIN
from splinter.testing.process import ServerProcess
from tests.support.bank import BANK
from tests.support.kill_all import kill_everything, processes, storm_of_all
from tests.support.kill_storm import MEMORY as STORM_MEMORY
from tests.support.servers import MEMORY, START_SECONDS, RunningServer, running_lab, serving, start_server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.xdp
KILLS, STORM_SECONDS_MAX = 5, 240.0
OBJECTS = 300
DEAD_SECONDS, TIMEOUT_SECONDS = 0.3, 60.0
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
READER = """
from splinter.ext import extension, Store, u64

@extension
def look(db: Store, key: u64) -> u64:
    found = db.get(1, key)
    if found is None:
        return u64(0)
    return found.u64(0)
"""
needs_tier = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernel's tier is for x86-64")
GOES_ON = "going on with the store that an earlier server left"


@pytest.fixture
def lab(unique_name: str) -> Iterator[Lab]:
    with running_lab(unique_name) as made:
        yield made


def program_on(lab: Lab) -> int:
    """The number of the XDP program on the server's device; 0: there is none."""
    with inside(lab.server.namespace), IPRoute() as route:
        (link,) = route.get_links(route.link_lookup(ifname=lab.server.device)[0])
        attribute = link.get_attr("IFLA_XDP")
        return int(attribute.get_attr("IFLA_XDP_PROG_ID") or 0) if attribute else 0


def fill(server: RunningServer) -> TenantInfo:
    """A tenant with objects, one that was deleted, an extension that ran."""
    tenant = server.admin().create_tenant(quota_bytes=8 << 20)
    client = server.client(tenant)
    for number in range(OBJECTS):
        client.put(b"key %d" % number, b"value %d" % number * 20)
    client.delete(b"key 7")
    client.install(EXTENSION)
    assert [client.invoke("bump", 5) for _ in range(3)] == [1, 2, 3]
    return tenant


def check(server: RunningServer, tenant: TenantInfo, bumps: int = 4) -> None:
    """All of it is there, under the same token, and can be changed."""
    client = server.client(tenant)
    for number in range(OBJECTS):
        assert client.get(b"key %d" % number) == (None if number == 7 else b"value %d" % number * 20)
    assert client.invoke("bump", 5) == bumps
    described = server.admin().list_tenants()
    assert [(each.tenant, each.quota_bytes) for each in described] == [(tenant.tenant, 8 << 20)]


def crash(server: RunningServer, order: str = "supervisor first") -> None:
    """Kill all processes; what the tests hold open of the server is closed with the next one."""
    kill_everything(server, order, random.Random(1))


def refused(name: str, lab: Lab, *options: str) -> str:
    """What a start says that must not come about."""
    command = [
        *(sys.executable, "-m", "splinter", "serve", "--instance", name, "--transport", "xdp", "--dev", lab.server.device),
        *("--netns", lab.server.namespace, *options),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


def purge(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "splinter", "purge", *options], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("order", ["supervisor first", "supervisor last"])
def test_everything_killed_and_the_next_start_goes_on(unique_name: str, lab: Lab, order: str) -> None:
    server = start_server(unique_name, lab)
    tenant = fill(server)
    before = program_on(lab)
    crash(server, order)
    assert program_on(lab) == before != 0  # it stays, and drops what nobody is there for
    with server.client(tenant, timeout=DEAD_SECONDS) as client, pytest.raises(RequestTimeoutError):
        client.put(b"key 1", b"nobody takes this")
    with serving(unique_name, lab, "--audit") as again:
        assert GOES_ON in again.started.said()
        assert program_on(lab) not in (0, before)  # swapped
        assert again.admin().stats()["xdp"]["no_socket"] > 0
        check(again, tenant)
        client = again.client(tenant)
        client.install(EXTENSION.replace("+ 1", "+ 10"))  # beside code that is there
        assert client.invoke("bump", 5) == 14
        again.admin().remove_tenant(tenant.tenant)
    assert program_on(lab) == 0
    assert unique_name not in instances()


def test_a_clean_stop_leaves_nothing_pinned(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    fill(server)
    assert folder_of(unique_name).is_dir()
    assert folder_of(unique_name).stat().st_mode & 0o777 == 0o700
    assert server.stop() == 0
    assert not folder_of(unique_name).exists()
    assert program_on(lab) == 0


def test_a_clean_stop_keeps_the_store_where_that_is_asked_for(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab, "--keep-store")
    tenant = fill(server)
    assert server.stop() == 0
    assert program_on(lab) != 0
    with serving(unique_name, lab, "--audit") as again:
        check(again, tenant)


def test_fresh_begins_with_an_empty_store(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    fill(server)
    crash(server)
    with serving(unique_name, lab, "--fresh") as again:
        assert GOES_ON not in again.started.said()
        assert again.admin().list_tenants() == []
        tenant = fill(again)
        crash(again)
        third = start_server(unique_name, lab)
        again.info, again.started = third.info, third.started
        check(again, tenant)


def test_another_store_is_refused_with_a_sentence_and_stays(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    tenant = fill(server)
    crash(server)
    for options, reason in (
        (("--memory", "128MiB"), "it has 64MiB of memory, not 128MiB"),
        (("--memory", MEMORY, "--cores", "0"), "it was made for 2 cores, not 1"),
    ):
        said = refused(unique_name, lab, *options)
        assert reason in said and "--fresh" in said and "splinter purge" in said
    assert "only '--transport xdp' goes on with" in refused(unique_name, lab, "--transport", "udp", "--memory", MEMORY)
    pins = PinFolder.take(unique_name)
    with closed(pins.open(LAYOUT_PIN)) as layout:
        kept = maps.lookup(layout, 0, LAYOUT_BYTES)
        changed = np.frombuffer(kept, LAYOUT).copy()
        changed["digest"] = np.void(bytes(32))
        changed["version"] = b"9.9.9"
        maps.update(layout, 0, changed.tobytes())
        pins.close()
        assert "it is Splinter 9.9.9's, which lays memory out in another way" in refused(unique_name, lab, "--memory", MEMORY)
        maps.update(layout, 0, kept)
    with serving(unique_name, lab, "--audit") as again:
        check(again, tenant)


def test_a_damaged_store_is_refused_and_purged(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    fill(server)
    crash(server)
    (folder_of(unique_name) / "accounts").unlink()
    said = refused(unique_name, lab, "--memory", MEMORY)
    assert "is damaged" in said and f"{unique_name}/accounts" in said and "splinter purge" in said
    run = purge("--instance", unique_name)
    assert run.returncode == 0 and f"instance {unique_name}: removed a store, its program" in run.stdout
    assert program_on(lab) == 0
    with serving(unique_name, lab) as again:
        assert again.admin().list_tenants() == []


def test_purge_leaves_a_living_server_alone_and_nothing_else(unique_name: str, lab: Lab) -> None:
    with serving(unique_name, lab) as server:
        tenant = fill(server)
        run = purge("--instance", unique_name)
        assert run.returncode == 7 and "running already" in run.stderr
        assert f"instance {unique_name}: its server runs" in purge("--all").stdout
        check(server, tenant)
        elsewhere = {**os.environ, "SPLINTER_RUN_DIR": str(run_folders.run_root() / (unique_name + "r"))}
        command = [sys.executable, "-m", "splinter", "purge", "--instance", unique_name]
        run = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=False)
        assert run.returncode == 1 and "perhaps with another run folder" in run.stderr
        check(server, tenant, bumps=5)
        crash(server)
        run = purge("--instance", unique_name)
        assert run.stdout == f"instance {unique_name}: removed a store, its program, its run folder\n"
        assert program_on(lab) == 0
        assert unique_name not in instances() and not run_folders.run_dir(unique_name).exists()
        assert purge("--instance", unique_name).stdout == f"instance {unique_name}: nothing is left of it\n"
        again = start_server(unique_name, lab)
        server.info, server.started = again.info, again.started


def test_a_device_that_is_another_one_is_served_all_the_same(unique_name: str) -> None:
    with running_lab(unique_name) as lab:
        server = start_server(unique_name, lab)
        tenant = fill(server)
        crash(server)
    with running_lab(unique_name) as lab, serving(unique_name, lab, "--audit") as again:
        check(again, tenant)
        assert program_on(lab) != 0


def test_without_a_bpffs_the_store_ends_with_the_server(
    unique_name: str, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLINTER_BPFFS", str(tmp_path))
    with serving(unique_name, lab) as server:
        said = server.started.said()
        assert f"the store ends with this server's processes, as it cannot be pinned: {tmp_path} is no mounted bpffs" in said
        fill(server)
        crash(server)
        wait_for(lambda: program_on(lab) == 0, what="the detaching")
        again = start_server(unique_name, lab)
        server.info, server.started = again.info, again.started
        assert server.admin().list_tenants() == []


def test_what_a_start_or_a_removal_left_half_done_is_no_store(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    fill(server)
    crash(server)
    pins = PinFolder.take(unique_name)
    with closed(pins.open(LAYOUT_PIN)) as layout:
        maps.update(layout, 0, bytes(LAYOUT_BYTES))
    pins.unpin("store_index")
    pins.close()
    with serving(unique_name, lab) as again:
        assert GOES_ON not in again.started.said()
        assert again.admin().list_tenants() == []
        assert LINK_PIN in {entry.name for entry in folder_of(unique_name).iterdir()}


def test_an_end_by_an_error_leaves_the_store(unique_name: str) -> None:
    with running_lab(unique_name) as lab:
        server = start_server(unique_name, lab, "--device-wait", "0")
        tenant = fill(server)
    assert server.process.wait(20) == 1
    assert "the server ends" in server.started.said()
    with running_lab(unique_name) as lab, serving(unique_name, lab, "--audit") as again:
        check(again, tenant)


def children_of(pid: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        return any(Path(f"/proc/{child}/comm").read_text().strip() == name for child in processes(pid))
    return False


def test_a_start_that_attaches_may_be_killed_at_any_time(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    tenant = fill(server)
    crash(server)
    before = program_on(lab)
    moments: list[Callable[[ServerProcess], bool]] = [
        lambda started: run_folders.is_running(unique_name),
        lambda started: GOES_ON in started.said(),
        lambda started: "transport:" in started.said(),
        lambda started: children_of(started.process.pid, "splinter-forker"),
        lambda started: children_of(started.process.pid, "splinter-w0"),
        lambda started: program_on(lab) != before,
        lambda started: children_of(started.process.pid, "splinter-ctl"),
    ]
    where = ("--memory", MEMORY, "--transport", "xdp", "--dev", lab.server.device, "--netns", lab.server.namespace)
    for is_now in moments:
        started = ServerProcess(unique_name, *where)
        wait_for(lambda started=started, is_now=is_now: is_now(started), START_SECONDS, "the moment")
        others = processes(started.process.pid)
        started.process.kill()
        started.process.wait()
        wait_for(lambda others=others: not any(Path(f"/proc/{pid}").exists() for pid in others), what="the end of all")
        started.forget()
        assert program_on(lab) != 0
    with serving(unique_name, lab, "--audit") as again:
        check(again, tenant)


@pytest.mark.parametrize("crew", [None, BANK], ids=["storm", "bank"])
def test_kill_all_under_load(unique_name: str, lab: Lab, crew: object) -> None:
    options = ("--memory", STORM_MEMORY)
    with serving(unique_name, lab, *options, module="tests.support.audited_serve") as server:
        crews = {} if crew is None else {"crew": crew}
        kills = KILLS if crew is None else 2
        verdict = storm_of_all(
            server, lab, options, kills, 1, STORM_SECONDS_MAX, module="tests.support.audited_serve", **crews
        )  # fmt: skip
    assert not verdict.findings, verdict
    assert verdict.tally.acknowledged
    assert len(verdict.outages) == verdict.kills


def test_a_start_right_behind_the_supervisors_death_waits_for_the_others(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    tenant = fill(server)
    os.kill(server.info.pid, signal.SIGKILL)
    with serving(unique_name, lab, "--audit") as again:
        check(again, tenant)
        server.process.wait(20)


def place_of(client: Client, name: str) -> str:
    (place,) = [extension.place for extension in client.extensions() if extension.name == name]
    return place


@needs_tier
def test_an_extension_in_the_kernel_runs_while_every_process_is_dead(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    tenant = fill(server)
    client = server.client(tenant, timeout=DEAD_SECONDS)
    client.install(READER)
    assert client.invoke("look", 5) == 3 and place_of(client, "look") == "kernel"
    kill_everything(server, "at random", random.Random(1))
    assert [client.invoke("look", key) for key in (5, 6) * 50] == [3, 0] * 50
    with serving(unique_name, lab, "--audit") as again:
        check(again, tenant)
        client = again.client(tenant)
        wait_for(lambda: place_of(client, "look") == "kernel", what="the program, loaded anew")
        assert client.invoke("look", 5) == 4


@needs_tier
def test_gets_are_answered_while_every_process_is_dead(unique_name: str, lab: Lab) -> None:
    server = start_server(unique_name, lab)
    tenant = fill(server)
    client = server.client(tenant, timeout=DEAD_SECONDS)
    assert client.get(b"key 1") is not None
    kill_everything(server, "at random", random.Random(1))
    for number in range(OBJECTS):
        assert client.get(b"key %d" % number) == (None if number == 7 else b"value %d" % number * 20)
    with serving(unique_name, lab, "--audit") as again:
        assert again.admin().stats()["xdp"]["kernel_hit"] >= OBJECTS - 1  # counted on over the restart
        check(again, tenant)


@needs_tier
def test_reads_in_the_kernel_go_on_while_a_start_recovers_and_takes_over(unique_name: str, lab: Lab) -> None:
    """A client asks without pause through a crash, the recovery and the change of programs; afterwards memory comes free."""
    server = start_server(unique_name, lab)
    tenant = fill(server)
    stop, wrong, asked = threading.Event(), [], [0]
    programs: set[int] = set()

    def ask() -> None:
        with server.client(tenant, timeout=TIMEOUT_SECONDS) as client:
            while not stop.is_set():
                number = asked[0] % OBJECTS
                if client.get(b"key %d" % number) != (None if number == 7 else b"value %d" % number * 20):
                    wrong.append(number)
                asked[0] += 1

    def look() -> None:
        while not stop.is_set():
            programs.add(program_on(lab))

    threads = [threading.Thread(target=ask), threading.Thread(target=look)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            wait_for(lambda before=asked[0]: asked[0] > before + OBJECTS, what="answers")
            crash(server, "at random")
            wait_for(lambda before=asked[0]: asked[0] > before + OBJECTS, what="answers while all are dead")
            again = start_server(unique_name, lab, "--audit")
            server.info, server.started = again.info, again.started
        wait_for(lambda before=asked[0]: asked[0] > before + OBJECTS, what="answers")
        # More than the store has is replaced: none of it can wait for an epoch that nobody leaves.
        client, value = server.client(tenant), bytes(60_000)
        for _ in range(2 * (64 << 20) // len(value)):
            client.put(b"large", value)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        assert server.stop() == 0
    assert not wrong
    assert len(programs) == 3 and 0 not in programs  # one took the place of the other
