"""How long requests take, as the worker notes it: in which bucket, for which kind, and for what not at all."""

from __future__ import annotations

import bisect
import ctypes
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from splinter import limits
from splinter.native.clock import cycles_per_millisecond
from splinter.net.tenants import TENANT, tenants_bytes
from splinter.server.worker_statistics import latency_statistics
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.wire import Header, Opcode
from splinter.worker.latencies import bucket_of, record_batch, record_since, record_task
from splinter.worker.layout import BATCH, LATENCY_BOUNDS_NS, OPCODES
from splinter.worker.memory import WorkerMemory, introduce
from splinter.worker.reply import DROP, PENDING
from splinter.worker.tasks.pool import take_over_tasks
from splinter.worker.texts import build_texts
from splinter.worker.turn import begin_turn
from splinter.worker.xdp.loop import serve_queue
from tests.support.tenants import write_tenant
from tests.unit.worker.memory_device import MemoryDevice

ID, TOKEN, KEY = 7, 1234, b"key"
TICKS = 1000  # a microsecond
TICKS_PER_MS = TICKS * 1000


def make_worker(ticks: int = TICKS_PER_MS, *, are_recorded: bool = True, tenants: Region | None = None) -> WorkerMemory:
    region = tenants or Region.create("tenants", tenants_bytes())
    store = Store.create(limits.STORE_BYTES_MIN, tenants_region=region, participants=1)
    store.open_tenant(ID)
    texts = build_texts()
    worker = WorkerMemory(
        0, store=store.address, tenants=region.address, rates=0, texts=texts.ctypes.data, tasks=16, tasks_per_tenant=16,
        task_budget=limits.TASK_BUDGET, task_yields_max=1000, task_milliseconds_max=1000, task_wall_milliseconds_max=1000,
        cycles_per_millisecond=ticks, quarantine_after=limits.QUARANTINE_AFTER, idle_spin_ns=0, udp=False,
    )  # fmt: skip
    worker.record_latencies(are_recorded)
    worker.kept = (region, store, texts)  # type: ignore[attr-defined]
    introduce([worker], stealing=False)
    return worker


def batch_of(worker: WorkerMemory, *packets: tuple[int, int]) -> None:
    """A batch of packets that were served: opcode and reply of each."""
    memory = (ctypes.c_uint8 * (BATCH.itemsize * len(packets))).from_address(int(worker.block["batch"][0]))
    entries = np.frombuffer(memory, BATCH)
    for entry, (opcode, reply) in zip(entries, packets, strict=True):
        entry["opcode"], entry["reply"] = opcode, reply


@pytest.mark.parametrize("bound", LATENCY_BOUNDS_NS)
def test_a_bucket_counts_up_to_its_bound(bound: int) -> None:
    for nanoseconds in (bound - 1, bound, bound + 1):
        assert bucket_of(nanoseconds) == bisect.bisect_left(LATENCY_BOUNDS_NS, nanoseconds)


def test_the_first_and_the_last_bucket_take_everything_beyond() -> None:
    assert [bucket_of(ns) for ns in (-5, 0, 1, 255, 256)] == [0] * 5
    assert bucket_of(1 << 62) == len(LATENCY_BOUNDS_NS)


def test_bounds_grow_by_half_at_most() -> None:
    steps = [after / before for before, after in itertools.pairwise(LATENCY_BOUNDS_NS)]
    assert set(steps) == {3 / 2, 4 / 3}


def test_a_batch_counts_for_each_kind_that_has_a_reply() -> None:
    worker = make_worker()
    get, put, invoke = int(Opcode.GET), int(Opcode.PUT), int(Opcode.INVOKE)
    batch_of(worker, (get, 64), (get, 80), (put, 64), (get, DROP), (invoke, PENDING), (invoke, -2), (get, 64))
    record_batch(worker.address, 7, 3 * TICKS)
    told = latency_statistics([worker, worker])["kinds"]  # as if two of them had done the same
    assert set(told) == {"get", "put"}
    place = bisect.bisect_left(LATENCY_BOUNDS_NS, 3000)
    assert told["get"]["buckets"][place] == told["get"]["buckets"].sum() == 6
    assert told["put"]["buckets"][place] == told["put"]["buckets"].sum() == 2
    assert abs(told["get"]["sum_ns"] - 6 * 3000) <= 6 and abs(told["put"]["sum_ns"] - 2 * 3000) <= 2


def test_what_came_earlier_is_noted_by_the_heartbeat() -> None:
    worker = make_worker()
    worker.block["heartbeat"] = 900 * TICKS
    worker.tasks["started"][2] = 200 * TICKS
    record_task(worker.address, worker.tasks.ctypes.data + 2 * worker.tasks.itemsize)
    record_since(worker.address, int(Opcode.PUT), 899 * TICKS)
    told = latency_statistics([worker])["kinds"]
    assert {kind: round(int(found["sum_ns"]) / 1000) for kind, found in told.items()} == {"invoke": 700, "put": 1}


def test_a_clock_that_went_back_or_far_ahead_breaks_nothing() -> None:
    worker = make_worker()
    worker.block["heartbeat"] = 5
    record_since(worker.address, OPCODES - 1, 50)
    worker.block["heartbeat"] = 1 << 62
    record_since(worker.address, OPCODES - 1, 50)
    found = latency_statistics([worker])["kinds"]["unknown"]
    assert found["buckets"][0] == 1 and found["buckets"].sum() == 2
    assert 0 < found["sum_ns"] < 1 << 50


def test_nothing_is_noted_where_nobody_asks() -> None:
    worker = make_worker(are_recorded=False)
    record_since(worker.address, int(Opcode.PUT), 0)
    assert latency_statistics([worker])["kinds"] == {}


@pytest.fixture
def serve() -> Callable[[WorkerMemory, list[bytes]], int]:
    def serve(worker: WorkerMemory, packets: list[bytes]) -> int:
        device = MemoryDevice([worker])
        take_over_tasks(worker.address)
        for packet in packets:
            device.deliver(0, packet)
        begin_turn(worker.address)
        assert serve_queue(worker.address, 0) == len(packets)
        return len(device.collect())

    return serve


def request(opcode: int, token: int = TOKEN) -> bytes:
    value = b"value" if opcode == Opcode.PUT else b""
    header = Header(opcode=opcode, tenant=ID, token=token, key_length=len(KEY), value_length=len(value), sequence=1)
    return header.pack() + KEY + value


@pytest.mark.parametrize("are_recorded", [True, False])
def test_a_worker_notes_what_it_answers(serve: Callable[[WorkerMemory, list[bytes]], int], are_recorded: bool) -> None:
    tenants = Region.create("tenants", tenants_bytes())
    write_tenant(tenants.array(TENANT, limits.TENANTS_MAX), ID, TOKEN)
    worker = make_worker(cycles_per_millisecond(), are_recorded=are_recorded, tenants=tenants)
    packets = [request(Opcode.PUT), request(Opcode.GET), request(Opcode.GET), request(Opcode.GET, token=1), request(200)]
    assert serve(worker, packets) == 4  # not the one with a wrong token
    counts = {kind: int(found["buckets"].sum()) for kind, found in latency_statistics([worker])["kinds"].items()}
    assert counts == ({"get": 2, "put": 1, "unknown": 1} if are_recorded else {})
