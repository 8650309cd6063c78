"""Many histories, one after the other and several side by side: what ``scripts/transactions histories`` runs."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from splinter.client.admin import TenantInfo
from tests.support.histories import EXTENSIONS, Killer, Mover, run_history, violation
from tests.support.proxy import Faults, Proxy
from tests.support.servers import RunningServer, running_server

HISTORIES_DEFAULT = 3000
CLIENTS, OPERATIONS = 4, 6
SIDE_BY_SIDE = 8
TIMEOUT_SECONDS = 5.0
KILL_EVERY_SECONDS, MOVE_EVERY_SECONDS = 0.3, 0.5
_SHOW_EVERY = 100


@dataclass
class Found:
    """Of all histories; packets are those that went through the faulty network."""

    histories: int = 0
    ends: Counter[str] = field(default_factory=Counter)  # of the operations
    packets: Counter[str] = field(default_factory=Counter)
    by_kernel: int = 0  # replies that the server's XDP program made
    wrong: list[str] = field(default_factory=list)


class Series:
    """Histories until there are enough, or one is wrong, or the time is over."""

    def __init__(self, server: RunningServer, histories: int, seed: int, deadline: float, show: Callable[[str], None]) -> None:
        self._server, self._histories, self._seed, self._deadline, self._show = server, histories, seed, deadline, show
        self._lock = threading.Lock()  # of found
        self.found = Found()

    def run(self, tenant: TenantInfo, slot: int) -> None:
        """One after the other, through faults of their own; called by several threads."""
        self._server.client(tenant).install_all(EXTENSIONS)
        dice = random.Random(self._seed * SIDE_BY_SIDE + slot)
        with Proxy(self._server, Faults(), dice.getrandbits(32)) as proxy:
            clients = [proxy.client(tenant, timeout=TIMEOUT_SECONDS) for _ in range(CLIENTS)]
            number = 0
            while self._goes_on():
                proxy.faults = dice.choice([Faults(0, 0, 0), _some_faults(dice)])  # without any, more is done at once
                history, ends = run_history(clients, number, OPERATIONS, dice.getrandbits(32))
                number += 1
                self._add(ends, violation(history))
            by_kernel = sum(client.kernel_replies for client in clients)
            for client in clients:
                client.close()
            with self._lock:
                self.found.packets.update(proxy.counts)
                self.found.by_kernel += by_kernel

    def _goes_on(self) -> bool:
        found = self.found
        return found.histories < self._histories and not found.wrong and time.monotonic() < self._deadline

    def _add(self, ends: Counter[str], wrong: str | None) -> None:
        with self._lock:
            found = self.found
            found.histories += 1
            found.ends += ends
            found.wrong += [wrong] if wrong else []
            if found.histories % _SHOW_EVERY == 0:
                self._show(f"{found.histories} histories")


def _some_faults(dice: random.Random) -> Faults:
    return Faults(dice.uniform(0, 0.2), dice.uniform(0, 0.4), dice.uniform(0, 0.5), dice.uniform(0, 0.01))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("histories", type=int, nargs="?", default=HISTORIES_DEFAULT, help=f"by default {HISTORIES_DEFAULT}")


def run(options: argparse.Namespace, show: Callable[[str], None]) -> list[str]:
    """Run histories as the command says; returns what cannot have happened."""
    with running_server(f"t{os.getpid()}x0", options.transport, "--cores", "0,1") as server:
        started = time.monotonic()
        tenants = server.admin().create_tenants(SIDE_BY_SIDE)
        series = Series(server, options.histories, options.seed, started + options.seconds, show)
        with (
            Killer(server, options.seed, KILL_EVERY_SECONDS) as killer,
            Mover(server, tenants, options.seed, MOVE_EVERY_SECONDS) as mover,
            concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool,
        ):
            for job in [pool.submit(series.run, tenant, slot) for slot, tenant in enumerate(tenants)]:
                job.result()
        workers = server.admin().stats()["workers"]
    stolen, conflicts = (sum(worker[counted] for worker in workers) for counted in ("stolen", "conflicts"))
    found = series.found
    show(
        f"{found.histories} histories in {time.monotonic() - started:.0f} s, {sum(found.ends.values())} operations: "
        f"{dict(found.ends)}, {found.by_kernel} by the kernel; {conflicts} conflicts; {killer.kills} workers killed, "
        f"{mover.moves} moves of tenants, {stolen} packets stolen; network: {dict(found.packets)}"
    )
    show("a history violates strict serializability" if found.wrong else "none violates strict serializability")
    return found.wrong
