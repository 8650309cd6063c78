"""The workloads that ``splinter bench run`` knows: what is stored first, and what is asked for then.

YCSB: B. Cooper et al., "Benchmarking Cloud Serving Systems with YCSB" (SoCC'10), workloads A, B, C, D and F; E scans, which the
store does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from splinter.errors import SplinterError
from splinter.ext.compile import compile_source
from splinter_bench.seed import SEED
from splinter_bench.workloads.distribution import THETA_DEFAULT, Distribution, zipf_ranks
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.workload import (
    KEY_BYTES_DEFAULT,
    KEYS_DEFAULT,
    SCHEDULE_ENTRIES,
    VALUE_BYTES_DEFAULT,
    Account,
    Operation,
    Workload,
    get_operation,
    invoke_operation,
    key_template,
    modify_operation,
    multiget_operation,
    put_operation,
)

_REACH = 512  # requests between an insert and the first read that may ask for it, which waits until it is answered
_NUMBERS_MAX = 1 << 22  # in a schedule with several columns


@dataclass(frozen=True)
class Shape:
    """How large a workload is. ``keys`` are those of all tenants together; ``tenant_skew`` and ``theta`` are Zipf exponents."""

    accounts: tuple[Account, ...]
    tenant_skew: float = 0.0
    keys: int = KEYS_DEFAULT
    theta: float = THETA_DEFAULT
    key_bytes: int = KEY_BYTES_DEFAULT
    value_bytes: int = VALUE_BYTES_DEFAULT
    batch: int = 10  # keys of a multiget

    @property
    def keys_each(self) -> int:
        """Objects of each tenant."""
        return max(1, self.keys // len(self.accounts))


@dataclass(frozen=True)
class Plan:
    """``sources`` are installed for every tenant, then ``loads`` are run once each, then ``workload`` for as long as wanted."""

    workload: Workload
    loads: tuple[Workload, ...] = ()
    sources: tuple[str, ...] = ()


def each_tenant_once(operation: Operation, shape: Shape) -> Workload:
    """An operation on every key of every tenant."""
    total = shape.keys_each * len(shape.accounts)
    numbers = np.arange(total, dtype=np.int64)
    return Workload(
        f"load {operation.name}",
        (operation,),
        np.zeros(total, np.uint16),
        numbers // len(shape.accounts),
        shape.accounts,
        (numbers % len(shape.accounts)).astype(np.uint16),
    )


def tenants_of(shape: Shape, random: np.random.Generator, count: int) -> np.ndarray:
    """Which account makes each request: Zipf, the first the most active."""
    return zipf_ranks(random, len(shape.accounts), shape.tenant_skew, count).astype(np.uint16)


def mixed(name: str, shares: list[tuple[Operation, float]], keys: Distribution, shape: Shape, columns: int = 1) -> Workload:
    """Operations in random order, each with its share of the requests."""
    random = np.random.default_rng(SEED)
    entries = min(SCHEDULE_ENTRIES, _NUMBERS_MAX // columns)
    weights = np.array([share for _, share in shares])
    choice = random.choice(len(shares), entries, p=weights / weights.sum()).astype(np.uint16)
    numbers = keys.sample(random, entries * columns).reshape(entries, columns)
    who = tenants_of(shape, random, entries)
    return Workload(name, tuple(operation for operation, _ in shares), choice, numbers, shape.accounts, who)


def _zipf(shape: Shape) -> Distribution:
    return Distribution("zipf", 0, shape.keys_each - 1, shape.theta)


def _uniform(shape: Shape) -> Distribution:
    return Distribution("uniform", 0, shape.keys_each - 1)


def _operations(shape: Shape) -> tuple[Operation, Operation]:
    first = shape.accounts[0]
    return (
        get_operation(first, shape.key_bytes, shape.value_bytes),
        put_operation(first, shape.key_bytes, shape.value_bytes),
    )


def _read_update(name: str, reads: float) -> Callable[[Shape], Plan]:
    def build(shape: Shape) -> Plan:
        get, put = _operations(shape)
        shares = [(operation, share) for operation, share in ((get, reads), (put, 1 - reads)) if share]
        return Plan(mixed(name, shares, _zipf(shape), shape), (each_tenant_once(put, shape),))

    return build


def _ycsb_d(shape: Shape) -> Plan:
    """Reads of what was inserted last.

    A tenant owns every key whose number leaves the same rest as one of its inserts, so that the schedule, which goes on with
    higher numbers each time it starts again, asks the right tenants for ever.
    """
    get, put = _operations(shape)
    put = replace(put, name="insert")
    random = np.random.default_rng(SEED)
    is_insert = random.random(SCHEDULE_ENTRIES) < 0.05
    is_insert[0] = True
    inserted = np.cumsum(is_insert)
    count = int(inserted[-1])
    owner = tenants_of(shape, random, count)
    settled = np.concatenate([np.zeros(_REACH, np.int64), inserted[:-_REACH]])
    ages = zipf_ranks(random, shape.keys, shape.theta, SCHEDULE_ENTRIES)
    numbers = np.where(is_insert, shape.keys + inserted - 1, shape.keys + settled - 1 - ages)
    workload = Workload(
        "ycsb-d",
        (get, put),
        is_insert.astype(np.uint16),
        numbers,
        shape.accounts,
        owner[numbers % count],
        advance=count,
        reach=_REACH,
    )
    stored = np.arange(shape.keys, dtype=np.int64)
    load = Workload("load", (put,), np.zeros(shape.keys, np.uint16), stored, shape.accounts, owner[stored % count])
    return Plan(workload, (load,))


def _ycsb_f(shape: Shape) -> Plan:
    get, put = _operations(shape)
    modify = modify_operation(shape.accounts[0], shape.key_bytes, shape.value_bytes)
    return Plan(mixed("ycsb-f", [(get, 0.5), (modify, 0.5)], _zipf(shape), shape), (each_tenant_once(put, shape),))


def _ycsb_f_invoke(shape: Shape) -> Plan:
    get, put = _operations(shape)
    account, text = shape.accounts[0], source("modify")
    signature = compile_source(text).signature
    arguments = signature.pack((account.table, key_template(shape.key_bytes), 0))
    at_number, at_key = 2 * 8, len(arguments) - 8
    modify = invoke_operation(account, "modify", arguments, numbers=((at_number, 0), (at_key, 0)), writes=True, reply=bytes(8))
    workload = mixed("ycsb-f-invoke", [(get, 0.5), (modify, 0.5)], _zipf(shape), shape)
    return Plan(workload, (each_tenant_once(put, shape),), (text,))


def _single(name: str) -> Callable[[Shape], Plan]:
    def build(shape: Shape) -> Plan:
        get, put = _operations(shape)
        chosen = get if name == "get" else put
        return Plan(mixed(name, [(chosen, 1)], _uniform(shape), shape), (each_tenant_once(put, shape),))

    return build


def _multiget(shape: Shape) -> Plan:
    _, put = _operations(shape)
    operation = multiget_operation(shape.accounts[0], shape.batch, shape.key_bytes, shape.value_bytes)
    workload = mixed("multiget", [(operation, 1)], _zipf(shape), shape, columns=shape.batch)
    return Plan(workload, (each_tenant_once(put, shape),))


def _tao(shape: Shape) -> Plan:
    from splinter_bench.workloads.tao import plan  # it needs the compiler

    return plan(shape)


@dataclass(frozen=True)
class Entry:
    """A workload by name, and what it is in a sentence."""

    text: str
    build: Callable[[Shape], Plan]


CATALOGUE = {
    "get": Entry("reads, keys uniform", _single("get")),
    "put": Entry("updates, keys uniform", _single("put")),
    "multiget": Entry("reads of --batch keys each, keys by Zipf", _multiget),
    "ycsb-a": Entry("half reads, half updates, keys by Zipf", _read_update("ycsb-a", 0.5)),
    "ycsb-b": Entry("95 % reads, 5 % updates, keys by Zipf", _read_update("ycsb-b", 0.95)),
    "ycsb-c": Entry("reads, keys by Zipf", _read_update("ycsb-c", 1.0)),
    "ycsb-d": Entry("95 % reads of the latest, 5 % inserts", _ycsb_d),
    "ycsb-f": Entry("half reads, half read-modify-writes by get and put of the version read, keys by Zipf", _ycsb_f),
    "ycsb-f-invoke": Entry("the same, a read-modify-write being one invoke of an extension", _ycsb_f_invoke),
    "tao": Entry("TAO's published mix on a generated graph, by the library's extensions", _tao),
}


def build(name: str, shape: Shape) -> Plan:
    """The plan of a workload; raises :class:`SplinterError` for an unknown name or a shape that it cannot have."""
    if name not in CATALOGUE:
        raise SplinterError(f"there is no workload {name!r}: 'splinter bench run --list' shows them")
    if shape.keys < len(shape.accounts):
        raise SplinterError(f"{len(shape.accounts)} tenants need as many keys at least, not {shape.keys}")
    try:
        return CATALOGUE[name].build(shape)
    except ValueError as error:
        raise SplinterError(str(error)) from error
