"""Where tenants live: at id modulo cores, but for those that somebody or the balancer gave another home. The transport has to
know of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from splinter.durable.catalog import TenantRow
from splinter.errors import ControlError
from splinter.net.tenants import TENANT_ACTIVE


def home_of(row: TenantRow, cores: int) -> int:
    """Where a tenant lives on a server with so many core slots: where somebody chose, if it has that one."""
    return row.home if row.home is not None and row.home < cores else row.id % cores


def homes_at_start(rows: list[TenantRow], cores: int, elsewhere_max: int | None, tell: Callable[[str], None]) -> dict[int, int]:
    """Homes by tenant when a server begins with the tenants of a catalog. The one before it may have had other cores, or
    another transport: who cannot live where it was to lives at id modulo cores, which is told in one line."""
    homes = {row.id: home_of(row, cores) for row in rows if row.is_there}
    if elsewhere_max is not None:
        for tenant in [tenant for tenant, home in homes.items() if home != tenant % cores][elsewhere_max:]:
            homes[tenant] = tenant % cores
    away = [row.id for row in rows if row.is_there and row.home not in (None, homes[row.id])]
    if away:
        which = f"tenant {away[0]}" if len(away) == 1 else f"{len(away):,} tenants (the first is {away[0]})"
        tell(f"this server has not the home that was chosen for {which}: id modulo cores as long as that is so")
    return homes


class Homes:
    """The homes in the tenants' ``records``, of a server with so many core slots. The transport follows ``elsewhere_max`` of
    those that are not id modulo cores (None: all), which ``steer`` tells it. Beside them stands which homes somebody chose: the
    balancer moves tenants too, which no later server hears of."""

    def __init__(
        self, records: np.ndarray, cores: int, elsewhere_max: int | None, steer: Callable[[dict[int, int]], object]
    ) -> None:
        self._records, self._cores, self._elsewhere_max, self._steer = records, cores, elsewhere_max, steer
        self._chosen: dict[int, int] = {}

    def choose(self, row: TenantRow) -> None:
        """Note the home that was chosen for a tenant, or that none was."""
        self._chosen.pop(row.id, None)
        if row.home is not None:
            self._chosen[row.id] = row.home

    def chosen(self, tenant: int) -> int | None:
        """The home that was chosen for a tenant; None: none was."""
        return self._chosen.get(tenant)

    def require(self, tenants: list[int], home: int | None) -> None:
        """Raise :class:`ControlError` when the transport cannot follow so many homes that are not id modulo cores."""
        if self._elsewhere_max is None:
            return
        after = set(self._elsewhere()) - set(tenants)
        after |= {tenant for tenant in tenants if home is not None and home != tenant % self._cores}
        if len(after) > self._elsewhere_max:
            raise ControlError(
                f"on the UDP transport at most {self._elsewhere_max} tenants live elsewhere than at id modulo cores",
                "too_many_homes",
            )

    def publish(self) -> None:
        """Make the transport follow the homes in the records."""
        if self._elsewhere_max is not None:
            self._steer(self._elsewhere())

    def _elsewhere(self) -> dict[int, int]:
        """Home by tenant, of those whose home is not id modulo cores."""
        ids = np.flatnonzero(self._records["flags"] & TENANT_ACTIVE)
        ids = ids[self._records["home"][ids] != ids % self._cores]
        return dict(zip(ids.tolist(), self._records["home"][ids].tolist(), strict=True))
