"""The balancer moves what makes cores even, late enough not to chase noise, and never back and forth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from splinter import limits
from splinter.errors import ControlError
from splinter.net.tenants import TENANT, TENANT_ACTIVE
from splinter.net.tier import TENANT_WORK
from splinter.server.control.balancer import Balancer, plan_moves
from splinter.server.kernel_work import WORK_UNIT_NS, KernelWork
from splinter.worker.layout import TENANT_COUNTERS

TICKS = 1_000_000


def plan(loads: list[float], homes: list[int], cores: int = 2) -> list[tuple[int, int]]:
    return plan_moves(np.array(loads), np.array(homes, np.int64), cores, np.ones(len(loads), bool))


def test_even_cores_are_left_alone() -> None:
    assert plan([0.4, 0.4], [0, 1]) == []
    assert plan([0.4, 0.4 - limits.BALANCE_GAP / 2], [0, 1]) == []
    assert plan([], []) == []


def test_the_tenant_that_leaves_the_smallest_gap_moves() -> None:
    assert plan([0.5, 0.3, 0.05], [0, 0, 0])[0] == (0, 1)  # 0.35 against 0.5: nearer than any other
    assert plan([0.3, 0.3, 0.3, 0.3], [0, 0, 0, 0]) == [(0, 1), (1, 1)]


def test_a_tenant_that_is_more_than_the_gap_stays() -> None:
    assert plan([0.9], [0]) == []  # alone: the other core would be as uneven
    assert plan([0.7, 0.4], [0, 1]) == []  # 0.7 there and 0.4 here is no better
    assert plan([0.8, 0.1], [0, 0]) == [(1, 1)]


def test_several_cores_get_even_in_few_moves() -> None:
    loads = np.full(32, 0.1)
    homes = np.zeros(32, np.int64)
    for _ in range(10):
        moves = plan_moves(loads, homes, 4, np.ones(32, bool))
        assert len(moves) <= limits.BALANCE_MOVES_MAX
        for place, home in moves:
            homes[place] = home
    per_core = np.bincount(homes, weights=loads, minlength=4)
    assert per_core.max() - per_core.min() < limits.BALANCE_GAP


@dataclass
class World:
    """A clock, two workers' counters and homes that a test sets."""

    now: float = 100.0
    tenants: int = 8
    refuses: bool = False
    moved: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counters = [np.zeros(self.tenants, TENANT_COUNTERS) for _ in range(2)]
        records = np.zeros(self.tenants, TENANT)
        records["flags"][1:] = TENANT_ACTIVE
        self.records, self.homes = records, records["home"]
        self.balancer = Balancer(self.counters, records, self.move, 2, TICKS, lambda: self.now)

    def move(self, tenant: int, home: int) -> None:
        if self.refuses:
            raise ControlError("no room")
        self.moved.append((tenant, home))
        self.homes[tenant] = home

    def pass_time(self, loads: dict[int, float], looks: int = 1) -> None:
        """Tenants use these shares of a core between looks; half of it on each worker, as with stealing."""
        for _ in range(looks):
            self.now += limits.BALANCE_SECONDS
            for tenant, load in loads.items():
                for row in self.counters:
                    row["cycles"][tenant] += int(load * TICKS * limits.BALANCE_SECONDS / 2)
            self.balancer.look()


def test_nothing_moves_before_cores_were_uneven_for_seconds() -> None:
    world = World()
    uneven = {1: 0.4, 2: 0.4}
    world.pass_time(uneven, limits.BALANCE_LOOKS - 1)
    world.pass_time({})  # one quiet look: it begins anew
    world.pass_time(uneven, limits.BALANCE_LOOKS - 1)
    assert world.moved == []
    world.pass_time(uneven)
    assert world.moved == [(1, 1)]
    assert world.balancer.moves == 1


def test_a_moved_tenant_rests() -> None:
    world = World()
    world.pass_time({1: 0.4, 2: 0.4}, limits.BALANCE_LOOKS)
    assert world.moved == [(1, 1)]
    # Now the load is on core 1 alone, with a tenant that could move back.
    world.homes[3] = 1
    looks = int(limits.BALANCE_REST_SECONDS / limits.BALANCE_SECONDS)
    world.pass_time({1: 0.4, 3: 0.5}, looks - 1)
    assert (1, 0) not in world.moved
    assert world.moved[1:] == [(3, 0)]


def test_a_refused_move_is_not_counted() -> None:
    world = World(refuses=True)
    world.pass_time({1: 0.4, 2: 0.4}, limits.BALANCE_LOOKS)
    assert world.balancer.moves == 0


@pytest.mark.parametrize("load", [0.05, 0.5, 0.95])
def test_it_comes_to_rest(load: float) -> None:
    world = World()
    loads = dict.fromkeys(range(1, 8), load / 7)
    world.pass_time(loads, 500)
    moves = len(world.moved)
    world.pass_time(loads, 500)
    assert len(world.moved) == moves


def test_work_of_the_kernel_moves_no_tenant_in_vain_and_hides_nothing() -> None:
    """It would not move along; but who can be moved away from it is."""
    cells = np.zeros((2, 8), TENANT_WORK)
    world = World()
    world.balancer = Balancer(
        world.counters, world.records, world.move, 2, TICKS, lambda: world.now, KernelWork(cells, cores=(0, 1))
    )  # fmt: skip
    per_look = int(0.6 * limits.BALANCE_SECONDS * 1e9 / WORK_UNIT_NS)
    for _ in range(2 * limits.BALANCE_LOOKS):
        cells["units"][0, 1] += per_look  # of tenant 1, at home on core 0, whose CPU its packets come to
        world.pass_time({})
    assert world.moved == []
    for _ in range(limits.BALANCE_LOOKS):
        cells["units"][0, 1] += per_look
        world.pass_time({2: 0.3})
    assert world.moved == [(2, 1)]


def test_work_of_the_kernel_on_cpus_without_workers_is_nobodys_here() -> None:
    cells = np.zeros((4, 8), TENANT_WORK)
    cells["units"][1, 3], cells["units"][3, 3] = 7_000_000, 5_000_000
    kernel = KernelWork(cells, cores=(2, 3))
    assert kernel.seconds_by_slot(np.array([3]), 2).tolist() == [0.0, 5_000_000 * WORK_UNIT_NS / 1e9]
    assert KernelWork().seconds_by_slot(np.array([3]), 2).tolist() == [0.0, 0.0]
