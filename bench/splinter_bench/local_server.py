"""A server for one benchmark or demonstration, and a lab for it; both are gone afterwards."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator

from splinter.errors import ServerError, SplinterError
from splinter.net.lab import Lab
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo
from splinter_bench.process import end, start

_START_SECONDS_MAX = 900.0  # on a fresh machine the server compiles all its code first, and that may be a slow one
_POLL_SECONDS = 0.05
_STOP_SECONDS_MAX = 10.0
_LOG_LINES_SHOWN = 15
MEMORY_DEFAULT = "512MiB"


@contextlib.contextmanager
def running_server(instance: str, *arguments: str, environment: dict[str, str] | None = None) -> Generator[InstanceInfo]:
    """``splinter serve`` with these arguments, under an instance name, until the block is left.

    ``environment`` is added to this process's.

    Yields what the server says of itself once it answers. Raises :class:`SplinterError` when it does not start. Any
    :class:`SplinterError` that leaves the context carries the end of what the server printed as a note.
    """
    command = [sys.executable, "-m", "splinter", "serve", "--instance", instance, *arguments]
    with tempfile.TemporaryFile("w+") as log:
        # A session of its own: Ctrl-C at the terminal is for this process, which then stops the server in order.
        variables = os.environ | (environment or {})
        server = start(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=variables)
        try:
            yield _wait_until_ready(instance, server)
        except SplinterError as error:
            log.seek(0)
            if said := "".join(log.readlines()[-_LOG_LINES_SHOWN:]).rstrip():
                error.add_note(f"The server said last:\n{said}")
            raise
        finally:
            end(server, _STOP_SECONDS_MAX)


@contextlib.contextmanager
def lab_server(
    core: int, *, memory: str = MEMORY_DEFAULT, environment: dict[str, str] | None = None
) -> Generator[InstanceInfo]:
    """A lab of its own, and in it a server with one worker on CPU ``core``. Raises what :func:`running_server` does."""
    name = f"bench-{os.getpid()}"
    arguments = ("--lab", name, "--cores", str(core), "--memory", memory)
    with Lab(name), running_server(name, *arguments, environment=environment) as info:
        yield info


def _wait_until_ready(instance: str, server: subprocess.Popen[bytes]) -> InstanceInfo:
    deadline = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServerError(f"the server ended with status {server.returncode}")
        with contextlib.suppress(ServerError):
            return instances.read(instance)
        time.sleep(_POLL_SECONDS)
    raise ServerError(f"the server was not ready within {_START_SECONDS_MAX:g} s")
