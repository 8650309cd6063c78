"""A lab and a server in it for one benchmark; both are gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator

from splinter.bench.process import end, start
from splinter.errors import SplinterError
from splinter.net.lab import Lab
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo

_START_SECONDS_MAX = 120.0  # on a fresh machine the server compiles all its code first
_POLL_SECONDS = 0.05
_STOP_SECONDS_MAX = 10.0
MEMORY_DEFAULT = "512MiB"


@contextlib.contextmanager
def lab_server(core: int, *, memory: str = MEMORY_DEFAULT) -> Generator[InstanceInfo]:
    """A lab of two queues, and in it ``splinter serve`` with one worker on CPU ``core``.

    Yields what the server says of itself. Raises :class:`SplinterError` with the server's own words when it does not
    start.
    """
    name = f"bench-{os.getpid()}"
    with Lab(name), tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "splinter", "serve", "--instance", name, "--lab", name]
        command += ["--cores", str(core), "--memory", memory]
        server = start(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _wait_until_ready(name, server, log)
        finally:
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(_STOP_SECONDS_MAX)
            end(server)


def _wait_until_ready(name: str, server: subprocess.Popen[bytes], log: object) -> InstanceInfo:
    deadline = time.monotonic() + _START_SECONDS_MAX
    while True:
        try:
            return instances.read(name)
        except SplinterError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                log.seek(0)  # type: ignore[attr-defined]
                text = log.read().strip()  # type: ignore[attr-defined]
                raise SplinterError(f"the server did not start: {text or error}") from error
        time.sleep(_POLL_SECONDS)
