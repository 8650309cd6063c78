"""Workloads that run extensions, beside the gets that they stand for: prepared on a session's server.

Each function is called before the session's load generator is opened, or closes it: it stores objects and installs by the
Python client.
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from splinter.ext.compile import CompiledExtension, compile_source
from splinter.ext.library import entry
from splinter_bench.seed import SEED
from splinter_bench.subjects.session import Session
from splinter_bench.workloads.workload import (
    KEY_BYTES_DEFAULT,
    NUMBER_BYTES,
    SCHEDULE_ENTRIES,
    VALUE_BYTES_DEFAULT,
    Account,
    Operation,
    Workload,
    get_operation,
    invoke_operation,
    key_template,
    uniform,
    value_template,
)

CHAIN_STEPS = 8
_CHAIN_TABLE = 2
_U64 = struct.Struct("<Q")
_LISTS = 32  # of keys to aggregate; as many operations


def invoke_get(
    account: Account,
    compiled: CompiledExtension,
    key_bytes: int = KEY_BYTES_DEFAULT,
    value_bytes: int = VALUE_BYTES_DEFAULT,
) -> Operation:
    """The library's ``get`` asked for the same object, and with the same answer, as the native get of the benchmark."""
    key = key_template(key_bytes)
    arguments = compiled.signature.pack((account.table, key))
    number_at = len(arguments) - NUMBER_BYTES  # the number ends the key, and the key ends the arguments
    return invoke_operation(account, compiled.name, arguments, number_at=number_at, reply=value_template(value_bytes))


def get_by_invoke(
    session: Session, account: Account, keys: int, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT
) -> Workload:
    """The library's ``get`` of the same objects as the benchmark's native gets."""
    session.use_stack()
    text = entry("get").sources["get"]
    session.client(account).install(text)
    return uniform(invoke_get(account, compile_source(text), key_bytes, value_bytes), keys)


def follower(number: int) -> int:
    """The object behind an object, in its ring of CHAIN_STEPS."""
    return number // CHAIN_STEPS * CHAIN_STEPS + (number + 1) % CHAIN_STEPS


def chains(session: Session, count: int) -> tuple[Workload, Workload]:
    """One step of a chain by a get, and CHAIN_STEPS of them by one invoke of ``scan``; a new tenant's ``count`` chains.

    Objects are rings of as many, so that an invoke comes back to the key that it began with. A chain's next key is the
    reply before: at depth 1, gets of keys in turn ask for the same in the same time.
    """
    account = session.tenant(_CHAIN_TABLE)
    session.use_stack()
    client, numbers = session.client(account), range(count * CHAIN_STEPS)
    client.put_many(((_U64.pack(n), _U64.pack(follower(n))) for n in numbers), table=_CHAIN_TABLE)
    signature = client.install(entry("scan").sources["scan"]).signature
    arguments = signature.pack((_CHAIN_TABLE, 0, CHAIN_STEPS))
    scan = invoke_operation(account, "scan", arguments, number_at=NUMBER_BYTES, reply=bytes(NUMBER_BYTES))
    step = replace(get_operation(account, NUMBER_BYTES, NUMBER_BYTES), reply=None)  # the next key, not its own
    return uniform(step, len(numbers)), uniform(scan, len(numbers))


def aggregates(session: Session, account: Account, records: int, keys: int) -> tuple[Workload, list[list[int]]]:
    """Invokes of ``aggregate`` over lists of ``records`` of the benchmark's objects, and these lists of their numbers.

    A value begins with its key's number, so the schedule's number is the sum to expect.
    """
    session.use_stack()
    signature = session.client(account).install(entry("aggregate").sources["aggregate"]).signature
    random = np.random.default_rng(SEED)
    prefix = key_template()[:-NUMBER_BYTES]
    lists = random.integers(0, keys, (_LISTS, records))
    operations = []
    for numbers in lists.tolist():
        packed = b"".join(prefix + _U64.pack(number) for number in numbers)
        arguments = signature.pack((account.table, KEY_BYTES_DEFAULT, packed))
        operations.append(invoke_operation(account, "aggregate", arguments, reply=bytes(NUMBER_BYTES)))
    choice = random.integers(0, _LISTS, SCHEDULE_ENTRIES, dtype=np.uint8)
    return Workload("aggregate", tuple(operations), choice, lists.sum(axis=1)[choice]), lists.tolist()
