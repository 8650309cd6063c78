"""What it costs that each invoke is a transaction: beside the same code with ``isolation="none"``, and beside Redis.

An extension *loosened* is the same text with ``isolation="none"``, under a name of its own.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from splinter.ext.compile import compile_source
from splinter.ext.library import entry, split
from splinter_bench.experiments.bench import Bench, ask_rival, slices
from splinter_bench.generators.text_client import Script, TextClient
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.result import Result, percentiles
from splinter_bench.rounds import in_turns
from splinter_bench.seed import SEED
from splinter_bench.subjects.in_worker import WorkerInProcess
from splinter_bench.subjects.invokes import invoke_get
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.subjects.redis import RedisServer, integer, store
from splinter_bench.subjects.redis_lua import body, fcall, load_functions
from splinter_bench.subjects.rival import CONNECTIONS
from splinter_bench.subjects.session import SLICE_SECONDS, Session
from splinter_bench.workloads.distribution import THETA_DEFAULT, zipf_ranks
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.workload import (
    KEY_BYTES_DEFAULT,
    KEYS_DEFAULT,
    NUMBER_BYTES,
    SCHEDULE_ENTRIES,
    Account,
    Operation,
    Workload,
    each_once,
    invoke_operation,
    key_template,
    only,
    put_operation,
    uniform,
)

ACCOUNTS, CLIENTS, OBJECTS = 1000, 8, 128
DEPTH = 64
_TENANT, _HOT_KEYS = 1, 100
_ROUNDS = 60
_BALANCE = 1 << 40  # no account is ever without
_SCRIPT_CALLS = 10_000
WRITES = 7
_PUTS_EACH = 15  # puts for each invoke that reads: about as many as come in meanwhile
_LONG_SECONDS = 0.1  # of a slice of few and long requests, or behind which the device's program changes
_U64 = struct.Struct("<Q")


def loosened(text: str, name: str) -> str:
    """The extension ``name`` of a source with ``isolation="none"``, as ``loose_…``."""
    return text.replace("@extension\n", '@extension(isolation="none")\n').replace(f"def {name}(", f"def loose_{name}(")


# --- a worker's own time ----------------------------------------------------------------------------------------------------


def measure_worker(bench: Bench, requests: int = 20_000) -> Observations:
    """Of ``read-one`` and ``modify-one``: so many invokes of each kind in each round, of few objects, which caches hold."""
    texts = {"get": entry("get").sources["get"], "modify": source("modify")}
    with WorkerInProcess() as worker:
        account = worker.add_tenant(_TENANT)
        worker.serve(each_once(put_operation(account), _HOT_KEYS), _HOT_KEYS)
        asked: dict[str, Callable[[], float]] = {}
        for name, text in texts.items():
            for subject, own in ((name, text), (f"loose_{name}", loosened(text, name))):
                compiled = compile_source(own)
                worker.install(_TENANT, compiled)
                operation = invoke_get(account, compiled) if name == "get" else _modify(account, subject)
                asked[subject] = partial(worker.serve, uniform(operation, _HOT_KEYS), requests)
        return in_turns(asked, bench.count(_ROUNDS))


def _modify(account: Account, name: str) -> Operation:
    """Put the number of the key where it is already."""
    arguments = compile_source(source("modify")).signature.pack((account.table, key_template(KEY_BYTES_DEFAULT), 0))
    numbers = ((2 * NUMBER_BYTES, 0), (len(arguments) - NUMBER_BYTES, 0))
    return invoke_operation(account, name, arguments, numbers=numbers, writes=True, reply=bytes(NUMBER_BYTES))


# --- a server ---------------------------------------------------------------------------------------------------------------


def measure(bench: Bench) -> Observations:
    """Of ``transfer-throughput`` and ``readers-beside-writers``: transfers beside loosened ones, readers beside writers."""
    session, count = bench.session, bench.count(_ROUNDS)
    account = _accounts(session, KEYS_DEFAULT)
    transfers = {name: _transfers(account, name, KEYS_DEFAULT) for name in ("transfer", "loose_transfer")}
    found = in_turns(slices(session, transfers, DEPTH, SLICE_SECONDS), count)
    found = found.merged(in_turns(_readers(session, account), count))
    found.settings |= {"objects": OBJECTS, "depth": DEPTH, "writes": WRITES}
    return found


def measure_contended(bench: Bench) -> Observations:
    """Of ``one-object-throughput`` and ``conflicts``: what many write at once, by a worker on each CPU that help each other.

    The client shares a CPU with one of them. Conflicts are told by the server's counters.
    """
    count = bench.count(_ROUNDS)
    with lab_server(*sorted(os.sched_getaffinity(0))) as info, Session(info) as session:
        account = _accounts(session, ACCOUNTS)
        adds = {"one": _adds(account, 1), "several": _adds(account, CLIENTS)}
        found = in_turns(slices(session, adds, CLIENTS, SLICE_SECONDS), count)
        skewed = partial(_with_conflicts, session, _transfers(account, "transfer", ACCOUNTS, THETA_DEFAULT))
        found = found.merged(in_turns({"skewed": skewed}, count))
    found.settings |= {"accounts": ACCOUNTS, "clients": CLIENTS, "theta": THETA_DEFAULT, "depth": DEPTH}
    return found


def measure_redis(bench: Bench) -> Observations:
    """Of ``fcall-transfer-…``: transfers between the same accounts, at depth 1 and by CONNECTIONS connections."""
    session, count = bench.session, bench.count(_ROUNDS)
    account = _accounts(session, KEYS_DEFAULT)
    workload = _transfers(account, "transfer", KEYS_DEFAULT)
    pairs = workload.keys[:_SCRIPT_CALLS]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RedisServer(session.info.address, core=session.server_core, netns=session.info.netns))
        load_functions(server, session.netns, {"transfer": body("transfer")})
        store(server, [(_U64.pack(n), b"%d" % _BALANCE) for n in range(KEYS_DEFAULT)], session.netns)
        calls = [fcall("transfer", [_U64.pack(int(one)), _U64.pack(int(other))], b"1") for one, other in pairs]
        script = Script("redis", calls, [integer(1)] * len(calls))
        asked: dict[str, Callable[[], Result]] = {}
        for depth in (1, CONNECTIONS):
            client = stack.enter_context(TextClient(partial(server.connect, session.netns), depth))
            asked |= slices(session, {f"transfer_{depth}": workload}, depth, _LONG_SECONDS)
            asked[f"redis_{depth}"] = partial(ask_rival, session, client, script, _LONG_SECONDS)
        found, rival = in_turns(asked, count), server.configuration
        found.settings |= {"connections": CONNECTIONS, "rivals": {"redis": f"{rival['version']}: {rival['command']}"}}
    return found


def _accounts(session: Session, count: int) -> Account:
    """A new tenant with so many accounts, the transfers of both kinds, ``deposit``, and ``read_many`` of OBJECTS objects."""
    account = session.tenant()
    session.use_stack()
    client = session.client(account)
    texts = split(source("transfer"))
    for text in (*texts.values(), loosened(texts["transfer"], "transfer"), split(source("read_many"))["read_many"]):
        client.install(text)
    with pinned(session.client_core):
        session.load.preload(_deposit(account), count)
    return account


def _packed(name: str, values: tuple[int, ...]) -> bytes:
    """Arguments of an extension of ``transfer.py``."""
    return compile_source(split(source("transfer"))[name]).signature.pack(values)


def _deposit(account: Account) -> Operation:
    """Open the account of the key's number."""
    arguments = _packed("deposit", (account.table, 0, _BALANCE))
    return invoke_operation(account, "deposit", arguments, number_at=NUMBER_BYTES, writes=True)


