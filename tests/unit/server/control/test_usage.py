"""Who uses the server's time, as ``stats`` tells it."""

from __future__ import annotations

import numpy as np

from splinter.server.control.usage import TOLD_MAX, hottest_tenants
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
    assert told[0] == {"tenant": 3, "requests": 3, "busy": 7, "core_ms": [5, 5], "task_ms": 4}


def test_only_active_tenants_are_told_and_not_too_many() -> None:
    first, second = counters()
    first["requests"], first["cycles"] = 1, np.arange(100)
    told = hottest_tenants([first, second], list(range(1, 50)), TICKS)
    assert [item["tenant"] for item in told] == list(range(49, 49 - TOLD_MAX, -1))
    assert hottest_tenants([first, second], [], TICKS) == []
