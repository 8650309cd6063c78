"""Traces: which requests were made when. ``docs/reference/workloads.md`` describes the format for other programs.

A file is a header (magic, version, bytes of a key) and fixed-size records, little-endian. Keys are 64-bit numbers: a trace
says which requests are for the same object, not what it is called.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from splinter.errors import SplinterError
from splinter.limits import KEY_BYTES_MAX, VALUE_BYTES_MAX
from splinter.wire import Opcode
from splinter_bench.workloads.workload import (
    KEY_BYTES_DEFAULT,
    NUMBER_BYTES,
    VALUE_BYTES_DEFAULT,
    Account,
    Operation,
    Workload,
    delete_operation,
    get_operation,
    only,
    put_operation,
)

MAGIC, VERSION = b"SPLT", 1
HEADER = np.dtype([("magic", "S4"), ("version", "<u2"), ("key_bytes", "<u2"), ("reserved", "<u8")])
RECORD = np.dtype(
    [
        ("time_ns", "<u8"),  # since the first request
        ("key", "<u8"),
        ("tenant", "<u4"),  # any numbers: a replay makes a tenant for each
        ("value_bytes", "<u4"),  # of a put; 0 otherwise
        ("opcode", "<u4"),  # 1 get, 2 put, 3 delete
        ("reserved", "<u4"),
    ]
)
OPCODES = (Opcode.GET, Opcode.PUT, Opcode.DELETE)
SIZES_MAX = 4096  # different sizes of values in one trace


def write(path: Path, records: np.ndarray, key_bytes: int = KEY_BYTES_DEFAULT) -> None:
    """Write ``RECORD[n]``, whose times do not decrease. Raises :class:`SplinterError` when the file cannot be written."""
    try:
        with path.open("wb") as file:
            file.write(np.array([(MAGIC, VERSION, key_bytes, 0)], HEADER).tobytes())
            file.write(records.astype(RECORD).tobytes())
    except OSError as error:
        raise SplinterError(f"{path}: {error.strerror}") from error


def read(path: Path) -> tuple[np.ndarray, int]:
    """``RECORD[n]`` and the bytes of a key. Raises :class:`SplinterError` when the file is no trace, or an empty one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SplinterError(f"{path}: {error.strerror}") from error
    if len(content) < HEADER.itemsize or content[: len(MAGIC)] != MAGIC:
        raise SplinterError(f"{path} is no trace: it does not begin with {MAGIC.decode()}")
    header = np.frombuffer(content, HEADER, 1)[0]
    if header["version"] != VERSION:
        raise SplinterError(f"{path} is a trace of version {header['version']}; this program reads version {VERSION}")
    body = content[HEADER.itemsize :]
    if not body or len(body) % RECORD.itemsize:
        raise SplinterError(f"{path}: a trace has one or more records of {RECORD.itemsize} bytes; {len(body)} bytes are left")
    records = np.frombuffer(body, RECORD)
    key_bytes = int(header["key_bytes"])
    if not NUMBER_BYTES <= key_bytes <= KEY_BYTES_MAX:
        raise SplinterError(f"{path}: keys have {NUMBER_BYTES} to {KEY_BYTES_MAX} bytes, not {key_bytes}")
    for wrong, what in (
        (~np.isin(records["opcode"], OPCODES), "another opcode than 1, 2, 3"),
        (records["value_bytes"] > VALUE_BYTES_MAX, f"a value of more than {VALUE_BYTES_MAX} bytes"),
        (np.diff(records["time_ns"].astype(np.int64), prepend=0) < 0, "an earlier time than the one before it"),
    ):
        if wrong.any():
            raise SplinterError(f"{path}: record {int(wrong.argmax())} has {what}")
    return records, key_bytes


