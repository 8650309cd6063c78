"""Where tenants live that do not live at id modulo cores: the transport has to know of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from splinter.errors import ControlError
from splinter.net.tenants import TENANT_ACTIVE


class Homes:
    """The homes in the tenants' ``records``, of a server with so many core slots. The transport follows ``elsewhere_max`` of
    those that are not id modulo cores (None: all), which ``steer`` tells it."""

    def __init__(
        self, records: np.ndarray, cores: int, elsewhere_max: int | None, steer: Callable[[dict[int, int]], object]
    ) -> None:
        self._records, self._cores, self._elsewhere_max, self._steer = records, cores, elsewhere_max, steer

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
