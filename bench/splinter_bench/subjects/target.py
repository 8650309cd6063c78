"""The server that a workload runs against: one of this host, or one at an address."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Self

from splinter.ext.signature import Signature
from splinter.server.instance import InstanceInfo
from splinter_bench.generators.load import LoadClient
from splinter_bench.owner import Owner
from splinter_bench.subjects.session import Endpoint, Session
from splinter_bench.workloads.workload import Account


class Target(Owner):
    """A server, tenants to ask as, and a load generator. What it made is removed when it is closed; a context manager.

    ``session``: the hold on a server of this host; None: the server is somewhere else.
    """

    def __init__(self, endpoint: Endpoint, accounts: Sequence[Account]) -> None:
        self._endpoint, self.accounts = self._open.enter_context(endpoint), tuple(accounts)
        self.session = endpoint if isinstance(endpoint, Session) else None

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
        """A server of this host, and so many new tenants: see :class:`Session`."""
        with contextlib.ExitStack() as undo:
            session = undo.enter_context(Session(info, server_core, client_core, udp=udp))
            target = cls(session, session.tenants(tenants, table))
            undo.pop_all()
        return target

    @classmethod
    def at_address(cls, address: str, port: int, account: Account) -> Self:
        """A server anywhere, over UDP, as a tenant that it has."""
        return cls(Endpoint(address, port), [account])

    @property
    def info(self) -> InstanceInfo | None:
        """What the server says of itself, if it is one of this host."""
        return self.session.info if self.session else None

    @property
    def client(self) -> LoadClient:
        """The load generator; opened when it is first used."""
        return self._endpoint.load

    @property
    def is_open(self) -> bool:
        """Whether the load generator is open."""
        return self._endpoint.is_open

    @property
    def client_name(self) -> str:
        """How the load generator sends."""
        return self._endpoint.client_name

    def release(self) -> None:
        """Close the load generator, so that the network stack, or another one, gets the replies."""
        self._endpoint.use_stack()

    def install(self, sources: Sequence[str], progress: Callable[[str], None] = lambda text: None) -> None:
        """Install extensions for every tenant."""
        if not sources:
            return
        self.release()
        for number, account in enumerate(self.accounts):
            if number % 100 == 0:
                progress(f"installing extensions for {len(self.accounts):,} tenants: {number:,}")
            with self._endpoint.connect(account) as client:
                for text in sources:
                    client.install(text)

    def signature(self, name: str) -> Signature:
        """Of an extension that the first tenant has."""
        self.release()
        with self._endpoint.connect(self.accounts[0]) as client:
            return client.signature(name)
