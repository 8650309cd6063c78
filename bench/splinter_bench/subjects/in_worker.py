"""A worker in this process, without a kernel: what its own code costs.

Its block, store and code region are those of a server; its rings are plain memory, on a device that takes each packet
the moment it is handed over: the TX ring's two indices are one word, so that the worker finds nothing left to kick. What is
timed are turns of the worker's own loop, on frames that the load generator made, and the load generator checks every reply.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numba import njit

from splinter import limits
from splinter.errors import SplinterError
from splinter.ext import record
from splinter.ext.compile import CompiledExtension
from splinter.ext.native.code import CodeRegion
from splinter.native.atomics import load32, store32_release, store64
from splinter.native.clock import TIMESPEC_BYTES, cycles_per_millisecond, now_ns
from splinter.net.afxdp import compiled as ring
from splinter.net.afxdp.compiled import Descriptor, Xsk
from splinter.net.afxdp.record import XSK
from splinter.net.afxdp.ring import ADDRESS, DESCRIPTOR
from splinter.net.tenants import TENANT, TENANT_ACTIVE, tenants_bytes
from splinter.store.reclaim import reclaim
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.worker.accounts import begin_resumes, idle_until_now
from splinter.worker.latencies import record_batch
from splinter.worker.layout import QUEUE_LOCK
from splinter.worker.memory import WorkerMemory, introduce
from splinter.worker.records import Worker
from splinter.worker.reply import PENDING
from splinter.worker.requests import handle
from splinter.worker.tasks.fair import pick
from splinter.worker.tasks.pool import end_task, take_over_tasks
from splinter.worker.tasks.slices import run_slice
from splinter.worker.texts import build_texts
from splinter.worker.turn import begin_turn
from splinter.worker.xdp.loop import serve_queue
from splinter_bench.generators.flight import launch
from splinter_bench.generators.flight_memory import Flight
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route
from splinter_bench.generators.replies import complete, expire
from splinter_bench.owner import Owner
from splinter_bench.workloads.workload import Account, Operation, Workload

STORE_BYTES_DEFAULT = 64 << 20
_CHUNKS = limits.CHUNKS_PER_QUEUE
_TASKS = 64
_NO_LIMIT = (1 << 31) - 1  # of a task's yields
_TOKEN = 1  # of every tenant
_MILLISECONDS_MAX = 1 << 30  # of a task's time; times the ticks of a millisecond it stays below 63 bits
_QUEUE = 0
_PARTICIPANT = 0  # the worker's number in the store
_DESCRIPTOR_BYTES, _ADDRESS_BYTES = DESCRIPTOR.itemsize, ADDRESS.itemsize
_ROUTE = Route("02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1", "10.0.0.2", 40_000, limits.PORT_DEFAULT)


@njit(cache=True)
def _serve_batches(w: int, flight: int, xsk: int, timespec: int, batches: int, batch: int) -> int:
    """Have the worker serve so many batches; returns nanoseconds in its loop."""
    socket, mask = Xsk(xsk), _CHUNKS - 1
    umem, rx, tx, completion = socket.umem, socket.rx_entries, socket.tx_entries, socket.completion_entries
    total = 0
    for _ in range(batches):
        start = now_ns(timespec)
        position = ring.rx_position(xsk)
        for k in range(batch):
            at = (position + k) & mask
            address = at * limits.CHUNK_BYTES
            packet = Descriptor(rx + at * _DESCRIPTOR_BYTES)
            packet.address = address
            packet.length = launch(flight, umem + address, start)
        store32_release(socket.rx_producer, ring.advance(position, batch))
        sent = ring.tx_position(xsk)

        start = now_ns(timespec)
        idle_until_now(w)
        begin_turn(w)
        serve_queue(w, _QUEUE)
        reclaim(Worker(w).store, _PARTICIPANT, limits.RECLAIM_SLOTS_MAX)
        now = now_ns(timespec)
        total += now - start

        # What the kernel and the client do: every packet is sent, and answers something.
        replies = ring.distance(sent, ring.tx_position(xsk))
        done = load32(socket.completion_producer)
        for k in range(replies):
            reply = Descriptor(tx + ((sent + k) & mask) * _DESCRIPTOR_BYTES)
            address = reply.address
            length = reply.length - FRAME_HEADER_BYTES
            complete(flight, umem + address + FRAME_HEADER_BYTES, length, now)
            store64(completion + ((done + k) & mask) * _ADDRESS_BYTES, address)
        store32_release(socket.completion_producer, ring.advance(done, replies))
        expire(flight, now)
    return total


@njit(cache=True)
def _note_many(w: int, timespec: int, batch: int, batches: int) -> int:
    """Note the latencies of the last batch again and again; returns nanoseconds."""
    start = now_ns(timespec)
    for number in range(batches):
        record_batch(w, batch, number)
    return now_ns(timespec) - start


@njit(cache=True)
def _resume_many(w: int, count: int) -> int:
    """Resume the task that is next ``count`` times; returns how many of them ended a task."""
    ended = 0
    begin_resumes(w)
    for _ in range(count):
        if run_slice(w, pick(w, False)) != PENDING:
            ended += 1
    return ended


@njit(cache=True)
def _run_to_end(w: int, header: int, length: int) -> int:
    """Serve one request and all turns of its task; returns the reply's length."""
    begin_turn(w)
    reply = handle(w, header, length, 0, 0, 0)
    begin_resumes(w)
    while reply == PENDING:
        task = pick(w, False)
        reply = run_slice(w, task)
        if reply != PENDING:
            end_task(w, task)
    return reply


