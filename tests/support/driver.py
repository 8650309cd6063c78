"""A worker in this process whose packets are handed to it one by one, and whose tasks run slice by slice."""

from __future__ import annotations

import ctypes
from collections import Counter

import numpy as np
from splinter_bench.subjects.in_worker import WorkerInProcess
from splinter_bench.workloads.workload import Account, invoke_operation

from splinter import limits
from splinter.ext.abi import FRAME
from splinter.ext.compile import compile_source
from splinter.wire import HEADER
from splinter.worker.accounts import begin_batch, begin_resumes, idle_until_now
from splinter.worker.reply import PENDING
from splinter.worker.requests import handle
from splinter.worker.tasks import fair
from splinter.worker.tasks.layout import TASK, TASK_FREE
from splinter.worker.tasks.pool import end_task, take_over_tasks
from splinter.worker.tasks.slices import run_slice
from splinter.worker.turn import begin_turn

CLIENT = 77
IMPORTS = "from splinter.ext import Store, extension, u64\n"
ENDLESS = IMPORTS + "@extension\ndef endless(db: Store) -> None:\n    while True:\n        pass\n"
WRITING = IMPORTS + (
    "@extension(isolation='none')\ndef writing(db: Store) -> None:\n    db.put(0, 1, b'x')\n    while True:\n        pass\n"
)
SHORT = IMPORTS + "@extension\ndef short(db: Store) -> u64:\n    return 7\n"
COUNTING = IMPORTS + (
    "@extension\ndef counting(db: Store, turns: u64) -> u64:\n    for i in range(turns):\n        yield\n    return turns\n"
)


def at(address: int, size: int) -> np.ndarray:
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)


class Driver:
    """A worker whose packets are handed to it one by one, and whose slices are counted."""

    def __init__(self, worker: WorkerInProcess) -> None:
        self.worker, self.w = worker, worker.address
        self.block = worker._memory.block
        self.accounts: dict[int, Account] = {}
        self.packets: list[np.ndarray] = []
        count = int(self.block["tasks_count"][0])
        self.tasks = at(int(self.block["tasks"][0]), TASK.itemsize * count).view(TASK)
        frames = at(int(self.block["frames"][0]), limits.FRAME_BYTES * count).reshape(count, limits.FRAME_BYTES)
        self.frames = frames[:, : FRAME.itemsize].view(FRAME)[:, 0]

    def tenant(self, tenant: int) -> int:
        self.accounts[tenant] = self.worker.add_tenant(tenant)
        for source in (ENDLESS, WRITING, SHORT, COUNTING):
            self.worker.install(tenant, compile_source(source))
        return tenant

    def invoke(self, tenant: int, name: str, arguments: bytes = b"", sequence: int = 0) -> int:
        """The reply's status, or PENDING. ``sequence``: it is a client's request of this number, to be executed once."""
        packet = self.worker._packet(invoke_operation(self.accounts[tenant], name, arguments))
        self.packets.append(packet)
        header = packet[: HEADER.itemsize].view(HEADER.dtype)
        if sequence:
            header["client"], header["sequence"], header["acknowledged"] = CLIENT, sequence, 1
        length = HEADER.itemsize + int(header["key_length"][0]) + int(header["value_length"][0])
        begin_turn(self.w)
        reply = handle(self.w, packet.ctypes.data, length, 0, 0, 0)
        return PENDING if reply == PENDING else int(header["status"][0])

    def queue(self, tenant: int, name: str, count: int = 1) -> None:
        """Have tasks wait, as if their first slices had taken no time: the machine may have done something else meanwhile."""
        young = int(self.block["young_cycles"][0])
        self.block["young_cycles"] = (1 << 63) - 1
        for _ in range(count):
            begin_batch(self.w)
            assert self.invoke(tenant, name) == PENDING
        self.block["young_cycles"] = young
        self.tasks["cycles"] = 0
        for level in range(2):  # young and old
            at(int(fair._credit(self.w, tenant, level)), 8).view(np.int64)[0] = 0

    def number(self, task: int) -> int:
        """Which task is at this address."""
        return (task - int(self.block["tasks"][0])) // TASK.itemsize

    def tenant_of(self, task: int) -> int:
        return int(self.frames["tenant"][self.number(task)])

    def slice(self, packets_wait: bool = False) -> int:
        """Run one slice; whose it was, 0 when none was to run."""
        task = fair.pick(self.w, packets_wait)
        if task == 0:
            return 0
        tenant = self.tenant_of(task)
        if run_slice(self.w, task) != PENDING:
            end_task(self.w, task)
        return tenant

    def slices(self, count: int, packets_wait: bool = False) -> Counter[int]:
        begin_resumes(self.w)
        return Counter(self.slice(packets_wait) for _ in range(count))

    def turns(self, count: int, used: int = 1) -> Counter[int]:
        """Pick so many times, each charged with as many quanta: no code runs, so that no time of the machine's is in it."""
        ran: Counter[int] = Counter()
        for _ in range(count):
            task = fair.pick(self.w, False)
            tenant = self.tenant_of(task)
            ran[tenant] += 1
            fair.go_on(self.w, task, tenant, used * int(self.block["quantum"][0]))
        return ran

    def uses(self, tenant: int, part: float) -> None:
        """Have a tenant use this part of a window."""
        self.worker._memory.tenant_counters["cycles"][tenant] += int(part * int(self.block["window_cycles"][0]))

    def in_one_window(self, *tenants: int) -> None:
        """From here on the window does not end; these are active in it and have used nothing."""
        self.block["window_end"] = 1 << 62
        self.block["active"], self.block["active_before"] = len(tenants), 0
        for tenant in tenants:
            counters = self.worker._memory.tenant_counters[tenant]
            counters["window"], counters["window_start"] = self.block["window"][0], counters["cycles"]


def fresh(made: WorkerInProcess) -> Driver:
    """Nothing is under way, and nobody has used any time."""
    made._memory.tenant_counters[:] = 0
    made._memory.extension_counters[:] = 0
    made._memory.tasks["state"] = TASK_FREE
    take_over_tasks(made.address)
    block = made._memory.block
    block["counters"] = np.zeros(1, block["counters"].dtype)
    for name in ("active", "active_before", "window", "window_end", "allowance", "old_credit", "tasks_per_tenant"):
        block[name] = 0
    block["tasks_per_tenant"] = 64
    idle_until_now(made.address)
    return Driver(made)
