"""Tenants and extensions with a data folder: the catalog has an act before the memory, and each restart makes them agree.

Each control process is a fork, so one that is killed leaves what it would: the shared memory, and the catalog's file.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from splinter import limits
from splinter.durable.catalog import Catalog, ExtensionRow, TenantRow
from splinter.errors import ControlError, NoSuchExtensionError, QuotaExceededError
from splinter.ext.compile import CompiledExtension, compile_source
from splinter.server.control.installed import Entry
from splinter.server.control.kept import KeptExtensions
from splinter.server.control.registry import Registry
from splinter.server.control.tenants import RECORD_LIMITS, Tenants
from splinter.store.account_layout import EVICTION_HYPERBOLIC
from splinter.store.layout import DURABILITY_ALWAYS, DURABILITY_INTERVAL, DURABILITY_NONE
from splinter.store.log import LogRings
from tests.property.hostile.in_child import in_child
from tests.support.logs import logged
from tests.unit.server.control.conftest import Control, control_made

SOURCE = "@extension\ndef f(db: Store, x: u64) -> u64:\n    return x + {}\n"
PAIR = "@extension\ndef f(db: Store) -> u64:\n    return 1\n\n@extension\ndef g(db: Store) -> u64:\n    return 2\n"
COMPILED: dict[str, CompiledExtension] = {}
LIMITS = dict.fromkeys(RECORD_LIMITS, 3)
STEPS_MAX = 400  # more than any of these has
TRACED = ("/server/control/tenants.py", "/server/control/tokens.py", "/server/control/kept.py")


def compiled(number: int) -> CompiledExtension:
    """Of SOURCE with a number."""
    source = SOURCE.format(number)
    if source not in COMPILED:
        COMPILED[source] = compile_source(source)
    return COMPILED[source]


@dataclass
class Machine:
    """What outlives control processes, and a folder."""

    control: Control
    path: Path

    def process(self) -> Process:
        """A control process as it begins; in a fork."""
        catalog = Catalog(self.path)
        shared = replace(self.control.shared, data=SimpleNamespace(folder=SimpleNamespace(catalog=catalog)))
        shared.code.become_writer()
        registry = Registry(shared.store, shared.code, shared.extension_counters)
        return Process(catalog, registry, Tenants(shared, registry), KeptExtensions(catalog, registry))

    def done(self, act: Callable[[Process], Any], steps: int = STEPS_MAX) -> bool:
        """Have a control process do something; it is killed after so many lines of it. Whether it came to the end."""
        process_id = os.fork()
        if process_id == 0:
            try:
                process = self.process()
                process.begin()
                sys.settrace(killing_after(steps))
                act(process)
                sys.settrace(None)
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
        assert status in (0, -signal.SIGKILL), "the control process failed"
        self.control.store.recover(limits.PARTICIPANT_CONTROL)
        return status == 0

    def prepare(self, tenant: int, steps: list[Callable[..., Any]]) -> State:
        """Do what comes before an act; what there is then."""

        def do(_: Any) -> State:
            process = self.process()
            process.begin()
            return process.prepare(tenant, steps)

        found: State = in_child(do)
        return found

    def look(self, tenant: int) -> State:
        """What the next control process has when it has begun: the same in the catalog and in memory."""
        return self.look_and_prepare(tenant, 0, [])[0]

    def look_and_prepare(self, tenant: int, following: int, steps: list[Callable[..., Any]]) -> tuple[State, State]:
        """:meth:`look` at a tenant, and have the same control process :meth:`prepare` the following one."""

        def start(_: Any) -> tuple[State, State]:
            process = self.process()
            process.begin()
            in_memory, in_catalog = process.in_memory(tenant), process.in_catalog(tenant)
            assert in_memory == in_catalog, (in_memory, in_catalog)
            return in_memory, process.prepare(following, steps)

        found: tuple[State, State] = in_child(start)
        self.control.store.recover(limits.PARTICIPANT_CONTROL)
        return found


@dataclass
class State:
    """A tenant, with the home that was chosen for it, and the versions of its extensions."""

    tenant: TenantRow
    versions: dict[str, int]


@dataclass
class Process:
    """One control process, as far as tenants and extensions go."""

    catalog: Catalog
    registry: Registry
    tenants: Tenants
    kept: KeptExtensions

    def begin(self) -> None:
        """As the server does; removals are done then."""

        async def begin() -> None:
            self.tenants.rebuild()
            await self.kept.restore(self.tenants.is_active, self._make)
            while self.tenants._removals:
                await asyncio.sleep(0)

        asyncio.run(begin())

    def prepare(self, tenant: int, steps: list[Callable[..., Any]]) -> State:
        for step in steps:
            step(self, tenant=tenant)
        return self.in_memory(tenant)

    def retry(self) -> None:
        """Have what waits tried again, once."""

        async def retry() -> None:
            for row in self.kept._waiting():
                await self.kept._try_again(row, self._make)

        asyncio.run(retry())

    async def _make(self, row: ExtensionRow) -> Entry:
        self.kept.require(row)
        return self.registry.install(row.tenant, COMPILED[row.source], version=row.version)

    def in_memory(self, tenant: int) -> State:
        versions = {entry.name: entry.version for entry in self.registry.entries(tenant)}
        return State(self.tenants._row(tenant), versions)

    def in_catalog(self, tenant: int) -> State:
        rows = [row for row in self.catalog.tenants() if row.id == tenant]
        row = rows[0] if rows else TenantRow(tenant, 0, False)
        return State(row, {one.name: one.version for one in self.catalog.extensions() if one.tenant == tenant})

    def create(self, tenant: int) -> None:
        self.tenants.create([tenant], 1 << 20, None, LIMITS, DURABILITY_INTERVAL, token=9)

    def install(self, tenant: int, number: int) -> None:
        self.kept.install(
            tenant, self.tenants.generation(tenant), compiled(number), source=SOURCE.format(number), is_of_group=False
        )

    def uninstall(self, tenant: int) -> None:
        self.kept.uninstall(tenant, self.tenants.generation(tenant), "f")

    def remove(self, tenant: int) -> None:
        asyncio.run(self.tenants.remove(tenant))


def killing_after(steps: int) -> Callable[[FrameType, str, Any], Any]:
    """A tracer that kills this process after so many lines of the code under test."""
    left = [steps]

    def lines(frame: FrameType, event: str, argument: Any) -> Any:
        left[0] -= event == "line"
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return lines

    return lambda frame, event, argument: lines if frame.f_code.co_filename.endswith(TRACED) else None


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled functions are loaded by the first call of each: here, or by each of some thousand children."""
    with control_made() as control:
        process = Machine(control, tmp_path_factory.mktemp("loaded") / "splinter.db").process()
        process.begin()
        for number, (before, act) in enumerate(ACTS.values()):
            for step in (*before, act):
                step(process, tenant=number + 1)
            process.in_memory(number + 1)


