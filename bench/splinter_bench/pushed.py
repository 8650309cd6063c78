"""What it brings to push a function into the store: one invoke against the requests that it stands for."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial

from splinter_bench.figure import Figure, medians
from splinter_bench.invokes import CHAIN_STEPS, aggregates, chains, get_by_invoke
from splinter_bench.process import pinned
from splinter_bench.rounds import in_turns
from splinter_bench.session import SLICE_SECONDS, Session
from splinter_bench.workload import get_operation, put_operation, uniform

RECORDS = 4
DEPTH = 64
_U64 = struct.Struct("<Q")
_SEED = 20180919
_LISTS = 32  # of keys to aggregate; as many operations


@dataclass(frozen=True)
class Rounds:
    """A round is a slice of each of two workloads, beside each other."""

    count: int = 240
    seconds: float = SLICE_SECONDS
    chains: int = 1000
    keys: int = 10_000


_DEFAULTS = Rounds()


def measure(session: Session, rounds: Rounds = _DEFAULTS) -> list[Figure]:
    """``chain``, ``aggregate`` and ``invoke-throughput``."""
    return [_chain(session, rounds), *_records(session, rounds)]


def _chain(session: Session, rounds: Rounds) -> Figure:
    step, scan = chains(session, rounds.chains)
    slices = {name: partial(session.slice, asked, 1, rounds.seconds) for name, asked in (("get", step), ("invoke", scan))}
    found = in_turns(slices, rounds.count)
    gets = found.of("get", lambda result: CHAIN_STEPS * result.latency_ns["p50"])
    invokes = found.of("invoke", lambda result: result.latency_ns["p50"])
    return Figure(
        "chain",
        f"{CHAIN_STEPS} dependent look-ups: medians of {CHAIN_STEPS} gets over one invoke, depth 1",
        "×",
        tuple(a / b for a, b in zip(gets, invokes, strict=True)),
        medians(gets_ns=gets, invoke_ns=invokes),
        left_out=found.left_out,
    )


def _records(session: Session, rounds: Rounds) -> list[Figure]:
    account = session.tenant()
    invoke = get_by_invoke(session, account, rounds.keys)
    lists, _ = aggregates(session, account, RECORDS, rounds.keys)
    native = uniform(get_operation(account), rounds.keys)
    with pinned(session.client_core):
        session.load.preload(put_operation(account), rounds.keys)
    asked = {"gets": native, "sums": lists, "invokes": invoke}
    slices = {name: partial(session.slice, workload, DEPTH, rounds.seconds) for name, workload in asked.items()}
    found = in_turns(slices, rounds.count)
    gets, sums, invokes = (found.of(name, lambda result: result.per_second) for name in asked)
    return [
        Figure(
            "aggregate",
            f"{RECORDS} records added up: by one invoke over by {RECORDS} gets, throughput at depth {DEPTH}",
            "×",
            tuple(RECORDS * a / g for g, a in zip(gets, sums, strict=True)),
            medians(gets_per_second=gets, invokes_per_second=sums),
            left_out=found.left_out,
        ),
        Figure(
            "invoke-throughput",
            f"invokes that read one object, of gets, depth {DEPTH}",
            "%",
            tuple(100 * i / g for g, i in zip(gets, invokes, strict=True)),
            medians(gets_per_second=gets, invokes_per_second=invokes),
            left_out=found.left_out,
        ),
    ]
