"""Who uses the server's time, as ``stats`` tells it."""

from __future__ import annotations

import numpy as np

from splinter.net.tier import TENANT_WORK
from splinter.server.control.usage import TOLD_MAX, hottest_tenants
from splinter.server.kernel_work import WORK_UNIT_NS, KernelWork
from splinter.worker.layout import TENANT_COUNTERS

TICKS = 1000  # a millisecond


def counters() -> list[np.ndarray]:
    return [np.zeros(100, TENANT_COUNTERS) for _ in range(2)]


def test_the_tenants_that_used_most_come_first() -> None:
    first, second = counters()
    for tenant, cycles in ((3, 5 * TICKS), (4, 9 * TICKS), (5, 7 * TICKS)):
        first["requests"][tenant], first["cycles"][tenant] = 1, cycles
    second["requests"][3], second["cycles"][3], second["task_cycles"][3], second["busy"][3] = 2, 5 * TICKS, 4 * TICKS, 7
    told = hottest_tenants([first, second], [3, 4, 5, 6], TICKS)
    assert [item["tenant"] for item in told] == [3, 4, 5]  # 6 has done nothing
    assert told[0] == {"tenant": 3, "requests": 3, "busy": 7, "core_ms": [5, 5], "task_ms": 4, "kernel_gets": 0, "kernel_ms": 0}


def test_only_active_tenants_are_told_and_not_too_many() -> None:
    first, second = counters()
    first["requests"], first["cycles"] = 1, np.arange(100)
    told = hottest_tenants([first, second], list(range(1, 50)), TICKS)
    assert [item["tenant"] for item in told] == list(range(49, 49 - TOLD_MAX, -1))
    assert hottest_tenants([first, second], [], TICKS) == []


def test_what_the_kernel_answered_counts_and_is_told_apart() -> None:
    first, second = counters()
    cells = np.zeros((3, 100), TENANT_WORK)
    first["requests"][3], first["cycles"][3] = 1, 5 * TICKS
    cells["gets"][:, 4], cells["units"][:, 4] = [10, 0, 20], [2_000_000 // WORK_UNIT_NS, 0, 6_000_000 // WORK_UNIT_NS]
    kernel = KernelWork(cells, cores=(0, 1))
    told = hottest_tenants([first, second], [3, 4, 5], TICKS, kernel)
    assert told == [
        {"tenant": 4, "requests": 0, "busy": 0, "core_ms": [0, 0], "task_ms": 0, "kernel_gets": 30, "kernel_ms": 8},
        {"tenant": 3, "requests": 1, "busy": 0, "core_ms": [5, 0], "task_ms": 0, "kernel_gets": 0, "kernel_ms": 0},
    ]
    assert kernel.statistics() == [{"cpu": 0, "gets": 10, "busy_ms": 2}, {"cpu": 2, "gets": 20, "busy_ms": 6}]
    kernel.forget(4)
    assert kernel.statistics() == [] and hottest_tenants([first, second], [4], TICKS, kernel) == []
