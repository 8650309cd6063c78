"""Sets up what a worker keeps in shared memory, before it is forked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from splinter import limits
from splinter.ext.abi import CONTEXT, F_TENANT
from splinter.native.memory import SharedArena
from splinter.worker.batched import BATCHED_AREA_BYTES
from splinter.worker.helpers import fill_context
from splinter.worker.layout import (
    BATCH,
    HELD,
    LATENCY,
    LATENCY_SCALE_BITS,
    LOOK,
    OPCODES,
    POLLFD,
    POLLIN,
    TENANT_COUNTERS,
    WORKER,
)
from splinter.worker.log import LOG
from splinter.worker.tasks.layout import EXTENSION_COUNTERS, TASK, TASK_FREE, TENANT_SHARE
from splinter.worker.transact import TRANSACT_AREA_BYTES
from splinter.worker.transaction import TRANSACTION_AREA_BYTES
from splinter.worker.udp.layout import UDP_AREA, part_sizes, udp_chunks

if TYPE_CHECKING:  # a server without the Redis protocol does not load it
    from splinter.worker.resp.memory import Door

_U32 = np.dtype("<u4")
_NS_PER_MILLISECOND = 1_000_000
_SCRATCH_BYTES = max(2 * limits.CHUNK_BYTES, TRANSACT_AREA_BYTES, BATCHED_AREA_BYTES)
_UDP_BYTES_MAX = limits.UDP_PAYLOAD_BYTES_MAX
_LOOKS_MAX = limits.QUEUES_MAX * limits.WORKERS_MAX


class WorkerMemory:
    """The block of one worker and all that it points to. ``block`` is a ``WORKER`` array of one element.

    It outlives the process: a successor is started on the same memory. ``wake_fd`` ends the worker's sleep when written.
    """

    door: Door | None = None  # of the Redis protocol

    def __init__(
        self,
        index: int,
        *,
        store: int,
        tenants: int,
        rates: int,
        texts: int,
        tasks: int,
        tasks_per_tenant: int,
        task_budget: int,
        task_yields_max: int,
        task_milliseconds_max: int,
        task_wall_milliseconds_max: int,
        cycles_per_millisecond: int,
        quarantine_after: int,
        idle_spin_ns: int,
        udp: bool,
    ) -> None:
        chunks = udp_chunks(tasks) if udp else 0
        sizes = part_sizes(chunks) if udp else {}
        descriptors = limits.QUEUES_MAX + 2
        needed = [
            WORKER.itemsize, CONTEXT.itemsize, LOG.itemsize, TASK.itemsize * tasks, limits.FRAME_BYTES * tasks,
            TRANSACTION_AREA_BYTES * tasks, 4 * tasks, EXTENSION_COUNTERS.itemsize * limits.EXTENSIONS_MAX,
            (TENANT_COUNTERS.itemsize + TENANT_SHARE.itemsize) * limits.TENANTS_MAX, _SCRATCH_BYTES,
            BATCH.itemsize * limits.RX_BATCH, POLLFD.itemsize * descriptors, UDP_AREA.itemsize,
            LOOK.itemsize * _LOOKS_MAX, HELD.itemsize * limits.HELD_MAX, LATENCY.itemsize * OPCODES, *sizes.values(),
        ]  # fmt: skip
        arena = SharedArena(sum(map(SharedArena.rounded, needed)))
        self.index = index
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.block = arena.array(WORKER)
        self.address = self.block.ctypes.data
        context = arena.array(CONTEXT.dtype)
        self.log = arena.array(LOG)
        fill_context(context, store=store, participant=index, log_area=self.log.ctypes.data)
        self.siblings: np.ndarray | None = None  # the blocks' addresses; introduce() sets it
        self._poll_fds = arena.array(POLLFD, descriptors)
        # Only the slots in use take memory: pages of a shared mapping come when they are touched.
        self.extension_counters = arena.array(EXTENSION_COUNTERS, limits.EXTENSIONS_MAX)
        self.tenant_counters = arena.array(TENANT_COUNTERS, limits.TENANTS_MAX)
        self.latencies = arena.array(LATENCY, OPCODES)
        self.tasks = arena.array(TASK, tasks)
        self._free_tasks = arena.array(_U32, tasks)
        self._frames = arena.array(np.dtype("u1"), limits.FRAME_BYTES * tasks).reshape(tasks, limits.FRAME_BYTES)
        settings = {
            "index": index, "store": store, "tenants": tenants, "rates": rates, "texts": texts, "context": context.ctypes.data,
            "tasks": self.tasks.ctypes.data, "frames": self._frames.ctypes.data,
            "transactions": arena.take(TRANSACTION_AREA_BYTES * tasks), "tasks_count": tasks,
            "wake_fd": self.wake_fd, "task_budget": task_budget, "task_yields_max": task_yields_max,
            "task_milliseconds_max": task_milliseconds_max, "task_wall_milliseconds_max": task_wall_milliseconds_max,
            "cycles_per_millisecond": cycles_per_millisecond, "idle_spin_ns": idle_spin_ns,
            "quarantine_after": quarantine_after, "extension_counters": self.extension_counters.ctypes.data,
            "tenant_counters": self.tenant_counters.ctypes.data,
            "shares": arena.take(TENANT_SHARE.itemsize * limits.TENANTS_MAX),
            "tasks_per_tenant": tasks_per_tenant, "free_tasks": self._free_tasks.ctypes.data,
            "scratch": arena.take(_SCRATCH_BYTES), "batch": arena.take(BATCH.itemsize * limits.RX_BATCH),
            "looks": arena.take(LOOK.itemsize * _LOOKS_MAX), "held": arena.take(HELD.itemsize * limits.HELD_MAX),
            "log_wake_fd": -1, "poll_fds": self._poll_fds.ctypes.data, "udp_fd": -1, "packet_bytes_max": _UDP_BYTES_MAX,
        }  # fmt: skip
        for name, value in settings.items():
            self.block[name] = value
        if udp:
            area = arena.array(UDP_AREA)
            for name, size in sizes.items():
                area[name] = arena.take(size)
            self.udp_area = area
            self.block["udp_area"] = area.ctypes.data
            self.block["udp_chunks"] = chunks

    def free_tasks(self) -> list[int]:
        """The indices on the worker's free list; while it does not run."""
        return list(map(int, self._free_tasks[: int(self.block["free_length"][0])]))

    def running_tenant(self) -> int | None:
        """The tenant of the task that is being resumed."""
        task = int(self.block["running_task"][0])
        return self.tenant_of(self.tasks[(task - self.tasks.ctypes.data) // TASK.itemsize]) if task else None

    def tenant_of(self, task: np.void) -> int:
        """The tenant whose task it is (one element of ``tasks``)."""
        place = (int(task["frame"]) - self._frames.ctypes.data) // limits.FRAME_BYTES
        return int(self._frames[place, F_TENANT : F_TENANT + 4].view(_U32)[0])

    def has_task_of(self, tenant: int) -> bool:
        """Whether a task of this tenant is under way; while the worker runs one that begins or ends may be missed, or not."""
        tenants = self._frames[:, F_TENANT : F_TENANT + 4].copy().view(_U32)[:, 0]
        return bool(((self.tasks["state"] != TASK_FREE) & (tenants == tenant)).any())

    def poll_on(self, descriptors: list[int]) -> None:
        """What ends this worker's sleep, besides ``wake_fd``, which goes last."""
        door = [] if self.door is None else [int(self.door.block["epoll"][0])]
        waited = [*descriptors, *door, self.wake_fd]
        for place, descriptor in enumerate(waited):
            self._poll_fds[place] = (descriptor, POLLIN, 0)
        self.block["descriptors"] = len(waited)

    def open_door(self, door: Door) -> None:
        """Have the worker speak the Redis protocol, too; before :meth:`poll_on`."""
        self.door = door
        self.block["door"] = door.address

    def keep_log(self, ring: int, wake_fd: int) -> None:
        """Have the worker hold replies back until the disk has caught up with its LOG_RING at this address."""
        self.block["log"], self.block["log_wake_fd"] = ring, wake_fd

    def record_latencies(self, are_recorded: bool) -> None:
        """Whether the worker notes how long requests take; it may run. At first it does not."""
        ticks = int(self.block["cycles_per_millisecond"][0])
        self.block["latency_scale"] = (_NS_PER_MILLISECOND << LATENCY_SCALE_BITS) // ticks
        self.block["latencies"] = self.latencies.ctypes.data if are_recorded else 0

    def wake(self) -> None:
        """End the worker's sleep."""
        os.eventfd_write(self.wake_fd, 1)


def introduce(workers: list[WorkerMemory], *, stealing: bool) -> None:
    """Let workers know each other; with ``stealing`` the idle ones help the others."""
    arena = SharedArena(8 * len(workers))
    addresses = arena.array(np.dtype("<u8"), len(workers))
    addresses[:] = [worker.address for worker in workers]
    for worker in workers:
        worker.siblings = addresses
        worker.block["cores"] = len(workers)
        worker.block["workers"] = addresses.ctypes.data
        worker.block["stealing"] = stealing and len(workers) > 1
