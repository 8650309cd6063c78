"""What starts a server is told how it does: readiness by ``splinter ping`` and sd_notify, a port that the kernel chose."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from splinter import limits
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo
from splinter.testing.process import ServerProcess, free_port
from splinter.wire import Header, Opcode
from tests.support.raw import RawSocket
from tests.support.servers import MEMORY, PATIENT_MS, START_SECONDS, running_lab, running_server
from tests.support.waiting import wait_for

UDP = ("--transport", "udp", "--address", "127.0.0.1", "--memory", MEMORY, "--watchdog-ms", str(PATIENT_MS))
BEAT_USEC = 300_000


def ping(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "splinter", "ping", *arguments]
    told = os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False, env=told)


@pytest.mark.parametrize("transport", ["udp", pytest.param("xdp", marks=pytest.mark.xdp)])
def test_ping_asks_control_and_a_worker(unique_name: str, transport: str) -> None:
    with running_server(unique_name, transport) as server:
        with_none = ping("-i", unique_name)
        assert (with_none.returncode, "requests in" in with_none.stdout) == (0, True), with_none.stderr
        assert server.admin().list_tenants() == []
        tenant = server.admin().create_tenant()
        assert ping("-i", unique_name).returncode == 0
        where = f"{server.info.address}:{server.info.port}"
        if transport == "udp":
            elsewhere = ping("-a", where, "-t", str(tenant.tenant), SPLINTER_TOKEN=f"{tenant.token:x}")
            assert elsewhere.returncode == 0, elsewhere.stderr
            assert ping("-a", where, "-t", str(tenant.tenant), SPLINTER_TOKEN=f"{tenant.token ^ 1:x}").returncode != 0
        for slot in range(len(server.info.cores)):
            server.kill_worker(slot)
        assert ping("-i", unique_name, "--wait", "--timeout", "30").returncode == 0


def test_a_tenant_that_is_over_its_limit_says_nothing_of_the_server(unique_name: str) -> None:
    with running_server(unique_name, "udp") as server:
        limited = [server.admin().create_tenant(packets_per_second=1) for _ in range(2)]
        is_over, raw = threading.Event(), RawSocket(server.info)

        def flood() -> None:
            while not is_over.wait(0.01):  # a pause between packets
                for tenant in limited:
                    for _ in range(limits.RATE_BURST_PACKETS // 8):
                        raw.send(Header(tenant=tenant.tenant, token=tenant.token, opcode=Opcode.PING).pack())
                raw.drain()

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            wait_for(lambda: all(server.admin().get_tenant(one.tenant).packets_dropped for one in limited), what="drops")
            alone = ping("-i", unique_name)
            server.admin().create_tenant()
            beside = ping("-i", unique_name)
        finally:
            is_over.set()
            flooding.join()
        assert (alone.returncode, beside.returncode) == (0, 0), alone.stderr + beside.stderr
        assert len(server.admin().list_tenants()) == 3


def test_pings_at_once_are_all_answered_where_there_is_no_tenant(unique_name: str) -> None:
    with running_server(unique_name, "udp") as server, ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: ping("-i", unique_name), range(12)))
        assert [each.stderr for each in done] == [""] * 12
        assert server.admin().list_tenants() == []


def test_ping_waits_for_a_server_that_starts_and_gives_up_in_time(unique_name: str) -> None:
    never = ping("-i", unique_name, "--wait", "--timeout", "0.3")
    assert never.returncode != 0 and "within 0.3 s" in never.stderr and "no server" in never.stderr
    server = ServerProcess(unique_name, *UDP, "--port", str(free_port()))
    try:
        assert ping("-i", unique_name, "--wait", "--timeout", str(START_SECONDS - 5)).returncode == 0, server.said()
    finally:
        assert server.stop() == 0
        server.forget()


def test_control_alone_is_no_sign_of_life(unique_name: str) -> None:
    with running_server(unique_name, "udp") as server:
        assert ping("-i", unique_name).returncode == 0
        os.kill(server.info.pid, signal.SIGSTOP)  # nobody replaces what is stopped
        workers = server.worker_pids()
        try:
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            assert ping("-i", unique_name, "-t", "1").returncode != 0
        finally:
            for pid in (*workers, server.info.pid):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_is_told(unique_name: str, tmp_path: Path, kind: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = str(tmp_path / "notify") if kind == "path" else f"@{unique_name}"
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(START_SECONDS)
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": str(BEAT_USEC)}
        server = ServerProcess(unique_name, *UDP, "--port", "0", environment=environment)
        try:
            ready = manager.recv(4096).decode().splitlines()
            assert ready[0] == "READY=1" and ready[1].startswith("STATUS=serving 127.0.0.1:")
            info = instances.read(unique_name)  # it was there before READY
            for _ in range(3):
                assert manager.recv(4096) == b"WATCHDOG=1"
            os.kill(info.pid, signal.SIGSTOP)
            manager.settimeout(BEAT_USEC / 1e6)
            with pytest.raises(TimeoutError):
                while True:  # what was under way, and then nothing
                    manager.recv(4096)
            os.kill(info.pid, signal.SIGCONT)
            manager.settimeout(START_SECONDS)
            assert manager.recv(4096) == b"WATCHDOG=1"
        finally:
            assert server.stop() == 0
            server.forget()
        wait_for(lambda: manager.recv(4096).startswith(b"STOPPING=1"), what="STOPPING")


def test_a_manager_that_takes_nothing_is_no_reason_to_wait(unique_name: str, tmp_path: Path) -> None:
    for name in (str(tmp_path / "nobody"), "@nobody-" + unique_name, "no/address", "@" + "x" * 300):
        server = ServerProcess(unique_name, *UDP, "--port", "0", environment={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "x"})
        try:
            server.wait_until_ready(START_SECONDS)
        finally:
            assert server.stop() == 0
            server.forget()


def served_by_port_0(unique_name: str, *options: str) -> InstanceInfo:
    server = ServerProcess(unique_name, *options, "--port", "0")
    try:
        info = server.wait_until_ready(START_SECONDS)
        answered = ping("-i", unique_name)
        assert answered.returncode == 0, answered.stderr
        wait_for(lambda: f"serving {info.address}:{info.port}" in server.said(), what="the port in what it said")
        return info
    finally:
        assert server.stop() == 0
        server.forget()


def test_the_kernel_chooses_a_port(unique_name: str) -> None:
    assert 1024 <= served_by_port_0(unique_name, *UDP).port <= 65535


@pytest.mark.xdp
def test_the_kernel_chooses_a_port_for_xdp(unique_name: str) -> None:
    with running_lab(unique_name) as lab:
        where = ("--transport", "xdp", "--dev", lab.server.device, "--netns", lab.server.namespace)
        more = ("--client-netns", lab.client.namespace, "--memory", MEMORY, "--watchdog-ms", str(PATIENT_MS))
        assert 1024 <= served_by_port_0(unique_name, *where, *more).port <= 65535