@pytest.fixture
def machine(loaded: None, control_stopped: Control, tmp_path: Path) -> Iterator[Machine]:
    for number in (1, 2):
        compiled(number)
    Catalog(tmp_path / "splinter.db").close()
    yield Machine(control_stopped, tmp_path / "splinter.db")


ACTS: dict[str, tuple[list[Callable[..., Any]], Callable[..., Any]]] = {
    # what comes before, and the act
    "create": ([], Process.create),
    "create again": ([Process.create, Process.remove], Process.create),
    "limit": (
        [Process.create],
        lambda process, tenant: process.tenants.limit(
            tenant, 2 << 20, {"packets_per_second": 7}, DURABILITY_ALWAYS, EVICTION_HYPERBOLIC
        ),
    ),
    "move": ([Process.create], lambda process, tenant: process.tenants.settle(tenant, 2)),
    "limit to what is logged": (
        [Process.create, lambda process, tenant: process.tenants.limit(tenant, None, {}, DURABILITY_NONE, None)],
        lambda process, tenant: process.tenants.limit(tenant, None, {}, DURABILITY_ALWAYS, None),
    ),
    "rotate": ([Process.create], lambda process, tenant: process.tenants.rotate(tenant, 5, False)),
    "rotate at once": ([Process.create], lambda process, tenant: process.tenants.rotate(tenant, 5, True)),
    "finish": (
        [Process.create, lambda process, tenant: process.tenants.rotate(tenant, 5, False)],
        lambda process, tenant: process.tenants.finish_rotation(tenant),
    ),
    "remove": ([Process.create, lambda process, tenant: process.install(tenant, 1)], Process.remove),
    "install": ([Process.create], lambda process, tenant: process.install(tenant, 1)),
    "replace": (
        [Process.create, lambda process, tenant: process.install(tenant, 1)],
        lambda process, tenant: process.install(tenant, 2),
    ),
    "uninstall": ([Process.create, lambda process, tenant: process.install(tenant, 1)], Process.uninstall),
}


@pytest.mark.parametrize("name", ACTS)
def test_wherever_the_control_process_is_killed_memory_and_catalog_agree_after_the_next_start(machine: Machine, name: str):
    before, act = ACTS[name]
    seen: list[tuple[State, State]] = []
    is_done = False
    earlier = machine.prepare(1, before)
    while not is_done:
        tenant = len(seen) + 1
        is_done = machine.done(partial(act, tenant=tenant), len(seen))
        later, following = machine.look_and_prepare(tenant, tenant + 1, before)
        seen.append((earlier, later))
        earlier = following
    wanted = anonymous(seen[-1][1])
    assert wanted != anonymous(seen[-1][0])  # what was done is there
    assert all(later == earlier or anonymous(later) == wanted for earlier, later in seen)
    assert any(later == earlier for earlier, later in seen) and any(later != earlier for earlier, later in seen[:-1])


