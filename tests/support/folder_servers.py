"""Servers on a data folder, one after the other, by UDP."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from tests.support.kill_all import kill_everything
from tests.support.servers import MEMORY, RunningServer, start_server

REFUSED_SECONDS = 280.0


class FolderServers:
    """Those of one folder; :meth:`stop` leaves nothing of the last one."""

    def __init__(self, name: str, data: Path, *options: str, module: str = "splinter") -> None:
        """``options``: of each of them; ``module`` as in :func:`start_server`."""
        self.name, self.data = name, data
        self._options, self._module = options, module
        self.server: RunningServer | None = None

    def start(self, *options: str) -> RunningServer:
        """The next one."""
        given = ("--data", str(self.data), "--cores", "0", *self._options, *options)
        self.server = start_server(self.name, None, *given, module=self._module)
        return self.server

    def crash(self) -> None:
        """SIGKILL to all of its processes."""
        assert self.server is not None
        kill_everything(self.server, "supervisor first", random.Random(1))
        self.server.started.forget()
        self.server = None

    def stop(self) -> None:
        """SIGTERM, as an operator does."""
        if self.server is not None:
            status = self.server.stop()
            said = self.server.started.said()
            self.server.started.forget()
            self.server = None
            assert status == 0, said

    def refused(self) -> str:
        """What a start says that must not come about."""
        command = [
            sys.executable,
            "-m",
            "splinter",
            "serve",
            "-i",
            f"{self.name}x",
            "--memory",
            MEMORY,
            "--data",
            str(self.data),
        ]
        command += ["--memory", MEMORY, "--transport", "udp", "--address", "127.0.0.1", "--port", "0"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=REFUSED_SECONDS, check=False)
        assert run.returncode != 0 and "Traceback" not in run.stderr, run.stderr
        return run.stderr