def from_notes(notes: np.ndarray, workload: Workload, value_bytes: int) -> np.ndarray:
    """``RECORD[n]`` of what a load generator noted of its requests, a read-modify-write as a get and a put.

    Raises :class:`SplinterError` for a workload of other requests than gets, puts and deletes.
    """
    for operation in workload.operations:
        if operation.opcode not in OPCODES:
            raise SplinterError(f"a trace holds gets, puts and deletes: {operation.name} cannot be recorded")
    opcodes = np.array([operation.opcode for operation in workload.operations])[notes["operation"]]
    records = np.zeros(len(notes), RECORD)
    records["time_ns"], records["key"], records["tenant"] = notes["time_ns"], notes["number"], notes["tenant"]
    records["time_ns"] -= records["time_ns"][:1].sum()
    records["opcode"], records["value_bytes"] = opcodes, np.where(opcodes == Opcode.PUT, value_bytes, 0)
    is_both = np.array([operation.then is not None for operation in workload.operations])[notes["operation"]]
    records = np.repeat(records, is_both + 1)
    second = np.flatnonzero(np.repeat(is_both, is_both + 1))[1::2]
    records["opcode"][second], records["value_bytes"][second] = Opcode.PUT, value_bytes
    return records


def tenants(records: np.ndarray) -> np.ndarray:
    """The tenants of a trace, in ascending order."""
    return np.unique(records["tenant"])


def gaps(records: np.ndarray, speed: float) -> np.ndarray:
    """Times between the requests, ``int64[n]`` in ns, when the trace runs ``speed`` times as fast as it was."""
    return np.diff((records["time_ns"] / speed).astype(np.int64), prepend=0)


def replay(records: np.ndarray, key_bytes: int, accounts: tuple[Account, ...]) -> tuple[tuple[Workload, ...], Workload]:
    """What to store first, and the trace's requests in their order. ``accounts`` stand for :func:`tenants`.

    Stored first is every object that a get or delete finds before the trace itself puts it, with the size that it has later,
    or 100 bytes. Values are filler; those of less than 8 bytes have 8, their key's number. A get's answer may be that the
    object is gone when the trace deleted it before. Raises :class:`SplinterError` for too many sizes of values.
    """
    put_sizes = np.maximum(records["value_bytes"][records["opcode"] == Opcode.PUT], NUMBER_BYTES)
    sizes = sorted({VALUE_BYTES_DEFAULT, *(int(size) for size in np.unique(put_sizes))})
    if len(sizes) > SIZES_MAX:
        raise SplinterError(f"the trace has values of {len(sizes):,} sizes; at most {SIZES_MAX:,} can be replayed: round them")
    first = accounts[0]
    puts = {size: put_operation(first, key_bytes, size) for size in sizes}
    gets = {size: _get(first, key_bytes, size) for size in sizes}
    operations: tuple[Operation, ...] = (*puts.values(), *gets.values(), _delete(first, key_bytes))
    put_at = {size: n for n, size in enumerate(sizes)}
    who = np.searchsorted(tenants(records), records["tenant"]).astype(np.uint16)

    has: dict[tuple[int, int], int] = {}  # size of each object, by tenant and key
    stored: dict[tuple[int, int], int] = {}
    choice = np.zeros(len(records), np.uint16)
    opcodes, keys = records["opcode"].tolist(), records["key"].astype(np.int64).tolist()
    for n, name in enumerate(zip(who.tolist(), keys, strict=True)):
        if opcodes[n] == Opcode.PUT:
            size = max(int(records["value_bytes"][n]), NUMBER_BYTES)
            has[name] = size
            choice[n] = put_at[size]
            continue
        if name not in has:
            has[name] = stored[name] = VALUE_BYTES_DEFAULT
        choice[n] = len(sizes) + put_at[has[name]] if opcodes[n] == Opcode.GET else len(operations) - 1
    numbers = np.array(keys, np.int64)
    owners = np.array([tenant for tenant, _ in stored], np.uint16)
    found = np.array([key for _, key in stored], np.int64)
    loads = (only(puts[VALUE_BYTES_DEFAULT], found, accounts, owners, name="load"),) if stored else ()
    return loads, Workload("replay", operations, choice, numbers, accounts, who)


def _get(account: Account, key_bytes: int, size: int) -> Operation:
    operation = get_operation(account, key_bytes, size)
    others = tuple(replace(packet, reply=None) for packet in operation.others)
    return replace(operation, reply=None, reply_patches=((0, 0),), others=others, may_miss=True)


def _delete(account: Account, key_bytes: int) -> Operation:
    return replace(delete_operation(account, key_bytes), may_miss=True)
