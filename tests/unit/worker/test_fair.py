"""Which task runs next: shares of tenants, young before old, packets before tasks, and when an invoke is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.errors import Status
from splinter.ext.compile import compile_source
from splinter.worker.accounts import begin_batch, end_batch, idle_until_now, packets_in_batch
from splinter.worker.layout import BATCH
from splinter.worker.reply import PENDING
from splinter.worker.tasks import fair
from splinter.worker.tasks.layout import TASK, TASK_FREE, TASK_READY
from tests.support.driver import COUNTING, Driver, at, fresh

KEY = (1).to_bytes(8, "little")
PLENTY = 1 << 32  # cycles
SLICES = 4000


@pytest.fixture(scope="module")
def made() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN, task_budget=64) as worker:
        yield worker


@pytest.fixture
def driver(made: WorkerInProcess) -> Driver:
    return fresh(made)


def test_a_tenant_with_many_tasks_gets_no_more_than_one_with_few(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 40)
    driver.queue(driver.tenant(2), "endless", 1)
    driver.queue(driver.tenant(3), "endless", 3)
    ran = driver.turns(3 * SLICES)
    assert all(ran[tenant] == pytest.approx(SLICES, rel=0.01) for tenant in (1, 2, 3))


def test_a_tenant_with_long_slices_gets_no_more_time(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 2)
    driver.queue(driver.tenant(2), "endless", 2)
    quantum = int(driver.block["quantum"][0])
    ran: Counter[int] = Counter()
    for _ in range(400):
        task = fair.pick(driver.w, False)
        tenant = driver.tenant_of(task)
        ran[tenant] += 1
        fair.go_on(driver.w, task, tenant, 4 * quantum if tenant == 1 else quantum)
    assert ran[2] == pytest.approx(4 * ran[1], rel=0.05)


def test_tasks_of_a_tenant_take_turns(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 5)
    order = []
    for _ in range(15):
        task = fair.pick(driver.w, False)
        order.append(task)
        fair.go_on(driver.w, task, 1, 1)
    assert len(set(order[:5])) == 5
    assert order[:5] == order[5:10] == order[10:]


def test_old_tasks_wait_for_young_ones_but_not_for_ever(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 2)
    old, young = (fair.pick(driver.w, False), 0)
    driver.tasks["cycles"][driver.number(old)] = PLENTY
    fair.go_on(driver.w, old, 1, 1)  # now it is old
    quantum = int(driver.block["quantum"][0])
    ran: Counter[bool] = Counter()
    for _ in range(1000):
        task = fair.pick(driver.w, False)
        young = young or (task if task != old else 0)
        ran[task == old] += 1
        fair.go_on(driver.w, task, 1, quantum)
    assert 5 <= ran[True] <= 30  # one in 64
    assert ran[False] == 1000 - ran[True]


def test_old_tasks_run_while_there_is_nothing_else(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 1)
    driver.tasks["cycles"][driver.number(fair.pick(driver.w, False))] = PLENTY
    assert driver.slices(100) == {1: 100}


def test_an_old_task_of_a_tenant_below_its_share_runs_as_if_it_were_young(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 1)
    old = fair.pick(driver.w, False)
    driver.tasks["cycles"][driver.number(old)] = PLENTY
    fair.go_on(driver.w, old, 1, 1)
    driver.queue(driver.tenant(2), "endless", 3)
    driver.in_one_window(1, 2)
    quantum = int(driver.block["quantum"][0])

    def turns() -> Counter[int]:
        ran: Counter[int] = Counter()
        for _ in range(300):
            task = fair.pick(driver.w, False)
            tenant = 1 if task == old else 2
            ran[tenant] += 1
            fair.go_on(driver.w, task, tenant, quantum)
        return ran

    assert turns()[1] == pytest.approx(150, abs=10)
    driver.uses(1, 0.6)  # more than one of two may
    assert turns()[1] < 30


def test_tasks_get_as_long_as_packets_took_while_packets_wait(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 3)
    fair.begin_slices(driver.w, 0)
    assert fair.pick(driver.w, True) == 0
    quantum = int(driver.block["quantum"][0])
    fair.begin_slices(driver.w, 3 * quantum)
    ran = 0
    while (task := fair.pick(driver.w, True)) != 0:
        fair.go_on(driver.w, task, 1, quantum)
        ran += 1
    assert ran == 3
    assert fair.pick(driver.w, False) != 0


def test_a_tenant_alone_starts_extensions_at_once_whatever_waits(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 5)
    driver.in_one_window(1)
    driver.uses(1, 10)
    assert driver.invoke(1, "short") == Status.OK


def test_a_tenant_over_its_share_queues_while_others_wait(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 1)
    driver.tenant(2)
    assert driver.invoke(2, "short") == Status.OK
    driver.in_one_window(1, 2)
    driver.uses(2, 0.9)
    assert driver.invoke(2, "short") == PENDING
    ran = driver.slices(4 * SLICES)
    assert ran[2] == 1  # and it has ended
    assert driver.block["tasks_live"][0] == 1
    assert driver.invoke(1, "short") == Status.OK


def test_a_tenant_s_waiting_tasks_are_bounded(driver: Driver) -> None:
    driver.block["tasks_per_tenant"] = 3
    driver.queue(driver.tenant(1), "endless", 3)
    assert driver.invoke(1, "endless") == Status.BUSY
    assert driver.invoke(1, "short") == Status.OK  # it does not have to wait
    assert driver.invoke(driver.tenant(2), "endless") == PENDING
    counters = driver.worker._memory.tenant_counters
    assert (counters["busy"][1], counters["busy"][2]) == (1, 0)
    assert driver.block["tasks_live"][0] == 4


def test_one_that_is_told_to_try_again_has_written_nothing(driver: Driver) -> None:
    driver.block["tasks_per_tenant"] = 1
    driver.queue(driver.tenant(1), "writing", 1)
    assert driver.worker.store.get(1, 0, KEY) is not None
    driver.worker.store.delete(1, 0, KEY)
    assert driver.invoke(1, "writing") == Status.BUSY
    assert driver.worker.store.get(1, 0, KEY) is None


def test_no_tenants_together_take_the_last_task(driver: Driver) -> None:
    total = int(driver.block["tasks_count"][0])
    for tenant in (1, 2):
        driver.tenant(tenant)
    driver.block["tasks_per_tenant"] = total
    driver.queue(1, "endless", total - 2)
    driver.queue(2, "endless", 1)
    assert driver.invoke(2, "endless") == Status.BUSY
    assert driver.invoke(2, "short") == Status.OK


def test_a_batch_of_long_invokes_gets_shorter_and_shorter_slices(driver: Driver) -> None:
    driver.tenant(1)
    begin_batch(driver.w)
    for _ in range(6):
        assert driver.invoke(1, "endless") == PENDING
    assert driver.block["first_yields"][0] == 6
    assert driver.invoke(1, "short") == Status.OK
    begin_batch(driver.w)
    assert driver.block["first_yields"][0] == 0


def test_states_tell_which_task_runs(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 2)
    assert sorted(driver.tasks["state"])[-3:] == [TASK_FREE, TASK_READY, TASK_READY]
    driver.slices(10)
    assert sorted(driver.tasks["state"])[-3:] == [TASK_FREE, TASK_READY, TASK_READY]
    assert driver.block["running_task"][0] == 0


def test_queues_are_made_anew(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 3)
    driver.queue(driver.tenant(2), "endless", 2)
    ready = np.flatnonzero(driver.tasks["state"] == TASK_READY).tolist()
    fair.reset(driver.w)
    assert fair.pick(driver.w, False) == 0
    for number in ready:
        task = int(driver.block["tasks"][0]) + number * TASK.itemsize
        fair.enqueue(driver.w, task, driver.tenant_of(task))
    ran = driver.turns(2 * SLICES)
    assert all(ran[tenant] == pytest.approx(SLICES, rel=0.01) for tenant in (1, 2))


def test_a_task_that_ends_leaves_its_queue(driver: Driver) -> None:
    compiled = compile_source(COUNTING)
    driver.tenant(1)
    for turns in (3, 1, 2):
        begin_batch(driver.w)
        assert driver.invoke(1, "counting", compiled.signature.pack((turns,))) == PENDING
    assert driver.slices(6) == {1: 6}
    assert driver.slice() == 0
    assert driver.block["tasks_live"][0] == driver.block["run_length"][0] == 0
    assert driver.block["ring_length"][0].tolist() == [0, 0]


def test_time_is_charged_to_tenants(driver: Driver) -> None:
    driver.queue(driver.tenant(1), "endless", 1)
    driver.slices(100)
    counters = driver.worker._memory.tenant_counters
    assert 0 < counters["task_cycles"][1] == counters["cycles"][1]
    assert driver.block["counters"]["task_cycles"][0] == counters["task_cycles"][1]
    before = begin_batch(driver.w)
    batch = at(int(driver.block["batch"][0]), 3 * BATCH.itemsize).view(BATCH)
    batch["tenant"] = 1, 2, 2
    end_batch(driver.w, 3, before)
    assert counters["requests"][1:3].tolist() == [1, 2]
    assert counters["cycles"][2] > 0


def test_batches_become_shorter_where_packets_take_long(driver: Driver) -> None:
    for _ in range(20):
        driver.block["accounted_until"] = 0  # it took ages, as far as that can count
        end_batch(driver.w, 1, begin_batch(driver.w))
    assert packets_in_batch(driver.w) == 1
    for _ in range(1000):
        idle_until_now(driver.w)
        end_batch(driver.w, limits.RX_BATCH, begin_batch(driver.w))
        if packets_in_batch(driver.w) == limits.RX_BATCH:
            return
    raise AssertionError("short packets were not noticed")
