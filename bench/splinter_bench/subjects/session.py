"""A benchmark's hold on a running server: administrator, load generator, cores."""

from __future__ import annotations

import logging
import os

from splinter.client import Client
from splinter.client.admin import Admin, TenantInfo
from splinter.errors import SplinterError
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo
from splinter_bench.generators.load import LoadClient
from splinter_bench.owner import Owner
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.workloads.workload import Account, Workload

logger = logging.getLogger(__name__)

_CONTROL_SECONDS_MAX = 120.0
_CREATED_AT_ONCE = 1024
# Short, so that neighbouring slices meet the same machine: its speed changes by the tenth of a second.
SLICE_SECONDS, SLICE_WARMUP_SECONDS = 0.02, 0.005
SLICE_TRIES = 20


class Endpoint(Owner):
    """A server's address, as clients reach it from the network namespace ``netns``, if given.

    It has a load generator over UDP, and Python clients. A context manager, which closes them.
    """

    client_name = "UDP"  # how the load generator sends

    def __init__(self, address: str, port: int, netns: str | None = None) -> None:
        self.address, self.port, self.netns = address, port, netns
        self._load: LoadClient | None = None

    @property
    def load(self) -> LoadClient:
        """The load generator; opened when it is first used."""
        if self._load is None:
            self._load = self._load_client()
        return self._load

    def _load_client(self) -> LoadClient:
        from splinter_bench.generators.udp_client import UdpClient

        return UdpClient(self.address, self.port, netns=self.netns)

    @property
    def is_open(self) -> bool:
        """Whether the load generator is open."""
        return self._load is not None

    def use_stack(self) -> None:
        """Close the load generator: over AF_XDP, it takes every reply from the network stack, Python clients' too."""
        if self._load is not None:
            self._load.close()
            self._load = None

    def connect(self, account: Account) -> Client:
        """A Python client of a tenant, for the caller to close."""
        timeout = _CONTROL_SECONDS_MAX
        return Client(self.address, account.tenant, account.token, port=self.port, netns=self.netns, timeout=timeout)

    def client(self, account: Account) -> Client:
        """The same, closed with this object."""
        return self._open.enter_context(self.connect(account))

    def close(self) -> None:
        self.use_stack()
        super().close()


class Session(Endpoint):
    """A hold on a running server of this host: administrator, load generator, cores. Its tenants are removed when it is closed.

    The load generator uses AF_XDP where the server does, unless ``udp``. Raises :class:`SplinterError` when the server cannot
    be reached from here.
    """

    def __init__(
        self, info: InstanceInfo, server_core: int | None = None, client_core: int | None = None, *, udp: bool = False
    ) -> None:
        super().__init__(info.address, info.port, info.client_netns or (info.netns if info.transport == "udp" else None))
        self.info = info
        self.server_core, self.client_core = cores_of(info, server_core, client_core)
        self.client_name = "UDP" if udp or info.transport == "udp" else "AF_XDP"
        credential = instances.credential(info.instance)
        admin = Admin(info.address, credential, port=info.port, netns=self.netns, timeout=_CONTROL_SECONDS_MAX)
        self.admin = self._open.enter_context(admin)

    def _load_client(self) -> LoadClient:
        if self.client_name == "UDP":
            return super()._load_client()
        if self.info.client_netns is None:
            raise SplinterError(
                f"{self.address} is on a device of this host, and what the host sends to itself never gets there: "
                "measure a server in a lab, for example with 'splinter bench --lab'"
            )
        from splinter_bench.generators.afxdp_client import AfxdpClient
        from splinter_bench.generators.path import find

        return AfxdpClient(find(self.address, self.netns), self.port, netns=self.netns)

    @property
    def home(self) -> int:
        """Core slot of the worker that is measured."""
        return self.info.cores.index(self.server_core)

    def tenant(self, table: int = 1) -> Account:
        """A new tenant of the worker that is measured."""
        return self._account(self.admin.create_tenant(home=self.home), table)

    def tenants(self, count: int, table: int = 1) -> tuple[Account, ...]:
        """So many new tenants: one is at home on the worker that is measured, several on all."""
        if count == 1:
            return (self.tenant(table),)
        parts = (min(_CREATED_AT_ONCE, count - start) for start in range(0, count, _CREATED_AT_ONCE))
        return tuple(self._account(made, table) for part in parts for made in self.admin.create_tenants(part))

    def _account(self, made: TenantInfo, table: int) -> Account:
        self._open.callback(self._remove, made.tenant)
        return Account(made.tenant, made.token, table)

    def _remove(self, tenant: int) -> None:
        """Remove a tenant; when that does not succeed, no reason to lose what was measured."""
        try:
            self.admin.remove_tenant(tenant)
        except SplinterError as error:
            logger.warning("the benchmark's tenant %d is still there: %s", tenant, error)

    def slice(self, workload: Workload, depth: int, seconds: float = SLICE_SECONDS, *, spin: bool = True) -> Result:
        """Run a workload for a moment, again while a busy machine lets nothing through. A client that does not ``spin`` leaves
        its CPU to others while it waits.

        Raises :class:`SplinterError` when a request failed, or nothing came through at all.
        """
        for _ in range(SLICE_TRIES):
            with pinned(self.client_core):
                result = self.load.run(workload, depth=depth, seconds=seconds, warmup_seconds=SLICE_WARMUP_SECONDS, spin=spin)
            if result.failed:
                raise SplinterError(
                    f"{workload.name}: of {result.requests} requests {result.lost} had no reply, {result.corrupt} a wrong "
                    f"one, and errors were {result.errors or 'none'}"
                )
            if result.recorded:
                return result
        raise SplinterError(f"{workload.name}: no reply in {SLICE_TRIES} times {seconds} s")


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
