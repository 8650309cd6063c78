"""A server of the demonstration's own: a lab, ``splinter serve`` in it as a process, and nothing left of either."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from splinter_bench.subjects.local_server import running_server

from splinter.errors import ServerError
from splinter.net import xdp
from splinter.net.lab import Lab
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo


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
def server_for(instance: str, port: int, lab: Lab | None) -> Iterator[InstanceInfo]:
    """A server on all cores, in the lab or on the loopback interface, for as long as the context lasts.

    Raises what :func:`splinter_bench.subjects.local_server.running_server` does.
    """
    where = ("--lab", lab.name) if lab is not None else ("--transport", "udp", "--address", "127.0.0.1")
    with running_server(instance, "--port", str(port), *where) as info:
        yield info


def _running(instance: str) -> InstanceInfo | None:
    try:
        return instances.read(instance)
    except ServerError:
        return None
