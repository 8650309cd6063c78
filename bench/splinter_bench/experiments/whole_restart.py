"""How long a server takes to serve a store again that killed processes left, and what of that is loading of compiled code."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from splinter.errors import SplinterError
from splinter.net.lab import Lab
from splinter.net.netns import inside
from splinter.server.purge import purge
from splinter.testing.process import ServerProcess
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.restart import wait_for_reply
from splinter_bench.observations import Observations
from splinter_bench.process import kill_family, pinned
from splinter_bench.rounds import in_turns
from splinter_bench.subjects import loading
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import Account, each_once, put_operation

_OBJECTS, _OBJECTS_QUICK = 1_000_000, 10_000
_ROUNDS = 15
_MEMORY = "512MiB"
_DEPTH = 64
_ASK_SECONDS = 0.001  # between requests
_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.001


class _Server:
    """One that is killed with all its processes, and started again on the store that they left."""

    def __init__(self, lab: Lab) -> None:
        self._name = lab.name
        self._process = self._start()
        self.info = self._process.wait_until_ready()
        with inside(self.info.client_netns):
            self._connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._connection.connect((self.info.address, self.info.port))
        self._connection.settimeout(_ASK_SECONDS)
        self._numbers = itertools.count(1)
        self.account: Account | None = None  # that asks

    def _start(self) -> ServerProcess:
        return ServerProcess(self._name, "--lab", self._name, "--memory", _MEMORY)

    def kill(self) -> None:
        """All processes; returns when they are gone. Raises :class:`SplinterError` when they do not go."""
        kill_family(self._process.process)
        self._process.forget()

    def attach(self) -> float:
        """Milliseconds from the start until a worker answers."""
        assert self.account is not None
        self.kill()
        began = time.monotonic()
        self._process = self._start()
        wait_for_reply(self._connection, self.account, next(self._numbers), _SECONDS_MAX)
        took = time.monotonic() - began
        self.info = self._process.wait_until_ready()
        return took * 1000

    def close(self) -> None:
        """Stop it; nothing is left of it."""
        self._connection.close()
        self._process.stop()
        self._process.forget()
        purge(self._name)


@contextlib.contextmanager
def _server() -> Iterator[_Server]:
    name = f"bench-{os.getpid()}-attach"
    with Lab(name) as lab, contextlib.closing(_Server(lab)) as server:
        yield server


def measure(bench: Bench) -> Observations:
    """Of ``attach``: a round is a kill of all processes and a start, and beside it a process that only loads compiled code."""
    objects = _OBJECTS_QUICK if bench.is_quick else _OBJECTS
    with _server() as server:
        with Session(server.info) as session:
            made = session.admin.create_tenant(home=session.home)
            server.account = Account(made.tenant, made.token, 1)
            with pinned(session.client_core):
                load = each_once(put_operation(server.account), objects)
                session.load.run_to_success(load, f"could not store {objects:,} objects", depth=_DEPTH)
        found = in_turns({"attach": server.attach, "loading": _load}, bench.count(_ROUNDS), metric="ms")
        with Session(server.info) as session:
            stored = session.admin.stats()["store"]["objects"]
        if stored < objects:
            raise SplinterError(f"only {stored:,} of {objects:,} objects are there")
        found.settings["objects"] = objects
        return found


def _load() -> float:
    """Milliseconds that a process takes to load what a server loads. Raises :class:`SplinterError` when it cannot."""
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", loading.__name__], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        is_loaded = any(line == b"loaded\n" for line in process.stdout)
        took = time.monotonic() - began  # what its end takes is no part of it
    if not is_loaded:
        raise SplinterError("compiled code cannot be loaded")
    return took * 1000
