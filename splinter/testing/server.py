"""A server for tests, without root: on UDP and loopback, on a port that nobody uses, gone after the block."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from typing import Any

from splinter.client import AsyncClient, Client
from splinter.client.admin import Admin, TenantInfo
from splinter.client.encoding import format_token
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo
from splinter.testing.process import START_SECONDS_MAX, ServerProcess, free_port

MEMORY = "64MiB"
# The watchdog is patient: a virtual CPU that its host stops for 10 ms would look like a worker that is stuck.
_WATCHDOG_MS = "2000"
_numbers = itertools.count(1)


class Server:
    """A running server. ``info`` says where it answers; ``admin`` is the administrator's connection to it."""

    def __init__(self, process: ServerProcess, info: InstanceInfo) -> None:
        self.info = info
        self._process = process
        self.admin = Admin(info.address, instances.credential(info.instance), port=info.port, netns=info.client_netns)

    @property
    def address(self) -> str:
        """The IPv4 address that clients ask."""
        return self.info.address

    @property
    def port(self) -> int:
        """The UDP port of requests, the TCP port of control."""
        return self.info.port

    def create_tenant(self, **limits: Any) -> TenantInfo:
        """A new tenant with its token; ``limits`` are those of :meth:`splinter.client.admin.Admin.create_tenant`."""
        return self.admin.create_tenant(**limits)

    def arguments(self, tenant: TenantInfo | None = None) -> dict[str, Any]:
        """``address``, ``tenant``, ``token`` (as text) and ``port``, of a tenant, by default a new one.

        They are arguments of :class:`splinter.Client` and :class:`splinter.AsyncClient`, or go into an application's settings.
        """
        tenant = tenant or self.create_tenant()
        token = format_token(tenant.token)
        return {"address": self.address, "tenant": tenant.tenant, "token": token, "port": self.port}

    def client(self, tenant: TenantInfo | None = None, **options: Any) -> Client:
        """A client of a tenant, by default of a new one; the caller closes it.

        ``options`` are those of :class:`splinter.Client`.
        """
        return Client(**self.arguments(tenant), netns=self.info.client_netns, **options)

    def async_client(self, tenant: TenantInfo | None = None, **options: Any) -> AsyncClient:
        """The same for an event loop: that of its first call."""
        return AsyncClient(**self.arguments(tenant), netns=self.info.client_netns, **options)

    def said(self) -> str:
        """All that the server printed so far."""
        return self._process.said()


@contextlib.contextmanager
def running_server(
    *options: str, memory: str = MEMORY, cores: str | None = None, start_seconds: float = START_SECONDS_MAX
) -> Iterator[Server]:
    """A server until the block is left; it ends with this process, too, whatever ends that.

    :param options: further ones of ``splinter serve``, such as ``"--watchdog-ms", "10"``.
    :param memory: of the store.
    :param cores: CPUs for the workers, such as ``"0,1"``; by default all that this process may use.
    :param start_seconds: how long the start may take; the first one on a machine compiles everything, which takes a minute.
    :raises ServerError: when the server does not start; a note tells the end of what it printed.
    """
    name = f"testing-{os.getpid()}-{next(_numbers)}"
    where = ("--transport", "udp", "--address", "127.0.0.1", "--port", str(free_port()))
    settings = ("--memory", memory, "--watchdog-ms", _WATCHDOG_MS, *(("--cores", cores) if cores else ()))
    process = ServerProcess(name, *where, *settings, *options)
    try:
        server = Server(process, process.wait_until_ready(start_seconds))
        with contextlib.closing(server.admin):
            yield server
    finally:
        process.stop()
        process.forget()
