"""What the kernel tier has done, and for whom.

The XDP program counts its work in units, for each CPU and tenant, since reading a clock would cost it a fifth of a get. Work is
done by the CPU that the packet came to, whatever the tenant's home is. A unit takes about ``WORK_UNIT_NS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from splinter import limits
from splinter.net.tier import TENANT_WORK, WINDOW_NS, WINDOW_UNITS

WORK_UNIT_NS = WINDOW_NS // WINDOW_UNITS
_NS_PER_MILLISECOND, _NS_PER_SECOND = 1_000_000, 1_000_000_000


class KernelWork:
    """``cells``: TENANT_WORK by CPU and tenant id, no CPUs where there is no tier. ``cores``: the CPU of each core slot."""

    def __init__(self, cells: np.ndarray | None = None, cores: Sequence[int] = ()) -> None:
        self._cells = np.zeros((0, limits.TENANTS_MAX), TENANT_WORK) if cells is None else cells
        self._slots = [(slot, cpu) for slot, cpu in enumerate(cores) if cpu < len(self._cells)]

    def gets(self, tenants: np.ndarray) -> np.ndarray:
        """``uint64[n]``: gets that were answered for each of these tenants."""
        return np.asarray(self._cells["gets"][:, tenants].sum(axis=0, dtype=np.uint64))

    def milliseconds(self, tenants: np.ndarray) -> np.ndarray:
        """``int64[n]``: CPU time that was used for each of these tenants, about."""
        units = self._cells["units"][:, tenants].sum(axis=0, dtype=np.int64)
        return np.asarray(units * WORK_UNIT_NS // _NS_PER_MILLISECOND)

    def seconds_by_slot(self, tenants: np.ndarray, slots: int) -> np.ndarray:
        """``float64[slots]``: CPU time that the CPU of each core slot has used for these tenants, about."""
        found = np.zeros(slots)
        for slot, cpu in self._slots:
            found[slot] = self._cells["units"][cpu, tenants].sum(dtype=np.int64) * WORK_UNIT_NS / _NS_PER_SECOND
        return found

    def forget(self, tenant: int) -> None:
        """The id is another tenant's from now on; no packet of either is under way."""
        for name in ("gets", "units"):
            self._cells[name][:, tenant] = 0

    def statistics(self) -> list[dict[str, Any]]:
        """Of each CPU that has answered anything: its number, gets, and milliseconds of its time, about."""
        gets, units = (self._cells[name].sum(axis=1, dtype=np.int64) for name in ("gets", "units"))
        return [
            {"cpu": int(cpu), "gets": int(gets[cpu]), "busy_ms": int(units[cpu]) * WORK_UNIT_NS // _NS_PER_MILLISECOND}
            for cpu in np.flatnonzero(gets)
        ]
