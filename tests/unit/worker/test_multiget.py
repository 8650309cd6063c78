"""A multiget's values are of one instant."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.store.commit_layout import WRITE_DELETES
from splinter.store.commits import count_commit, finish, open_commit
from splinter.store.hashing import identity_of, store_hash
from splinter.store.journal import participant_at
from splinter.store.transactions import note_write
from splinter.wire import HEADER, MAGIC, MULTIGET_TOO_LARGE, MULTIGET_VERSIONS, VERSION, Opcode
from splinter.worker.requests import handle
from splinter.worker.turn import begin_turn

TENANT = 1
WRITER = limits.PARTICIPANT_CONTROL
KEYS = [b"replaced", b"deleted", b"made"]
MISSING = 0xFFFFFFFF


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
        made.add_tenant(TENANT)
        yield made


def ask(worker: WorkerInProcess, keys: list[bytes], version: int = 0) -> bytes:
    """The value of the worker's reply."""
    body = b"".join(struct.pack("<H", len(key)) + key for key in keys)
    packet = np.zeros(limits.CHUNK_BYTES, np.uint8)
    header = packet[: HEADER.itemsize].view(HEADER.dtype)
    header["magic"], header["version"], header["opcode"], header["tenant"] = MAGIC, VERSION, Opcode.MULTIGET, TENANT
    header["value_length"], header["object_version"] = len(body), version
    packet[HEADER.itemsize : HEADER.itemsize + len(body)] = np.frombuffer(body, np.uint8)
    begin_turn(worker.address)
    length = handle(worker.address, packet.ctypes.data, HEADER.itemsize + len(body), 0, 0, 0)
    assert header["status"][0] == Status.OK
    return packet[HEADER.itemsize : length].tobytes()


def multiget(worker: WorkerInProcess) -> list[bytes | None]:
    """What the worker replies for all keys."""
    reply, at, values = ask(worker, KEYS), 0, []
    while at < len(reply):
        (size,) = struct.unpack_from("<I", reply, at)
        values.append(None if size == MISSING else reply[at + 4 : at + 4 + size])
        at += 4 + (0 if size == MISSING else size)
    return values


def test_no_multiget_sees_a_part_of_a_commit(worker: WorkerInProcess):
    store = worker.store
    store.put(TENANT, 0, KEYS[0], b"old")
    store.put(TENANT, 0, KEYS[1], b"old")
    writes = np.zeros(1024, np.uint8)
    end = writes.ctypes.data
    for key, value in zip(KEYS, (b"new", None, b"new"), strict=True):
        identity = identity_of(TENANT, 0, len(key))
        at = np.frombuffer(key, np.uint8).ctypes.data
        hashed = store_hash(store.address, identity, at, len(key))
        value_at = ctypes.cast(ctypes.c_char_p(value), ctypes.c_void_p).value or 0
        end = note_write(end, hashed, identity, at, value_at, WRITE_DELETES if value is None else len(value))
    me = participant_at(store.address, WRITER)
    before = [b"old", b"old", None]
    assert multiget(worker) == before
    assert open_commit(store.address, me, TENANT, writes.ctypes.data, end) == Status.OK
    assert multiget(worker) == before
    assert [store.get(TENANT, 0, key, participant=0) for key in KEYS] == before
    assert count_commit(store.address, me, 0) == Status.OK
    after = [b"new", None, b"new"]
    assert multiget(worker) == [store.get(TENANT, 0, key, participant=0) for key in KEYS]
    finish(store.address, me)
    assert multiget(worker) == after
    assert store.problems() == []


def test_versions_stand_before_values(worker: WorkerInProcess):
    """And an answer that would fit without its version is left to the next packet, or to a GET."""
    most = limits.PACKET_BODY_BYTES_MAX
    sizes = {b"empty": 0, b"small": 5, b"most": most - 12, b"more": most - 11, b"fits": most - 4}
    versions = {key: worker.store.put(TENANT, 0, key, b"x" * size) for key, size in sizes.items()}

    def answer(key: bytes) -> bytes:
        return struct.pack("<IQ", sizes[key], versions[key]) + b"x" * sizes[key]

    assert ask(worker, [b"small", b"none", b"empty"], MULTIGET_VERSIONS) == (
        answer(b"small") + struct.pack("<I", MISSING) + answer(b"empty")
    )
    assert ask(worker, [b"most"], MULTIGET_VERSIONS) == answer(b"most")
    assert ask(worker, [b"small", b"most"], MULTIGET_VERSIONS) == answer(b"small")
    assert ask(worker, [b"more", b"fits"], MULTIGET_VERSIONS) == struct.pack("<II", MULTIGET_TOO_LARGE, MULTIGET_TOO_LARGE)
    for asked in (0, 2):  # what else may stand there means nothing
        assert ask(worker, [b"fits"], asked) == struct.pack("<I", most - 4) + b"x" * (most - 4)
