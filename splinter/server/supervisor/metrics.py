"""The metrics endpoint, as the supervisor has it: its address is taken first, its process attended like the others.

The process is a fresh interpreter, so it has none of the mappings and sockets that the others share: it holds no device, and
code that speaks to strangers cannot reach the store. Should it not be able to run, the server goes on without it.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import socket
import sys

from splinter import limits
from splinter.server import logs
from splinter.server.config import ServerConfig, parse_endpoint
from splinter.server.metrics.nobody import require_way_out
from splinter.server.processes import OomPreference
from splinter.server.supervisor.attended import AttendedProcess
from splinter.server.supervisor.forks import Forks
from splinter.server.supervisor.ports import cannot

_NAME = "splinter-stats"
_OOM_POINTS = 300  # before all others
_PROGRAM = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from splinter.server.metrics.process import run
run(*json.loads(sys.argv[2]))"""


class Metrics:
    """The endpoint of one server. Raises :class:`splinter.errors.ServerError` when its address cannot be had, or its process
    would stay root."""

    def __init__(self, config: ServerConfig) -> None:
        assert config.metrics is not None
        self._log_format = config.log_format
        importlib.import_module("prometheus_client")  # who lacks it hears so now
        require_way_out()
        address, port = parse_endpoint(config.metrics)
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((address, port))
            self._listener.listen(limits.METRICS_CONNECTIONS_MAX)
        except OSError as error:
            self._listener.close()
            raise cannot(f"serve metrics on {address}:{port}", error) from error
        self.url = "http://{}:{}/metrics".format(*self._listener.getsockname())
        # Both ends stay open here, so that a process that dies closes nothing.
        self.channel, self._asking = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._process: AttendedProcess | None = None

    def start(self, selector: selectors.BaseSelector, forks: Forks) -> None:
        """Start the process."""
        self._process = AttendedProcess(_NAME, "metrics process", selector, forks, run=self._run, is_needed=False)
        forks.attempt(self._process.start)

    def close(self) -> None:
        """End the process, and give the address back."""
        if self._process is not None:
            self._process.end()
        for held in (self._listener, self.channel, self._asking):
            held.close()

    def _run(self) -> None:
        """Become the metrics process."""
        OomPreference.offer(_OOM_POINTS)
        os.nice(limits.CONTROL_NICENESS)
        passed = [self._listener.fileno(), self._asking.fileno()]
        for descriptor in passed:
            os.set_inheritable(descriptor, True)
        of_the_log = [self._log_format, logs.level()]  # nothing of this process's memory goes along
        arguments = [json.dumps([path for path in sys.path if path]), json.dumps([_NAME, os.getppid(), *passed, *of_the_log])]
        os.execv(sys.executable, [sys.executable, "-I", "-c", _PROGRAM, *arguments])
