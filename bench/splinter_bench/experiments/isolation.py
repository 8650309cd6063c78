"""What isolation costs: an extension run in the worker, as Splinter does, and in a process of its tenant's own.

One generator, one CPU, the same requests, the same worker's code, the same store. What differs is who runs the extension:
the worker itself; or a process for each tenant, to which a batch's requests are handed over (:mod:`.handover`).
Neither the network nor the kernel's part of it is in the figures: what they cost comes on top of each.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit, types

from splinter.errors import SplinterError, Status
from splinter.ext.compile import compile_source
from splinter.ext.library import entry
from splinter.limits import REQUEST_HEADER_BYTES, RX_BATCH
from splinter.native.atomics import copy_bytes, load8, load64, store64
from splinter.native.clock import TIMESPEC_BYTES, now_ns
from splinter.native.memory import SharedArena
from splinter.testing.process import die_with_parent
from splinter.wire import H_STATUS
from splinter.worker.tasks.pool import take_over_tasks
from splinter_bench.experiments.bench import Bench
from splinter_bench.experiments.handover import (
    BOX,
    BOX_BYTES,
    MESSAGE_BYTES_MAX,
    PACKET_BYTES,
    WAITING,
    available,
    group,
    hand_over_boxes,
    hand_over_pipes,
    serve_packets,
    tenant_on_box,
    tenant_on_pipes,
)
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.progress import Progress
from splinter_bench.subjects.in_worker import WorkerInProcess
from splinter_bench.subjects.invokes import invoke_get
from splinter_bench.workloads.workload import NUMBER_BYTES, key_template, value_template

NATIVE, SHARED_MEMORY, PIPE = "in the worker", "process, shared memory", "process, pipes"
MODES = (NATIVE, SHARED_MEMORY, PIPE)
_NATIVE, _SHARED_MEMORY, _PIPE = range(len(MODES))
_SCHEDULE = 1 << 16
_SEED = 20181008
_WORD = 8
_WARMUP_SHARE = 10  # of a round's time
_WAIT_SECONDS_MAX = 60  # on one CPU a thousand processes take turns
_DESCRIPTORS_EACH, _DESCRIPTORS_SPARE = 2, 256


@dataclass(frozen=True)
class Settings:
    """What is measured. ``objects`` are shared out equally among the tenants; ``batch`` as a busy worker takes them."""

    tenants: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    seconds: float = 0.1  # of each round
    rounds: int = 9
    warmup_seconds: float = 1.0  # once for all processes of a mode: each touches its memory for the first time
    objects: int = 16_384
    batch: int = RX_BATCH
    core: int | None = None  # CPU of the front and of all processes; None: the last one


QUICK = Settings(tenants=(1, 4, 16), seconds=0.05, rounds=1, objects=256, warmup_seconds=0.05)


@njit(cache=True)
def _run(
    mode: int, w: int, own: Any, shared: Any, pipes: Any, schedule: Any, templates: Any, batch: int, until_ns: int
) -> tuple[int, int, int]:
    """Serve batches until the time; returns requests, ns in serving, and how many replies were wrong (-1: none came)."""
    packets, lengths, clock = own
    boxes, waiting, timespec = shared
    to_tenant, from_tenant, message = pipes
    tenants, numbers = schedule
    requests, length, number_at, value_bytes = templates
    first = np.full(len(requests), -1)
    last, following = np.full(len(requests), -1), np.full(batch, -1)
    served, spent, wrong, at = 0, 0, 0, 0
    now = now_ns(clock)
    while now < until_ns:
        if at + batch > len(tenants):
            at = 0
        for k in range(batch):
            copy_bytes(packets + k * PACKET_BYTES, requests[tenants[at + k]], length)
            store64(packets + k * PACKET_BYTES + number_at, numbers[at + k])
            store64(lengths + k * _WORD, length)
        start = now_ns(clock)
        answered = True
        if mode == _NATIVE:
            serve_packets(w, packets, lengths, batch)
        else:
            active = group(tenants[at : at + batch], first, last, following)
            groups = (active, first, following)
            if mode == _SHARED_MEMORY:
                answered = hand_over_boxes(boxes, waiting, (timespec, clock), groups, packets, lengths)
            else:
                answered = hand_over_pipes(to_tenant, from_tenant, message, groups, packets, lengths)
            for tenant in active:
                first[tenant] = -1
        now = now_ns(clock)
        if not answered:
            return served, spent, -1
        spent += now - start
        served += batch
        for k in range(batch):
            reply = packets + k * PACKET_BYTES
            if (
                load64(lengths + k * _WORD) != REQUEST_HEADER_BYTES + value_bytes
                or load8(reply + H_STATUS) != Status.OK
                or load64(reply + REQUEST_HEADER_BYTES) != numbers[at + k]
            ):
                wrong += 1
        at += batch
    return served, spent, wrong


class _Bench:
    """Store, tenants and their requests; the processes are made for each mode."""

    def __init__(self, settings: Settings, worker: WorkerInProcess) -> None:
        self.settings = settings
        self.worker = worker
        self.count = max(settings.tenants)
        compiled = compile_source(entry("get").sources["get"])
        placed: tuple[int, int] | None = None
        self._templates: list[np.ndarray] = []
        for tenant in range(1, self.count + 1):
            account = worker.add_tenant(tenant)
            placed = worker.install(tenant, compiled, placed=placed)
            operation = invoke_get(account, compiled)
            template = np.zeros(PACKET_BYTES, np.uint8)
            template[: len(operation.payload)] = np.frombuffer(operation.payload, np.uint8)
            self._templates.append(template)
            self._length, self._number_at = len(operation.payload), operation.value_at
            # As many as it has when it is one of the fewest tenants that it is among.
            fewest = min(count for count in settings.tenants if count >= tenant)
            key, value = key_template()[:-NUMBER_BYTES], value_template()[NUMBER_BYTES:]
            for number in range(max(1, settings.objects // fewest)):
                name = number.to_bytes(NUMBER_BYTES, "little")
                worker.store.put(tenant, account.table, key + name, name + value)
        self._requests = np.array([template.ctypes.data for template in self._templates], np.int64)
        arena = SharedArena(self.count * BOX_BYTES + SharedArena.rounded(WAITING.itemsize))
        self.boxes, self.waiting = arena.array(BOX, self.count), arena.array(WAITING)
        self._own = [np.zeros(size, np.uint8) for size in (RX_BATCH * PACKET_BYTES, RX_BATCH * _WORD, TIMESPEC_BYTES)]
        self._timespec = np.array([_WAIT_SECONDS_MAX, 0], np.int64)
        self._message = np.zeros(MESSAGE_BYTES_MAX, np.uint8)
        self._message_and_packets = [
            memory.ctypes.data for memory in (self._message, *self._own[:2])
        ]  # a process has its own copies
        # Of each tenant's process: all that Python has to do is done before the forks. A tenant's two processes share one,
        # since they never run at the same time.
        self._blocks = [worker.new_block() for _ in range(self.count)]
        for block in self._blocks:
            take_over_tasks(block.address)
        self._no_pipes = np.zeros(1, np.int64)

    def run(self, mode: int, tenants: int, seconds: float, ends: Any = None) -> float:
        """Requests a second that could be served, of ``tenants`` tenants chosen at random."""
        random = np.random.default_rng(_SEED)
        schedule = (
            random.integers(0, tenants, _SCHEDULE),
            random.integers(0, max(1, self.settings.objects // tenants), _SCHEDULE),
        )
        to_tenant, from_tenant = ends or (self._no_pipes, self._no_pipes)
        served, spent, wrong = _run(
            mode,
            self.worker.address,
            tuple(memory.ctypes.data for memory in self._own),
            (self.boxes.ctypes.data, self.waiting.ctypes.data, self._timespec.ctypes.data),
            (to_tenant, from_tenant, self._message.ctypes.data),
            schedule,
            (self._requests, self._length, self._number_at, len(value_template())),
            self.settings.batch,
            time.monotonic_ns() + int(seconds * 1e9),
        )
        if wrong:
            raise SplinterError(f"{MODES[mode]}: {'no reply' if wrong < 0 else f'{wrong} of {served} replies were wrong'}")
        return served / spent * 1e9 if spent else 0.0

    @contextlib.contextmanager
    def processes(self, mode: int) -> Generator[Any]:
        """A process for each tenant; yields the front's ends of their pipes, if they have any."""
        ends: list[tuple[int, int]] = []
        children: list[int] = []
        parent = os.getpid()
        self.boxes["word"] = 0
        try:
            for tenant in range(self.count):
                if mode == _PIPE:
                    request_read, request_write = os.pipe()
                    reply_read, reply_write = os.pipe()
                    ends.append((request_write, reply_read))
                child = os.fork()
                if child == 0:
                    try:
                        die_with_parent(parent)
                        worker = self._blocks[tenant].address
                        if mode == _PIPE:
                            tenant_on_pipes(worker, request_read, reply_write, *self._message_and_packets)
                        else:
                            tenant_on_box(worker, self.boxes.ctypes.data + tenant * BOX_BYTES, self.waiting.ctypes.data)
                    finally:
                        os._exit(0)
                children.append(child)
                if mode == _PIPE:
                    os.close(request_read)
                    os.close(reply_write)
            to_tenant, from_tenant = zip(*ends, strict=True) if ends else ((), ())
            yield (np.array(to_tenant, np.int64), np.array(from_tenant, np.int64)) if ends else None
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
            for child in children:
                os.waitpid(child, 0)
            for pair in ends:
                for end in pair:
                    os.close(end)


