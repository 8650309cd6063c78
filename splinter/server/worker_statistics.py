"""What one worker's block says, as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from splinter.errors import Status
from splinter.native.clock import read_ticks
from splinter.wire import Opcode
from splinter.worker import stages
from splinter.worker.layout import LATENCY, LATENCY_BOUNDS_NS, OPCODES, STATE_SLEEPING
from splinter.worker.memory import WorkerMemory

_STATE_NAMES = ("starting", "running", "sleeping", "stopped")
_OPCODE_NAMES = [*(opcode.name.lower() for opcode in Opcode), "unknown"]


def latency_statistics(workers: Sequence[WorkerMemory]) -> dict[str, Any]:
    """``kinds``: of each kind of request that any of these workers has answered, how many took how long, by bucket of
    ``bounds_ns`` and behind them, and nanoseconds of all of them."""
    found = [worker.latencies for worker in workers] or [np.zeros(OPCODES, LATENCY)]
    buckets, sums = (np.sum([each[name] for each in found], axis=0) for name in ("buckets", "sum_ns"))
    kinds = {
        _OPCODE_NAMES[place]: {"buckets": buckets[place], "sum_ns": sums[place]}
        for place in np.flatnonzero(buckets.any(axis=1))
    }
    return {"bounds_ns": LATENCY_BOUNDS_NS, "kinds": kinds}


def worker_statistics(memory: WorkerMemory, core: int, cycles_per_millisecond: int) -> dict[str, Any]:
    """Counters of the worker on CPU ``core``, read while it runs."""
    block = memory.block[0]
    counters = block["counters"]
    state = int(block["state"])
    age = (int(read_ticks()) - int(block["heartbeat"])) / cycles_per_millisecond
    return {
        "core": core,
        "state": _STATE_NAMES[state],
        "heartbeat_age_ms": None if state == STATE_SLEEPING else round(age, 3),
        "busy_ms": int(counters["busy_cycles"]) // cycles_per_millisecond,
        "running_tenant": memory.running_tenant(),
        "tasks_live": int(block["tasks_live"]),
        "tasks_ready": int(block["run_length"]),
        "replies_held": max(0, int(block["held_tail"]) - int(block["held_head"])),
        "requests": dict(zip(_OPCODE_NAMES, map(int, counters["opcodes"]), strict=True)),
        "replies": {
            status.name.lower(): int(count) for status, count in zip(Status, counters["statuses"], strict=True) if count
        },
        **{name: int(counters[name]) for name in counters.dtype.names[2:]},
        **({"stages": dict(zip(stages.NAMES, map(int, block["stages"]), strict=False))} if stages.ENABLED else {}),
    }
