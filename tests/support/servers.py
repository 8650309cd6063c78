"""Real servers for system tests: in a lab of their own with XDP, or on loopback with UDP."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splinter.client import Client
from splinter.client.admin import Admin, TenantInfo
from splinter.net.lab import Lab
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo
from splinter.testing.process import ServerProcess, free_port
from tests.support.pins import purge_all
from tests.support.waiting import WAIT_SECONDS, wait_for

START_SECONDS = 280  # a first start compiles the worker, perhaps on a machine that does much else
STOP_SECONDS = 20
MEMORY = "64MiB"
PATIENT_MS = 2000  # of the watchdog

_STATE, _PARENT, _STARTED = 0, 1, 19  # behind the name in /proc/PID/stat: proc(5)
_ENDED = ("Z", "X")  # and their parent has not asked how


@dataclass
class RunningServer:
    """A server process and where it answers."""

    info: InstanceInfo
    started: ServerProcess
    _open: list[Any] = field(default_factory=list)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        return self.started.process

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.started.log

    def admin(self) -> Admin:
        """A new administrator's connection; closed with the server."""
        credential = instances.credential(self.info.instance)
        admin = Admin(self.info.address, credential, port=self.info.port, netns=self.info.client_netns)
        self._open.append(admin)
        return admin

    def client(self, tenant: TenantInfo, **options: Any) -> Client:
        """A new client of a tenant, as patient as a busy machine needs; closed with the server."""
        options = {"timeout": WAIT_SECONDS} | options
        client = Client(
            self.info.address, tenant.tenant, tenant.token, port=self.info.port, netns=self.info.client_netns, **options
        )
        self._open.append(client)
        return client

    def children(self, name: str) -> list[int]:
        """Process ids of the supervisor's children of this name that have not ended, the eldest first. The kernel's own list of
        children may lack some while others come and go."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                begin, rest = stat.read_text().rsplit(")", 1)
                fields = rest.split()
                if int(fields[_PARENT]) == self.info.pid and begin.split("(", 1)[1] == name and fields[_STATE] not in _ENDED:
                    found.append((int(fields[_STARTED]), int(stat.parent.name)))
        return [pid for _, pid in sorted(found)]

    def workers(self) -> dict[int, int]:
        """Process ids of the workers that live, by core slot."""
        named = {slot: self.children(f"splinter-w{slot}") for slot in range(len(self.info.cores))}
        return {slot: pids[-1] for slot, pids in named.items() if pids}

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that live."""
        return sorted(self.workers().values())

    def kill_worker(self, slot: int) -> None:
        """SIGKILL to the worker of this core slot, once there is one: what was listed may have ended by now."""

        def is_killed() -> bool:
            with contextlib.suppress(KeyError, ProcessLookupError):
                os.kill(self.workers()[slot], signal.SIGKILL)
                return True
            return False

        wait_for(is_killed, STOP_SECONDS, f"the worker of slot {slot}")

    def start_again(self, lab: Lab | None, *options: str, module: str = "splinter") -> None:
        """Start one of the same instance in its place, after its end; arguments as in :func:`start_server`."""
        other = start_server(self.info.instance, lab, *options, module=module)
        self.started.forget()  # not before: should the start fail, this is the one whose output is told
        self.info, self.started = other.info, other.started

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit status."""
        for resource in self._open:
            resource.close()
        self._open.clear()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def start_server(
    instance: str, lab: Lab | None, *options: str, module: str = "splinter", program: Path | None = None
) -> RunningServer:
    """Start ``splinter serve``, or a ``module`` or ``program`` that takes its arguments, and wait until it answers.

    The watchdog is patient unless told otherwise: when the host stops a virtual CPU for 10 ms, its worker looks stuck.
    """
    command = [str(program)] if program else [sys.executable, "-m", module]
    where = ["--memory", MEMORY, "--watchdog-ms", str(PATIENT_MS)]
    if lab is None:
        where += ["--transport", "udp", "--address", "127.0.0.1", "--port", str(free_port())]
    else:
        where += ["--transport", "xdp", "--dev", lab.server.device]
        where += ["--netns", lab.server.namespace, "--client-netns", lab.client.namespace]
    started = ServerProcess(instance, *where, *options, program=command)
    try:
        info = started.wait_until_ready(START_SECONDS)
    except BaseException:
        started.stop(signal.SIGKILL)
        raise
    return RunningServer(info, started)


@contextlib.contextmanager
def running_lab(name: str, queues: int = 2) -> Iterator[Lab]:
    """A lab for the block."""
    lab = Lab(name, queues=queues)
    lab.up()
    try:
        yield lab
    finally:
        lab.down()


@contextlib.contextmanager
def running_server(instance: str, transport: str = "xdp", *options: str, module: str = "splinter") -> Iterator[RunningServer]:
    """A server for the block, with a lab of its own when the transport is XDP; ``module`` as in :func:`start_server`."""
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(running_lab(instance)) if transport == "xdp" else None
        yield stack.enter_context(serving(instance, lab, *options, module=module))


@contextlib.contextmanager
def serving(instance: str, lab: Lab | None, *options: str, module: str = "splinter") -> Iterator[RunningServer]:
    """A server for the block; arguments as in :func:`start_server`. Nothing of it is left."""
    server = start_server(instance, lab, *options, module=module)
    try:
        yield server
    finally:
        status = server.stop()
        output = server.started.said()
        server.started.forget()
        if lab is not None:
            purge_all(instance)
    assert status == 0, f"the server ended with status {status}:\n{output}"
