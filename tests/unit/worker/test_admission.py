"""A packet is judged again when it is served: while it waited its tenant may have been removed, and the id another's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.native.clock import cycles_per_millisecond
from splinter.net.tenants import TENANT, TENANT_REMOVING, tenants_bytes
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.wire import Header, Opcode
from splinter.worker.memory import WorkerMemory, introduce
from splinter.worker.tasks.pool import take_over_tasks
from splinter.worker.texts import build_texts
from splinter.worker.turn import begin_turn
from splinter.worker.xdp.loop import serve_queue
from tests.support.tenants import write_tenant
from tests.unit.worker.memory_device import MemoryDevice

ID, TOKEN, KEY = 7, 1234, b"key"


class Machine:
    """A worker on a ring in memory."""

    def __init__(self) -> None:
        region = Region.create("tenants", tenants_bytes())
        self.tenants = region.array(TENANT, limits.TENANTS_MAX)
        self.store = Store.create(limits.STORE_BYTES_MIN, tenants_region=region, participants=1)
        self._texts = build_texts()
        self.worker = WorkerMemory(
            0, store=self.store.address, tenants=region.address, rates=0, texts=self._texts.ctypes.data, tasks=16,
            tasks_per_tenant=16, task_budget=limits.TASK_BUDGET, task_yields_max=1000, task_milliseconds_max=1000,
            task_wall_milliseconds_max=1000, cycles_per_millisecond=cycles_per_millisecond(),
            quarantine_after=limits.QUARANTINE_AFTER, idle_spin_ns=0, udp=False,
        )  # fmt: skip
        introduce([self.worker], stealing=False)
        self.device = MemoryDevice([self.worker])
        take_over_tasks(self.worker.address)
        write_tenant(self.tenants, ID, TOKEN)
        self.store.open_tenant(ID)

    def arrive(self, token: int = TOKEN, tenant: int = ID) -> None:
        """A put comes into the ring, as past the XDP program."""
        header = Header(opcode=Opcode.PUT, tenant=tenant, token=token, key_length=len(KEY), value_length=5, sequence=1)
        self.device.deliver(0, header.pack() + KEY + b"value")

    def serve(self) -> int:
        """Serve what waits; how many replies there are."""
        begin_turn(self.worker.address)
        assert serve_queue(self.worker.address, 0) > 0
        return len(self.device.collect())

    def counted(self, name: str) -> int:
        return int(self.worker.block["counters"][name][0])


@pytest.fixture
def machine() -> Iterator[Machine]:
    yield Machine()


def test_a_packet_of_a_tenant_that_is_there_is_served(machine: Machine) -> None:
    machine.arrive()
    assert machine.serve() == 1
    assert machine.store.get(ID, 0, KEY) == b"value"
    assert machine.counted("wrong_token") == 0


@pytest.mark.parametrize("is_again", [False, True], ids=["removed", "another of its id"])
def test_a_packet_that_waited_while_its_tenant_was_removed_is_dropped(machine: Machine, is_again: bool) -> None:
    machine.arrive()
    machine.tenants["flags"][ID], machine.tenants["token"][ID] = TENANT_REMOVING, 0
    machine.store.close_tenant(ID)
    if is_again:
        write_tenant(machine.tenants, ID, TOKEN + 1)
        machine.store.open_tenant(ID, generation=2)
    assert machine.serve() == 0
    assert machine.counted("wrong_token") == 1
    assert machine.store.get(ID, 0, KEY) is None


@pytest.mark.parametrize("tenant", [0, limits.TENANTS_MAX, limits.TENANTS_MAX + ID, (1 << 32) - 1])
def test_ids_that_are_none_are_dropped(machine: Machine, tenant: int) -> None:
    machine.arrive(tenant=tenant)
    assert machine.serve() == 0
    assert machine.counted("wrong_token") == 1


def test_every_chunk_goes_back(machine: Machine) -> None:
    for token in (TOKEN + 1, 0, TOKEN - 1):
        machine.arrive(token)
    machine.serve()
    assert machine.device.problems() == []
