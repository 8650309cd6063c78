"""What it brings to push a function into the store: one invoke against the requests that it stands for."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from splinter.bench.figure import Figure, medians
from splinter.bench.process import pinned
from splinter.bench.session import SLICE_SECONDS, Session
from splinter.bench.worker_time import invoke_get
from splinter.bench.workload import (
    KEY_BYTES_DEFAULT,
    NUMBER_BYTES,
    SCHEDULE_ENTRIES,
    Account,
    Workload,
    get_operation,
    invoke_operation,
    key_template,
    put_operation,
    uniform,
)
from splinter.client import Client
from splinter.ext.compile import compile_source
from splinter.ext.library import entry

CHAIN_STEPS = 8
RECORDS = 4
DEPTH = 64
_CHAIN_TABLE = 2
_U64 = struct.Struct("<Q")
_SEED = 20180919
_LISTS = 32  # of keys to aggregate; as many operations


@dataclass(frozen=True)
class Rounds:
    """A round is a slice of each of two workloads, beside each other."""

    count: int = 25
    seconds: float = SLICE_SECONDS
    chains: int = 1000
    keys: int = 10_000


_DEFAULTS = Rounds()


def measure(session: Session, rounds: Rounds = _DEFAULTS) -> list[Figure]:
    """``chain``, ``aggregate`` and ``invoke-throughput``."""
    return [_chain(session, rounds), *_records(session, rounds)]


def _chain(session: Session, rounds: Rounds) -> Figure:
    """Objects are rings of CHAIN_STEPS, so that an invoke comes back to the key that it began with."""
    account = session.tenant(_CHAIN_TABLE)
    client = session.client(account)
    last = CHAIN_STEPS - 1
    numbers = range(rounds.chains * CHAIN_STEPS)
    links = ((_U64.pack(n), _U64.pack(n - last if n % CHAIN_STEPS == last else n + 1)) for n in numbers)
    session.use_stack()
    client.put_many(links, table=_CHAIN_TABLE)
    signature = client.install(entry("scan").sources["scan"]).signature
    arguments = signature.pack((_CHAIN_TABLE, 0, CHAIN_STEPS))
    scan = invoke_operation(account, "scan", arguments, number_at=NUMBER_BYTES, reply=bytes(NUMBER_BYTES))
    step = replace(get_operation(account, NUMBER_BYTES, NUMBER_BYTES), reply=None)  # the next key, not its own
    # A chain's next key is the reply before: at depth 1 the keys in turn ask for the same, in the same time.
    get = partial(session.slice, uniform(step, len(numbers)), 1, rounds.seconds)
    invoke = partial(session.slice, uniform(scan, len(numbers)), 1, rounds.seconds)
    gets, invokes = [], []
    for _ in range(rounds.count):
        gets.append(CHAIN_STEPS * get().latency_ns["p50"])
        invokes.append(invoke().latency_ns["p50"])
    return Figure(
        "chain",
        f"{CHAIN_STEPS} dependent look-ups: medians of {CHAIN_STEPS} gets over one invoke, depth 1",
        "×",
        tuple(a / b for a, b in zip(gets, invokes, strict=True)),
        medians(gets_ns=gets, invoke_ns=invokes),
    )


def _records(session: Session, rounds: Rounds) -> list[Figure]:
    account = session.tenant()
    client = session.client(account)
    with pinned(session.client_core):
        session.load.preload(put_operation(account), rounds.keys)
    compiled_get = compile_source(entry("get").sources["get"])
    client.install(entry("get").sources["get"])
    lists = _aggregates(account, client, rounds.keys)
    native = uniform(get_operation(account), rounds.keys)
    invoke = uniform(invoke_get(account, compiled_get), rounds.keys)
    gets, aggregates, invokes = [], [], []
    for _ in range(rounds.count):
        gets.append(session.slice(native, DEPTH, rounds.seconds).per_second)
        aggregates.append(session.slice(lists, DEPTH, rounds.seconds).per_second)
        invokes.append(session.slice(invoke, DEPTH, rounds.seconds).per_second)
    return [
        Figure(
            "aggregate",
            f"{RECORDS} records added up: by one invoke over by {RECORDS} gets, throughput at depth {DEPTH}",
            "×",
            tuple(RECORDS * a / g for g, a in zip(gets, aggregates, strict=True)),
            medians(gets_per_second=gets, invokes_per_second=aggregates),
        ),
        Figure(
            "invoke-throughput",
            f"invokes that read one object, of gets, depth {DEPTH}",
            "%",
            tuple(100 * i / g for g, i in zip(gets, invokes, strict=True)),
            medians(gets_per_second=gets, invokes_per_second=invokes),
        ),
    ]


def _aggregates(account: Account, client: Client, keys: int) -> Workload:
    """Sums over lists of keys. A value begins with its key's number, so the schedule's number is the sum to expect."""
    signature = client.install(entry("aggregate").sources["aggregate"]).signature
    random = np.random.default_rng(_SEED)
    prefix = key_template()[:-NUMBER_BYTES]
    lists = random.integers(0, keys, (_LISTS, RECORDS))
    operations = []
    for numbers in lists.tolist():
        packed = b"".join(prefix + _U64.pack(number) for number in numbers)
        arguments = signature.pack((account.table, KEY_BYTES_DEFAULT, packed))
        operations.append(invoke_operation(account, "aggregate", arguments, reply=bytes(NUMBER_BYTES)))
    choice = random.integers(0, _LISTS, SCHEDULE_ENTRIES, dtype=np.uint8)
    return Workload("aggregate", tuple(operations), choice, lists.sum(axis=1)[choice])
