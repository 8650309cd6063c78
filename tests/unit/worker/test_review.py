"""Tasks that must end though they would go on: of removed tenants, that take too long, that keep memory from others."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import ExtensionError
from splinter.store.epochs import epoch_advance
from splinter.wire import HEADER
from splinter.worker.accounts import begin_batch, begin_resumes
from splinter.worker.reply import PENDING
from splinter.worker.tasks import fair
from splinter.worker.tasks.layout import TASK_READY
from splinter.worker.tasks.pool import OLDEST_NONE, end_task
from splinter.worker.tasks.review import next_to_end
from splinter.worker.tasks.slices import cut_short, run_slice
from splinter.worker.turn import begin_turn
from tests.support.driver import Driver, fresh

GONE, OTHER = 1, 2
A_MINUTE = 60_000  # milliseconds


@pytest.fixture
def driver() -> Iterator[Driver]:
    with WorkerInProcess(limits.STORE_BYTES_MIN, task_budget=64) as worker:
        yield fresh(worker)


def remove(driver: Driver, tenant: int) -> None:
    """As the control process does, but that it does not wait for the workers."""
    driver.worker.store.close_tenant(tenant)
    for _ in driver.worker.store.sweep_tenant(tenant):
        pass


def review(driver: Driver) -> dict[int, int]:
    """Look at all tasks; how many ended, by tenant."""
    ended: dict[int, int] = {}
    for _ in range(int(driver.block["tasks_count"][0])):
        task = int(next_to_end(driver.w))
        if task:
            tenant = driver.tenant_of(task)
            assert cut_short(driver.w, task) > 0
            end_task(driver.w, task)
            ended[tenant] = ended.get(tenant, 0) + 1
    return ended


def replies(driver: Driver) -> list[Status]:
    """To all packets so far; OK: none yet."""
    return [Status(int(packet[: HEADER.itemsize].view(HEADER.dtype)["status"][0])) for packet in driver.packets]


def text(packet: np.ndarray) -> str:
    header = packet[: HEADER.itemsize].view(HEADER.dtype)[0]
    return packet[HEADER.itemsize : HEADER.itemsize + int(header["value_length"])].tobytes().decode()


def test_a_removed_tenants_waiting_tasks_end_and_others_go_on(driver: Driver) -> None:
    driver.queue(driver.tenant(GONE), "endless", 5)
    driver.queue(driver.tenant(OTHER), "endless", 3)
    assert review(driver) == {}
    remove(driver, GONE)
    assert review(driver) == {GONE: 5}
    assert replies(driver) == [Status.UNKNOWN_TENANT] * 5 + [Status.OK] * 3
    assert driver.block["counters"]["orphans"][0] == 5
    assert driver.block["tasks_live"][0] == driver.block["run_length"][0] == 3
    assert driver.slices(30) == {OTHER: 30}


def test_a_removed_tenants_task_has_no_further_slice(driver: Driver) -> None:
    driver.queue(driver.tenant(GONE), "writing", 1)
    remove(driver, GONE)
    task = fair.pick(driver.w, False)
    resumes = int(driver.block["counters"]["resumes"][0])
    assert run_slice(driver.w, task) > 0
    assert driver.block["counters"]["resumes"][0] == resumes
    assert replies(driver) == [Status.UNKNOWN_TENANT]


def test_a_task_does_not_go_on_in_the_next_tenant_of_its_id(driver: Driver) -> None:
    driver.queue(driver.tenant(GONE), "endless", 4)
    remove(driver, GONE)
    driver.worker.store.open_tenant(GONE, generation=2)
    driver.queue(driver.tenant(GONE), "endless", 0)  # its extensions
    driver.worker.store.open_tenant(GONE, generation=2)
    driver.queue(GONE, "endless", 2)
    assert review(driver) == {GONE: 4}
    assert replies(driver) == [Status.UNKNOWN_TENANT] * 4 + [Status.OK] * 2
    assert driver.slices(20) == {GONE: 20}


def test_a_tenant_that_is_being_removed_begins_no_task(driver: Driver) -> None:
    driver.tenant(GONE)
    driver.worker.store.close_tenant(GONE)
    assert driver.invoke(GONE, "short") == Status.UNKNOWN_TENANT


def test_a_task_that_waits_ends_when_its_time_is_over(driver: Driver) -> None:
    driver.queue(driver.tenant(GONE), "endless", 3)
    late = 1
    driver.tasks["started"][driver.tasks["state"] == TASK_READY] += np.uint64(1)
    waiting = np.flatnonzero(driver.tasks["state"] == TASK_READY)
    driver.tasks["wall_cycles_max"][waiting[late]] = 0
    assert review(driver) == {GONE: 1}
    assert sorted(replies(driver)) == sorted([Status.EXTENSION_ERROR, Status.OK, Status.OK])
    (message,) = (text(packet) for packet, status in zip(driver.packets, replies(driver), strict=True) if status)
    assert message.endswith(ExtensionError.TIME.text)
    assert driver.block["counters"]["overdue"][0] == 1


def test_a_task_that_runs_ends_when_its_time_is_over(driver: Driver) -> None:
    driver.queue(driver.tenant(GONE), "endless", 1)
    driver.tasks["wall_cycles_max"][driver.tasks["state"] == TASK_READY] = 0
    assert driver.slices(1) == {GONE: 1}
    assert replies(driver) == [Status.EXTENSION_ERROR]
    assert text(driver.packets[0]).endswith(ExtensionError.TIME.text)


def test_the_tenants_limit_of_time_counts_and_else_the_servers(driver: Driver) -> None:
    a_millisecond = int(driver.block["cycles_per_millisecond"][0])
    driver.block["task_wall_milliseconds_max"] = A_MINUTE
    driver.queue(driver.tenant(GONE), "endless", 1)
    driver.worker._tenants["task_wall_milliseconds_max"][OTHER] = 7
    driver.queue(driver.tenant(OTHER), "endless", 1)
    found = driver.tasks["wall_cycles_max"][driver.tasks["state"] == TASK_READY]
    assert sorted(int(each) // a_millisecond for each in found) == [7, A_MINUTE]


def test_the_oldest_tasks_give_way_and_the_workers_epoch_moves_on(driver: Driver) -> None:
    driver.queue(driver.tenant(GONE), "endless", 3)
    oldest = int(driver.block["oldest_epoch"][0])
    epoch_advance(driver.worker.store.address)
    driver.queue(driver.tenant(OTHER), "endless", 2)
    driver.block["give_way"] = oldest
    assert review(driver) == {GONE: 3}
    assert driver.block["oldest_epoch"][0] == oldest + 1
    assert driver.block["give_way"][0] == 0
    assert text(driver.packets[0]).endswith(ExtensionError.MEMORY_HELD.text)
    assert driver.block["counters"]["gave_way"][0] == 3
    begin_turn(driver.w)
    assert driver.worker.store.participants["epoch"][0] == oldest + 1


def test_tasks_leave_their_queues_from_any_place(driver: Driver) -> None:
    chance = random.Random(5)
    tenants = [driver.tenant(tenant) for tenant in (1, 2, 3)]
    waiting: dict[int, int] = {}
    for _ in range(400):
        tenant = chance.choice(tenants)
        action = chance.random()
        if action < 0.4 and sum(list(waiting.values()).count(each) for each in (tenant,)) < 6:
            begin_batch(driver.w)
            known = set(np.flatnonzero(driver.tasks["state"] == TASK_READY).tolist())
            assert driver.invoke(tenant, "endless") == PENDING
            (new,) = set(np.flatnonzero(driver.tasks["state"] == TASK_READY).tolist()) - known
            if chance.random() < 0.5:
                driver.tasks["cycles"][new] = 1 << 32  # old from its next slice on
            waiting[new] = tenant
        elif action < 0.7 and waiting:
            number = chance.choice(list(waiting))
            address = int(driver.block["tasks"][0]) + number * driver.tasks.itemsize
            driver.tasks["wall_cycles_max"][number] = 0
            assert cut_short(driver.w, address) > 0
            end_task(driver.w, address)
            del waiting[number]
        elif waiting:
            begin_resumes(driver.w)
            assert driver.slice() in waiting.values()
        assert driver.block["run_length"][0] == len(waiting) == driver.block["tasks_live"][0]
    for number in list(waiting):
        address = int(driver.block["tasks"][0]) + number * driver.tasks.itemsize
        cut_short(driver.w, address)
        end_task(driver.w, address)
    assert driver.slice() == 0
    assert driver.block["ring_length"][0].tolist() == [0, 0]
    assert driver.block["oldest_epoch"][0] == OLDEST_NONE