class WorkerInProcess(Owner):
    """One worker and its store. Not isolated: what is installed here runs in this very process.

    Closing it unmaps the machine code: nothing may run any more.
    """

    def __init__(self, store_bytes: int = STORE_BYTES_DEFAULT, task_budget: int = limits.TASK_BUDGET) -> None:
        tenants = Region.create("bench-tenants", tenants_bytes())
        self._tenants = tenants.array(TENANT, limits.TENANTS_MAX)
        self.store = Store.create(store_bytes, tenants_region=tenants, participants=1)
        self._code = CodeRegion.create()
        self._open.callback(self._code.close)
        self._texts = build_texts()
        self._tenants_address, self._task_budget = tenants.address, task_budget
        self._cycles_per_millisecond = cycles_per_millisecond()
        self._memory = self.new_block()
        self.address = self._memory.address
        introduce([self._memory], stealing=False)
        self._make_device()
        take_over_tasks(self.address)
        self._flight = Flight()
        self._timespec = np.zeros(TIMESPEC_BYTES, np.uint8)
        self._extensions = 0
        _serve_batches(self.address, self._flight.address, self._xsk.ctypes.data, self._timespec.ctypes.data, 0, 0)
        _resume_many(self.address, 0)

    def new_block(self) -> WorkerMemory:
        """A block for one more worker of the same store and number: for a process forked from this one."""
        return WorkerMemory(
            _PARTICIPANT,
            store=self.store.address,
            tenants=self._tenants_address,
            rates=0,
            texts=self._texts.ctypes.data,
            tasks=_TASKS,
            tasks_per_tenant=_TASKS,
            task_budget=self._task_budget,
            task_yields_max=_NO_LIMIT,
            task_milliseconds_max=_MILLISECONDS_MAX,
            task_wall_milliseconds_max=_MILLISECONDS_MAX,
            cycles_per_millisecond=self._cycles_per_millisecond,
            quarantine_after=limits.QUARANTINE_AFTER,
            idle_spin_ns=0,
            udp=False,
        )

    def _make_device(self) -> None:
        """Rings in memory. The TX ring's consumer is its producer: whatever is published is sent."""
        self._indices = np.zeros(6, np.uint32)  # RX producer and consumer, TX, completion producer and consumer, fill
        self._flags = np.zeros(1, np.uint32)
        self._umem = np.zeros(_CHUNKS * limits.CHUNK_BYTES, np.uint8)
        self._rings = {name: np.zeros(_CHUNKS, DESCRIPTOR) for name in ("rx", "tx")}
        self._rings |= {name: np.zeros(_CHUNKS, ADDRESS) for name in ("completion", "fill")}
        self._states = np.zeros(_CHUNKS, np.uint64)
        self._locks = np.zeros(1, QUEUE_LOCK)
        self._xsk = np.zeros(1, XSK)
        self._xsk["fd"] = -1
        self._xsk["umem"] = self._umem.ctypes.data
        places = {"rx": (0, 1), "tx": (2, 2), "completion": (3, 4), "fill": (5, 5)}
        for name, (producer, consumer) in places.items():
            self._xsk[f"{name}_producer"] = self._indices[producer:].ctypes.data
            self._xsk[f"{name}_consumer"] = self._indices[consumer:].ctypes.data
            self._xsk[f"{name}_flags"] = self._flags.ctypes.data
            self._xsk[f"{name}_entries"] = self._rings[name].ctypes.data
            self._xsk[f"{name}_mask"] = _CHUNKS - 1
        block = self._memory.block
        block["sockets"][0, _QUEUE] = self._xsk.ctypes.data
        block["queues"] = 1
        block["queue_locks"] = self._locks.ctypes.data
        block["chunks"] = self._states.ctypes.data
        block["umem"] = self._umem.ctypes.data

    def add_tenant(self, tenant: int) -> Account:
        """A tenant that may write."""
        self._tenants["token"][tenant] = _TOKEN
        self._tenants["flags"][tenant] = TENANT_ACTIVE
        self.store.open_tenant(tenant)
        return Account(tenant, _TOKEN)

    def install(self, tenant: int, compiled: CompiledExtension, *, placed: tuple[int, int] | None = None) -> tuple[int, int]:
        """Install an extension; returns (address, offset) of its code, which may be ``placed`` for another tenant."""
        address, at = placed or self._code.write(compiled.code)
        value = record.build(compiled, address, at, 1, self._extensions)
        self._extensions += 1
        self.store.put(tenant, limits.TABLE_EXTENSIONS, compiled.name.encode(), value)
        return address, at

    def record_latencies(self, are_recorded: bool) -> None:
        """Whether the worker notes how long its requests take; at first it does not."""
        self._memory.record_latencies(are_recorded)

    def note_latencies(self, batch: int, batches: int) -> float:
        """Nanoseconds that noting a latency takes, by itself: of the first ``batch`` requests of the batch that was served
        last, so many times. They are recorded from then on."""
        self.record_latencies(True)
        return _note_many(self.address, self._timespec.ctypes.data, batch, batches) / (batch * batches)

    def serve(self, workload: Workload, requests: int, batch: int = limits.RX_BATCH) -> float:
        """Nanoseconds of the worker's loop for each request; ``requests`` of them, rounded up to whole batches.

        ``batch`` packets lie in the RX ring at a time; ``ValueError`` when a turn does not take as many. Raises
        :class:`SplinterError` when a reply was not what it should be.
        """
        if not 1 <= batch <= limits.RX_BATCH:
            raise ValueError(f"a turn takes 1 to {limits.RX_BATCH} packets, not {batch}")
        flight = self._flight
        flight.load(workload, _ROUTE)
        batches = -(-requests // batch)
        spent = _serve_batches(self.address, flight.address, self._xsk.ctypes.data, self._timespec.ctypes.data, batches, batch)
        sent = flight["sent"]
        if flight["answered"] != sent or flight["corrupt"] or flight.errors() or flight["stale"]:
            raise SplinterError(
                f"{workload.name}: {flight['answered']} of {sent} requests answered, {flight['corrupt']} wrongly; "
                f"{flight.errors()}"
            )
        return float(spent) / sent

    def resume(self, operation: Operation, count: int) -> float:
        """Nanoseconds for each of ``count`` resumes of the task that an operation starts, and that always yields."""
        if not self._memory.block["tasks_live"][0]:
            self._header = self._packet(operation)
            begin_turn(self.address)
            if handle(self.address, self._header.ctypes.data, len(operation.payload), 0, 0, 0) != PENDING:
                raise SplinterError(f"{operation.name} did not yield")
        start = time.perf_counter_ns()
        ended = _resume_many(self.address, count)
        spent = time.perf_counter_ns() - start
        if ended or self._memory.block["run_length"][0] != 1:
            raise SplinterError(f"{operation.name} ended")
        return spent / count

    def run(self, operation: Operation) -> tuple[float, bytes]:
        """Nanoseconds of one request from its start to its task's end, and the reply's value."""
        packet = self._packet(operation)
        address, length = packet.ctypes.data, len(operation.payload)
        start = time.perf_counter_ns()
        reply = _run_to_end(self.address, address, length)
        spent = time.perf_counter_ns() - start
        return float(spent), packet[limits.REQUEST_HEADER_BYTES : reply].tobytes()

    @staticmethod
    def _packet(operation: Operation) -> np.ndarray[Any, np.dtype[np.uint8]]:
        packet = np.zeros(limits.CHUNK_BYTES, np.uint8)
        packet[: len(operation.payload)] = np.frombuffer(operation.payload, np.uint8)
        return packet
