"""Tenants' records as the control plane writes them, for tests without one."""

from __future__ import annotations

import numpy as np

from splinter.net.tenants import TENANT_ACTIVE


def write_tenant(table: np.ndarray, tenant: int, token: int, home: int = 0) -> None:
    """Make a tenant active, with no limits of its own."""
    table[tenant] = 0
    table["token"][tenant] = token
    table["home"][tenant] = home
    table["generation"][tenant] = 1
    table["flags"][tenant] = TENANT_ACTIVE
