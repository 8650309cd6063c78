"""Many histories, one after the other and several side by side: what ``scripts/linearizability`` runs."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import random
import sys
import time
from collections import Counter

from tests.support.histories import INCREMENT, Killer, run_history, violations
from tests.support.proxy import Faults, Proxy
from tests.support.servers import RunningServer, running_server

HISTORIES_DEFAULT, MINUTES_DEFAULT = 3000, 30
CLIENTS, OPERATIONS, KEYS = 4, 6, 2
SIDE_BY_SIDE = 4
TIMEOUT_SECONDS = 5.0
KILL_EVERY_SECONDS = 0.3


def check(server: RunningServer, seed: int, histories: int, deadline: float) -> tuple[int, Counter[str], list[str]]:
    """Run histories of a tenant of its own, with its own faults; how many, how operations ended, what was wrong."""
    tenant = server.admin().create_tenant()
    server.client(tenant).install(INCREMENT)
    dice = random.Random(seed)
    ends: Counter[str] = Counter()
    done = 0
    with Proxy(server, Faults(), seed) as proxy:
        clients = [proxy.client(tenant, timeout=TIMEOUT_SECONDS) for _ in range(CLIENTS)]
        while done < histories and time.monotonic() < deadline:
            proxy.faults = Faults(dice.uniform(0, 0.2), dice.uniform(0, 0.4), dice.uniform(0, 0.5), dice.uniform(0, 0.01))
            first = done * KEYS
            found, ended = run_history(clients, list(range(first, first + KEYS)), OPERATIONS, seed * 1_000_003 + done)
            ends += ended
            done += 1
            if wrong := violations(found):
                return done, ends, wrong
        for client in clients:
            client.close()
    return done, ends, []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=HISTORIES_DEFAULT)
    parser.add_argument("--minutes", type=float, default=MINUTES_DEFAULT, help="end after so long, whatever was done")
    parser.add_argument("--transport", choices=["udp", "xdp"], default="udp")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    deadline = time.monotonic() + options.minutes * 60
    each = -(-options.histories // SIDE_BY_SIDE)
    with (
        running_server(f"t{os.getpid()}x0", options.transport) as server,
        Killer(server, options.seed, KILL_EVERY_SECONDS) as killer,
        concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool,
    ):
        jobs = [pool.submit(check, server, options.seed + slot, each, deadline) for slot in range(SIDE_BY_SIDE)]
        results = [job.result() for job in jobs]
    ends = sum((ended for _, ended, _ in results), Counter())
    wrong = [text for _, _, found in results for text in found]
    print(f"{sum(done for done, _, _ in results)} histories, {killer.kills} workers killed, operations: {dict(ends)}")
    print("\n\n".join(wrong) if wrong else "none violates linearizability")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
