"""What it brings to push a function into the store: one invoke against the requests that it stands for."""

from __future__ import annotations

from splinter_bench.experiments.bench import Bench, slices
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.rounds import in_turns
from splinter_bench.subjects.invokes import CHAIN_STEPS, aggregates, chains, get_by_invoke
from splinter_bench.subjects.session import SLICE_SECONDS
from splinter_bench.workloads.workload import get_operation, put_operation, uniform

RECORDS = 4
DEPTH = 64


_CHAINS, _KEYS = 1000, 10_000
_ROUNDS = 240


def measure(bench: Bench) -> Observations:
    """Of ``chain``, ``aggregate`` and ``invoke-throughput``: a round is a slice of each of two workloads beside each other."""
    session, count = bench.session, bench.count(_ROUNDS)
    step, scan = chains(session, _CHAINS)
    chain = in_turns(slices(session, {"look_up": step, "scan": scan}, 1, SLICE_SECONDS), count)
    account = session.tenant()
    sums, _ = aggregates(session, account, RECORDS, _KEYS)
    native = uniform(get_operation(account), _KEYS)
    asked = {"gets": native, "sums": sums, "invokes": get_by_invoke(session, account, _KEYS)}
    with pinned(session.client_core):
        session.load.preload(put_operation(account), _KEYS)
    found = chain.merged(in_turns(slices(session, asked, DEPTH, SLICE_SECONDS), count))
    found.settings |= {"steps": CHAIN_STEPS, "records": RECORDS}
    return found