def _allow_descriptors(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise SplinterError(f"pipes to that many tenants need {needed} open files; the limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def measure(bench: Bench) -> Observations:
    """Requests a second of each mode and number of tenants, in each round."""
    return measure_with(QUICK if bench.is_quick else Settings(), bench.say)


def measure_with(settings: Settings, progress: Progress) -> Observations:
    """The same for other settings.

    Rounds take turns between the modes, so that whatever disturbs the machine meets all. Raises :class:`SplinterError` when
    a reply is wrong or a process dies.
    """
    if not available():
        raise SplinterError("the number of the futex system call is not known for this machine")
    core = max(os.sched_getaffinity(0)) if settings.core is None else settings.core
    tenant_on_box.compile((types.int64,) * 3)  # before the forks: a process would compile it for itself
    tenant_on_pipes.compile((types.int64,) * 6)
    _allow_descriptors(_DESCRIPTORS_EACH * max(settings.tenants) + _DESCRIPTORS_SPARE)
    found = Observations(settings=asdict(settings))
    with WorkerInProcess() as worker, pinned(core), contextlib.ExitStack() as stack:
        progress(f"making {max(settings.tenants):,} tenants")
        bench = _Bench(settings, worker)
        bench.run(_NATIVE, 1, 0.0)
        ends: dict[int, Any] = {_NATIVE: None}
        for mode in (_SHARED_MEMORY, _PIPE):
            progress(f"starting a process for each tenant: {MODES[mode]}")
            ends[mode] = stack.enter_context(bench.processes(mode))
            bench.run(mode, bench.count, settings.warmup_seconds, ends[mode])
        for number in range(settings.rounds):
            progress(f"round {number + 1} of {settings.rounds}")
            for tenants in settings.tenants:
                for mode, pipes in ends.items():
                    bench.run(mode, tenants, settings.seconds / _WARMUP_SHARE, pipes)
                    rate = bench.run(mode, tenants, settings.seconds, pipes)
                    found.add(MODES[mode], {"per_second": round(rate)}, number, tenants=tenants)
    return found
