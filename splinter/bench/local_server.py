"""A server for one benchmark, and a lab for it; both are gone afterwards."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from typing import IO

from splinter.bench.process import end, start
from splinter.errors import SplinterError
from splinter.net.lab import Lab
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo

_START_SECONDS_MAX = 180.0  # on a fresh machine the server compiles all its code first
_POLL_SECONDS = 0.05
_STOP_SECONDS_MAX = 10.0
MEMORY_DEFAULT = "512MiB"


@contextlib.contextmanager
def running_server(instance: str, *arguments: str) -> Generator[InstanceInfo]:
    """``splinter serve`` with these arguments, under an instance name, until the block is left.

    Yields what the server says of itself once it answers. Raises :class:`SplinterError` with the server's own words when
    it does not start.
    """
    command = [sys.executable, "-m", "splinter", "serve", "--instance", instance, *arguments]
    with tempfile.TemporaryFile("w+") as log:
        server = start(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _wait_until_ready(instance, server, log)
        finally:
            end(server, _STOP_SECONDS_MAX)


@contextlib.contextmanager
def lab_server(core: int, *, memory: str = MEMORY_DEFAULT) -> Generator[InstanceInfo]:
    """A lab of its own, and in it a server with one worker on CPU ``core``. Raises what :func:`running_server` does."""
    name = f"bench-{os.getpid()}"
    with Lab(name), running_server(name, "--lab", name, "--cores", str(core), "--memory", memory) as info:
        yield info


def _wait_until_ready(instance: str, server: subprocess.Popen[bytes], log: IO[str]) -> InstanceInfo:
    deadline = time.monotonic() + _START_SECONDS_MAX
    while True:
        try:
            return instances.read(instance)
        except SplinterError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise SplinterError(f"the server did not start: {log.read().strip() or error}") from error
        time.sleep(_POLL_SECONDS)
