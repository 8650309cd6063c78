"""What a removed tenant asked for, used up, holds or showed is nothing of whoever has its id next."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splinter import limits
from splinter.client.admin import Admin
from splinter.errors import BusyError, ControlError, QuotaExceededError, UnknownTenantError
from splinter.ext.compile import CompiledExtension, compile_extensions, compile_source
from splinter.ext.native.code import CodeRegion
from splinter.server.control import compiler as compiler_module
from splinter.server.control import registry as registry_module
from splinter.server.control.balancer import Balancer
from splinter.server.control.operations import Operations
from splinter.server.control.registry import Registry
from splinter.server.control.tenants import Tenants
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from tests.support.waiting import wait_for
from tests.unit.server.control.conftest import Control
from tests.unit.server.control.test_hostile import ask, read

TENANT, OTHER = 7, 8
QUEUED = 5
SOURCE = "@extension\ndef f{0}(db: Store, x: u64) -> u64:\n    return x + {0}\n"
SPIN = "# spin\n"
WORKER = 0


def source(number: int) -> str:
    return SOURCE.format(number)


def compiled(number: int) -> CompiledExtension:
    return compile_source(source(number))


@pytest.fixture
def registry(control_stopped: Control) -> Registry:
    """Of a control process that is this one."""
    shared = control_stopped.shared
    shared.store.open_tenant(TENANT)
    shared.store.open_tenant(OTHER)
    shared.code.become_writer()
    return Registry(shared.store, shared.code, shared.extension_counters)


@pytest.fixture
def held_up(control_stopped: Control) -> Iterator[None]:
    """A worker is in a turn that does not end: what is replaced may be running there."""
    address = control_stopped.store.address
    epoch_enter(address, WORKER, OLDEST_NONE)
    yield
    epoch_leave(address, WORKER)


def end_turn(control: Control) -> None:
    epoch_leave(control.store.address, WORKER)


# --- connections ------------------------------------------------------------------------------------------------------


def remove(admin: Admin) -> None:
    admin.remove_tenant(TENANT)


def replace_at_once(admin: Admin) -> None:
    admin.rotate_token(TENANT, at_once=True)


def replace_slowly(admin: Admin) -> None:
    admin.rotate_token(TENANT)
    admin.finish_rotation(TENANT)


@pytest.mark.parametrize(
    ("change", "code"), [(remove, "tenant_removed"), (replace_at_once, "token_retired"), (replace_slowly, "token_retired")]
)
def test_a_connection_ends_with_what_it_showed(control: Control, change: Callable[[Admin], None], code: str) -> None:
    admin = control.admin()
    token = admin.create_tenant(TENANT).token
    with control.raw() as peer:
        assert ask(peer, {"op": "hello", "tenant": TENANT, "token": token})["ok"]
        change(admin)
        farewell = read(peer)
        assert (farewell["ok"], farewell["error"]) == (False, code)
        assert peer.recv(1) == b""


def test_a_connection_that_showed_the_new_token_stays(control: Control) -> None:
    admin = control.admin()
    admin.create_tenant(TENANT)
    token = admin.rotate_token(TENANT).token
    with control.raw() as peer:
        assert ask(peer, {"op": "hello", "tenant": TENANT, "token": token})["ok"]
        admin.finish_rotation(TENANT)
        assert ask(peer, {"op": "extension.list", "tenant": TENANT, "token": token})["ok"]


# --- what waits -------------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """First lines of what the compilers began with; one that spins ends when its time is over."""
    path = tmp_path / "begun"
    path.touch()

    def noting(text: str, *args: object, **options: object) -> list[CompiledExtension]:
        with path.open("a") as file:
            file.write(text.partition("\n")[0] + "\n")
        while text.startswith(SPIN):
            pass
        return compile_extensions(text)

    monkeypatch.setattr(compiler_module, "compile_extensions", noting)
    return lambda: path.read_text().splitlines()


def in_operations(control: Control, scenario: Callable[[Operations, Tenants], Awaitable[None]]) -> None:
    """Run a scenario in this process in place of a control process."""
    shared = control.shared
    shared.code.become_writer()
    registry = Registry(shared.store, shared.code, shared.extension_counters)
    tenants = Tenants(shared, registry)
    balancer = Balancer(shared.tenant_counters, shared.tenants, tenants.move, tenants.cores, 1)

    async def run() -> None:
        operations = Operations(shared, tenants, registry, balancer)
        try:
            tenants.create([TENANT, OTHER], 1 << 20, None, {})
            await scenario(operations, tenants)
        finally:
            operations.close()

    asyncio.run(run())


def install(operations: Operations, tenants: Tenants, text: str, **fields: object) -> asyncio.Task[object]:
    request = {"op": "extension.install", "tenant": TENANT, "token": tenants.tokens.current(TENANT), "source": text, **fields}
    return asyncio.create_task(operations.run(request))


def test_installs_that_wait_end_with_their_tenant(control_stopped: Control, begun: Callable[[], list[str]]) -> None:
    async def scenario(operations: Operations, tenants: Tenants) -> None:
        old = [install(operations, tenants, SPIN + source(number)) for number in range(QUEUED)]
        await asyncio.to_thread(wait_for, begun, 60)
        await tenants.remove(TENANT)
        tenants.create([TENANT], 1 << 20, None, {})
        await install(operations, tenants, source(1))
        ended = await asyncio.gather(*old, return_exceptions=True)
        assert all(isinstance(error, Exception) for error in ended)
        assert sum(isinstance(error, UnknownTenantError) for error in ended) >= QUEUED - 1
        assert begun().count(SPIN.strip()) <= 2  # the one under way, in both lanes

    in_operations(control_stopped, scenario)


def test_others_have_their_turn_between_two_extensions_of_a_source(control_stopped: Control) -> None:
    async def scenario(operations: Operations, tenants: Tenants) -> None:
        text = "".join(source(number) for number in range(20))
        await install(operations, tenants, text, every=True)
        again = install(operations, tenants, text, every=True)  # it is compiled already: nothing else lets others go first
        asked = asyncio.create_task(
            operations.run({"op": "extension.list", "tenant": OTHER, "token": tenants.tokens.current(OTHER)})
        )
        await asked
        assert not again.done()
        await again

    in_operations(control_stopped, scenario)


# --- what is held -----------------------------------------------------------------------------------------------------


def test_code_of_a_removed_tenant_is_not_its_successors(control_stopped: Control, held_up: None) -> None:
    shared, one = control_stopped.shared, compiled(1)
    shared.store.open_tenant(TENANT)
    shared.code.become_writer()
    registry = Registry(shared.store, shared.code, shared.extension_counters, len(one.code) + 8)
    registry.install(TENANT, one)
    with pytest.raises(ControlError, match="would hold"):
        registry.install(TENANT, compiled(2))
    registry.uninstall(TENANT, one.name)
    with pytest.raises(ControlError, match="would hold"):
        registry.install(TENANT, compiled(2))
    registry.forget_tenant(TENANT)
    assert registry.install(TENANT, compiled(2)).version == 1
    assert registry.bytes_waiting == len(one.code)


def test_a_tenant_pins_so_many_replaced_extensions_and_no_more(
    control_stopped: Control, registry: Registry, held_up: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_REPLACED_MAX", 4)
    one = compiled(1)
    for _ in range(5):
        registry.install(TENANT, one)
    with pytest.raises(BusyError, match="may still be running"):
        registry.install(TENANT, one)
    assert registry.install(OTHER, one).version == 1
    end_turn(control_stopped)
    registry.upkeep()
    assert registry.install(TENANT, one).version == 6


def test_an_install_that_is_refused_keeps_nothing(control_stopped: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a slot of counters nor code, whatever it is refused for."""
    shared, code = control_stopped.shared, CodeRegion.create(mmap.PAGESIZE)
    shared.store.open_tenant(TENANT)
    shared.store.open_tenant(OTHER, 0)  # it has no quota
    code.become_writer()
    registry = Registry(shared.store, code, shared.extension_counters)
    one = compiled(1)
    registry.install(TENANT, one)
    used = registry.bytes_used
    for number in range(2, 8):
        with pytest.raises(QuotaExceededError):
            registry.install(OTHER, compiled(number))
    assert registry.bytes_used == used
    with pytest.raises(ControlError, match="code"):
        for number in range(2, mmap.PAGESIZE):
            registry.install(TENANT, compiled(number))
    monkeypatch.setattr(limits, "EXTENSIONS_MAX", registry.count + 2)
    for number in range(6):
        with pytest.raises(ControlError, match="code"):
            registry.install(TENANT, compiled(mmap.PAGESIZE + number))
    for name in ("second", "third"):  # of a source that is there
        registry.install(TENANT, replace(one, name=name))
    with pytest.raises(ControlError, match="a server has at most"):
        registry.install(TENANT, replace(one, name="fourth"))