@pytest.mark.parametrize("name", ACTS)
def test_an_act_that_the_disk_has_no_room_for_changes_nothing(machine: Machine, name: str):
    before, act = ACTS[name]
    earlier = machine.prepare(7, before)

    def refused(_: Any) -> State:
        process = machine.process()
        process.begin()
        # A trigger stands for the disk, which SQLite tells by an error in the midst of a change, too.
        for table in ("tenants", "extensions"):
            for change in ("INSERT", "DELETE"):
                process.catalog._base.execute(
                    f"CREATE TEMP TRIGGER full_{table}_{change} BEFORE {change} ON main.{table} "
                    "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
                )
        with pytest.raises(ControlError, match="database or disk is full") as error:
            act(process, tenant=7)
        assert error.value.code == "catalog_failed"
        return process.in_memory(7)

    assert in_child(refused) == earlier
    assert machine.look(7) == earlier


def test_where_the_balancer_moves_a_tenant_is_not_kept(machine: Machine):
    """Nor where one lives for which nobody chose a home."""
    moved = [Process.create, lambda process, tenant: process.tenants.move(tenant, 2)]
    later = machine.prepare(7, [*moved, lambda process, tenant: process.tenants.rotate(tenant, 5, True)])
    assert later.tenant.home is None
    assert machine.control.shared.tenants["home"][7] == 2
    settled = machine.prepare(8, [Process.create, lambda process, tenant: process.tenants.settle(tenant, 1), moved[1]])
    assert settled.tenant.home == 1 and machine.control.shared.tenants["home"][8] == 2


def test_what_the_quota_refuses_is_not_kept_either(machine: Machine):
    earlier = machine.prepare(7, [Process.create, lambda process, tenant: process.tenants.limit(tenant, 1, {}, None, None)])

    def refused(_: Any) -> None:
        process = machine.process()
        process.begin()
        with pytest.raises(QuotaExceededError):
            process.install(7, 1)
        with pytest.raises(NoSuchExtensionError):
            process.uninstall(7)
        assert process.catalog.history(7) == []

    in_child(refused)
    assert machine.look(7) == earlier


def _disk_is_full_at_the_start(machine: Machine, act: Callable[[Process, LogRings], None]) -> None:
    """Have ``act`` done in a control process that began, while the disk took no writes, with a tenant 7 and its ``f``."""

    def do(_: Any) -> None:
        before = machine.process()
        before.begin()
        before.create(7)
        rings = logged(machine.control.store, 7, DURABILITY_INTERVAL)
        signature = compiled(1).signature.to_wire()
        row = ExtensionRow(7, before.tenants.generation(7), "f", 4, SOURCE.format(1), 1.0, signature=signature)
        with before.catalog.installing(row):
            rings.tell_failed(is_failed=True)
        process = machine.process()
        process.begin()
        (found,) = process.kept.not_runnable(7, row.generation)
        assert "takes no writes" in found.described()["not_runnable"] and process.in_memory(7).versions == {}
        process.retry()
        assert process.kept.not_runnable(7, row.generation) == [found]
        act(process, rings)
        assert process.kept.not_runnable(7, row.generation) == []
        process.retry()
        assert process.in_memory(7) == process.in_catalog(7)

    in_child(do)


def test_what_a_full_disk_kept_from_being_installed_is_installed_when_there_is_room(machine: Machine):
    def make_room(process: Process, rings: LogRings) -> None:
        rings.tell_failed(is_failed=False)
        process.retry()
        assert process.in_memory(7).versions == {"f": 4}

    _disk_is_full_at_the_start(machine, make_room)


def test_what_was_uninstalled_while_it_waited_does_not_come_back(machine: Machine):
    def uninstall(process: Process, rings: LogRings) -> None:
        (row,) = process.kept._waiting()
        process.uninstall(7)
        rings.tell_failed(is_failed=False)
        with pytest.raises(NoSuchExtensionError):
            process.kept.require(row)

    _disk_is_full_at_the_start(machine, uninstall)


def test_what_was_installed_anew_while_it_waited_stays(machine: Machine):
    def install(process: Process, rings: LogRings) -> None:
        rings.tell_failed(is_failed=False)
        process.install(7, 2)
        assert process.in_memory(7).versions == {"f": 5}

    _disk_is_full_at_the_start(machine, install)


def test_what_is_uninstalled_while_it_is_compiled_again_is_not_installed(machine: Machine):
    def uninstall_meanwhile(process: Process, rings: LogRings) -> None:
        rings.tell_failed(is_failed=False)
        made = process._make

        async def make(row: ExtensionRow) -> Entry:
            process.uninstall(7)
            return await made(row)

        (row,) = process.kept._waiting()
        assert asyncio.run(process.kept._try_again(row, make))

    _disk_is_full_at_the_start(machine, uninstall_meanwhile)


def anonymous(state: State) -> State:
    """The same of any id."""
    return replace(state, tenant=replace(state.tenant, id=0))
