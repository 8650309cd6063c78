"""A control process as the supervisor starts it: forked, over a real store, code region and loopback socket."""

from __future__ import annotations

import contextlib
import inspect
import os
import selectors
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from splinter import limits
from splinter.client.admin import Admin
from splinter.client.control import ControlConnection
from splinter.ext.native.code import CodeRegion
from splinter.net.tenants import RATE, TENANT, rates_bytes
from splinter.server.config import ServerConfig
from splinter.server.control.server import run_control, warm_store
from splinter.server.processes import fork_child
from splinter.server.shared import Shared
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.worker.layout import TENANT_COUNTERS
from splinter.worker.log import LOG
from splinter.worker.tasks.layout import EXTENSION_COUNTERS, EXTENSION_COUNTERS_BYTES

CREDENTIAL = "the administrator's secret"
CORES = 3
TEST = CORES  # participant of the test's own: the control process has another, and no two processes may use one at a time
_END_SECONDS_MAX = 10


class _StoreOfTest:
    """The store as a test uses it beside the control process: by its own participant, where it names none."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or "participant" not in (signature := inspect.signature(found)).parameters:
            return found

        def called(*arguments: Any, **named: Any) -> Any:
            if "participant" not in signature.bind_partial(*arguments, **named).arguments:
                named["participant"] = TEST
            return found(*arguments, **named)

        return called


@dataclass
class Control:
    """A running control process and what it shares with its parent."""

    shared: Shared
    connections: list[ControlConnection] = field(default_factory=list)
    pid: int = 0
    pidfd: int = -1

    @property
    def port(self) -> int:
        return self.shared.listen_socket.getsockname()[1]

    @property
    def store(self) -> Any:
        return _StoreOfTest(self.shared.store)

    def start(self) -> None:
        self.pid, self.pidfd = fork_child("control-test", lambda: run_control(self.shared))

    def end(self, number: int) -> int:
        """Send a signal, return the exit status."""
        os.kill(self.pid, number)
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.pidfd, selectors.EVENT_READ)
            assert waiting.select(_END_SECONDS_MAX), "the control process did not end"
        os.close(self.pidfd)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def restart(self) -> None:
        """As after a crash: the supervisor recovers what it held and forks another."""
        self.end(signal.SIGKILL)
        self.store.recover(limits.PARTICIPANT_CONTROL)
        self.start()

    def connect(self) -> ControlConnection:
        connection = ControlConnection("127.0.0.1", self.port, timeout=20)
        self.connections.append(connection)
        return connection

    def admin(self, credential: str = CREDENTIAL) -> Admin:
        admin = Admin("127.0.0.1", credential, port=self.port, timeout=20)
        self.connections.append(admin._connection)
        return admin

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@contextlib.contextmanager
def control_made() -> Iterator[Control]:
    """Everything made, nothing forked."""
    store = Store.create(limits.STORE_BYTES_MIN, participants=CORES + 1)
    listener = socket.create_server(("127.0.0.1", 0), backlog=limits.CONTROL_CONNECTIONS_MAX)
    shared = Shared(
        config=ServerConfig(cores=tuple(range(CORES))),
        store=store,
        tenants=store.tenants_region.array(TENANT, limits.TENANTS_MAX),
        rates=Region.create("rates", rates_bytes()).array(RATE),
        steer=lambda elsewhere: None,
        homes_elsewhere_max=None,
        code=CodeRegion.create(1 << 20),
        kernel=None,
        credential=CREDENTIAL.encode(),
        listen_socket=listener,
        statistics=lambda: {"transport": "none", "workers": [], "store": store.usage()},
        extension_counters=[
            Region.create("counters", EXTENSION_COUNTERS_BYTES * limits.EXTENSIONS_MAX).array(EXTENSION_COUNTERS)
            for _ in range(CORES)
        ],
        tenant_counters=[
            Region.create("tenants", TENANT_COUNTERS.itemsize * limits.TENANTS_MAX).array(TENANT_COUNTERS) for _ in range(CORES)
        ],
        logs=[Region.create("log", LOG.itemsize).array(LOG, 1) for _ in range(CORES)],
        workers=[],
        cycles_per_millisecond=1_000_000,
    )
    warm_store(store)  # as the supervisor does: the first time on a machine, it takes longer than a request's time
    control = Control(shared)
    yield control
    for connection in control.connections:
        connection.close()
    if control.pid:
        control.end(signal.SIGKILL)
    listener.close()


@pytest.fixture
def control_stopped() -> Iterator[Control]:
    """Everything made, nothing forked: for tests that change a limit first."""
    with control_made() as control:
        yield control


@pytest.fixture
def control(control_stopped: Control) -> Control:
    control_stopped.start()
    return control_stopped
