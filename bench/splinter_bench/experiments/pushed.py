"""What it brings to push a function into the store: one invoke against the requests that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.result import Result
from splinter_bench.rounds import in_turns
from splinter_bench.subjects.invokes import CHAIN_STEPS, aggregates, chains, get_by_invoke
from splinter_bench.subjects.session import SLICE_SECONDS, Session
from splinter_bench.workloads.workload import Workload, get_operation, put_operation, uniform

RECORDS = 4
DEPTH = 64


@dataclass(frozen=True)
class Rounds:
    """A round is a slice of each of two workloads, beside each other."""

    count: int = 240
    seconds: float = SLICE_SECONDS
    chains: int = 1000
    keys: int = 10_000


_DEFAULTS = Rounds()


def measure(session: Session, rounds: Rounds = _DEFAULTS) -> Observations:
    """Of ``chain``, ``aggregate`` and ``invoke-throughput``."""
    step, scan = chains(session, rounds.chains)
    chain = in_turns(_slices(session, {"look_up": step, "scan": scan}, 1, rounds), rounds.count)
    account = session.tenant()
    sums, _ = aggregates(session, account, RECORDS, rounds.keys)
    native = uniform(get_operation(account), rounds.keys)
    asked = {"gets": native, "sums": sums, "invokes": get_by_invoke(session, account, rounds.keys)}
    with pinned(session.client_core):
        session.load.preload(put_operation(account), rounds.keys)
    found = chain.merged(in_turns(_slices(session, asked, DEPTH, rounds), rounds.count))
    found.settings |= {"steps": CHAIN_STEPS, "records": RECORDS}
    return found


def _slices(session: Session, asked: dict[str, Workload], depth: int, rounds: Rounds) -> dict[str, Callable[[], Result]]:
    return {name: partial(session.slice, workload, depth, rounds.seconds) for name, workload in asked.items()}
