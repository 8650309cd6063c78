"""What the kernel has of extensions is charged, with real maps and programs, wherever the control process is killed.

Each control process is a fork, so that one that is killed leaves what it would: store, maps and programs, and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splinter import limits
from splinter.errors import ServerError
from splinter.ext import record
from splinter.ext.compile import CompiledExtension
from splinter.ext.native.code import CodeRegion
from splinter.net.bpf import maps, syscall
from splinter.net.bpf.syscall import closed
from splinter.net.xdp import extensions
from splinter.net.xdp.extensions import KEPT_BYTES
from splinter.server.control.installed import machine_code_bytes
from splinter.server.control.registry import Registry
from splinter.store.audit.walk import check_invariants
from splinter.store.region import Region
from splinter.store.store import Store
from splinter.worker.tasks.layout import EXTENSION_COUNTERS, EXTENSION_COUNTERS_BYTES
from tests.property.hostile.in_child import in_child
from tests.support.kernel_side import for_kernel
from tests.support.kernel_world import TENANT_ID, KernelWorld

pytestmark = pytest.mark.xdp

READS = "@extension\ndef f(db: Store, x: u64) -> u64:\n    return 0 if db.get(1, x) is None else {}\n"
WRITES = "@extension\ndef f(db: Store, x: u64) -> u64:\n    db.put(1, x, x)\n    return x\n"
SLOTS = 8  # more than are given out here
STEPS_MAX = 200  # more than any of these has


class Machine:
    """What outlives control processes, and what they do with it. Whatever is ``done`` is done in a fork."""

    def __init__(self, world: KernelWorld) -> None:
        self.world = world
        self.store = world.store
        self._code = CodeRegion.create(1 << 20)
        self._code.become_writer()
        memory = Region.create("counters", EXTENSION_COUNTERS_BYTES * limits.EXTENSIONS_MAX)
        self._counters = [memory.array(EXTENSION_COUNTERS)]

    def registry(self) -> Registry:
        """Of a control process that is this one, as it begins."""
        found = Registry(self.store, self._code, self._counters, kernel=self.world.programs)
        found.rebuild()
        return found

    def done(self, step: Callable[[Registry], Any]) -> int:
        """Have a control process do something; the signal that ended it, or 0."""
        pid = os.fork()
        if pid == 0:
            try:
                step(self.registry())
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status <= 0, "the control process failed"
        return -status

    def look(self, registry: Registry) -> tuple[int, int]:
        """What the tenant is charged for code, and what there really is of it."""
        fds = self.world._fds
        kept = maps.keys(fds["extension_code"])
        programs = 0
        for slot in range(SLOTS):  # also of those without kept code
            try:
                number = int.from_bytes(maps.lookup(fds["kernel_extensions"], slot, 4), "little")
            except FileNotFoundError:
                continue
            with closed(syscall.open_program(number)) as program:
                programs += syscall.program_info(program).memory_bytes
        there = machine_code_bytes(registry.entries(TENANT_ID)) + len(kept) * KEPT_BYTES + programs
        return int(self.store.accounts["code_bytes"][TENANT_ID]), there

    def look_after_start(self) -> tuple[int, int, str]:
        """The same of the next control process when it has begun, and where the extension is then."""

        def start(_: Any) -> tuple[int, int, str]:
            registry = self.registry()
            asyncio.run(registry.in_kernel.reload())
            entry = registry.find(TENANT_ID, "f")
            obstacle = "gone" if entry is None else registry.in_kernel.obstacle(entry.slot)
            return *self.look(registry), "kernel" if obstacle is None else obstacle or "worker"

        self.store.recover(limits.PARTICIPANT_CONTROL)
        charged, there, place = in_child(start)
        return charged, there, place

    def stored(self) -> bytes:
        """The record of the extension."""
        found = self.store.get(TENANT_ID, limits.TABLE_EXTENSIONS, b"f")
        assert found is not None
        return found

    def record(self) -> record.InstalledExtension:
        """What it says."""
        return record.parse(self.stored())


@pytest.fixture(scope="module")
def world() -> Iterator[KernelWorld]:
    made = KernelWorld()
    yield made
    made.close()


@pytest.fixture
def machine(world: KernelWorld) -> Iterator[Machine]:
    machine = Machine(world)
    yield machine
    machine.store.recover(limits.PARTICIPANT_CONTROL)
    assert machine.done(lambda registry: registry.find(TENANT_ID, "f") and registry.uninstall(TENANT_ID, "f")) == 0
    assert machine.look_after_start() == (0, 0, "gone")
    machine.store.open_tenant(TENANT_ID)


def install(source: str) -> Callable[[Registry], None]:
    """Install an extension as the control process does, whose code for the kernel was compiled in a child."""
    compiled: CompiledExtension = for_kernel(source)

    def step(registry: Registry) -> None:
        kernel, programs = compiled.kernel, registry.in_kernel.programs
        assert programs is not None
        loaded = programs.load(kernel.object_file, kernel.identity) if kernel.object_file else extensions.NOT_LOADED
        registry.install(TENANT_ID, compiled, loaded)
        loaded.close()

    return step


def uninstall(registry: Registry) -> None:
    registry.uninstall(TENANT_ID, "f")


def withdraw(registry: Registry) -> None:
    registry.in_kernel.withdraw(slot_of(registry))


def release(registry: Registry) -> None:
    asyncio.run(registry.in_kernel.release(slot_of(registry)))


def slot_of(registry: Registry) -> int:
    entry = registry.find(TENANT_ID, "f")
    assert entry is not None
    return entry.slot


def refuse(*_: Any, **__: Any) -> int:
    raise ServerError("a kernel that takes no program any more")


FIRST, SECOND, THIRD = (READS.format(number) for number in range(1, 4))


def test_what_there_is_is_charged(machine: Machine) -> None:
    machine.done(install(FIRST))
    charged, there, place = machine.look_after_start()
    assert charged == there > KEPT_BYTES and place == "kernel"
    machine.done(install(WRITES))
    charged, there, place = machine.look_after_start()
    assert charged == there < KEPT_BYTES and place == "worker"


def test_a_program_is_charged_more_than_the_kernel_says_of_its_first_pages(machine: Machine) -> None:
    """The ``memlock`` of its descriptor leaves its functions and its machine code out."""
    compiled = for_kernel(FIRST)
    loaded = machine.world.programs.load(compiled.kernel.object_file, compiled.kernel.identity)
    told = Path(f"/proc/self/fdinfo/{loaded.program_fd}").read_text().splitlines()
    (memlock,) = (int(line.split()[1]) for line in told if line.startswith("memlock"))
    info = syscall.program_info(loaded.program_fd)
    loaded.close()
    assert info.functions > 1 and info.machine_bytes > 0
    assert loaded.program_bytes == info.memory_bytes > 2 * memlock


def test_code_that_the_kernel_refuses_later_is_charged_no_more(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.done(install(FIRST))
    monkeypatch.setattr(extensions, "load", refuse)
    charged, there, place = machine.look_after_start()
    assert charged == there < KEPT_BYTES and place == "the kernel's verifier cannot follow it"
    assert machine.record().kernel == 0
    monkeypatch.undo()
    assert machine.look_after_start() == (charged, there, "worker")  # for good, with the reason in its record


def test_a_program_that_takes_more_at_a_later_load_is_charged_as_much(machine: Machine) -> None:
    machine.done(install(FIRST))
    charged = machine.look_after_start()[0]
    machine.store.put(TENANT_ID, limits.TABLE_EXTENSIONS, b"f", record.with_kernel(machine.stored(), True, 1))
    assert machine.look_after_start() == (charged, charged, "kernel")
    assert machine.record().program_bytes > 1


@pytest.mark.parametrize("before", [[install(FIRST)], [install(FIRST), withdraw]], ids=["in use", "in quarantine"])
@pytest.mark.parametrize("step", [withdraw, uninstall, install(SECOND), install(WRITES)])
def test_what_is_charged_no_more_is_gone_at_once(machine: Machine, before: list[Any], step: Callable[[Registry], None]) -> None:
    for one in before:
        assert machine.done(one) == 0

    def run(_: Any) -> tuple[int, int]:
        registry = machine.registry()
        if registry.find(TENANT_ID, "f") is not None:
            asyncio.run(registry.in_kernel.reload())
        step(registry)
        return machine.look(registry)

    charged, there = in_child(run)
    assert charged == there


def test_what_a_record_does_not_name_is_not_kept(machine: Machine) -> None:
    compiled = for_kernel(FIRST)
    loaded = machine.world.programs.load(compiled.kernel.object_file, compiled.kernel.identity)
    assert machine.world.programs.place(77, loaded)
    loaded.close()
    assert machine.look_after_start() == (0, 0, "gone")


def test_code_of_another_version_is_not_run_for_a_record(machine: Machine) -> None:
    machine.done(install(FIRST))
    compiled = for_kernel(SECOND)
    loaded = machine.world.programs.load(compiled.kernel.object_file, compiled.kernel.identity)
    assert machine.world.programs.place(machine.record().statistics, loaded)
    loaded.close()
    charged, there, place = machine.look_after_start()
    assert charged == there < KEPT_BYTES and "was not kept" in place


OPERATIONS = {
    "a first install": ([], install(FIRST)),
    "a replacement": ([install(FIRST)], install(SECOND)),
    "a replacement that writes": ([install(FIRST)], install(WRITES)),
    "a replacement of one that writes": ([install(WRITES)], install(THIRD)),
    "a removal": ([install(FIRST)], uninstall),
    "a withdrawal": ([install(FIRST)], withdraw),
    "a release": ([install(FIRST), withdraw], release),
    "a later start": ([install(FIRST)], lambda registry: asyncio.run(registry.in_kernel.reload())),
}


@pytest.mark.parametrize(("before", "operation"), OPERATIONS.values(), ids=OPERATIONS)
def test_nobody_is_charged_wrongly_after_a_death_at_any_step(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, before: list[Any], operation: Callable[[Registry], None]
) -> None:
    places = set()
    for number in range(STEPS_MAX):
        machine.done(lambda registry: registry.find(TENANT_ID, "f") and uninstall(registry))
        for step in before:
            assert machine.done(step) == 0
        with monkeypatch.context() as patched:
            kill_at(patched, number)
            ended = machine.done(operation)
        charged, there, place = machine.look_after_start()
        assert charged == there, f"killed at step {number}"
        assert check_invariants(machine.store.address) == []
        places.add(place)
        if ended == 0:
            break
        assert ended == signal.SIGKILL
    assert 2 * 3 <= number < STEPS_MAX and places


def kill_at(patched: pytest.MonkeyPatch, number: int) -> None:
    """Die before or behind one of the calls that change something: in the store, in its accounts, in the kernel's maps."""
    left = [number]

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            die_in_turn()
            result = function(*args, **kwargs)
            die_in_turn()
            return result

        return call

    def die_in_turn() -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    for owner, name in ((Store, "charge_code"), (Store, "put"), (Store, "delete"), (maps, "update"), (maps, "delete")):
        patched.setattr(owner, name, wrapped(getattr(owner, name)))
