"""Which tenants and extensions use the server's time: the first of each, for ``splinter stats`` and ``top``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from splinter.server.control.registry import Registry
from splinter.server.control.tenants import Tenants
from splinter.server.kernel_work import KernelWork
from splinter.server.shared import Shared

_DROPPED_TOLD_MAX = 32  # tenants with packets over their limit
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


def of_control(registry: Registry, tenants: Tenants) -> dict[str, Any]:
    """What the control process keeps of tenants and extensions."""
    return {
        "tenants": tenants.count,
        "extensions": registry.count,
        "code_bytes": registry.bytes_used,
        "code_bytes_waiting": registry.bytes_waiting,
        "packets_dropped": tenants.dropped_most(_DROPPED_TOLD_MAX),
    }


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
                "slot": entry.slot,
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
    _add_memory(shared, used["tenants"])
    if shared.data is not None:
        used["durability"] = shared.data.statistics(active, most)
    return used


def _add_memory(shared: Shared, told: list[dict[str, Any]]) -> None:
    """To what is told of tenants: bytes that each is charged for, and its quota."""
    for one in told:
        account = shared.store.accounts[one["tenant"]]
        one["bytes"], one["quota_bytes"] = int(account["bytes_used"]), int(account["quota_bytes"])
        one["evictions"] = int(account["evictions"])


class Others:
    """What tenants and extensions did that are not told one by one: sums that never go back, whoever is told.

    They count from the first look on. Who is told is not counted for what it does meanwhile, and is again when others are told.
    """

    def __init__(self, shared: Shared, registry: Registry) -> None:
        self._shared, self._registry = shared, registry
        self._before: dict[str, np.ndarray] = {}
        self._sums: dict[str, int] = {}

    def look(self, active: Sequence[int], tenants: Sequence[dict[str, Any]], extensions: Sequence[dict[str, Any]]) -> None:
        """Add what was done since the last look. ``tenants`` and ``extensions``: those that are told, as :func:`of_all` has
        them."""
        ids = np.asarray(active, np.int64)
        told = [one["tenant"] for one in tenants]
        for name in ("requests", "busy", "cycles", "task_cycles"):
            self.add(f"tenants.{name}", ids, sum_of(self._shared.tenant_counters, name, ids), told)
        self.add("tenants.kernel_gets", ids, self._shared.kernel_work.gets(ids).astype(np.int64), told)
        self.add("tenants.kernel_ms", ids, self._shared.kernel_work.milliseconds(ids), told)
        slots = np.arange(self._registry.slots_used)
        for name in ("invocations", "errors", "cycles"):
            counted = sum_of(self._shared.extension_counters, name, slots)
            self.add(f"extensions.{name}", slots, counted, [one["slot"] for one in extensions])

    def add(self, name: str, ids: np.ndarray, values: np.ndarray, told: Sequence[int]) -> None:
        """Add what counters grew by since the last time. ``values``: ``int64`` by ``ids``; one that went back began anew."""
        now = np.zeros(int(ids.max(initial=-1)) + 1, np.int64)
        now[ids] = values
        if name in self._before:
            before = np.zeros_like(now)
            known = self._before[name][: len(now)]
            before[: len(known)] = known
            grown = np.where(now >= before, now - before, now)
            grown[np.asarray(told, np.int64)] = 0
            self._sums[name] += int(grown.sum())
        else:
            self._sums[name] = 0
        self._before[name] = now

    def sums(self) -> dict[str, dict[str, int]]:
        """As one tenant, and one extension, of :func:`of_all`, but for ``core_ms``: that of all cores in one number."""
        found = self._sums
        return {
            "tenants": {
                **{name: found[f"tenants.{name}"] for name in ("requests", "busy", "kernel_gets", "kernel_ms")},
                "core_ms": found["tenants.cycles"] // self._shared.cycles_per_millisecond,
                "task_ms": found["tenants.task_cycles"] // self._shared.cycles_per_millisecond,
            },
            "extensions": {
                **{name: found[f"extensions.{name}"] for name in ("invocations", "errors")},
                "cpu_ms": found["extensions.cycles"] // self._shared.cycles_per_millisecond,
            },
        }


def sum_of(counters: Sequence[np.ndarray], name: str, places: np.ndarray) -> np.ndarray:
    """``int64[n]``: one counter of all workers, at these places of their arrays."""
    found = np.zeros(len(places), np.int64)
    for row in counters:
        found += row[name][places].astype(np.int64)
    return found
