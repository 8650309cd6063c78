"""A removed tenant's id is free only when no worker does anything for it any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from splinter import limits
from splinter.errors import ControlError, Status
from splinter.ext.abi import F_TENANT
from splinter.net.tenants import TENANT_REMOVING
from splinter.server.control import tenants
from splinter.store.epochs import EPOCH_OFFLINE, epoch_now
from splinter.store.tenants import tenant_close
from splinter.worker.memory import WorkerMemory
from splinter.worker.tasks.layout import TASK_FREE, TASK_READY, TASK_REFUSED
from tests.support.waiting import wait_for
from tests.unit.server.control.conftest import Control

TENANT, OTHER = 7, 8
TRIES = 200  # to get the tenant's lock
LOOKS = 20  # at a removal that must not end


class Worker:
    """A worker's memory; what the worker would do is done by the test."""

    def __init__(self, control: Control) -> None:
        self.store = control.store
        self.memory = WorkerMemory(
            0, store=control.store.address, tenants=0, rates=0, texts=0, tasks=4, tasks_per_tenant=4,
            task_budget=limits.TASK_BUDGET, task_yields_max=1, task_milliseconds_max=1, task_wall_milliseconds_max=1,
            cycles_per_millisecond=1, quarantine_after=1, idle_spin_ns=0, udp=False,
        )  # fmt: skip
        control.shared.workers.append(self.memory)

    def turn(self) -> None:
        """It begins a turn."""
        epoch = int(epoch_now(self.store.address))
        self.memory.block["turn_epoch"] = epoch
        self.store.participants["epoch"][0] = epoch

    def woken(self) -> int:
        """How often it was woken."""
        return os.eventfd_read(self.memory.wake_fd)

    def task(self, state: int, tenant: int = TENANT) -> None:
        self.memory._frames[2, F_TENANT : F_TENANT + 4].view("<u4")[0] = tenant
        self.memory.tasks["state"][2] = state

    def stage(self, slot: int, tenant: int = TENANT) -> None:
        self.store.participants["staging"]["tenant"][0, 5] = tenant
        self.store.participants["staging"]["slot"][0, 5] = slot


def start(control: Control) -> Worker:
    worker = Worker(control)
    control.start()
    control.admin().create_tenant(TENANT)
    return worker


def begin_removal(control: Control) -> threading.Thread:
    """Ask for it, and wait until requests are dropped."""
    removal = threading.Thread(target=control.admin().remove_tenant, args=(TENANT,))
    removal.start()
    wait_for(lambda: control.shared.tenants["flags"][TENANT] == TENANT_REMOVING, what="the removal's beginning")
    return removal


def assert_not_free(control: Control) -> None:
    admin = control.admin()
    for _ in range(LOOKS):
        admin.stats()  # the removal goes on meanwhile, if it can
        with pytest.raises(ControlError, match="is being removed"):
            admin.create_tenant(TENANT)


def assert_free(control: Control) -> None:
    wait_for(lambda: control.shared.tenants["flags"][TENANT] == 0, what="the id to be free")
    control.admin().create_tenant(TENANT)


def test_a_lock_that_is_kept_for_long_holds_the_removal_up_and_does_not_end_it(
    control_stopped: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a worker that does not get its core."""
    tries = iter(range(TRIES))

    def close(*arguments: int) -> int:
        return int(Status.BUSY) if next(tries, None) is not None else tenant_close(*arguments)

    monkeypatch.setattr(tenants, "tenant_close", close)
    monkeypatch.setattr(tenants, "_CLOSE_WAIT_SECONDS", 0.0)
    control_stopped.start()
    admin = control_stopped.admin()
    admin.create_tenant(TENANT)
    admin.remove_tenant(TENANT)
    assert_free(control_stopped)


def test_the_id_waits_for_the_end_of_the_workers_turn(control_stopped: Control) -> None:
    control = control_stopped
    worker = start(control)
    worker.turn()
    removal = begin_removal(control)
    assert_not_free(control)
    worker.turn()
    removal.join()
    assert_free(control)


def test_a_worker_that_sleeps_holds_nothing_up(control_stopped: Control) -> None:
    control = control_stopped
    worker = start(control)
    worker.turn()
    worker.store.participants["epoch"][0] = EPOCH_OFFLINE
    control.admin().remove_tenant(TENANT)
    assert_free(control)


@pytest.mark.parametrize("state", [TASK_READY, TASK_REFUSED])
def test_the_id_waits_for_the_tenants_tasks_in_whatever_state(control_stopped: Control, state: int) -> None:
    control = control_stopped
    worker = start(control)
    worker.task(state)
    removal = begin_removal(control)
    worker.turn()
    assert_not_free(control)
    worker.task(TASK_FREE)
    worker.turn()
    removal.join()
    assert_free(control)


def test_the_id_waits_for_staged_fragments_and_their_worker_is_woken(control_stopped: Control) -> None:
    control = control_stopped
    worker = start(control)
    worker.stage(1)
    removal = begin_removal(control)
    assert_not_free(control)
    assert worker.woken() > 0
    worker.stage(0)
    removal.join()
    assert_free(control)


@pytest.mark.parametrize("what", [Worker.stage, Worker.task])
def test_what_other_tenants_have_under_way_holds_nothing_up(
    control_stopped: Control, what: Callable[[Worker, int, int], None]
) -> None:
    control = control_stopped
    worker = start(control)
    what(worker, TASK_READY, OTHER)
    control.admin().remove_tenant(TENANT)
    assert_free(control)
    what(worker, TASK_FREE, OTHER)


def test_a_control_process_that_dies_meanwhile_has_a_successor_that_waits_again(control_stopped: Control) -> None:
    control = control_stopped
    worker = start(control)
    worker.task(TASK_READY)
    control.shared.tenants["flags"][TENANT] = TENANT_REMOVING
    control.restart()
    assert_not_free(control)
    control.restart()
    assert_not_free(control)
    worker.task(TASK_FREE)
    assert_free(control)


def test_a_creation_that_was_not_finished_is_undone(control_stopped: Control) -> None:
    control = control_stopped
    control.store.open_tenant(TENANT, generation=5)
    control.store.put(TENANT, 0, b"key", b"value")
    control.start()
    wait_for(lambda: control.store.accounts["active"][TENANT] == 0, what="the tenant's end")
    assert_free(control)
    assert control.store.get(TENANT, 0, b"key") is None


def test_generation_and_counters_are_the_new_tenants(control_stopped: Control) -> None:
    control = control_stopped
    start(control)
    admin = control.admin()
    control.shared.tenant_counters[0]["requests"][TENANT] = 100
    first = int(control.shared.tenants["generation"][TENANT])
    assert control.store.accounts["active"][TENANT] == first
    admin.remove_tenant(TENANT)
    admin.create_tenant(TENANT)
    assert control.shared.tenants["generation"][TENANT] == control.store.accounts["active"][TENANT] == first + 1
    assert control.shared.tenant_counters[0]["requests"][TENANT] == 0
    admin.limit_tenant(TENANT, quota_bytes=1 << 20)
    assert control.store.accounts["active"][TENANT] == first + 1
