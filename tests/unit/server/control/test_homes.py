"""Homes that somebody chose, and those that follow from the number of cores."""

from __future__ import annotations

import numpy as np
import pytest

from splinter import limits
from splinter.durable.catalog import TenantRow
from splinter.net.tenants import TENANT, TENANT_ACTIVE
from splinter.server.control.homes import Homes, homes_at_start
from splinter.server.supervisor.data import fill_record


def row(tenant: int, home: int | None) -> TenantRow:
    return TenantRow(tenant, 1, True, 9, home=home)


@pytest.mark.parametrize("cores, expected", [(1, [0, 0, 0, 0]), (2, [1, 0, 1, 1]), (4, [1, 2, 3, 1]), (3, [1, 2, 0, 1])])
def test_homes_follow_the_cores_but_for_those_that_somebody_chose(cores: int, expected: list[int]) -> None:
    told: list[str] = []
    rows = [row(1, None), row(2, None), row(3, None), row(4, 1), TenantRow(5, 7, False)]
    assert list(homes_at_start(rows, cores, None, told.append).values()) == expected
    assert len(told) == (cores == 1) and all("tenant 4" in text for text in told)


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_whatever_cores_and_transport_a_server_had_the_next_one_can_steer(cores: int) -> None:
    """A catalog of a server with four cores, each of whose tenants was given a home."""
    count, told = 4 * limits.HOMES_ELSEWHERE_MAX, list[str]()
    rows = [row(tenant, (tenant + 1) % 4) for tenant in range(1, count)]
    tenants, steered = np.zeros(limits.TENANTS_MAX, TENANT), list[dict[int, int]]()
    homes = homes_at_start(rows, cores, limits.HOMES_ELSEWHERE_MAX, told.append)
    for each in rows:
        fill_record(tenants, each, homes[each.id])
    assert (tenants["home"] < cores).all() and (tenants["flags"][1:count] == TENANT_ACTIVE).all()
    Homes(tenants, cores, limits.HOMES_ELSEWHERE_MAX, steered.append).publish()
    assert len(steered[0]) <= limits.HOMES_ELSEWHERE_MAX and len(told) == 1
    assert cores == 1 or len(steered[0]) == limits.HOMES_ELSEWHERE_MAX  # as many as it can follow
