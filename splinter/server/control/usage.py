"""Which tenants and extensions use the server's time: the first of each, for ``splinter stats`` and ``top``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from splinter.server.control.registry import Registry
from splinter.server.kernel_work import KernelWork
from splinter.server.shared import Shared

TOLD_MAX = 16  # tenants, and extensions
EVERY_MAX = 2048  # of each, where all are asked for: some hundred KiB of a message


def hottest_tenants(
    counters: Sequence[np.ndarray],
    active: Sequence[int],
    cycles_per_millisecond: int,
    kernel: KernelWork | None = None,
    most: int = TOLD_MAX,
) -> list[dict[str, Any]]:
    """The tenants that used most time, most first. ``counters``: of each worker, its TENANT_COUNTERS by tenant id.

    ``core_ms``: by core slot, milliseconds of that worker's time; ``task_ms``: of all of it, in extensions; ``busy``: requests
    refused with BUSY. ``kernel_gets``: gets that the kernel tier answered, in ``kernel_ms`` about; ``requests`` are the
    workers'.
    """
    if not active:
        return []
    ids = np.asarray(active)
    rows, kernel = [row[ids] for row in counters], kernel or KernelWork()
    gets, milliseconds = kernel.gets(ids), kernel.milliseconds(ids)
    used = np.sum([row["cycles"].astype(np.int64) for row in rows], axis=0) + milliseconds * cycles_per_millisecond
    order = np.argsort(-used, kind="stable")[:most]
    return [
        {
            "tenant": int(ids[place]),
            "requests": sum(int(row["requests"][place]) for row in rows),
            "busy": sum(int(row["busy"][place]) for row in rows),
            "core_ms": [int(row["cycles"][place]) // cycles_per_millisecond for row in rows],
            "task_ms": sum(int(row["task_cycles"][place]) for row in rows) // cycles_per_millisecond,
            "kernel_gets": int(gets[place]),
            "kernel_ms": int(milliseconds[place]),
        }
        for place in order
        if gets[place] or any(row["requests"][place] for row in rows)
    ]


def hottest_extensions(registry: Registry, cycles_per_millisecond: int, most: int = TOLD_MAX) -> list[dict[str, Any]]:
    """The extensions that used most time, most first; ``cpu_ms`` is that of all workers."""
    found = []
    for tenant, entry in registry.hottest(most):
        counts = registry.counts(entry)
        found.append(
            {
                "tenant": tenant,
                "name": entry.name,
                "invocations": counts["invocations"],
                "errors": counts["errors"],
                "cpu_ms": counts["cycles"] // cycles_per_millisecond,
            }
        )
    return found


def of_all(shared: Shared, registry: Registry, active: Sequence[int], most: int) -> dict[str, Any]:
    """What the statistics tell by tenant, extension and CPU, at most so many of each, and of the disk where there is one."""
    ticks = shared.cycles_per_millisecond
    used: dict[str, Any] = {
        "tenants": hottest_tenants(shared.tenant_counters, active, ticks, shared.kernel_work, most),
        "extensions": hottest_extensions(registry, ticks, most),
        "kernel": shared.kernel_work.statistics(),
    }
    if shared.data is not None:
        used["durability"] = shared.data.statistics(active, most)
    return used
