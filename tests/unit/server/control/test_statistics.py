"""Statistics become plain data."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack
import numpy as np

from splinter.server.control.usage import TOLD_MAX
from splinter.server.statistics import collect, numbers, plain


@dataclass
class Usage:
    objects: int


def test_numpy_and_dataclasses_become_plain():
    value = {"a": np.uint64(3), "b": np.array([1, 2]), 5: (Usage(1), None, "x"), "f": np.float64(1.5)}
    assert plain(value) == {"a": 3, "b": [1, 2], "5": [{"objects": 1}, None, "x"], "f": 1.5}
    msgpack.packb(plain(value))


def test_collect_adds_the_control_plane():
    assert collect({"workers": []}, {"tenants": 2}) == {"workers": [], "control": {"tenants": 2}}


def test_numbers_are_flat():
    assert numbers({"a": {"b": 1, "c": [2, {"d": 3}]}, "s": "text", "t": True}) == {"a.b": 1, "a.c.0": 2, "a.c.1.d": 3}


def test_every_tenant_is_told_of_where_that_is_asked_for(control):
    admin = control.admin()
    admin.create_tenants(40)
    control.shared.tenant_counters[0]["requests"][1:41] = 1
    assert len(admin.stats()["tenants"]) == TOLD_MAX
    assert len(admin.stats(every=True)["tenants"]) == 40
