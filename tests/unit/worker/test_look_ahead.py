"""What is asked for before a batch is served: the right memory, and nothing that a hostile packet says beyond its bytes."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess
from splinter_bench.workloads.workload import Account, invoke_operation

from splinter import limits
from splinter.ext.compile import CompiledExtension, compile_source
from splinter.store.hashing import identity_of, store_hash
from splinter.wire import HEADER, Opcode
from splinter.worker.layout import BATCH
from splinter.worker.look_ahead import look_ahead, note_request

IMPORTS = "from splinter.ext import Store, extension, u64\n"
NUMBER = IMPORTS + "@extension\ndef number(db: Store, key: u64) -> bool:\n    return db.get(7, key) is not None\n"
BYTES = IMPORTS + "@extension\ndef octets(db: Store, t: u64, key: bytes) -> bool:\n    return db.get(t, key) is not None\n"
BATCH_PACKETS = 4  # as few as are worth it
TENANT = 1
KEY = b"a key of twenty byte"


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
        made.add_tenant(TENANT)
        for source in (NUMBER, BYTES):
            made.install(TENANT, compile_source(source))
        yield made


def entries(worker: WorkerInProcess, packet: np.ndarray, length: int) -> np.ndarray:
    """The first entry of a batch of such packets, after it was looked ahead at."""
    at = int(worker._memory.block["batch"][0])
    batch = np.frombuffer((ctypes.c_uint8 * (BATCH_PACKETS * BATCH.itemsize)).from_address(at), np.uint8).view(BATCH)
    batch[:] = np.zeros(BATCH_PACKETS, BATCH)
    invokes = 0
    for entry in range(at, at + batch.nbytes, BATCH.itemsize):
        invokes += note_request(worker.address, entry, packet.ctypes.data, length, BATCH_PACKETS)
    look_ahead(worker.address, BATCH_PACKETS, invokes)
    return batch[0]


def invoke_packet(compiled: CompiledExtension, arguments: bytes) -> tuple[np.ndarray, int]:
    operation = invoke_operation(Account(TENANT, 0), compiled.name, arguments)
    return WorkerInProcess._packet(operation), len(operation.payload)


def hash_of(worker: WorkerInProcess, table: int, key: bytes) -> int:
    copied = np.frombuffer(key, np.uint8).copy()
    identity = identity_of(TENANT, table, len(key))
    return int(store_hash(worker.store.address, identity, copied.ctypes.data, len(key))) & (1 << 64) - 1


def test_an_integer_key_is_found_in_the_arguments(worker: WorkerInProcess) -> None:
    compiled = compile_source(NUMBER)
    entry = entries(worker, *invoke_packet(compiled, compiled.signature.pack((42,))))
    assert entry["tenant"] == TENANT
    assert entry["record"] != 0
    assert entry["hashed"] == hash_of(worker, 7, (42).to_bytes(8, "little"))


def test_a_key_of_bytes_and_its_table_are_found_in_the_arguments(worker: WorkerInProcess) -> None:
    compiled = compile_source(BYTES)
    entry = entries(worker, *invoke_packet(compiled, compiled.signature.pack((3, KEY))))
    assert entry["hashed"] == hash_of(worker, 3, KEY)


@pytest.mark.parametrize(
    ("table", "start", "length"),
    [
        *((3, 16, 21), (3, 17, 20), (3, 0xFFFFFFFF, 20), (3, 16, 0), (3, 16, 0xFFFFFFFF), (3, 0, 256)),
        *((0xFF00, 16, 20), (1 << 63, 16, 20)),
    ],
)
def test_nothing_beyond_the_packet_is_taken_for_a_key(worker: WorkerInProcess, table: int, start: int, length: int) -> None:
    compiled = compile_source(BYTES)
    arguments = struct.pack("<QII", table, start, length) + KEY
    entry = entries(worker, *invoke_packet(compiled, arguments))
    assert entry["record"] != 0
    assert entry["hashed"] == 0


def test_arguments_that_are_not_all_there_are_not_read(worker: WorkerInProcess) -> None:
    entry = entries(worker, *invoke_packet(compile_source(BYTES), bytes(15)))
    assert entry["record"] != 0
    assert entry["hashed"] == 0


@pytest.mark.parametrize(
    ("field", "value"), [("key_length", 0), ("key_length", 1408), ("value_length", 9), ("value_length", 1 << 31)]
)
def test_lengths_that_do_not_add_up_find_nothing(worker: WorkerInProcess, field: str, value: int) -> None:
    compiled = compile_source(NUMBER)
    packet, length = invoke_packet(compiled, compiled.signature.pack((42,)))
    packet[: HEADER.itemsize].view(HEADER.dtype)[field] = value
    assert entries(worker, packet, length)["record"] == 0


@pytest.mark.parametrize("length", [-1, 0, HEADER.itemsize - 1])
def test_what_is_no_whole_request_is_nobody_s(worker: WorkerInProcess, length: int) -> None:
    compiled = compile_source(NUMBER)
    packet, _ = invoke_packet(compiled, compiled.signature.pack((42,)))
    entry = entries(worker, packet, length)
    assert (entry["tenant"], entry["hashed"], entry["record"]) == (0, 0, 0)


def test_a_tenant_that_cannot_be_is_nobody(worker: WorkerInProcess) -> None:
    packet, length = invoke_packet(compile_source(NUMBER), bytes(8))
    packet[: HEADER.itemsize].view(HEADER.dtype)["tenant"] = limits.TENANTS_MAX
    assert entries(worker, packet, length)["tenant"] == 0


def test_a_get_s_key_is_hashed_and_other_operations_are_left_alone(worker: WorkerInProcess) -> None:
    packet = np.zeros(limits.CHUNK_BYTES, np.uint8)
    header = packet[: HEADER.itemsize].view(HEADER.dtype)
    header["tenant"], header["table"], header["key_length"] = TENANT, 5, len(KEY)
    packet[HEADER.itemsize : HEADER.itemsize + len(KEY)] = np.frombuffer(KEY, np.uint8)
    for opcode, expected in ((Opcode.GET, hash_of(worker, 5, KEY)), (Opcode.MULTIGET, 0), (Opcode.PING, 0)):
        header["opcode"] = opcode
        assert entries(worker, packet, HEADER.itemsize + len(KEY))["hashed"] == expected
