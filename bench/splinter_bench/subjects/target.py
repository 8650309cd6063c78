"""The server that a workload runs against: one of this host, or one at an address."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Self

from splinter.client import Client
from splinter.ext.signature import Signature
from splinter.server.instance import InstanceInfo
from splinter_bench.generators.load import LoadClient
from splinter_bench.subjects.session import Session, remove_tenant
from splinter_bench.workloads.workload import Account

_CONTROL_SECONDS_MAX = 120.0
_CREATED_AT_ONCE = 1024


class Target:
    """Tenants to ask as, and a load generator. What it made is removed when it is closed.

    With a session the tenants are new ones; the load generator uses AF_XDP where the server does, unless ``udp``. Without, it
    is a plain UDP client of ``address``, as the one tenant whose account is given.
    """

    def __init__(self, session: Session | None, accounts: Sequence[Account], address: str, port: int, *, udp: bool) -> None:
        self.session = session
        self.accounts = tuple(accounts)
        self.address, self.port = address, port
        self._udp = udp
        self._client: LoadClient | None = None
        self._open = contextlib.ExitStack()

    @classmethod
    def of_instance(
        cls,
        info: InstanceInfo,
        tenants: int,
        *,
        table: int = 1,
        udp: bool = False,
        server_core: int | None = None,
        client_core: int | None = None,
    ) -> Self:
        """A server of this host, and so many new tenants: one is at home on the core that is measured, several on all."""
        session = Session(info, server_core, client_core)
        target = cls(session, (), info.address, info.port, udp=udp)
        target._open.callback(session.close)
        try:
            target.accounts = target._make_tenants(session, tenants, table)
        except BaseException:
            target.close()
            raise
        return target

    @classmethod
    def at_address(cls, address: str, port: int, account: Account) -> Self:
        """A server anywhere, as a tenant that it has."""
        return cls(None, [account], address, port, udp=True)

    def _make_tenants(self, session: Session, count: int, table: int) -> tuple[Account, ...]:
        if count == 1:
            return (session.tenant(table),)
        made = []
        for start in range(0, count, _CREATED_AT_ONCE):
            made += session.admin.create_tenants(min(_CREATED_AT_ONCE, count - start))
        for tenant in made:
            self._open.callback(remove_tenant, session.admin, tenant.tenant)
        return tuple(Account(tenant.tenant, tenant.token, table) for tenant in made)

    @property
    def info(self) -> InstanceInfo | None:
        """What the server says of itself, if it is one of this host."""
        return self.session.info if self.session else None

    @property
    def netns(self) -> str | None:
        """The network namespace from which the server is reached."""
        return self.session.netns if self.session else None

    @property
    def client(self) -> LoadClient:
        """The load generator; opened when it is first used."""
        if self._client is None:
            if self._udp or self.session is None:
                from splinter_bench.generators.udp_client import UdpClient

                self._client = UdpClient(self.address, self.port, netns=self.netns)
            else:
                self._client = self.session.load
        return self._client

    @property
    def is_open(self) -> bool:
        """Whether the load generator is open."""
        return self._client is not None

    @property
    def client_name(self) -> str:
        """How the load generator sends."""
        return "AF_XDP" if not self._udp and self.info is not None and self.info.transport == "xdp" else "UDP"

    def release(self) -> None:
        """Close the load generator, so that the network stack, or another one, gets the replies."""
        if self.session is not None:
            self.session.use_stack()
        if self._udp and self._client is not None:
            self._client.close()
        self._client = None

    def install(self, sources: Sequence[str], progress: Callable[[str], None] = lambda text: None) -> None:
        """Install extensions for every tenant."""
        if not sources:
            return
        self.release()
        for number, account in enumerate(self.accounts):
            if number % 100 == 0:
                progress(f"installing extensions for {len(self.accounts):,} tenants: {number:,}")
            with self._stack_client(account) as client:
                for text in sources:
                    client.install(text)

    def signature(self, name: str) -> Signature:
        """Of an extension that the first tenant has."""
        self.release()
        with self._stack_client(self.accounts[0]) as client:
            return client.signature(name)

    def _stack_client(self, account: Account) -> Client:
        return Client(
            self.address, account.tenant, account.token, port=self.port, netns=self.netns, timeout=_CONTROL_SECONDS_MAX
        )

    def close(self) -> None:
        """Remove the tenants and close all connections."""
        self.release()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
