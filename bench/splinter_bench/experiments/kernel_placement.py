"""Where a server places the extensions of the library and the examples: its compiler tries, the kernel's verifier decides."""

from __future__ import annotations

import os

from splinter.errors import SplinterError
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.population import KERNEL_TIER, server
from splinter_bench.observations import Observations
from splinter_bench.subjects.only_reading import only_reading


def measure(bench: Bench) -> Observations:
    """Of ``placement``: how many of those that only read and have no floats are in the kernel once they are installed.

    The setting ``in_worker`` names the others, with the server's reasons. Raises :class:`SplinterError` outside a checkout, and
    where the server has no tier.
    """
    sources = only_reading()
    with server([max(os.sched_getaffinity(0))], {KERNEL_TIER: "auto"}) as session:
        client = session.client(session.tenant())
        installed = []
        for name, source in sources.items():
            bench.say(name)
            installed.append(client.install(source))
    if any(info.place != "kernel" and not info.worker_reason for info in installed):
        raise SplinterError("the server has no kernel tier on this machine: 'splinter serve' says why")
    others = [f"{info.name} ({info.worker_reason})" for info in installed if info.place != "kernel"]
    placed = len(installed) - len(others)
    found = Observations(settings={"extensions": len(installed), "in_worker": others})
    found.add("placement", {"percent": 100 * placed / len(installed), "placed": placed}, 0)
    return found
