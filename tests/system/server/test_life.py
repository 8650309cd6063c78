"""Start, stop, crash and company of servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from splinter.errors import ServerError
from splinter.net.lab import Lab
from splinter.net.netns import inside
from splinter.server import instance as instances
from tests.support.servers import running_lab, running_server, start_server
from tests.support.waiting import wait_for

IDLE_SECONDS = 2.0
IDLE_SHARE_MAX = 0.05


def xdp_attached(lab: Lab) -> bool:
    """Whether an XDP program is on the server's device."""
    with inside(lab.server.namespace), IPRoute() as route:
        (link,) = route.get_links(route.link_lookup(ifname=lab.server.device)[0])
        attribute = link.get_attr("IFLA_XDP")
        return bool(attribute and attribute.get_attr("IFLA_XDP_ATTACHED"))


@pytest.mark.xdp
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_detaches_and_leaves_nothing(unique_name: str, number: signal.Signals) -> None:
    with running_lab(unique_name) as lab:
        server = start_server(unique_name, lab)
        assert xdp_attached(lab)
        workers = server.worker_pids()
        assert server.stop(number) == 0
        assert not xdp_attached(lab)
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        assert not instances.run_dir(unique_name).exists()
        with pytest.raises(ServerError):
            instances.read(unique_name)


@pytest.mark.xdp
def test_crash_of_the_supervisor_leaves_the_program_and_the_next_start_works(unique_name: str) -> None:
    with running_lab(unique_name) as lab:
        server = start_server(unique_name, lab)
        workers = server.worker_pids()
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), what="the workers' end")
        assert xdp_attached(lab)  # as the store is there for the next start (test_persistence.py)
        with pytest.raises(ServerError):
            instances.read(unique_name)
        again = start_server(unique_name, lab)
        client = again.client(again.admin().create_tenant())
        client.put(b"k", b"v")
        assert client.get(b"k") == b"v"
        assert again.stop() == 0
        assert not xdp_attached(lab)


@pytest.mark.xdp
def test_two_servers_do_not_disturb_each_other(unique_name: str) -> None:
    with running_server(unique_name + "a", "xdp") as first, running_server(unique_name + "b", "xdp") as second:
        with running_server(unique_name + "c", "udp") as third:
            clients = []
            for server in (first, second, third):
                client = server.client(server.admin().create_tenant(7))
                client.put(b"who", server.info.instance.encode())
                clients.append(client)
            for server, client in zip((first, second, third), clients, strict=True):
                assert client.get(b"who") == server.info.instance.encode()
        first.kill_worker(0)
        for server, client in zip((first, second), clients[:2], strict=True):
            assert client.get(b"who") == server.info.instance.encode()


def test_a_test_kills_workers_that_live(unique_name: str) -> None:
    """One that has ended stays in the kernel's list until its supervisor asks how."""
    with running_server(unique_name, "udp") as server:
        first = wait_for(lambda: server.workers().get(0), what="the first")
        server.process.send_signal(signal.SIGSTOP)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: 0 not in server.workers(), what="the end of the first")
        server.process.send_signal(signal.SIGCONT)
        server.kill_worker(0)
        wait_for(lambda: server.admin().stats()["watchdog"]["died"] == 2, what="both deaths")


def test_the_same_instance_twice_is_refused(unique_name: str) -> None:
    with running_server(unique_name, "udp") as server:
        command = [sys.executable, "-m", "splinter", "serve", "--instance", unique_name, "--transport", "udp"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 7
        assert "running already" in second.stderr
        assert "Traceback" not in second.stderr
        assert server.client(server.admin().create_tenant()).ping() > 0


def test_a_port_in_use_is_refused(unique_name: str) -> None:
    with running_server(unique_name + "a", "udp") as server:
        command = [
            *(sys.executable, "-m", "splinter", "serve", "--instance", unique_name + "b", "--transport", "udp"),
            *("--port", str(server.info.port)),
        ]
        second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 7
        assert "Address already in use" in second.stderr
        assert not instances.run_dir(unique_name + "b").exists()


def cpu_seconds(pids: list[int]) -> float:
    """CPU time that processes have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("transport", [pytest.param("xdp", marks=pytest.mark.xdp), "udp"])
def test_idle_server_sleeps(unique_name: str, transport: str) -> None:
    """By counters, not by the clock: what an idle worker does is sleep in poll(), turn after turn."""
    with running_server(unique_name, transport) as server:
        admin = server.admin()
        client = server.client(admin.create_tenant())
        client.put(b"k", b"v")
        wait_for(lambda: all(w["state"] == "sleeping" for w in admin.stats()["workers"]), what="all workers asleep")
        before, first = cpu_seconds(server.worker_pids()), admin.stats()["workers"]
        wait_for(lambda: all(w["sleeps"] >= f["sleeps"] + 10 for w, f in zip(admin.stats()["workers"], first, strict=True)))
        used = cpu_seconds(server.worker_pids()) - before
        assert used < IDLE_SECONDS * IDLE_SHARE_MAX
        assert client.get(b"k") == b"v"


def test_the_supervisor_and_what_it_forks_have_one_thread(unique_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is forked has the memory of all threads, and one of them: a lock that another held would never be given back."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with running_server(unique_name, "udp", "--redis-port", "0") as server:
        pids = [server.info.pid, *server.worker_pids(), *server.children("splinter-forker"), *server.children("splinter-ctl")]
        assert {pid: len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids} == dict.fromkeys(pids, 1)


@pytest.mark.own_clock
@pytest.mark.parametrize("transport", [pytest.param("xdp", marks=pytest.mark.xdp), "udp"])
def test_a_machine_that_was_just_started_is_as_good_as_any(unique_name: str, transport: str) -> None:
    """Everything that reads a clock, with one that began a second before the server: no time before it is thought of."""
    with running_server(unique_name, transport, module="tests.support.young_machine") as server:
        admin = server.admin()
        plain, limited = admin.create_tenant(), admin.create_tenant(packets_per_second=1000)
        client, other = server.client(plain, timeout=10.0), server.client(limited, timeout=10.0)
        value = bytes(range(256)) * 100  # in fragments, which have an age
        for each in (client, other):
            each.put(b"k", value)
            assert each.get(b"k") == value
        client.install(
            "from splinter.ext import Store, extension, u64\n@extension\ndef age(db: Store) -> u64:\n    return db.now_ns()\n"
        )
        assert 0 < client.invoke("age") < time.monotonic_ns()
        before = server.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(server.worker_pids()) == len(before) and server.worker_pids() != before, what="the successor")
        assert client.get(b"k") == other.get(b"k") == value
        assert all(
            worker["heartbeat_age_ms"] is None or worker["heartbeat_age_ms"] < 60_000 for worker in admin.stats()["workers"]
        )
