"""A server for one benchmark or demonstration, and a lab for it; both are gone afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator

from splinter.errors import SplinterError
from splinter.interrupts import uninterrupted
from splinter.net.lab import Lab
from splinter.server.instance import InstanceInfo
from splinter.testing.process import ServerProcess

MEMORY_DEFAULT = "512MiB"


@contextlib.contextmanager
def running_server(instance: str, *arguments: str, environment: dict[str, str] | None = None) -> Generator[InstanceInfo]:
    """``splinter serve`` with these arguments, under an instance name, until the block is left.

    ``environment`` is added to this process's.

    Yields what the server says of itself once it answers. Raises :class:`SplinterError` when it does not start. Any
    :class:`SplinterError` that leaves the context carries the end of what the server printed as a note.
    """
    with contextlib.ExitStack() as stack:
        with uninterrupted():
            server = ServerProcess(instance, *arguments, environment=environment)
            stack.callback(server.forget)
            stack.callback(server.stop)
        info = server.wait_until_ready()
        try:
            yield info
        except SplinterError as error:
            server.explain(error)
            raise


@contextlib.contextmanager
def lab_server(*cores: int, memory: str = MEMORY_DEFAULT, environment: dict[str, str] | None = None) -> Generator[InstanceInfo]:
    """A lab of its own, and in it a server with a worker on each of these CPUs. The workers answer everything: the kernel tier
    has figures of its own. Raises what :func:`running_server` does."""
    name = f"bench-{os.getpid()}"
    arguments = ("--lab", name, "--cores", ",".join(map(str, cores)), "--memory", memory, "--kernel-tier", "off")
    with Lab(name), running_server(name, *arguments, environment=environment) as info:
        yield info
