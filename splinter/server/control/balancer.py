"""Moves tenants from a core that has been busier than another for seconds to that other core.

Stealing answers to what happens within microseconds; this to what lasts. What counts is a tenant's own time, on whichever
core it was spent: so stealing does not hide where the load comes from, and a core's load is the sum of its tenants'. What the
kernel tier does for a tenant is done by the CPU that its packets come to, and would not move with it: so it is a load of that
core, which tenants may be moved away from, and none of its tenant's. The rules keep it calm:

* A core must be the busier one by ``BALANCE_GAP`` of a core, in ``BALANCE_LOOKS`` looks in a row.
* A tenant moves only if that makes the gap smaller: its load is below the gap. The one that leaves the smallest gap
  goes first; at most ``BALANCE_MOVES_MAX`` at a time.
* A tenant that was moved stays for ``BALANCE_REST_SECONDS``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from splinter import limits
from splinter.errors import ControlError
from splinter.net.tenants import TENANT_ACTIVE
from splinter.server.events import event
from splinter.server.kernel_work import KernelWork

_log = logging.getLogger(__name__)


def plan_moves(
    loads: np.ndarray, homes: np.ndarray, cores: int, movable: np.ndarray, fixed: np.ndarray | float = 0.0
) -> list[tuple[int, int]]:
    """Which tenants to move: (place in ``loads``, new home) of each.

    ``loads`` are the tenants' loads as shares of a core, ``homes`` their core slots, ``movable`` who may be moved; ``fixed``:
    what each core slot has to do beside them.
    """
    homes, movable = homes.copy(), movable.copy()
    moves: list[tuple[int, int]] = []
    while len(moves) < limits.BALANCE_MOVES_MAX:
        per_core = np.bincount(homes, weights=loads, minlength=cores)[:cores] + fixed
        hot, cold = int(per_core.argmax()), int(per_core.argmin())
        gap = per_core[hot] - per_core[cold]
        if gap < limits.BALANCE_GAP:
            break
        candidates = np.flatnonzero((homes == hot) & movable & (loads > 0) & (loads < gap))
        if not len(candidates):
            break
        best = int(candidates[np.abs(gap - 2 * loads[candidates]).argmin()])
        moves.append((best, cold))
        homes[best], movable[best] = cold, False
    return moves


class Balancer:
    """Looks at the tenants' counters every ``BALANCE_SECONDS``; ``moves`` counts what it did."""

    def __init__(
        self,
        counters: Sequence[np.ndarray],
        records: np.ndarray,
        move: Callable[[int, int], None],
        cores: int,
        cycles_per_second: int,
        clock: Callable[[], float] = time.monotonic,
        kernel: KernelWork | None = None,
    ) -> None:
        """``counters``: of each worker, TENANT_COUNTERS by tenant id; ``records``: TENANT likewise; ``move(tenant, core)``;
        ``kernel``: what the kernel tier does."""
        self._kernel = kernel or KernelWork()
        self._kernel_seconds = np.zeros(cores)
        self._counters, self._records, self._move = counters, records, move
        self._cores, self._cycles_per_second, self._clock = cores, cycles_per_second, clock
        self._uneven = 0  # looks in a row
        self._rests_until = np.zeros(len(records))
        self._generations = records["generation"].copy()  # of the tenants that this is about
        self._cycles, self._looked = np.zeros(len(records), np.uint64), clock()
        self.moves = 0

    def look(self) -> None:
        """Measure the loads since the last look; move tenants when they have been uneven for long enough."""
        tenants = np.flatnonzero(self._records["flags"] & TENANT_ACTIVE)
        new = tenants[self._records["generation"][tenants] != self._generations[tenants]]  # whose counters began anew
        self._cycles[new], self._rests_until[new] = 0, 0
        self._generations[new] = self._records["generation"][new]
        cycles, now = np.sum([row["cycles"][tenants] for row in self._counters], axis=0, dtype=np.uint64), self._clock()
        used, seconds = cycles - self._cycles[tenants], now - self._looked
        self._cycles[tenants], self._looked = cycles, now
        kernel, before = self._kernel.seconds_by_slot(tenants, self._cores), self._kernel_seconds
        self._kernel_seconds = kernel
        if seconds <= 0:
            return
        fixed = np.maximum(kernel - before, 0) / seconds  # a removed tenant takes its part of the sum along
        loads = used / (self._cycles_per_second * seconds)
        homes = self._records["home"][tenants].astype(np.int64)
        moves = plan_moves(loads, homes, self._cores, self._rests_until[tenants] <= now, fixed)
        self._uneven = self._uneven + 1 if moves else 0
        if self._uneven < limits.BALANCE_LOOKS:
            return
        self._uneven = 0
        for place, home in moves:
            tenant = int(tenants[place])
            try:
                self._move(tenant, home)
            except ControlError as refused:
                _log.warning("tenant %d stays on core %d: %s", tenant, homes[place], refused)
                return
            self.moves += 1
            self._rests_until[tenant] = now + limits.BALANCE_REST_SECONDS
            _log.warning(
                "moved tenant %d from core %d to core %d: it used %.0f%% of a core", tenant, homes[place], home,
                100 * loads[place],
                extra=event("tenant.moved", tenant, int(self._generations[tenant]), home=home, by="balancer"),
            )  # fmt: skip