def _transfers(account: Account, name: str, accounts: int, theta: float = 0.0) -> Workload:
    """Of 1 from one account to another, never the same, chosen by Zipf, 0: uniformly."""
    random, true = np.random.default_rng(SEED), _U64.pack(1)
    senders = zipf_ranks(random, accounts, theta, SCHEDULE_ENTRIES)
    receivers = zipf_ranks(random, accounts, theta, SCHEDULE_ENTRIES)
    receivers = np.where(receivers == senders, (receivers + 1) % accounts, receivers)
    numbers = ((NUMBER_BYTES, 0), (2 * NUMBER_BYTES, 1))
    operation = replace(
        invoke_operation(
            account, name, _packed("transfer", (account.table, 0, 0, 1)), numbers=numbers, writes=True, reply=true
        ),
        reply_patches=(),
    )
    return only(operation, np.stack([senders, receivers], axis=1).astype(np.int64))


def _adds(account: Account, objects: int) -> Workload:
    """1 to each of so many accounts in turn."""
    arguments = _packed("deposit", (account.table, 0, 1))
    operation = invoke_operation(account, "deposit", arguments, number_at=NUMBER_BYTES, writes=True)
    return only(operation, np.resize(np.arange(objects, dtype=np.int64), SCHEDULE_ENTRIES))


def _readers(session: Session, account: Account) -> dict[str, Callable[[], Any]]:
    """Invokes that read OBJECTS objects: alone, and while a client puts these objects, one at a time or WRITES at once."""
    account = replace(account, table=account.table + 1)  # their values are no balances
    put = put_operation(account, NUMBER_BYTES, NUMBER_BYTES)
    arguments = compile_source(split(source("read_many"))["read_many"]).signature.pack((account.table, 0))
    read = invoke_operation(account, "read_many", arguments)
    with pinned(session.client_core):
        session.load.preload(put, OBJECTS)
    choice = np.resize(np.array([1] + [0] * _PUTS_EACH, np.uint16), SCHEDULE_ENTRIES)
    keys = np.random.default_rng(SEED).integers(0, OBJECTS, SCHEDULE_ENTRIES, dtype=np.int64)
    beside = Workload("readers and writers", (put, read), choice, keys)

    def ask(workload: Workload, writes: int) -> dict[str, int]:
        return percentiles(session.slice(workload, 1 + writes, _LONG_SECONDS).operations[read.name])

    asked: dict[str, Callable[[], Any]] = {"alone": partial(ask, only(read, np.zeros(1, np.int64)), 0)}
    return asked | {f"beside_{writes}": partial(ask, beside, writes) for writes in (1, WRITES)}


def _with_conflicts(session: Session, workload: Workload) -> dict[str, float]:
    """How many of a slice's transactions began anew, by the server's own counters: with the slice's warm-up."""
    before = _counted(session)
    per_second = session.slice(workload, DEPTH, SLICE_SECONDS).per_second
    conflicts, invokes = (now - then for now, then in zip(_counted(session), before, strict=True))
    return {"per_second": per_second, "conflicts": conflicts / max(1, invokes)}


def _counted(session: Session) -> tuple[int, int]:
    """Transactions begun anew, and invokes, of all workers so far."""
    workers = session.admin.stats()["workers"]
    return sum(each["conflicts"] for each in workers), sum(each["requests"]["invoke"] for each in workers)
