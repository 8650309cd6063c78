"""What the watchdog makes of a worker that uses its core and has no heartbeat."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from splinter import limits
from splinter.native.clock import cycles_per_millisecond, read_ticks
from splinter.server.processes import cpu_ns, fork_child
from splinter.server.supervisor import watchdog as watchdog_module
from splinter.server.supervisor.watchdog import Verdict, Watchdog
from splinter.store.store import Store
from splinter.worker.layout import QUEUE_LOCK, STATE_RUNNING
from splinter.worker.memory import WorkerMemory
from tests.support.waiting import wait_for

SELF, OTHER = 0, 1
LIMIT_MS = 5
LIMIT_NS = LIMIT_MS * 1_000_000


def spin() -> None:
    while True:
        pass


@pytest.fixture
def busy() -> Iterator[int]:
    pid, pidfd = fork_child("busy", spin)
    yield pid
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    os.waitpid(pid, 0)


def test_who_waits_for_anothers_lock_of_a_ring_is_not_stuck(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store, ticks = Store.create(limits.STORE_BYTES_MIN, participants=2), cycles_per_millisecond()
    memory = WorkerMemory(
        SELF, store=store.address, tenants=0, rates=0, texts=0, tasks=4, tasks_per_tenant=4,
        task_budget=limits.TASK_BUDGET, task_yields_max=1, task_milliseconds_max=1, task_wall_milliseconds_max=1,
        cycles_per_millisecond=ticks, quarantine_after=1, idle_spin_ns=0, udp=False,
    )  # fmt: skip
    memory.block["state"], memory.block["heartbeat"] = STATE_RUNNING, int(read_ticks())
    watchdog = Watchdog([memory], store.address, LIMIT_MS, ticks)

    def verdict() -> Verdict:
        return watchdog.judge(SELF, busy, int(read_ticks()))

    wait_for(lambda: verdict() is Verdict.STUCK, what="a stale heartbeat and some CPU time")
    lock = np.zeros(1, QUEUE_LOCK)
    memory.block["waits"] = lock.ctypes.data
    lock["holder"] = OTHER + 1
    assert verdict() is Verdict.FINE
    used_ns = cpu_ns(busy)
    monkeypatch.setattr(watchdog_module, "cpu_ns", lambda pid: used_ns)  # from here on it uses as much as is said
    for holder in (0, SELF + 1):  # it has only to take it, or has it
        lock["holder"] = OTHER + 1
        used_ns += LIMIT_NS
        assert verdict() is Verdict.FINE
        lock["holder"] = holder
        assert verdict() is Verdict.FINE  # what it has spun away for the other one is not its fault
        used_ns += LIMIT_NS
        assert verdict() is Verdict.STUCK
