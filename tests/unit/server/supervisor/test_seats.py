"""Seats: who sits down when, after deaths that leave something to be sorted out first."""

from __future__ import annotations

import math
import os
import selectors
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from unittest.mock import Mock

import pytest

from splinter import limits
from splinter.native.clock import cycles_per_millisecond
from splinter.server.processes import is_readable
from splinter.server.supervisor.events import call_ready
from splinter.server.supervisor.seats import Workers
from splinter.server.supervisor.spares import Spares
from splinter.server.supervisor.watchdog import Watchdog
from splinter.store.store import Store
from splinter.worker.memory import WorkerMemory, introduce
from splinter.worker.texts import build_texts
from tests.support.waiting import WAIT_SECONDS, wait_for

CORES = 2
TASKS = 4
PATIENT_MS = 60_000  # of the watchdog: these workers have no heartbeat


@dataclass
class House:
    """Workers that do nothing, and rings that only a test sorts out."""

    workers: Workers
    watchdog: Watchdog
    rings: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # what each worker's recovery returns, in turn

    def pid(self, index: int) -> int:
        return self.workers._seats[index].pid

    def has_spares(self) -> bool:
        self.look()
        return len(self.workers._spares._ready) == CORES

    def look(self) -> None:
        """One turn of the supervisor's loop, without its wait."""
        call_ready(self.workers._selector, 0)
        self.workers.watch()


@pytest.fixture
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """With a parameter: so many spares have been received before anybody is seated."""
    store = Store.create(limits.STORE_BYTES_MIN, participants=CORES)
    texts, ticks = build_texts(), cycles_per_millisecond()
    memories = [
        WorkerMemory(
            index, store=store.address, tenants=0, rates=0, texts=texts.ctypes.data, tasks=TASKS, tasks_per_tenant=TASKS,
            task_budget=limits.TASK_BUDGET, task_yields_max=1, task_milliseconds_max=1, task_wall_milliseconds_max=1,
            cycles_per_millisecond=ticks, quarantine_after=1, idle_spin_ns=0, udp=True,
        )
        for index in range(CORES)
    ]  # fmt: skip
    introduce(memories, stealing=False)
    watchdog = Watchdog(memories, store.address, PATIENT_MS, ticks)
    spares = Spares(lambda _: signal.pause(), CORES)  # a worker that does nothing
    spares.start(lambda: None)

    def recover_rings(memory: WorkerMemory) -> tuple[int, int]:
        waiting = made.rings.get(memory.index)
        return waiting.pop(0) if waiting else (0, 0)

    workers = Workers(memories, store, recover_rings, spares, watchdog, selectors.EpollSelector(), Mock())
    made = House(workers, watchdog)
    spares.socket.settimeout(WAIT_SECONDS)
    for _ in range(getattr(request, "param", 0)):
        assert spares.receive()
    workers.seat_all()
    workers._selector.register(spares.socket, selectors.EVENT_READ, spares.receive)
    yield made
    spares.close()
    workers.wait(time.monotonic())


@pytest.mark.parametrize("house", [1, CORES], indirect=True)
def test_spares_that_came_before_the_seats_were_filled_take_them(house: House) -> None:
    assert all(house.pid(index) for index in range(CORES))


def test_who_has_something_to_do_soon_does_not_rest_for_long(house: House) -> None:
    """The look at sleeping workers can last for minutes: as long as the watchdog is patient, some hundred times."""
    for seat in house.workers._seats:
        seat.predecessor_heartbeat = 0
    assert house.workers.rest(is_short=True) < 0.1
    scan = house.workers._scan
    scan.wait.assert_not_called()  # type: ignore[attr-defined]
    house.workers.rest()
    scan.wait.assert_called_once()  # type: ignore[attr-defined]


def test_nobody_sits_down_before_all_chunks_are_sorted_out(house: House) -> None:
    """Two died together, and the first has what the second's rings wait for: it is recovered, and then the second is."""
    first, second = house.pid(0), house.pid(1)
    house.rings = {0: [(3, 0)], 1: [(1, 2), (0, 1), (5, 0)]}
    wait_for(house.has_spares, what="spares")
    for index in (1, 0):
        seat = house.workers._seats[index]
        seat.since = -math.inf  # it did not die at once
        os.kill(seat.pid, signal.SIGKILL)
        assert is_readable(seat.pidfd, WAIT_SECONDS)

    def is_seated(index: int, before: int) -> bool:
        house.look()
        return house.pid(index) not in (0, before)

    wait_for(lambda: is_seated(0, first), what="the first one's successor")
    assert house.workers.rest() < 1.0  # the other's seat is looked at soon
    wait_for(lambda: is_seated(1, second), what="the second one's successor")
    assert house.rings == {0: [], 1: []}
    assert house.watchdog.record["chunks_reclaimed"][0] == 9
