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
    NUMBER_BYTES,
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
    only,
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


def each_tenant_once(operation: Operation, shape: Shape, numbers: np.ndarray | None = None, *, name: str = "") -> Workload:
    """An operation on every key of every tenant, or with every row of ``numbers``."""
    tenants = len(shape.accounts)
    numbers = np.arange(shape.keys_each, dtype=np.int64) if numbers is None else numbers
    who = np.tile(np.arange(tenants, dtype=np.uint16), len(numbers))
    return only(operation, np.repeat(numbers, tenants, axis=0), shape.accounts, who, name=name or f"load {operation.name}")


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


def _get(shape: Shape) -> Operation:
    return get_operation(shape.accounts[0], shape.key_bytes, shape.value_bytes)


def _put(shape: Shape) -> Operation:
    return put_operation(shape.accounts[0], shape.key_bytes, shape.value_bytes)


def _multiget(shape: Shape) -> Operation:
    return multiget_operation(shape.accounts[0], shape.batch, shape.key_bytes, shape.value_bytes)


def _modify(shape: Shape) -> Operation:
    return modify_operation(shape.accounts[0], shape.key_bytes, shape.value_bytes)


def _modify_by_invoke(shape: Shape) -> Operation:
    account = shape.accounts[0]
    arguments = compile_source(source("modify")).signature.pack((account.table, key_template(shape.key_bytes), 0))
    at_number, at_key = 2 * NUMBER_BYTES, len(arguments) - NUMBER_BYTES
    numbers, reply = ((at_number, 0), (at_key, 0)), bytes(NUMBER_BYTES)
    return invoke_operation(account, "modify", arguments, numbers=numbers, writes=True, reply=reply)


def _ycsb_d(shape: Shape) -> Plan:
    """Reads of what was inserted last.

    A tenant owns every key whose number leaves the same rest as one of its inserts, so that the schedule, which goes on with
    higher numbers each time it starts again, asks the right tenants for ever.
    """
    get, put = _get(shape), replace(_put(shape), name="insert")
    random = np.random.default_rng(SEED)
    is_insert = random.random(SCHEDULE_ENTRIES) < 0.05
    is_insert[0] = True
    inserted = np.cumsum(is_insert)
    count = int(inserted[-1])
    owner = tenants_of(shape, random, count)
    settled = np.concatenate([np.zeros(_REACH, np.int64), inserted[:-_REACH]])
    ages = zipf_ranks(random, shape.keys, shape.theta, SCHEDULE_ENTRIES)
    numbers = np.where(is_insert, shape.keys + inserted - 1, shape.keys + settled - 1 - ages)
    choice, who = is_insert.astype(np.uint16), owner[numbers % count]
    workload = Workload("ycsb-d", (get, put), choice, numbers, shape.accounts, who, advance=count, reach=_REACH)
    stored = np.arange(shape.keys, dtype=np.int64)
    return Plan(workload, (only(put, stored, shape.accounts, owner[stored % count], name="load"),))


def _tao(shape: Shape) -> Plan:
    from splinter_bench.workloads.tao import plan  # it needs the compiler

    return plan(shape)


Make = Callable[[Shape], Operation]


@dataclass(frozen=True)
class Entry:
    """A workload by name, and what it is in a sentence.

    Operations with their shares of the requests, after a put of every key; or a plan of its own. ``sources`` are extensions.
    """

    text: str
    shares: tuple[tuple[Make, float], ...] = ()
    keys: str = "zipf"  # their distribution
    sources: tuple[str, ...] = ()
    plan: Callable[[Shape], Plan] | None = None

    def build(self, name: str, shape: Shape) -> Plan:
        """What is stored and asked for. Raises ``ValueError`` for a shape that it cannot have."""
        if self.plan is not None:
            return self.plan(shape)
        shares = [(make(shape), share) for make, share in self.shares]
        columns = 1 + max(column for operation, _ in shares for _, column in operation.packets[0].patches)
        keys = Distribution(self.keys, 0, shape.keys_each - 1, shape.theta)
        texts = tuple(source(name) for name in self.sources)
        return Plan(mixed(name, shares, keys, shape, columns), (each_tenant_once(_put(shape), shape),), texts)


CATALOGUE = {
    "get": Entry("reads, keys uniform", ((_get, 1),), keys="uniform"),
    "put": Entry("updates, keys uniform", ((_put, 1),), keys="uniform"),
    "multiget": Entry("reads of --batch keys each, keys by Zipf", ((_multiget, 1),)),
    "ycsb-a": Entry("half reads, half updates, keys by Zipf", ((_get, 0.5), (_put, 0.5))),
    "ycsb-b": Entry("95 % reads, 5 % updates, keys by Zipf", ((_get, 0.95), (_put, 0.05))),
    "ycsb-c": Entry("reads, keys by Zipf", ((_get, 1),)),
    "ycsb-d": Entry("95 % reads of the latest, 5 % inserts", plan=_ycsb_d),
    "ycsb-f": Entry(
        "half reads, half read-modify-writes by get and put of the version read, keys by Zipf", ((_get, 0.5), (_modify, 0.5))
    ),
    "ycsb-f-invoke": Entry(
        "the same, a read-modify-write being one invoke of an extension",
        ((_get, 0.5), (_modify_by_invoke, 0.5)),
        sources=("modify",),
    ),
    "tao": Entry("TAO's published mix on a generated graph, by the library's extensions", plan=_tao),
}


def build(name: str, shape: Shape) -> Plan:
    """The plan of a workload; raises :class:`SplinterError` for an unknown name or a shape that it cannot have."""
    if name not in CATALOGUE:
        raise SplinterError(f"there is no workload {name!r}: 'splinter bench run --list' shows them")
    if shape.keys < len(shape.accounts):
        raise SplinterError(f"{len(shape.accounts)} tenants need as many keys at least, not {shape.keys}")
    try:
        return CATALOGUE[name].build(name, shape)
    except ValueError as error:
        raise SplinterError(str(error)) from error
