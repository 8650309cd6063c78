"""Many tenants on a server of an experiment's own: made, given extensions and objects, and asked for something."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from splinter.client.admin import TenantInfo
from splinter.client.control import ControlConnection
from splinter.ext.signature import Signature
from splinter.net.lab import Lab
from splinter_bench.experiments.traffic import choose, zipf_shares
from splinter_bench.process import pinned
from splinter_bench.subjects.local_server import running_server
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import (
    NUMBER_BYTES,
    SCHEDULE_ENTRIES,
    Account,
    Operation,
    Workload,
    invoke_operation,
    put_operation,
)

TABLE = 1
KERNEL_TIER = "kernel_tier"  # the server's setting
_SEED = 20181009
_LOAD_DEPTH = 64
_MEMORY = "512MiB"
_numbers = itertools.count()  # several may be open at a time


@contextlib.contextmanager
def server(
    cores: Sequence[int], settings: Mapping[str, bool | int | str] | None = None, memory: str = _MEMORY
) -> Generator[Session]:
    """A lab, a server in it with a worker on each of these CPUs, and a session with it.

    ``settings`` are those of the server's configuration file. The kernel tier is off unless they say otherwise.
    """
    name = f"bench-{os.getpid()}-{next(_numbers)}"
    wanted = {KERNEL_TIER: "off"} | dict(settings or {})
    where = ("--lab", name, "--cores", ",".join(map(str, cores)), "--memory", memory)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write("".join(f"{key} = {json.dumps(value)}\n" for key, value in wanted.items()))
        file.flush()
        with Lab(name), running_server(name, "--config", file.name, *where) as info, Session(info) as session:
            yield session


@contextlib.contextmanager
def tier_and_plain(*, udp: bool = False, memory: str = _MEMORY) -> Generator[tuple[Session, Session]]:
    """Sessions with a server with the kernel tier and one without, both on the same CPU. ``udp``: over plain sockets."""
    core = max(os.sched_getaffinity(0))
    with server([core], {KERNEL_TIER: "auto"}, memory) as tier, server([core], memory=memory) as plain:
        if not udp:
            yield tier, plain
            return
        with Session(tier.info, udp=True) as first, Session(plain.info, udp=True) as second:
            yield first, second


@dataclass(frozen=True)
class Population:
    """Tenants with the same extensions and the same ``objects`` each: keys 0 … objects - 1, values that begin with the key."""

    accounts: tuple[Account, ...]
    signatures: dict[str, Signature]
    objects: int

    def invoke(self, name: str, *arguments: int, checked: bool = False, label: str | None = None) -> Operation:
        """An invoke with the schedule's number as its key and further arguments. ``checked``: it answers with that number."""
        packed = self.signatures[name].pack((TABLE, 0, *arguments))
        reply = bytes(NUMBER_BYTES) if checked else None
        made = invoke_operation(self.accounts[0], name, packed, number_at=NUMBER_BYTES, reply=reply)
        return made if label is None else replace(made, name=label)

    def invoke_without_arguments(self, name: str) -> Operation:
        """An invoke of an extension that takes none."""
        return invoke_operation(self.accounts[0], name, b"")

    def workload(
        self,
        operations: Sequence[Operation],
        shares: Sequence[float],
        *,
        skew: float = 0.0,
        ranks: np.ndarray | None = None,
        spare_keys: int = 0,
        entries: int = SCHEDULE_ENTRIES,
    ) -> Workload:
        """Operations by their shares, of tenants by Zipf's law (``ranks[r]``: who is the r-th most active), on random keys.

        The last ``spare_keys`` are not asked for: an operation may read as many behind its own.
        """
        random = np.random.default_rng(_SEED)
        who = choose(random, entries, zipf_shares(len(self.accounts), skew))
        return Workload(
            "+".join(operation.name for operation in operations),
            tuple(operations),
            choose(random, entries, shares).astype(np.uint16),
            random.integers(0, self.objects - spare_keys, entries),
            accounts=self.accounts,
            account_choice=(who if ranks is None else ranks[who]).astype(np.uint16),
        )


def populate(
    session: Session, tenants: Sequence[TenantInfo], sources: Sequence[tuple[str, str]], *, objects: int, value_bytes: int
) -> Population:
    """Install ``sources`` (text, name) for each of the tenants and give each ``objects`` objects. Raises SplinterError."""
    accounts = tuple(Account(tenant.tenant, tenant.token, TABLE) for tenant in tenants)
    signatures: dict[str, Signature] = {}
    with contextlib.closing(ControlConnection(session.info.address, session.info.port, netns=session.netns)) as control:
        for account in accounts:
            who = {"tenant": account.tenant, "token": account.token}
            for text, name in sources:
                fields = control.request("extension.install", source=text, name=name, **who)["extensions"][0]
                if name not in signatures:
                    signatures[name] = Signature.from_wire(fields["signature"])
    put = put_operation(accounts[0], NUMBER_BYTES, value_bytes)
    count = len(accounts) * objects
    load = Workload(
        "load",
        (put,),
        np.zeros(count, np.uint16),
        np.tile(np.arange(objects), len(accounts)),
        accounts=accounts,
        account_choice=np.repeat(np.arange(len(accounts)), objects).astype(np.uint16),
    )
    with pinned(session.client_core):
        session.load.run_to_success(load, f"could not store {count:,} objects", depth=_LOAD_DEPTH)
    return Population(accounts, signatures, objects)
