"""A server of the demonstration's own: a lab, ``splinter serve`` in it as a process, and nothing left of either."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO

from splinter.bench.process import end, start
from splinter.errors import ServerError, SplinterError
from splinter.net import xdp
from splinter.net.lab import Lab
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo

START_SECONDS_MAX = 180  # the first start after a change compiles everything
_POLL_SECONDS = 0.05
_LOG_LINES_SHOWN = 15


@contextlib.contextmanager
def lab_for(instance: str, transport: str) -> Iterator[Lab | None]:
    """A lab named as the instance for as long as the context lasts, or None where XDP is impossible or not wanted.

    Raises :class:`ServerError` when ``transport`` is "xdp" and this machine cannot, or when a server of this instance
    runs already (it may be using the lab).
    """
    if running := _running(instance):
        raise ServerError(f"instance {instance!r} runs already, as process {running.pid}: stop it, or use --instance")
    lacks = None if transport == "udp" else xdp.probe()
    if transport == "xdp" and lacks:
        raise ServerError(f"the XDP transport cannot run here: {lacks}")
    if transport == "udp" or lacks:
        yield None
        return
    with Lab(instance) as lab:
        yield lab


@contextlib.contextmanager
def running_server(instance: str, port: int, lab: Lab | None) -> Iterator[InstanceInfo]:
    """A server on all cores, in the lab or on the loopback interface, for as long as the context lasts.

    Raises :class:`ServerError` when it does not come up. Any :class:`SplinterError` that leaves the context carries the
    end of what the server printed as a note.
    """
    command = [sys.executable, "-m", "splinter", "serve", "--instance", instance, "--port", str(port)]
    if lab is None:
        command += ["--transport", "udp", "--address", "127.0.0.1"]
    else:
        command += ["--lab", lab.name]
    with tempfile.TemporaryFile("w+") as log:
        # A session of its own: Ctrl-C at the terminal is for this process, which then stops the server in order.
        server = start(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield _wait_until_ready(instance, server)
        except SplinterError as error:
            if said := _end_of(log):
                error.add_note(f"The server said last:\n{said}")
            raise
        finally:
            end(server)


def _running(instance: str) -> InstanceInfo | None:
    try:
        return instances.read(instance)
    except ServerError:
        return None


def _wait_until_ready(instance: str, server: subprocess.Popen[bytes]) -> InstanceInfo:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServerError(f"the server ended with status {server.returncode}")
        if info := _running(instance):
            return info
        time.sleep(_POLL_SECONDS)
    raise ServerError(f"the server was not ready within {START_SECONDS_MAX} s")


def _end_of(log: IO[str]) -> str:
    log.seek(0)
    return "".join(log.readlines()[-_LOG_LINES_SHOWN:]).rstrip()

