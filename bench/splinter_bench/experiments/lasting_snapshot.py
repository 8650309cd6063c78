"""What clients feel of a snapshot: gets while one is taken, beside gets while none is."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from splinter.errors import SplinterError
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.population import server
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.rounds import in_turns
from splinter_bench.workloads.workload import Account, get_operation, put_operation, uniform

_OBJECTS, _OBJECTS_QUICK = 1_000_000, 400_000
_ROUNDS = 40
_TRIES = 5
_SECONDS_MAX = 60.0  # for a snapshot to begin, or to end
_SLICE_SECONDS = 0.05
_MEMORY = "1GiB"
_POLL_SECONDS = 0.001


def measure(bench: Bench) -> Observations:
    """``beside`` and ``alone``: a slice of gets, one at a time, while a snapshot of many objects is taken, and while none is.

    Raises :class:`SplinterError` when no snapshot comes about.
    """
    count = bench.choose(_OBJECTS_QUICK, _OBJECTS, _OBJECTS)
    with tempfile.TemporaryDirectory(prefix="splinter-lasting-", dir=Path.cwd()) as parent:
        data = Path(parent) / "data"
        with server([max(os.sched_getaffinity(0))], {"data": str(data)}, _MEMORY) as session:
            admin = session.admin
            made = admin.create_tenant(home=session.home, durability="interval")
            account = Account(made.tenant, made.token, 1)
            with pinned(session.client_core):
                session.load.preload(put_operation(account), count)
            # Logging what a tenant has already needs a snapshot of everything.
            late = admin.create_tenant(durability="none")
            session.use_stack()
            session.client(Account(late.tenant, late.token, 1)).put(b"key", b"value")
            workload = uniform(get_operation(account), count)

            def is_taken() -> bool:
                return any((data / "snapshots").glob("*.new"))

            def wait(wanted: bool) -> None:
                deadline = time.monotonic() + _SECONDS_MAX
                while is_taken() != wanted:
                    if time.monotonic() > deadline:
                        raise SplinterError(f"no snapshot {'began' if wanted else 'ended'} in {_SECONDS_MAX:g} s")
                    time.sleep(_POLL_SECONDS)

            def get() -> Result:
                return session.slice(workload, 1, _SLICE_SECONDS)

            def beside() -> Result:
                for _ in range(_TRIES):
                    wait(False)
                    for mode in ("none", "interval"):
                        admin.limit_tenant(late.tenant, durability=mode)
                    wait(True)
                    result = get()
                    if is_taken():
                        return result
                raise SplinterError("snapshots were over before the gets were: more objects are needed")

            def alone() -> Result:
                wait(False)
                return get()

            session.slice(workload, 1, _SLICE_SECONDS)  # loads what is compiled
            found = in_turns({"beside": beside, "alone": alone}, bench.count(_ROUNDS))
            found.settings["objects"] = count
            return found
