"""A benchmark's hold on a running server: administrator, load generator, cores."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Self

from splinter.client import Client
from splinter.client.admin import Admin
from splinter.errors import SplinterError
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo
from splinter_bench.generators.load import LoadClient
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.workloads.workload import Account, Workload

logger = logging.getLogger(__name__)

_CONTROL_SECONDS_MAX = 120.0
# Short, so that neighbouring slices meet the same machine: its speed changes by the tenth of a second.
SLICE_SECONDS, SLICE_WARMUP_SECONDS = 0.02, 0.005
_SLICE_TRIES = 20


class Session:
    """What benchmarks of extensions share. Its tenants are removed when it is closed.

    Raises :class:`SplinterError` when the server cannot be reached from here.
    """

    def __init__(self, info: InstanceInfo, server_core: int | None = None, client_core: int | None = None) -> None:
        self.info = info
        self.server_core, self.client_core = cores_of(info, server_core, client_core)
        self._load: LoadClient | None = None
        self._open = contextlib.ExitStack()
        self.admin = self._open.enter_context(admin_of(info))

    @property
    def load(self) -> LoadClient:
        """The load generator; opened when it is first used."""
        if self._load is None:
            self._load = load_client(self.info)
        return self._load

    def use_stack(self) -> None:
        """Close the load generator: over AF_XDP, it takes every reply from the network stack, Python clients' too."""
        if self._load is not None:
            self._load.close()
            self._load = None

    @property
    def netns(self) -> str | None:
        """The network namespace from which the server is reached."""
        return netns_of(self.info)

    @property
    def home(self) -> int:
        """Core slot of the worker that is measured."""
        return self.info.cores.index(self.server_core)

    def tenant(self, table: int = 1) -> Account:
        """A new tenant of the worker that is measured."""
        made = self.admin.create_tenant(home=self.home)
        self._open.callback(remove_tenant, self.admin, made.tenant)
        return Account(made.tenant, made.token, table)

    def client(self, account: Account) -> Client:
        """The Python client of a tenant; closed with the session."""
        return self._open.enter_context(
            Client(
                self.info.address,
                account.tenant,
                account.token,
                port=self.info.port,
                netns=self.netns,
                timeout=_CONTROL_SECONDS_MAX,
            )
        )

    def slice(self, workload: Workload, depth: int, seconds: float = SLICE_SECONDS) -> Result:
        """Run a workload for a moment, again while a busy machine lets nothing through.

        Raises :class:`SplinterError` when a request failed, or nothing came through at all.
        """
        for _ in range(_SLICE_TRIES):
            with pinned(self.client_core):
                result = self.load.run(workload, depth=depth, seconds=seconds, warmup_seconds=SLICE_WARMUP_SECONDS)
            if result.failed:
                raise SplinterError(
                    f"{workload.name}: of {result.requests} requests {result.lost} had no reply, {result.corrupt} a wrong "
                    f"one, and errors were {result.errors or 'none'}"
                )
            if result.recorded:
                return result
        raise SplinterError(f"{workload.name}: no reply in {_SLICE_TRIES} times {seconds} s")

    def close(self) -> None:
        """Remove the tenants and close all connections."""
        self.use_stack()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def cores_of(info: InstanceInfo, server_core: int | None, client_core: int | None) -> tuple[int, int]:
    """CPUs of the worker to measure and of the load generator; by default the server's last, and the first other one."""
    chosen = info.cores[-1] if server_core is None else server_core
    if chosen not in info.cores:
        raise SplinterError(f"the server has no worker on core {chosen}; it has on {list(info.cores)}")
    available = sorted(os.sched_getaffinity(0))
    others = [core for core in available if core != chosen]
    mine = (others or available)[0] if client_core is None else client_core
    if mine not in available:
        raise SplinterError(f"there is no core {mine} for the client; there are {available}")
    return chosen, mine


def netns_of(info: InstanceInfo) -> str | None:
    """The network namespace from which the server is reached."""
    return info.client_netns or (info.netns if info.transport == "udp" else None)


def admin_of(info: InstanceInfo) -> Admin:
    """The administrator's connection to a server of this host."""
    credential = instances.credential(info.instance)
    return Admin(info.address, credential, port=info.port, netns=netns_of(info), timeout=_CONTROL_SECONDS_MAX)


def load_client(info: InstanceInfo) -> LoadClient:
    """The load generator for the server's transport."""
    if info.transport == "udp":
        from splinter_bench.generators.udp_client import UdpClient

        return UdpClient(info.address, info.port, netns=netns_of(info))
    if info.client_netns is None:
        raise SplinterError(
            f"{info.address} is on a device of this host, and what the host sends to itself never gets there: "
            "measure a server in a lab, for example with 'splinter bench --lab'"
        )
    from splinter_bench.generators.afxdp_client import AfxdpClient
    from splinter_bench.generators.path import find

    return AfxdpClient(find(info.address, info.client_netns), info.port, netns=info.client_netns)


def remove_tenant(admin: Admin, tenant: int) -> None:
    """Remove a tenant; when that does not succeed, no reason to lose what was measured."""
    try:
        admin.remove_tenant(tenant)
    except SplinterError as error:
        logger.warning("the benchmark's tenant %d is still there: %s", tenant, error)
